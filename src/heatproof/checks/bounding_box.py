"""Does a map find the object that the label names?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from heatproof import draws
from heatproof.checks.base import CHECKS, TRAINED, Block, Check, Maps, Recipe, Scores, State, Study
from heatproof.checks.variants import patternless
from heatproof.data.base import pixels_inside
from heatproof.errors import InputError
from heatproof.features import ranks
from heatproof.metrics import Metric

RATIO = Metric(
    name="box-ratio",
    unit="share of pixels",
    low=0.0,
    high=1.0,
    ideal=1.0,
    higher_is_better=True,
    text="Of the n highest pixels, n being the size of the object's boxes or mask, the share inside them.",
)
HIT = Metric(
    name="pointing-game",
    unit="0 or 1",
    low=0.0,
    high=1.0,
    ideal=1.0,
    higher_is_better=True,
    text="1 where the highest pixel lies inside the object's boxes or mask.",
)
AREA = Metric(
    name="box-area",
    unit="share of pixels",
    low=0.0,
    high=1.0,
    text="Share of the image that the object's boxes or mask cover: what a random map scores.",
)


class Inside(NamedTuple):
    """Where the boxes or masks are, and which samples count."""

    mask: Tensor  # (N, H·W) bool
    left_out: Tensor  # (N,) bool
    names: list[str]


@CHECKS.register("bounding-box")
@dataclass(frozen=True, kw_only=True)
class BoundingBox(Check):
    """With n pixels in the object's boxes or mask, the share of the n highest-scored pixels inside (`box-ratio`).

    `pointing-game` is 1 where the single highest pixel lies inside. Both in [0, 1]; the indicator of the boxes scores
    1, a random map the `box-area`, n / (H·W), on average. Rows without a method give that area and, as setting
    `center`, what a map scores that knows nothing but where the middle of the image is. Pixels of equal value come in
    random order. NaN where boxes cover `largest` of the image or more, or nothing, and where the map is constant. In
    all of this a mask counts as boxes do: one of the pixels in a box scores as that box does.
    Cost: no pass through the network beyond the map itself.

    Source: Schulz et al. 2020, section 4.5 (boxes below 33 %); Zhang et al. 2018 (pointing game). Deviation: the
    pointing game allows no distance to the box.

    >>> data = hp.data.Dataset(
    ...     name="boxes", inputs=images, targets=labels, ids=tuple("abcd"), boxes=(((0, 0, 4, 2),),) * 4
    ... )
    >>> run = hp.audit(net, data, methods=["gradient"], checks=["bounding-box"], out="boxes", progress=False)
    >>> sorted(set(run.rows()["metric"]))
    ['box-area', 'box-ratio', 'pointing-game']
    """

    largest: float = 0.33
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.largest <= 1:
            raise InputError(f"Expected largest, a share of the image, in (0, 1], but got {self.largest}.")

    def metrics(self, study: Study) -> tuple[Metric, ...]:
        return (RATIO, HIT, AREA)

    def states(self, study: Study) -> Sequence[State]:
        shape = tuple(study.example.shape[1:])
        if len(shape) != 3 or study.grid != shape[1:]:
            raise InputError(
                f"Expected pixels of images (C, H, W) to lie in boxes, but got {study.features} of {shape}."
            )
        if not study.boxed:
            raise InputError(
                "Expected data with boxes or masks of their objects, but these have neither; leave out the check or "
                "give `boxes` or `masks`."
            )
        return (TRAINED,)

    def shared(self, block: Block, state: State) -> Inside:
        height, width = block.inputs.shape[2:]
        if block.masks is not None:
            inside = block.masks.flatten(1)
        else:
            assert block.boxes is not None  # by `states`
            inside = torch.stack([pixels_inside(boxes, height, width) for boxes in block.boxes])
        mask = inside.to(block.inputs.device, non_blocking=True)
        area = mask.double().mean(1)
        return Inside(mask, (area >= self.largest) | (area == 0), draws.digests(block.inputs))

    def network_rows(self, block: Block, state: State, shared: Inside) -> Iterable[Scores]:
        height, width = block.inputs.shape[2:]
        area = shared.mask.double().mean(1)
        yield Scores(metric=AREA.name, values=area.masked_fill(shared.left_out, torch.nan))
        down, across = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2 for size in (height, width))
        center = -(down[:, None].square() + across.square()).flatten().expand(len(area), -1)
        yield from self._scores(block, center.to(area.device), shared, setting="center")

    def rows(
        self, block: Block, state: State, method: Recipe, maps: Maps, kept: Mapping[str, Maps], shared: Any
    ) -> Iterator[Scores]:
        yield from self._scores(block, maps.values.flatten(1), shared, setting="")

    def _scores(self, block: Block, values: Tensor, inside: Inside, *, setting: str) -> Iterator[Scores]:
        order = ranks(values, self.seed, "bounding-box", samples=inside.names, keep=block.derived)
        size = inside.mask.sum(1, keepdim=True)
        found = (inside.mask & (order < size)).sum(1).double() / size[:, 0].clamp_min(1)
        hit = (inside.mask & (order == 0)).any(1).double()
        unknown = inside.left_out | patternless(values)
        for metric, scores in ((RATIO, found), (HIT, hit)):
            yield Scores(metric=metric.name, values=scores.masked_fill(unknown, torch.nan), setting=setting)
