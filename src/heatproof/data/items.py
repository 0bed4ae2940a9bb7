"""What a data set gives for one sample (a tuple, a dict, a picture, …), and many of them as a `Dataset`'s parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from heatproof.data.base import UNLABELLED, Box, picture_channels
from heatproof.errors import InputError, shown, unknown
from heatproof.refusals import check_samples

Key = str | int
ROLES = ("image", "label", "id", "boxes")
# Names under which data sets have what is explained, and its label, where nobody says it.
IMAGES = ("image", "images", "img", "pixel_values", "input", "inputs", "input_values", "x")
LABELS = ("label", "labels", "target", "targets", "y", "fine_label")


class Sample(NamedTuple):
    """The parts of one item: what is explained and its picture, its label or number, its name, boxes, side inputs."""

    input: Tensor
    display: Tensor | None
    label: int | float | None
    id: str | None
    boxes: tuple[Box, ...] | None
    given: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which part of an item is what.

    Attributes:
        of: places or keys of the roles `image` (what is explained: of any kind), `label`, `id` and `boxes`.
        given: keys of side inputs, by the name that the network's argument, or the `Bound`, has for them.
        transform: makes a tensor of what is explained, such as of a picture; None for what is one.
        classes: the name of each label, where labels are names.
    """

    of: Mapping[str, Key] = field(default_factory=dict)
    given: Mapping[str, Key] = field(default_factory=dict)
    transform: Callable[[Any], Any] | None = None
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for role in self.of:
            if role not in ROLES:
                raise unknown("role in `columns`", role, ROLES)

    def taken_apart(self, item: Any) -> dict[str, Any]:
        """The parts of an item, or of a whole batch, by role, and its side inputs by name under `given`.

        Raises: InputError where nothing tells which part is which.
        """
        if is_dataclass(item) and not isinstance(item, type):
            item = {one.name: getattr(item, one.name) for one in fields(item)}
        if isinstance(item, Mapping):
            keys = self._keys(list(item))
        elif isinstance(item, tuple | list) and not _is_numbers(item):
            keys = self._places(item)
        else:
            if self.of or self.given:
                raise InputError(
                    f"Expected items with parts, as `columns` or `given` names them, but an item is {shown(item)}."
                )
            return {"image": item, "given": {}}
        parts = {role: _part(item, key, f"for {role!r} in `columns`") for role, key in keys.items()}
        parts["given"] = {name: _part(item, key, f"for {name!r} in `given`") for name, key in self.given.items()}
        if "image" not in parts:  # a text: what is explained is what the network makes of its first argument
            parts["image"] = next(iter(parts["given"].values()))
        return parts

    def sample(self, item: Any) -> Sample:
        """One item as a sample. Raises: InputError for parts of a kind that no sample has."""
        parts = self.taken_apart(item)
        value, display = parts["image"], None
        if self.transform is not None:
            value = self.transform(value)
        if isinstance(value, Image.Image):
            display = torch.from_numpy(np.array(value.convert("L" if value.mode in ("1", "L") else "RGB")))
            value = picture_channels(display[None])[0]
        name = parts.get("id")
        boxes = parts.get("boxes")
        return Sample(
            input=tensor_of(value),
            display=display,
            label=self.label(parts.get("label")),
            id=None if name is None else str(name.item() if isinstance(name, Tensor) else name),
            boxes=None if boxes is None else boxes_of(boxes),
            given={key: tensor_of(rows) for key, rows in parts["given"].items()},
        )

    def label(self, value: Any) -> int | float | None:
        """A label from 0 on, a number, or None where it is missing. Raises: InputError for what is neither."""
        if value is None:
            return None
        if isinstance(value, str):
            if self.classes is None:
                raise InputError(
                    f"Expected labels as whole numbers from 0 on, but got {value!r}; give `classes`, the names of the "
                    "network's labels in their order."
                )
            if value not in self.classes:
                raise unknown("class", value, self.classes)
            return self.classes.index(value)
        values = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
        if values.size != 1 or values.dtype.kind not in "biuf":
            raise InputError(
                f"Expected one label a sample, a whole number from 0 on, but got {shown(value)}; of one-hot rows give "
                "the place of the 1, and of several labels the `targets` to explain."
            )
        number = values.reshape(()).item()
        if isinstance(number, float):
            return number
        if number < UNLABELLED:
            raise InputError(f"Expected labels from 0 on, or −1 where they are missing, but got {number}.")
        return None if number == UNLABELLED else int(number)

    def _keys(self, keys: Sequence[Any]) -> dict[str, Key]:
        found = dict(self.of)
        for role, usual in (("image", IMAGES), ("label", LABELS)):
            known = [key for key in keys if key in usual and key not in self.given.values()]
            if role not in found and len(known) == 1:
                found[role] = known[0]
            elif role not in found and (known or (role == "image" and not self.given)):
                raise InputError(
                    f"Expected to be told which part of an item is the {role}, but nothing says so of "
                    f"{', '.join(map(repr, keys))}; give columns={{{role!r}: …}}."
                )
        return found

    def _places(self, item: Sequence[Any]) -> dict[str, Key]:
        if self.of or self.given:
            return dict(self.of)
        if len(item) not in (1, 2):
            raise InputError(
                f"Expected items (input, label), but an item has {len(item)} parts; say which is which: "
                "columns={'image': 0, 'label': 1}, and side inputs given={'argument': 2}."
            )
        return dict(zip(("image", "label"), range(len(item)), strict=False))


def stacked_samples(samples: Sequence[Sample], names: Sequence[str], like: Sample) -> dict[str, Any]:
    """Samples as the parts of a `Dataset`; each must have the shapes and dtypes of the sample `like`.

    Raises: InputError for another shape or dtype, labels or ids that some have and some have not.
    """
    for sample, name in zip(samples, names, strict=True):
        _check_like(sample, name, like)
    labels = [sample.label for sample in samples]
    missing = [name for label, name in zip(labels, names, strict=True) if label is None]
    if missing and len(missing) < len(samples):
        raise InputError(
            f"Expected a label for every sample or for none, but {missing[0]!r} has none; leave out the samples "
            "without, or give `targets`."
        )
    numbers = any(isinstance(label, float) for label in labels)
    known = [sample.id for sample in samples]
    shows = bool(samples) and all(sample.display is not None for sample in samples)
    boxed = bool(samples) and all(sample.boxes is not None for sample in samples)
    return {
        "inputs": torch.stack([sample.input for sample in samples]),
        "targets": torch.tensor([UNLABELLED if label is None or numbers else int(label) for label in labels]),
        "numbers": torch.tensor([float(label or 0) for label in labels]) if numbers else None,
        "ids": tuple(name if own is None else own for own, name in zip(known, names, strict=True)),
        "display": torch.stack([sample.display for sample in samples if sample.display is not None]) if shows else None,
        "boxes": tuple(sample.boxes for sample in samples if sample.boxes is not None) if boxed else None,
        "given": {key: torch.stack([sample.given[key] for sample in samples]) for key in like.given},
    }


def samples_of_batch(columns: Columns, batch: Any, count: int) -> list[Sample]:
    """What a `collate_fn` made of `count` items, taken apart into samples.

    Raises: InputError where it has not one row a sample.
    """
    parts = columns.taken_apart(batch)
    given = {name: tensor_of(rows) for name, rows in parts["given"].items()}
    inputs = tensor_of(parts["image"])
    rows = {"inputs": inputs, **{f"given[{name!r}]": value for name, value in given.items()}}
    rows |= {role: parts[role] for role in ("label", "id", "boxes") if parts.get(role) is not None}
    for what, value in rows.items():
        if not hasattr(value, "__len__") or (isinstance(value, Tensor) and value.dim() == 0) or len(value) != count:
            raise InputError(
                f"Expected collate_fn to make one row of each sample, but of {count} samples its {what} is "
                f"{shown(value)}; give a DataLoader whose batches have a row a sample."
            )
    return [
        Sample(
            input=inputs[i],
            display=None,
            label=columns.label(rows["label"][i]) if "label" in rows else None,
            id=str(rows["id"][i]) if "id" in rows else None,
            boxes=boxes_of(rows["boxes"][i]) if "boxes" in rows else None,
            given={name: value[i] for name, value in given.items()},
        )
        for i in range(count)
    ]


def check_first(sample: Sample) -> None:
    """Refuse a first sample of a dtype or shape that no network is explained on."""
    text = bool(sample.given) and not sample.input.is_floating_point()
    if not text:
        check_samples(torch.zeros_like(sample.input)[None], None)
    elif sample.input.dtype != torch.int64:
        raise InputError(f"Expected the ids of tokens in int64, but got {sample.input.dtype}; use ids.long().")


def tensor_of(value: Any) -> Tensor:
    """A tensor, an array or numbers as a tensor of its own. Raises: InputError for what is none."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Image.Image | str | bytes | Mapping):
        raise InputError(
            f"Expected a tensor for each sample, but got {shown(value)}; give `transform`, which makes one."
        )
    try:
        return torch.from_numpy(np.array(value))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"Expected a tensor for each sample, but got {shown(value)} ({error}); give `transform`, which makes one."
        ) from None


def boxes_of(value: Any) -> tuple[Box, ...]:
    """Boxes (K, 4) as tuples. Raises: InputError for what is none."""
    corners = np.asarray(value.cpu() if isinstance(value, Tensor) else value, dtype=float)
    if corners.size and (corners.ndim != 2 or corners.shape[1] != 4):
        raise InputError(f"Expected boxes (K, 4) as xmin, ymin, xmax, ymax, but got {shown(value)}.")
    return tuple((box[0], box[1], box[2], box[3]) for box in corners.reshape(-1, 4).tolist())


def _check_like(sample: Sample, name: str, like: Sample) -> None:
    pairs = [("", sample.input, like.input), *((key, sample.given[key], like.given[key]) for key in like.given)]
    for key, ours, theirs in pairs:
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            what = f"given[{key!r}]" if key else "samples"
            mend = "pad texts to one length" if key or not ours.is_floating_point() else "resize or crop pictures"
            raise InputError(
                f"Expected {what} of one shape and dtype, {tuple(theirs.shape)} of {theirs.dtype} as the first, but "
                f"{name!r} has {tuple(ours.shape)} of {ours.dtype}; {mend} where the data set makes them."
            )
    if (sample.display is None) != (like.display is None):
        raise InputError(f"Expected pictures for all samples or tensors for all, but {name!r} is not like the first.")


def _part(item: Any, key: Key, said: str) -> Any:
    try:
        return item[key]
    except (KeyError, IndexError, TypeError):
        if isinstance(item, Mapping):
            raise unknown(f"part of an item, {said}", key, map(str, item)) from None
        raise InputError(f"Expected part {key!r} of an item, {said}, but it has {len(item)} parts.") from None


def _is_numbers(item: Sequence[Any]) -> bool:
    return bool(item) and all(isinstance(one, int | float) for one in item) and len(item) > 2
