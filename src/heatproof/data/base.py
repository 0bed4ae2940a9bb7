"""What a data source is, and what it gives."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from heatproof import draws
from heatproof.artifacts import bytes_of
from heatproof.data.ids import printable
from heatproof.data.seen_as import Names
from heatproof.errors import InputError
from heatproof.features import Features
from heatproof.paths import given_path
from heatproof.registry import Registry

if TYPE_CHECKING:
    from heatproof.data.listing import Listing, SourceBlocks

Box = tuple[float, float, float, float]
FLOATS = (torch.float32, torch.float64)
DATA_VARIABLE = "HEATPROOF_DATA"
MOST_LABELS = 2**24  # a label is a place in a list
UNLABELLED = -1  # the target of a sample whose label nobody knows


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Samples, ready for a network: all that there are, or a range of them, which may come out empty.

    Attributes:
        name: what the data is called in reports.
        inputs: (N, …) float32 or float64, scaled and normalized as the network was trained; finite. Texts are (N, T)
            int64, the tokens' places in a vocabulary, which the network's embedding takes.
        targets: (N,) int64, the label of each sample, from 0 on; −1 for all where nobody knows them. Where a sample has
            several, the one whose object takes most of the picture.
        ids: N unique names: a file's path within its folder, or a place in an array.
        classes: the name of each label, or None.
        display: uint8 (N, H, W) or (N, H, W, 3), the pictures before normalization, or None.
        boxes: for each sample the boxes of its object (xmin, ymin, xmax, ymax), in pixels of `inputs`, pixel x inside
            where xmin <= x < xmax; or None. A sample may have no box.
        box_labels: for each sample the label of each of its boxes, where it may have several; or None.
        masks: (N, H, W) bool, the pixels of each sample's object, in place of `boxes`; or None. A sample may have none:
            False everywhere.
        tokens: for each text the words behind `inputs`, to be shown; or None. Texts have them.
        mask: (N, T) int64, 1 where a text stands and 0 where it is filled up; or None.
        given: side inputs by name, tensors with one row a sample: what a network takes beside the explained tensor.
        numbers: (N,) float32, the number that the network's one output should be, where that is no label; or None.
        names: what the parts of a sample are called: columns, leads, seconds; or None.
        cells: for each row of a table what stands in its columns, in words, in the order of `names.columns`; or None.
        features: what counts as one feature of `inputs`, where the data know it; or None.
        skipped: files or rows that could not be used, each with the reason. They have no row here.

    >>> data = hp.data.Dataset(name="mine", inputs=images, targets=labels, ids=tuple("abcd"),
    ...                        classes=("cat", "dog", "owl"))
    ...
    >>> len(data), data.classes
    (4, ('cat', 'dog', 'owl'))
    """

    name: str
    inputs: Tensor
    targets: Tensor
    ids: tuple[str, ...]
    classes: tuple[str, ...] | None = None
    display: Tensor | None = None
    boxes: tuple[tuple[Box, ...], ...] | None = None
    box_labels: tuple[tuple[int, ...], ...] | None = None
    masks: Tensor | None = None
    tokens: tuple[tuple[str, ...], ...] | None = None
    mask: Tensor | None = None
    given: Mapping[str, Tensor] = field(default_factory=dict)
    numbers: Tensor | None = None
    names: Names | None = None
    cells: tuple[tuple[str, ...], ...] | None = None
    features: Features | None = None
    skipped: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", printable(self.name))
        object.__setattr__(self, "ids", tuple(map(printable, self.ids)))
        object.__setattr__(self, "skipped", tuple((printable(name), printable(why)) for name, why in self.skipped))
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(map(printable, self.classes)))
        n = len(self.inputs) if self.inputs.dim() else 0
        text = self.tokens is not None or (bool(self.given) and not self.inputs.is_floating_point())
        if self.inputs.dim() < 2 or self.inputs.dtype not in ((torch.int64,) if text else FLOATS):
            raise InputError(
                f"Expected the inputs of {self.name} to be float32 or float64 (N, …) (texts: int64), but got "
                f"{self.inputs.dtype} {tuple(self.inputs.shape)}."
            )
        fits = self.targets.dtype == torch.int64 and self.targets.shape == (n,)
        if not fits or (self.labelled and bool((self.targets < 0).any())):
            raise InputError(
                f"Expected one label from 0 on in int64 for each of the {n} samples of {self.name}, but got "
                f"{self.targets.dtype} {tuple(self.targets.shape)}, smallest {self.targets.min() if n else None}."
            )
        for what, value in (
            ("ids", self.ids),
            ("display pictures", self.display),
            ("box lists", self.boxes),
            ("lists of box labels", self.box_labels),
            ("masks of objects", self.masks),
            ("token lists", self.tokens),
            ("masks", self.mask),
            ("numbers", self.numbers),
            ("rows of cells", self.cells),
            *((f"rows of given[{name!r}]", rows) for name, rows in self.given.items()),
        ):
            if value is not None and len(value) != n:
                raise InputError(f"Expected {n} {what}, one a sample of {self.name}, but got {len(value)}.")
        if self.masks is not None:
            check_masks(self.masks, self.inputs.shape, f"samples of {self.name}")
            if self.boxes is not None:
                raise InputError(f"Expected boxes or masks of the objects of {self.name}, but got both; leave one out.")
        if len(set(self.ids)) != n:
            twice = next(name for i, name in enumerate(self.ids) if name in self.ids[:i])
            raise InputError(f"Expected unique sample ids in {self.name}, but {twice!r} comes twice.")
        bad = (~torch.isfinite(self.inputs)).flatten(1).any(1).nonzero().flatten().tolist()
        if bad:
            names = ", ".join(self.ids[i] for i in bad[:8])
            raise InputError(
                f"Expected finite inputs, but {len(bad)} of {n} samples of {self.name} hold NaN or infinity ({names}); "
                "mend or remove them."
            )

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def labelled(self) -> bool:
        """Whether the samples' labels are known."""
        return not bool((self.targets == UNLABELLED).all())

    def boxes_of(self, targets: Tensor) -> tuple[tuple[Box, ...], ...] | None:
        """Each sample's boxes of the explained label (N,) alone, where it is known whose they are; else all."""
        if self.boxes is None or self.box_labels is None:
            return self.boxes
        every = zip(self.boxes, self.box_labels, targets.tolist(), strict=True)
        return tuple(
            tuple(box for box, label in zip(boxes, labels, strict=True) if label == target)
            for boxes, labels, target in every
        )

    @property
    def sides(self) -> dict[str, Tensor]:
        """Everything that a network may be given beside the explained tensor; of texts also their `ids` and `mask`."""
        texts = {} if self.tokens is None else {"ids": self.inputs, "mask": self.mask}
        return {**{name: rows for name, rows in texts.items() if rows is not None}, **self.given}

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """For each sample the SHA-256 of its input and its side inputs: dtype, shape and values."""
        parts = {"": self.inputs, **dict(sorted(self.given.items()))}
        shapes = {name: [str(rows.dtype), *rows.shape[1:]] for name, rows in parts.items()}
        start = hashlib.sha256(json.dumps(shapes).encode())
        found = []
        for i in range(len(self)):
            content = start.copy()
            for rows in parts.values():
                content.update(bytes_of(rows[i]))
            found.append(content.hexdigest())
        return tuple(found)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the inputs, the targets, and the side inputs and masks if there are any."""
        shape = json.dumps([list(self.inputs.shape), str(self.inputs.dtype)]).encode()
        content = hashlib.sha256(shape)
        content.update(bytes_of(self.inputs))
        content.update(bytes_of(self.targets))
        for name, rows in sorted(self.given.items()):
            content.update(json.dumps([name, list(rows.shape), str(rows.dtype)]).encode())
            content.update(bytes_of(rows))
        if self.masks is not None:
            content.update(b"masks")
            content.update(bytes_of(self.masks))
        return content.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Source:
    """Which samples, and how they are normalized. Every source has these fields.

    A source says what there is by `listing`, without reading a sample, so that blocks of it are read by need. One that
    cannot has a `load` of its own instead, and is held in memory.

    Attributes:
        limit: at most so many samples; None for all.
        offset: how many to leave out first.
        shuffle: the seed of the order before `offset` and `limit`; None keeps the source's own order.
        mean, std: per channel, x ← (x − mean) / std after scaling to [0, 1]; empty for none.

    >>> hp.data.DemoDigits(limit=3, offset=2, shuffle=0).load().ids
    ('digit-971-0', 'digit-194-0', 'digit-625-0')
    """

    limit: int | None = None
    offset: int = 0
    shuffle: int | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        # A specification file gives lists; a recipe must hash.
        for name in ("mean", "std"):
            if not isinstance(getattr(self, name), tuple):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.mean) != len(self.std) or any(s <= 0 for s in self.std):
            raise InputError(
                f"Expected `mean` and `std` of the same length, every std positive, but got {self.mean} and {self.std}."
            )
        if self.offset < 0 or (self.limit is not None and self.limit < 1):
            raise InputError(
                f"Expected offset >= 0 and limit >= 1 or none, but got offset {self.offset} and limit {self.limit}."
            )

    @property
    def labels_by_name(self) -> bool:
        """Whether labels are names, numbered in sorted order unless `classes` has them in another."""
        return False

    def listing(self) -> "Listing":
        """What there is, before `offset`, `limit` and `shuffle`; no sample is read.

        Raises: InputError for files that are missing, unreadable or of another kind.
        """
        from heatproof.data.listing import Loaded

        if type(self).load is Source.load:
            raise NotImplementedError(f"{type(self).__name__} defines neither `listing` nor `load`")
        return Loaded(self.load())

    def blocks(self) -> "SourceBlocks":
        """The wanted samples, any range of which can be read; nothing is done yet."""
        from heatproof.data.listing import SourceBlocks

        return SourceBlocks(self)

    def load(self) -> Dataset:
        """Read all wanted samples. Raises: InputError as `listing` does, or where none of them can be used."""
        blocks = self.blocks()
        data = blocks.read(0, len(blocks))
        if not len(data):
            raise blocks.unusable(data)
        return data

    def choose(self, total: int) -> Sequence[int]:
        """The places of the wanted samples among `total`."""
        generator = draws.generator(self.shuffle, "order of samples", total)
        order = range(total) if self.shuffle is None else torch.randperm(total, generator=generator).tolist()
        chosen: Sequence[int] = order[self.offset :][: self.limit]
        if not chosen:
            if not total:
                raise InputError(f"Expected samples of {type(self).__name__}, but there are none.")
            raise InputError(f"Expected offset below the {total} samples there are, but got {self.offset}.")
        return chosen

    def normalize(self, samples: Tensor) -> Tensor:
        """Samples (N, C, …), images in [0, 1], with `mean` and `std` of each channel taken out."""
        if not self.mean:
            return samples
        if len(self.mean) != samples.shape[1]:
            raise InputError(
                f"Expected `mean` and `std` for {samples.shape[1]} channels, but got {len(self.mean)} of each."
            )
        shape = (1, -1, *[1] * (samples.dim() - 2))
        return (samples - torch.tensor(self.mean).view(shape)) / torch.tensor(self.std).view(shape)


DATA: Registry[Source] = Registry("data source", "heatproof.data", group="heatproof.data")


def pixels_inside(boxes: Sequence[Box], height: int, width: int) -> Tensor:
    """Which pixels (H·W,) lie in at least one box: pixel x where xmin <= x < xmax."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    down, across = torch.arange(height), torch.arange(width)
    for left, top, right, bottom in boxes:
        mask |= ((down >= top) & (down < bottom))[:, None] & ((across >= left) & (across < right))
    return mask.flatten()


def check_masks(masks: object, shape: Sequence[int], what: str) -> None:
    """Refuse masks that are not bool (N, H, W) for pictures of `shape` (N, C, H, W). Raises: InputError."""
    if len(shape) != 4:
        raise InputError(
            f"Expected masks of pictures (N, C, H, W), but {what} are {tuple(shape)}; leave out the masks."
        )
    wanted = (shape[0], *shape[2:])
    if not isinstance(masks, Tensor) or masks.dtype != torch.bool or tuple(masks.shape) != wanted:
        got = f"{masks.dtype} {tuple(masks.shape)}" if isinstance(masks, Tensor) else type(masks).__name__
        raise InputError(f"Expected masks of {what} to be a bool tensor {wanted}, True inside, but got {got}.")


def select(data: Dataset, chosen: Sequence[int]) -> Dataset:
    """The samples of `data` at the places `chosen`, in that order."""
    rows = torch.tensor(list(chosen), dtype=torch.int64)
    return replace(
        data,
        inputs=data.inputs[rows],
        targets=data.targets[rows],
        ids=tuple(data.ids[i] for i in chosen),
        display=None if data.display is None else data.display[rows],
        boxes=None if data.boxes is None else tuple(data.boxes[i] for i in chosen),
        box_labels=None if data.box_labels is None else tuple(data.box_labels[i] for i in chosen),
        masks=None if data.masks is None else data.masks[rows],
        tokens=None if data.tokens is None else tuple(data.tokens[i] for i in chosen),
        mask=None if data.mask is None else data.mask[rows],
        given={name: value[rows] for name, value in data.given.items()},
        numbers=None if data.numbers is None else data.numbers[rows],
        cells=None if data.cells is None else tuple(data.cells[i] for i in chosen),
    )


def joined(parts: Sequence[Dataset]) -> Dataset:
    """The samples of several data sets of one kind, one after the other; of the empty ones what they skipped."""
    full = [part for part in parts if len(part)] or list(parts[:1])

    def together(name: str) -> Any:
        values = [getattr(part, name) for part in full]
        if any(value is None for value in values):
            return None
        return torch.cat(values) if isinstance(values[0], Tensor) else tuple(one for value in values for one in value)

    each = (
        "inputs", "targets", "ids", "display", "boxes", "box_labels", "masks", "tokens", "mask", "numbers", "cells",
    )  # fmt: skip
    return replace(
        full[0],
        **{name: together(name) for name in each},
        given={name: torch.cat([part.given[name] for part in full]) for name in full[0].given},
        skipped=tuple(pair for part in parts for pair in part.skipped),
    )


def none_of(name: str, classes: tuple[str, ...] | None, skipped: Sequence[tuple[str, str]]) -> Dataset:
    """A range of samples none of which can be used: of their shape nothing is known."""
    targets = torch.empty(0, dtype=torch.int64)
    return Dataset(
        name=name, inputs=torch.empty(0, 1), targets=targets, ids=(), classes=classes, skipped=tuple(skipped)
    )


def finite(*, inputs: Tensor, skipped: Sequence[tuple[str, str]] = (), **parts: Any) -> Dataset:
    """A `Dataset` of these parts, without the samples that hold NaN or infinity: they are named in `skipped`."""
    fine = torch.isfinite(inputs).flatten(1).all(1)
    if bool(fine.all()):
        return Dataset(inputs=inputs, skipped=tuple(skipped), **parts)
    bad = [(name, "it holds NaN or infinity") for name, good in zip(parts["ids"], fine, strict=True) if not good]
    data = Dataset(inputs=inputs.nan_to_num(), skipped=(*skipped, *bad), **parts)
    return select(data, fine.nonzero().flatten().tolist())


@dataclass(frozen=True, kw_only=True)
class PermutedLabels:
    """The samples of a source with their labels dealt out anew: each label comes as often as before, by chance.

    For data randomization: a network that is trained on these learns nothing but the samples themselves.

    Attributes:
        source: where the samples come from.
        seed: of the permutation.

    >>> source = hp.data.DemoDigits(limit=20)
    >>> permuted = hp.data.PermutedLabels(source=source, seed=1).load()
    >>> torch.equal(permuted.targets.sort().values, source.load().targets.sort().values)
    True
    """

    source: Source
    seed: int = 0

    def load(self) -> Dataset:
        """The samples, their order as before."""
        return permuted_labels(self.source.load(), self.seed)


def permuted_labels(data: Dataset, seed: int) -> Dataset:
    """The samples of `data` with a random permutation of its targets, drawn by `seed`."""
    order = torch.randperm(len(data), generator=draws.generator(seed, "permuted labels", len(data)))
    return replace(data, name=f"{data.name}, labels permuted", targets=data.targets[order])


def picture_channels(pictures: Tensor) -> Tensor:
    """Pictures uint8 (N, H, W) or (N, H, W, 3) as inputs (N, C, H, W), float32 in [0, 1]."""
    images = pictures[:, None] if pictures.dim() == 3 else pictures.permute(0, 3, 1, 2)
    return images.float().div(255).contiguous()


def data_root(named: str) -> Path:
    """The folder `named`, or without a name the one in HEATPROOF_DATA; it must exist."""
    root = named or os.environ.get(DATA_VARIABLE, "")
    if not root:
        raise InputError(f"Expected a data folder, but got none; give `root` or set {DATA_VARIABLE}.")
    if not given_path(root).is_dir():
        raise InputError(f"Expected {root!r} to be a folder, but there is none; check `root` or {DATA_VARIABLE}.")
    return given_path(root)
