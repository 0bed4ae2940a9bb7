"""Do attributions of a set of features add up to what the score loses without it?"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from heatproof import draws, fast
from heatproof.baselines import Baseline, Zero, resolved
from heatproof.checks.base import CHECKS, TRAINED, Block, Check, Maps, Recipe, Scores, State, Study
from heatproof.checks.variants import evaluated, region_sums, regions, replaced, score
from heatproof.errors import InputError
from heatproof.metrics import Metric

if TYPE_CHECKING:
    import pandas as pd

Over = Literal["sample", "pooled"]

SENSITIVITY = Metric(
    name="sensitivity-n",
    low=-1.0,
    high=1.0,
    chance=0.0,
    ideal=1.0,
    higher_is_better=True,
    text="Correlation of what sets of features are attributed with what the score loses without them.",
)


# What a sample adds to a correlation over all samples and sets: means over its sets, and sums of squares about them.
PARTS = (
    Metric(name="mean-sum", text="Mean attribution of the sets."),
    Metric(name="mean-loss", unit="score", text="Mean loss of the score without a set."),
    Metric(name="square-sum", low=0.0, text="Squared deviations of the sets' attributions from their mean, summed."),
    Metric(name="square-loss", low=0.0, text="Squared deviations of the losses from their mean, summed."),
    Metric(name="product", text="Products of both deviations, summed."),
)


class Masked(NamedTuple):
    """Sets of one size, and what each takes from the score."""

    sets: Tensor  # (sets, F) bool
    losses: Tensor  # (N, sets) float64
    noise: Tensor  # (N,) float64, differences of scores up to which rounding could make them


@CHECKS.register("sensitivity-n")
@dataclass(frozen=True, kw_only=True)
class SensitivityN(Check):
    """Correlation, over random sets T of n features, of Σ_{i∈T} R_i with S_c(x) − S_c(x with T at the baseline).

    Position: n, `sizes` values spaced evenly on a log scale from 1 to `largest` of the features. One Pearson
    correlation a sample and n over `sets` sets. In [−1, 1]; 1 for every n on linear models for every method that sums
    to the score there (Proposition 4), 0 for noise. NaN where the sums or the losses do not vary beyond rounding.

    Features are the audit's, or tiles of tile × tile pixels. Sets are drawn from `seed`, the number of features and n:
    the same for every method, sample and block, so that masked outputs are computed once for all methods.
    `over="pooled"` gives one correlation an n over all samples and sets together, as a row about no sample (setting
    `pooled`), and what each sample adds to it; it also asks whether maps tell samples apart by their losses.
    Cost: sizes · sets + 1 forward passes a sample, and a matrix product a method.

    Source: Ancona et al. 2018, section 4, where 4.1 sums to N and means n; Schulz et al. 2020, 4.4 (tiles;
    its code pools).
    Deviation: sets are common to all samples.

    >>> check = hp.checks.SensitivityN(sets=20, sizes=1)
    >>> run = hp.audit(line, torch.rand(3, 2), [1, 1, 1], methods=["gradient-x-input"], checks=[check], out="sets",
    ...                features="columns", progress=False)
    ...
    >>> rows = run.rows()
    >>> rows[rows["metric"] == "sensitivity-n"]["value"].round(4).tolist()
    [1.0, 1.0, 1.0]
    """

    sets: int = 100
    sizes: int = 16
    largest: float = 0.8
    tile: int = 1
    baseline: Baseline = field(default_factory=Zero)
    over: Over = "sample"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.sets < 3 or self.sizes < 1 or self.tile < 1:
            raise InputError(
                f"Expected at least 3 sets, 1 size and a tile of 1, but got {self.sets}, {self.sizes} and {self.tile}."
            )
        if not 0 < self.largest <= 1:
            raise InputError(f"Expected largest, a share of the features, in (0, 1], but got {self.largest}.")

        if self.over not in get_args(Over):
            raise InputError(
                f"Expected over to be one of {', '.join(map(repr, get_args(Over)))}, but got {self.over!r}."
            )

    def metrics(self, study: Study) -> tuple[Metric, ...]:
        return (SENSITIVITY, *(PARTS if self.over == "pooled" else ()))

    def states(self, study: Study) -> Sequence[State]:
        regions(study.features, study.example.shape[1:], self.tile)
        resolved(self.baseline, study.model, study.example)
        return (TRAINED,)

    def numbers(self, features: int) -> list[int]:
        """The set sizes n for so many features, without repetitions."""
        most = max(1, math.floor(self.largest * features))
        steps = max(1, self.sizes - 1)
        return sorted({round(most ** (k / steps)) for k in range(self.sizes)})

    def passes(self, study: Study, state: State, method: Recipe | None) -> float:
        shape = study.example.shape[1:]
        features = math.prod(regions(study.features, shape, self.tile).grid(shape))
        return 0.0 if method else 1.0 + self.sets * len(self.numbers(features))

    def shared(self, block: Block, state: State) -> dict[int, Masked]:
        shape = block.inputs.shape[1:]
        features = regions(block.features, shape, self.tile)
        count = math.prod(features.grid(shape))
        baseline = resolved(self.baseline, block.model, block.inputs)
        whole = evaluated(block, 1, lambda samples, _: block.inputs[samples, None], score)
        found = {}
        for n in self.numbers(count):
            sets = self._sets(count, n).to(block.inputs.device, non_blocking=True)

            def without(samples: slice, numbers: range, sets: Tensor = sets) -> Tensor:
                chosen = sets[numbers.start : numbers.stop].expand(samples.stop - samples.start, -1, -1)
                return replaced(block, features, chosen, samples, baseline)

            left = evaluated(block, len(sets), without, score)
            largest = torch.maximum(whole[:, 0].abs(), left.abs().amax(1))
            found[n] = Masked(sets, whole - left, 8 * fast.rounding(block.inputs.dtype) * largest)
        return found

    def rows(
        self, block: Block, state: State, method: Recipe, maps: Maps, kept: Mapping[str, Maps], shared: Any
    ) -> Iterator[Scores]:
        values = region_sums(maps.values, block, self.tile).double()
        for n, masked in shared.items():
            sums = values @ masked.sets.T.double()
            if self.over == "pooled":
                for metric, part in zip(PARTS, parts(sums, masked.losses), strict=True):
                    yield Scores(metric=metric.name, values=part, position=float(n))
                continue
            exact = 1e-12 * sums.abs().amax(1)
            yield Scores(
                metric=SENSITIVITY.name,
                values=correlations(sums, masked.losses, exact, masked.noise),
                position=float(n),
            )

    def summary(self, rows: "pd.DataFrame") -> "pd.DataFrame | None":
        if self.over == "sample":
            return None
        wide = rows.pivot(index=["method", "position", "sample"], columns="metric", values="value").dropna()
        if wide.empty:
            return None
        found = wide.groupby(["method", "position"]).apply(lambda some: pooled(some, self.sets))
        return found.rename("value").reset_index().assign(setting="pooled", sample="", metric=SENSITIVITY.name, seed=0)

    def _sets(self, count: int, n: int) -> Tensor:
        """Random sets (sets, F), bool, of n features each."""
        generator = draws.generator(self.seed, "sensitivity-n", count, n)
        chosen = torch.zeros(self.sets, count, dtype=torch.bool)
        for mask in chosen:
            mask[torch.randperm(count, generator=generator)[:n]] = True
        return chosen


def parts(sums: Tensor, losses: Tensor) -> tuple[Tensor, ...]:
    """What each row of (N, K) sums and losses adds to a pooled correlation: `PARTS`, each (N,)."""
    centered = [rows - rows.mean(1, keepdim=True) for rows in (sums, losses)]
    squares = [(one * other).sum(1) for one, other in ((centered[0],) * 2, (centered[1],) * 2, tuple(centered))]
    return (sums.mean(1), losses.mean(1), *squares)


def pooled(of_samples: "pd.DataFrame", sets: int) -> float:
    """Pearson's r over all samples and sets, from what each sample adds to it; NaN where either side is constant."""
    means = of_samples[["mean-sum", "mean-loss"]]
    between = (means - means.mean()).to_numpy()
    ours, theirs = (
        float(of_samples[name].sum() + sets * (column**2).sum())
        for name, column in zip(("square-sum", "square-loss"), between.T, strict=True)
    )
    both = float(of_samples["product"].sum() + sets * (between[:, 0] * between[:, 1]).sum())
    sizes = sets * (means.to_numpy() ** 2).sum(0)
    if ours <= 1e-24 * sizes[0] or theirs <= 1e-24 * sizes[1]:
        return math.nan
    return both / math.sqrt(ours * theirs)


def correlations(one: Tensor, other: Tensor, rounding: Tensor, noise: Tensor) -> Tensor:
    """Pearson's r (N,) of the rows of two (N, K); NaN where one varies by `rounding` or the other by `noise` alone."""
    centered = [rows - rows.mean(1, keepdim=True) for rows in (one, other)]
    norms = [rows.norm(dim=1) for rows in centered]
    root = one.shape[1] ** 0.5
    flat = (norms[0] <= rounding * root) | (norms[1] <= noise * root)
    product = (centered[0] * centered[1]).sum(1)
    return torch.where(flat, torch.nan, (product / (norms[0] * norms[1])).clamp(-1, 1))
