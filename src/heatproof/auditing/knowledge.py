"""Does the network know anything? How often it is right on the given labels, against what guessing would reach."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from heatproof.outputs import Outputs
from heatproof.shares import wilson

MARGIN = 0.1  # of the way from guessing to perfect, what a network must surely reach
RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """How well a network does on the labels that were given, on `n` samples.

    `measure` is `accuracy`, `R²`, or empty where nothing could be measured, and then `why` says what is missing.
    `chance` is what guessing reaches, `low` and `high` a 95 % interval. `near_chance`: not surely above it by one tenth
    of the way to perfect. `sentence` says it all.
    """

    measure: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    n: int = 0
    near_chance: bool = False
    sentence: str = ""

    def describe(self) -> dict[str, Any]:
        """The fields as plain data, for the manifest."""
        return asdict(self)


def knowledge(outputs: Outputs, values: Tensor, explained: Tensor, labels: Tensor | None) -> Knowledge:
    """What is known of a network from its outputs (N, C); `labels` (N,) are the true ones, or numbers to predict."""
    of_explained = values.gather(1, explained[:, None].cpu())[:, 0]
    return known_of(outputs, values.shape[1], values.argmax(1), of_explained, labels)


def known_of(outputs: Outputs, count: int, predicted: Tensor, explained: Tensor, labels: Tensor | None) -> Knowledge:
    """The same from the predicted labels (N,) and the explained outputs (N,) of a network with `count` outputs.

    Accuracy against guessing labels as often as the network says them and the data have them, Σ_k p_k q_k, or 1/C where
    all have one label; for numbers R² against their mean. Cost: none, the outputs are there.
    """
    if labels is None:
        return Knowledge(sentence="How often the network is right is not known: no true labels were given.")
    if outputs.kind in ("scalars", "score") and labels.is_floating_point():
        return _explained_variance(explained, labels.double().cpu())
    if not outputs.exclusive:
        return Knowledge(sentence=_UNJUDGED[outputs.kind])
    return _accuracy(predicted, labels.cpu(), count)


_UNJUDGED = {
    "multi-label": "How often the network is right was not judged: several of its labels may be.",
    "scalars": "How right the network is was not judged: no numbers that it should predict were given.",
    "score": "How often the network is right was not judged: nobody said what its one output is.",
}


def _accuracy(predicted: Tensor, labels: Tensor, count: int) -> Knowledge:
    n = len(labels)
    right = int((predicted == labels).sum())
    low, high = wilson(right / n, n)
    size = max(count, int(labels.max()) + 1)
    said, given = (torch.bincount(one, minlength=size).double() / n for one in (predicted, labels))
    several = int((given > 0).sum()) > 1
    chance = max(float((said * given).sum()), 1 / count) if several else 1 / count
    near = low < chance + MARGIN * (1 - chance)
    told = f"The network is right on {_percent(right / n)} of {n} samples ({_percent(low)} to {_percent(high)}); "
    told += f"guessing would be right on {_percent(chance)}."
    if near:
        few = " There are too few samples to tell." if high > chance + 0.5 * (1 - chance) else ""
        told += f" So it is not known to have learned anything.{few}"
    return Knowledge(
        measure="accuracy", value=right / n, low=low, high=high, chance=chance, n=n, near_chance=near, sentence=told
    )


def _explained_variance(values: Tensor, numbers: Tensor) -> Knowledge:
    """R² = 1 − Σ(y − ŷ)² / Σ(y − ȳ)², its interval by a bootstrap over samples."""
    n = len(numbers)

    def r2(y: Tensor, found: Tensor) -> Tensor:
        return 1 - (y - found).square().sum(-1) / (y - y.mean(-1, keepdim=True)).square().sum(-1)

    value = float(r2(numbers, values))
    if not math.isfinite(value):
        return Knowledge(n=n, sentence="How right the network is cannot be told: all given numbers are alike.")
    drawn = torch.randint(n, (RESAMPLES, n), generator=torch.Generator().manual_seed(0))
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = r2(numbers[drawn], values[drawn]).nan_to_num(-1.0).quantile(ends).tolist()
    near = not low >= MARGIN
    told = f"The network explains {_percent(value)} of the variance of the given numbers ({_percent(low)} to "
    told += f"{_percent(high)}) on {n} samples; their mean alone would explain 0 %."
    told += " So it is not known to have learned anything." if near else ""
    return Knowledge(measure="R²", value=value, low=low, high=high, chance=0.0, n=n, near_chance=near, sentence=told)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
