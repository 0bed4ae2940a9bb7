"""How fast does the label's probability fall when the highest regions of a map are blurred?"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from heatproof import draws
from heatproof.checks.base import CHECKS, TRAINED, Block, Check, Maps, Recipe, Scores, State, Study
from heatproof.checks.variants import evaluated, likelihood, patternless, replaced
from heatproof.errors import InputError
from heatproof.features import Tiles, ranks
from heatproof.metrics import Metric
from heatproof.outputs import Outputs

PROBABILITY = Metric(
    name="probability",
    low=0.0,
    high=1.0,
    higher_is_better=False,
    text="Probability of the label with so many of the map's highest regions blurred.",
)


SCORE = Metric(
    name="score",
    unit="score",
    higher_is_better=False,
    text="The explained output with so many of the map's highest regions blurred.",
)


def _curve(meaning: Outputs) -> Metric:
    return PROBABILITY if meaning.probability is not None else SCORE


class Blurred(NamedTuple):
    """What no method influences: the curve's value for the original (N,), and what regions are replaced with."""

    original: Tensor
    patches: Tensor
    names: list[str]


@CHECKS.register("blurred-patch")
@dataclass(frozen=True, kw_only=True)
class BlurredPatch(Check):
    """The label's probability while the regions of highest mean attribution are blurred, one after another.

    The explained output in its place, as metric `score`, where outputs have no probability.

    Regions are squares of `size` pixels on a grid; the `regions` highest are replaced by the same places of a
    copy blurred with a constant kernel of `kernel` pixels. Position: how many are replaced, from 0; rows of the network
    say where it starts. Lower is better. Regions of equal value come in random order; NaN where all are equal.
    Cost: `regions` forward passes a sample and method, beside one for all methods together.

    Source: Binder et al. 2023, A.1 (kernels of 8 and 15, 30 regions, blur of 15). Where it is silent: regions do not
    overlap, beyond the border the nearest pixel repeats, and the label is the one that is explained.

    >>> check = hp.checks.BlurredPatch(size=2, regions=3, kernel=3)
    >>> run = hp.audit(net, images, labels, methods=["gradient"], checks=[check], out="blurred", progress=False)
    >>> run.rows()["position"].unique().tolist()
    [0.0, 1.0, 2.0, 3.0]
    """

    size: int = 8
    regions: int = 30
    kernel: int = 15
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < 1 or self.regions < 1:
            raise InputError(
                f"Expected at least 1 region of at least 1 pixel, but got {self.regions} of size {self.size}."
            )
        if self.kernel < 3 or self.kernel % 2 == 0:
            raise InputError(f"Expected kernel to be odd and at least 3, but got {self.kernel}.")

    def metrics(self, study: Study) -> tuple[Metric, ...]:
        return (_curve(study.meaning),)

    def states(self, study: Study) -> Sequence[State]:
        shape = tuple(study.example.shape[1:])
        if len(shape) != 3 or study.grid != shape[1:]:
            raise InputError(f"Expected pixels of images (C, H, W) to blur, but got {study.features} of {shape}.")
        return (TRAINED,)

    def passes(self, study: Study, state: State, method: Recipe | None) -> float:
        tiles = math.prod(Tiles(size=self.size).grid(study.example.shape[1:]))
        return float(min(self.regions, tiles)) if method else 1.0

    def shared(self, block: Block, state: State) -> Blurred:
        original = evaluated(block, 1, lambda samples, _: block.inputs[samples, None], likelihood(block.meaning))[:, 0]
        return Blurred(original, box_blur(block.inputs, self.kernel), draws.digests(block.inputs))

    def network_rows(self, block: Block, state: State, shared: Blurred) -> Iterable[Scores]:
        yield Scores(metric=_curve(block.meaning).name, values=shared.original)

    def rows(
        self, block: Block, state: State, method: Recipe, maps: Maps, kept: Mapping[str, Maps], shared: Any
    ) -> Iterator[Scores]:
        tiles, values = Tiles(size=self.size), maps.values[:, None]
        pixels = tiles.pool(torch.ones_like(values), values.shape[1:])
        means = (tiles.pool(values, values.shape[1:]) / pixels).flatten(1)
        places = ranks(means, self.seed, "blurred patch", samples=shared.names, keep=block.derived)
        counts = torch.arange(1, min(self.regions, means.shape[1]) + 1, device=places.device)

        def variant(samples: slice, numbers: range) -> Tensor:
            chosen = places[samples, None] < counts[numbers.start : numbers.stop, None]
            return replaced(block, tiles, chosen, samples, shared.patches)

        curve = evaluated(block, len(counts), variant, likelihood(block.meaning))
        blank = patternless(means) | patternless(maps.values.flatten(1))
        for count, column in enumerate((shared.original, *curve.T)):
            held = column.masked_fill(blank, torch.nan)
            yield Scores(metric=_curve(block.meaning).name, values=held, position=float(count))


def box_blur(images: Tensor, kernel: int) -> Tensor:
    """The mean over kernel × kernel pixels around each of images (N, C, H, W); the border repeats outwards."""
    margin = kernel // 2
    return F.avg_pool2d(F.pad(images, (margin,) * 4, mode="replicate"), kernel, stride=1)
