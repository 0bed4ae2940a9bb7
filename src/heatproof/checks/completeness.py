"""Do attributions sum to what they should explain?"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from heatproof import door, draws
from heatproof.checks.base import CHECKS, TRAINED, Block, Check, Maps, Recipe, Scores, State, Study
from heatproof.errors import InputError
from heatproof.features import Pixels
from heatproof.methods.base import Linearizable, Method
from heatproof.metrics import Metric
from heatproof.models import forward

# Elements that the maps of the labels pulled together may have: 64 MiB in float32.
BUDGET = 2**24

SUM = Metric(name="attribution-sum", unit="score", text="The sum of the map.")
SCORE = Metric(name="target-score", unit="score", text="The explained output.")
GAP = Metric(
    name="completeness-gap",
    unit="score",
    ideal=0.0,
    text="The sum of the map minus what the method promises that it is, where it promises anything.",
)
RELATIVE_GAP = Metric(
    name="relative-gap",
    unit="ratio",
    low=0.0,
    ideal=0.0,
    higher_is_better=False,
    text="How far the sum of the map is from what the method promises that it is, relative to that.",
)
CONDITION = Metric(
    name="condition-number",
    unit="ratio",
    low=0.0,
    text="The sum of the map's magnitudes over the magnitude of what the method promises that its sum is.",
)
SCORE_GAP = Metric(name="score-gap", unit="score", ideal=0.0, text="The sum of the map minus the explained output.")
RELATIVE = Metric(
    name="relative-score-gap",
    unit="ratio",
    low=0.0,
    ideal=0.0,
    higher_is_better=False,
    text="How far the sum of the map is from the explained output, relative to that output.",
)
SLOPE = Metric(
    name="label-slope",
    unit="ratio",
    ideal=1.0,
    text="Over labels: by how much the sum of the map rises where what it should sum to rises by 1.",
)
CORRELATION = Metric(
    name="label-correlation",
    low=-1.0,
    high=1.0,
    chance=0.0,
    ideal=1.0,
    higher_is_better=True,
    text="Over labels: correlation of the sum of the map with what it should sum to.",
)
LABEL_GAP = Metric(
    name="label-gap",
    unit="ratio",
    low=0.0,
    ideal=0.0,
    higher_is_better=False,
    text="Over labels: what the sums of the maps miss, relative to what they should sum to.",
)


class Known(NamedTuple):
    """What no method influences: outputs (N, C) in the model's type, and the labels (N, K) that are summed.

    `finite` says that all inputs are, as a look at the device has found.
    """

    outputs: Tensor
    labels: Tensor
    finite: bool


@CHECKS.register("completeness")
@dataclass(frozen=True, kw_only=True)
class Completeness(Check):
    """The sum of each map against the score that it explains, ΣR − S_c(x), and against it over labels.

    `score-gap` is ΣR_c − S_c(x) for every method, `relative-score-gap` its magnitude over |S_c(x)|, NaN where the score
    is 0. The others are about methods that promise what their maps sum to, E_i (`Method.promised_sums`: S_i(x), or
    S_i(x) − S_i(x̄) where they have a baseline); gradients, magnitudes and foreign callables promise nothing and have no
    such rows. `completeness-gap` is ΣR_c − E_c, `relative-gap` its magnitude over |E_c|, and beside it stands
    `condition-number`, Σ|R_c|/|E_c|, by which rounding is magnified; both are NaN where E_c is 0. Of those that can be
    linearized as well, over the explained label and others drawn at random, `labels` together (0 for all):
    `label-slope` and `label-correlation`, the slope of the least-squares line of ΣR_i on E_i, and Pearson's r;
    `label-gap`, Σ_i |ΣR_i − E_i| / Σ_i |E_i|. NaN for fewer than three labels or where a side does not vary. Labels
    whose output is minus infinity (masked actions) are left out.
    Cost: a forward pass a sample; for each method that has rows over labels one or two more, and a backward pass for
    each label but the explained one (path methods: their passes for each label). Sums are taken in float64.

    Source: Sundararajan et al. 2017; Gupta & Arora, Figure 2 (one image, all labels); Ancona et al. 2018, section 3.

    >>> run = hp.audit(line, x, [1], methods=["gradient-x-input"],
    ...                checks=[hp.checks.Completeness()], out="complete",
    ...                features="columns", progress=False)
    ...
    >>> rows = run.rows()
    >>> rows[rows["metric"] == "attribution-sum"]["value"].tolist()
    [7.0]
    """

    labels: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.labels < 0:
            raise InputError(f"Expected labels to be at least 0, which takes all of them, but got {self.labels}.")

    def metrics(self, study: Study) -> tuple[Metric, ...]:
        return (SUM, SCORE, GAP, RELATIVE_GAP, CONDITION, SCORE_GAP, RELATIVE, SLOPE, CORRELATION, LABEL_GAP)

    def states(self, study: Study) -> Sequence[State]:
        if isinstance(study.features, Pixels) and study.features.reduction != "sum":
            raise InputError(
                f"Expected channels to be summed, so that maps keep their sums, but got {study.features}; "
                "choose Pixels() or leave out the check of completeness."
            )
        return (TRAINED,)

    def passes(self, study: Study, state: State, method: Recipe | None) -> float:
        if method is None:
            return 1.0
        recipe = method.recipe
        if not isinstance(recipe, Linearizable) or type(recipe).promised_sums is Method.promised_sums:
            return 0.0
        # As a map costs a forward pass and a backward one, which is two: here a backward pass for each other label.
        others = min(self.labels or study.outputs, study.outputs) - 1
        return recipe.cost(study.outputs, study.example.shape[1:]) * (1 + 2 * others)

    def shared(self, block: Block, state: State) -> Known:
        with torch.no_grad():
            outputs = forward(block.model, block.inputs)
        # All that is asked of the device, with one look.
        finite = torch.isfinite(block.inputs).flatten(1).all(1)
        told = torch.cat([block.targets[:, None], finite[:, None], outputs == -torch.inf], 1).cpu()
        labels = self._labels(draws.digests(block.inputs), told[:, 0], told[:, 2:].bool())
        return Known(outputs, labels.to(block.inputs.device, non_blocking=True), bool(told[:, 1].all()))

    def network_rows(self, block: Block, state: State, shared: Known) -> Iterable[Scores]:
        yield Scores(metric=SCORE.name, values=_of(shared.outputs.double(), block.targets))

    def rows(
        self, block: Block, state: State, method: Recipe, maps: Maps, kept: Mapping[str, Maps], shared: Any
    ) -> Iterator[Scores]:
        score = _of(shared.outputs.double(), block.targets)
        total = maps.values.double().flatten(1).sum(1)
        gap = total - score
        yield Scores(metric=SUM.name, values=total)
        yield Scores(metric=SCORE_GAP.name, values=gap)
        yield Scores(metric=RELATIVE.name, values=gap.abs() / torch.where(score == 0, torch.nan, score.abs()))
        promised = _promised(method, block, shared.outputs)
        if promised is None:
            return
        owed = _of(promised, block.targets)
        size = torch.where(owed == 0, torch.nan, owed.abs())
        yield Scores(metric=GAP.name, values=total - owed)
        yield Scores(metric=RELATIVE_GAP.name, values=(total - owed).abs() / size)
        yield Scores(metric=CONDITION.name, values=maps.values.double().flatten(1).abs().sum(1) / size)
        with door.looked(block.inputs) if shared.finite else nullcontext():
            linearized = block.linearize(method)
        if linearized is not None:
            others = _sums(linearized.pull, shared.labels[:, 1:], shared.outputs, block.inputs)
            sums = torch.cat([total[:, None], others], 1)  # the explained label's map is there already
            yield from _over_labels(sums, promised.gather(1, shared.labels))

    def _labels(self, names: Sequence[str], targets: Tensor, left_out: Tensor) -> Tensor:
        """The explained label and others at random, each once: (N, K). Those at minus infinity come last."""
        count = left_out.shape[1]
        others = min(self.labels or count, count) - 1
        rows = []
        for name, target, out in zip(names, targets, left_out, strict=True):
            drawn = torch.randperm(count - 1, generator=draws.generator(self.seed, "completeness", name))
            drawn = drawn + (drawn >= target)
            drawn = drawn[out[drawn].int().argsort(stable=True)][:others]
            rows.append(torch.cat([target[None], drawn]))
        return torch.stack(rows)


def _of(values: Tensor, targets: Tensor) -> Tensor:
    return values.gather(1, targets[:, None])[:, 0]


def _promised(method: Recipe, block: Block, outputs: Tensor) -> Tensor | None:
    """What each label's attributions should sum to (N, C), float64; None where the method does not say."""
    if not isinstance(method.recipe, Method):
        return None
    with torch.no_grad():
        promised = method.recipe.promised_sums(block.model, block.inputs, outputs)
    return None if promised is None else promised.double()


def _sums(pull: Callable[[Tensor], Tensor], labels: Tensor, outputs: Tensor, inputs: Tensor) -> Tensor:
    """The sums (N, K), float64, of the attributions of labels (N, K), where K may be 0."""
    if not labels.numel():
        return outputs.new_empty(labels.shape, dtype=torch.float64)
    picked = torch.zeros(labels.shape[1], *outputs.shape, dtype=outputs.dtype, device=outputs.device)
    picked.scatter_(2, labels.T[..., None], 1.0)
    step = max(1, BUDGET // inputs.numel())
    parts = [pull(some).double().flatten(2).sum(2) for some in torch.split(picked, step)]
    return torch.cat(parts).T


def _over_labels(sums: Tensor, promised: Tensor) -> Iterator[Scores]:
    """Slope, correlation and gap of rows (N, K) against rows, over the labels of which a finite sum is promised."""
    known = torch.isfinite(promised)
    count = known.sum(1, keepdim=True)
    sums, promised = (rows.where(known, 0.0) for rows in (sums, promised))
    gap = (sums - promised).abs().sum(1) / promised.abs().sum(1)  # 0/0 is NaN, as it should be
    rise, run = ((rows - rows.sum(1, keepdim=True) / count) * known for rows in (sums, promised))
    product, squares = (rise * run).sum(1), [side.square().sum(1) for side in (rise, run)]
    rounding = [1e-12 * rows.abs().amax(1).square() for rows in (sums, promised)]
    flat = [square <= noise for square, noise in zip(squares, rounding, strict=True)]
    few = count[:, 0] < 3
    slope = (product / squares[1]).masked_fill(flat[1] | few, torch.nan)
    correlation = (
        (product / (squares[0] * squares[1]).sqrt()).clamp(-1, 1).masked_fill(flat[0] | flat[1] | few, torch.nan)
    )
    yield Scores(metric=SLOPE.name, values=slope)
    yield Scores(metric=CORRELATION.name, values=correlation)
    yield Scores(metric=LABEL_GAP.name, values=gap)
