"""Do attributions of a set of features add up to what the score loses without it?"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from heatproof import draws
from heatproof.baselines import Baseline, Zero, resolved
from heatproof.checks.base import CHECKS, TRAINED, Block, Check, Maps, Recipe, Scores, State, Study
from heatproof.checks.variants import evaluated, region_sums, regions, replaced, score
from heatproof.errors import InputError
from heatproof.metrics import Metric

SENSITIVITY = Metric(
    name="sensitivity-n",
    low=-1.0,
    high=1.0,
    chance=0.0,
    ideal=1.0,
    higher_is_better=True,
    text="Correlation of what sets of features are attributed with what the score loses without them.",
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
    Cost: sizes · sets + 1 forward passes a sample, and a matrix product a method.

    Source: Ancona et al. 2018, section 4, where 4.1 sums to N and means n; Schulz et al. 2020, 4.4 (tiles).
    Deviation: sets are common to all samples.
    """

    sets: int = 100
    sizes: int = 16
    largest: float = 0.8
    tile: int = 1
    baseline: Baseline = field(default_factory=Zero)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.sets < 3 or self.sizes < 1 or self.tile < 1:
            raise InputError(
                f"Expected at least 3 sets, 1 size and a tile of 1, but got {self.sets}, {self.sizes} and {self.tile}."
            )
        if not 0 < self.largest <= 1:
            raise InputError(f"Expected largest, a share of the features, in (0, 1], but got {self.largest}.")

    def metrics(self, study: Study) -> tuple[Metric, ...]:
        return (SENSITIVITY,)

    def states(self, study: Study) -> Sequence[State]:
        regions(study.features, study.example.shape[1:], self.tile)
        resolved(self.baseline, study.example)
        return (TRAINED,)

    def numbers(self, features: int) -> list[int]:
        """The set sizes n for so many features, without repetitions."""
        most = max(1, math.floor(self.largest * features))
        steps = max(1, self.sizes - 1)
        return sorted({round(most ** (k / steps)) for k in range(self.sizes)})

    def shared(self, block: Block, state: State) -> dict[int, Masked]:
        shape = block.inputs.shape[1:]
        features = regions(block.features, shape, self.tile)
        count = math.prod(features.grid(shape))
        baseline = resolved(self.baseline, block.inputs)
        whole = evaluated(block, 1, lambda samples, _: block.inputs[samples, None], score)
        found = {}
        for n in self.numbers(count):
            sets = self._sets(count, n).to(block.inputs.device)

            def without(samples: slice, numbers: range, sets: Tensor = sets) -> Tensor:
                chosen = sets[numbers.start : numbers.stop].expand(samples.stop - samples.start, -1, -1)
                return replaced(block, features, chosen, samples, baseline)

            left = evaluated(block, len(sets), without, score)
            largest = torch.maximum(whole[:, 0].abs(), left.abs().amax(1))
            found[n] = Masked(sets, whole - left, 8 * torch.finfo(block.inputs.dtype).eps * largest)
        return found

    def rows(
        self, block: Block, state: State, method: Recipe, maps: Maps, kept: Mapping[str, Maps], shared: Any
    ) -> Iterator[Scores]:
        features = regions(block.features, block.inputs.shape[1:], self.tile)
        values = region_sums(features, maps.values, self.tile).double()
        for n, masked in shared.items():
            sums = values @ masked.sets.T.double()
            exact = 1e-12 * sums.abs().amax(1)
            yield Scores(
                metric=SENSITIVITY.name,
                values=correlations(sums, masked.losses, exact, masked.noise),
                position=float(n),
            )

    def _sets(self, count: int, n: int) -> Tensor:
        """Random sets (sets, F), bool, of n features each."""
        generator = draws.generator(self.seed, "sensitivity-n", count, n)
        chosen = torch.zeros(self.sets, count, dtype=torch.bool)
        for mask in chosen:
            mask[torch.randperm(count, generator=generator)[:n]] = True
        return chosen


def correlations(one: Tensor, other: Tensor, rounding: Tensor, noise: Tensor) -> Tensor:
    """Pearson's r (N,) of the rows of two (N, K); NaN where one varies by `rounding` or the other by `noise` alone."""
    centered = [rows - rows.mean(1, keepdim=True) for rows in (one, other)]
    norms = [rows.norm(dim=1) for rows in centered]
    root = one.shape[1] ** 0.5
    flat = (norms[0] <= rounding * root) | (norms[1] <= noise * root)
    product = (centered[0] * centered[1]).sum(1)
    return torch.where(flat, torch.nan, (product / (norms[0] * norms[1])).clamp(-1, 1))
