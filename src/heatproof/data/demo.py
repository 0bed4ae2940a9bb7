"""Handwritten digits in clutter: small data whose evidence has a known place, embedded in scikit-learn."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from heatproof import draws
from heatproof.data.base import DATA, Dataset, Source, select
from heatproof.data.listing import Listing
from heatproof.errors import MissingExtraError, unknown

CANVAS = 56
DIGIT = 24
FRAGMENT = 9
FRAGMENTS = 6
MARGIN = 3
TEST_DIGITS = 450
TRAIN_PLACEMENTS = 8


@DATA.register("demo")
@dataclass(frozen=True, kw_only=True)
class DemoDigits(Source):
    """scikit-learn's digits, enlarged 3 times and pasted at a random place of a black canvas with clutter.

    Each image is 1 x 56 x 56 in [0, 1]: a digit (8 x 8, bilinear to 24 x 24) at a uniform place, and six fragments of
    9 x 9 pixels cut out of other digits, uniform over the places where they do not touch the digit's square. So the
    clutter has the digits' strokes and brightness, and only the box holds the evidence. The background is exactly 0, as
    in MNIST: there input times gradient is 0 whatever the network says.

    `boxes` has one box an image, the smallest around the digit's non-zero pixels. The 450 test digits are not among the
    1347 training digits, clutter included. A training digit comes eight times, each time elsewhere in other clutter.

    Attributes:
        part: "test" or "train".
        seed: which digits are test digits, the places and the clutter.

    >>> hp.data.DemoDigits(limit=2).load().inputs.shape
    torch.Size([2, 1, 56, 56])
    """

    part: str = "test"
    seed: int = 0

    def listing(self) -> Listing:
        if self.part not in ("train", "test"):
            raise unknown("part of the demo data", self.part, ("train", "test"))
        return _Canvases(self)


class _Canvases(Listing):
    """The canvases of a `DemoDigits`: its recipe says all that there is to say of them."""

    def __init__(self, source: DemoDigits) -> None:
        self.source, self.whole = source, _whole(source.part, source.seed)
        self.name, self.classes = self.whole.name, self.whole.classes

    def __len__(self) -> int:
        return len(self.whole)

    def read(self, places: Sequence[int]) -> Dataset:
        data = select(self.whole, places)
        return replace(data, inputs=self.source.normalize(data.inputs))


@lru_cache(maxsize=4)
def _whole(part: str, seed: int) -> Dataset:
    digits, labels = _digits()
    order = torch.randperm(len(digits), generator=draws.generator(seed, "demo", "split"))
    members = order[:TEST_DIGITS] if part == "test" else order[TEST_DIGITS:]
    placements = 1 if part == "test" else TRAIN_PLACEMENTS
    chosen = members.repeat_interleave(placements)
    images, boxes = compose(digits[members], torch.arange(len(chosen)) // placements, seed, part)
    return Dataset(
        name=f"demo digits {part}",
        inputs=images[:, None],
        targets=labels[chosen],
        ids=tuple(f"digit-{digit}-{i % placements}" for i, digit in enumerate(chosen.tolist())),
        classes=tuple(str(label) for label in range(10)),
        display=images.mul(255).round().to(torch.uint8),
        boxes=tuple(((x0, y0, x1, y1),) for x0, y0, x1, y1 in boxes.tolist()),
    )


def compose(digits: Tensor, which: Tensor, seed: int, part: str) -> tuple[Tensor, Tensor]:
    """Images (M, 56, 56) of the digits (D, 24, 24) numbered `which` (M,), and their boxes (M, 4), float.

    All random numbers are keyed by (seed, part); those of an image depend on its place among the M.
    """

    def integers(high: int | Tensor, what: str, *, each: int = 1) -> Tensor:
        """Uniform whole numbers in [0, high), (M, each)."""
        drawn = torch.rand(len(which), each, generator=draws.generator(seed, "demo", part, what), dtype=torch.float64)
        return (drawn * high).long()

    digit_places = CANVAS - DIGIT + 1
    top, left = (integers(digit_places, f"digit's {axis}")[:, 0] for axis in ("row", "column"))
    image = torch.arange(len(which))[:, None, None]
    canvas = torch.zeros(len(which), CANVAS, CANVAS, dtype=torch.float32)

    # Any digit but the image's own, and a window within its strokes: the border of most digits is dark.
    others = (which[:, None] + 1 + integers(len(digits) - 1, "clutter's digit", each=FRAGMENTS)) % len(digits)
    windows = DIGIT - 2 * MARGIN - FRAGMENT + 1
    rows, columns = (MARGIN + integers(windows, f"clutter's {axis}", each=FRAGMENTS) for axis in ("row", "column"))
    fragments = digits[others[..., None, None], *_square(rows, columns, FRAGMENT)]

    # A fragment's corner may stand anywhere but where the fragment would touch the digit's square: from `first` on, a
    # block of `taken` rows and columns is left out. The free corners are counted row by row.
    span = CANVAS - FRAGMENT + 1
    first_row, first_column = ((edge - FRAGMENT + 1).clamp(min=0)[:, None] for edge in (top, left))
    taken_rows = (top + DIGIT).clamp(max=span)[:, None] - first_row
    taken_columns = (left + DIGIT).clamp(max=span)[:, None] - first_column
    place = integers(span**2 - taken_rows * taken_columns, "clutter's place", each=FRAGMENTS)
    y, x = _free_corner(place, span, first_row, first_column, taken_rows, taken_columns)
    for f in range(FRAGMENTS):  # one after the other: fragments may overlap, and the brighter pixel wins
        square = (image, *_square(y[:, f], x[:, f], FRAGMENT))
        canvas[square] = torch.maximum(canvas[square], fragments[:, f])
    canvas[(image, *_square(top, left, DIGIT))] = digits[which]

    lit = digits[which] > 0
    x0, x1 = _extent(lit.any(1))
    y0, y1 = _extent(lit.any(2))
    return canvas, torch.stack([left + x0, top + y0, left + x1, top + y1], 1).float()


def _free_corner(
    place: Tensor, span: int, first_row: Tensor, first_column: Tensor, taken_rows: Tensor, taken_columns: Tensor
) -> tuple[Tensor, Tensor]:
    """Row and column of the free corner number `place` on a grid of side `span`, a narrower block left out."""
    above = first_row * span
    width = span - taken_columns
    beside = place - above
    column = beside % width
    below = place + taken_rows * taken_columns  # the block's corners all come before
    in_band = beside < taken_rows * width
    row = torch.where(in_band, first_row + beside // width, below // span)
    column = torch.where(in_band, column + taken_columns * (column >= first_column), below % span)
    return torch.where(beside < 0, place // span, row), torch.where(beside < 0, place % span, column)


def _square(rows: Tensor, columns: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Indices of the squares with top left corners `rows`, `columns` (…): (…, side, 1) and (…, 1, side)."""
    steps = torch.arange(side)
    return rows[..., None, None] + steps[:, None], columns[..., None, None] + steps


def _extent(lit: Tensor) -> tuple[Tensor, Tensor]:
    """First and one past the last True of each row of `lit` (M, S)."""
    marks = lit.long()
    return marks.argmax(1), lit.shape[1] - marks.flip(1).argmax(1)


def _digits() -> tuple[Tensor, Tensor]:
    """All 1797 digits, enlarged, (1797, 24, 24) in [0, 1], and their labels."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "demo", "The demo data") from error
    bunch = load_digits()
    small = torch.from_numpy(bunch.images).float() / 16
    large = F.interpolate(small[:, None], size=(DIGIT, DIGIT), mode="bilinear", align_corners=False)[:, 0]
    return large, torch.from_numpy(bunch.target).long()
