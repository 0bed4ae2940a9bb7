"""Why a randomized network still shows the input: how sparse and how skewed its activations are."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from heatproof.checks.base import CHECKS, Block, Check, Maps, Recipe, Scores, State, Study
from heatproof.errors import InputError
from heatproof.metrics import Metric
from heatproof.models import forward
from heatproof.undo import hooked

if TYPE_CHECKING:
    import pandas as pd

WEIGHTED = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip
QUANTILES = tuple(round(0.95 - 0.05 * k, 2) for k in range(18))  # 0.95 … 0.10
HIGH, LOW = QUANTILES[:3], QUANTILES[9:]  # 0.95, 0.90, 0.85 and 0.50 … 0.10

NON_POSITIVE = Metric(
    name="non-positive",
    unit="share of activations",
    low=0.0,
    high=1.0,
    text="Share of the activations that a layer reads which are zero or negative.",
)


@CHECKS.register("network-structure")
@dataclass(frozen=True, kw_only=True)
class NetworkStructure(Check):
    """Activations that each convolution and dense layer reads, pooled over positions and channels; no map is looked at.

    Setting: the layer; position: its place in the order of execution, from 1; one that runs again is called `name#2`.
    `non-positive` is the share of activations <= 0 of a sample, `quantile-q` its quantile q, from 0.95 to 0.10 in steps
    of 0.05, between neighbors by linear interpolation. Over the data set, with V(q) the mean of quantiles over samples,
    `overtaking-h-l` bounds the probability that what the smallest share l of activations add to a sum outweighs the
    largest 1 − h under random weights: P = ½ − arctan(K/γ)/π, K = V(h)/V(l), γ = √(l/(1 − h)). V(l) = 0 gives 0. Where
    both are negative K is inverted; where the signs differ or V(h) = 0, P is NaN. Low probabilities explain why
    randomized networks keep the input's structure.
    Cost: one forward pass a sample and a sort of all activations.

    Source: Binder et al. 2023, Theorem 2, I and J. Deviation: layers are found by what reads the activations, so that
    functional ReLUs count; the first one reads the input itself. The first dimension of what is read is the batch.

    >>> check = hp.checks.NetworkStructure()
    >>> run = hp.audit(net, images, labels, methods=["gradient"], checks=[check], out="structure", progress=False)
    >>> sorted(set(run.rows()["metric"]))[:2]
    ['non-positive', 'overtaking-0.85-0.10']
    """

    def metrics(self, study: Study) -> tuple[Metric, ...]:
        quantiles = (Metric(name=f"quantile-{q:.2f}", text=f"Quantile {q:.2f} of the activations.") for q in QUANTILES)
        overtaking = (
            Metric(
                name=f"overtaking-{high:.2f}-{low:.2f}",
                unit="probability",
                low=0.0,
                high=1.0,
                text=f"Bound on the probability that the lowest {low:.0%} of activations outweigh the highest "
                f"{1 - high:.0%} under random weights.",
            )
            for high in HIGH
            for low in LOW
        )
        return (NON_POSITIVE, *quantiles, *overtaking)

    def states(self, study: Study) -> Sequence[State]:
        if not any(isinstance(module, WEIGHTED) for module in study.model.modules()):
            raise InputError("Expected a network with convolutions or dense layers, but it has none as modules.")
        return super().states(study)

    def passes(self, study: Study, state: State, method: Recipe | None) -> float:
        return 0.0 if method else 1.0

    def shared(self, block: Block, state: State) -> dict[str, tuple[Tensor, Tensor]]:
        """By layer, in the order of execution: the non-positive share (N,) and the quantiles (N, 18), float64."""
        found: dict[str, tuple[Tensor, Tensor]] = {}

        def see(name: str, activations: Tensor) -> None:
            calls = 1 + sum(other.partition("#")[0] == name for other in found)
            rows = activations.detach().reshape(len(block.inputs), -1).double()
            label = name if calls == 1 else f"{name}#{calls}"
            found[label] = ((rows <= 0).double().mean(1), quantiles(rows))

        with torch.no_grad(), watching(block.model, see):
            forward(block.model, block.inputs)
        return found

    def network_rows(self, block: Block, state: State, shared: Mapping[str, tuple[Tensor, Tensor]]) -> Iterable[Scores]:
        for place, (layer, (share, values)) in enumerate(shared.items(), start=1):
            yield Scores(metric=NON_POSITIVE.name, values=share, setting=layer, position=float(place))
            for q, column in zip(QUANTILES, values.T, strict=True):
                yield Scores(metric=f"quantile-{q:.2f}", values=column, setting=layer, position=float(place))

    def rows(
        self, block: Block, state: State, method: Recipe, maps: Maps, kept: Mapping[str, Maps], shared: Any
    ) -> Iterable[Scores]:
        return ()

    def summary(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        means = rows.groupby(["method", "setting", "position", "seed", "metric"])["value"].mean().unstack("metric")
        found = {
            f"overtaking-{high:.2f}-{low:.2f}": [
                overtaking(of_high, of_low, high, low)
                for of_high, of_low in zip(means[f"quantile-{high:.2f}"], means[f"quantile-{low:.2f}"], strict=True)
            ]
            for high in HIGH
            for low in LOW
        }
        wide = means.index.to_frame(index=False).assign(sample="", **found)
        return wide.melt(["method", "setting", "position", "seed", "sample"], list(found), "metric", "value")


def quantiles(rows: Tensor) -> Tensor:
    """The quantiles (N, 18) of rows (N, K), 0.95 … 0.10, between neighbors by linear interpolation."""
    ordered = rows.sort(1).values  # torch.quantile refuses rows of more than 16 million values
    places = torch.tensor(QUANTILES, dtype=torch.float64, device=rows.device) * (rows.shape[1] - 1)
    below = places.floor().long()
    above = (below + 1).clamp_max(rows.shape[1] - 1)
    return torch.lerp(ordered[:, below], ordered[:, above], (places - below).expand(len(rows), -1))


def overtaking(of_high: float, of_low: float, high: float, low: float) -> float:
    """P(Z >= K) of a Cauchy variable of scale γ = √(low / (1 − high)); K from the values of both quantiles."""
    if of_high == 0 or of_high * of_low < 0:
        return math.nan
    if of_low == 0:
        return 0.0
    ratio = of_low / of_high if of_high < 0 else of_high / of_low
    return 0.5 - math.atan(ratio / math.sqrt(low / (1 - high))) / math.pi


@contextmanager
def watching(model: nn.Module, see: Any) -> Iterator[None]:
    """`see(name, activations)` is called with what each weighted layer reads, as it runs."""

    def hook(name: str, module: nn.Module) -> Any:
        def watch(_module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            see(name or type(module).__name__, arguments[0] if arguments else named["input"])

        return watch

    weighted = [(name, module) for name, module in model.named_modules() if isinstance(module, WEIGHTED)]
    settings = {"before": True, "with_kwargs": True}
    with hooked(*((module, hook(name, module), settings) for name, module in weighted)):
        yield
