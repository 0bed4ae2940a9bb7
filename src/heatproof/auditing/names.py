"""What a reader sees in the place of numbers: names of labels and columns, words, pictures, a title."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from heatproof.auditing.manifest import About
from heatproof.errors import InputError, shown
from heatproof.layouts.seen import network

Classes = Sequence[str] | Mapping[int, str]


def told(
    about: About,
    model: nn.Module,
    *,
    title: str,
    classes: Any,
    columns: Sequence[str] | None,
    tokens: Sequence[Sequence[str]] | None,
    display: Any,
) -> About:
    """`about` with what a caller says beside it; names of labels that the network itself knows where nobody says any.

    Raises: InputError for names that are none.
    """
    names = about.classes if classes is None else class_names(classes)
    words = about.tokens if tokens is None else tokens
    if columns is not None:
        if words is not None:
            raise InputError("Expected either `columns` of a table or `tokens` of texts, but got both.")
        if isinstance(columns, str) or not all(isinstance(name, str) for name in columns):
            raise InputError(f"Expected `columns` as a list of names, but got {shown(columns)}.")
    return replace(
        about,
        title=title or about.title,
        classes=own_names(model) if names is None else names,
        tokens=words,
        columns=about.columns if columns is None else tuple(columns),
        display=about.display if display is None else _pictures(display),
    )


def parts_or_names(columns: Any) -> tuple[dict[str, str | int] | None, list[str] | None]:
    """What `columns` of an audit are: which part of a data set's item is what, by role, or the names of a table's.

    Raises: InputError for anything else.
    """
    if columns is None:
        return None, None
    if isinstance(columns, Mapping):
        if columns and all(isinstance(role, str) and type(key) in (str, int) for role, key in columns.items()):
            return dict(columns), None
    elif isinstance(columns, Sequence | np.ndarray) and not isinstance(columns, str | bytes) and len(columns):
        names = list(columns)
        if all(isinstance(name, str) for name in names):
            return None, [str(name) for name in names]
    raise InputError(
        'Expected `columns` as a mapping, which part of an item is what, such as {"image": "scan", "label": "finding"}'
        f", or as a list of the names of a table's columns, but got {shown(columns)}."
    )


def class_names(classes: Any) -> tuple[str, ...]:
    """Names by label: a list, a mapping such as Hugging Face's `id2label`, or torchvision's weights, which have them.

    Raises: InputError for anything else, and for a mapping that leaves labels out.
    """
    found = getattr(classes, "meta", {}).get("categories") if hasattr(classes, "meta") else classes
    if isinstance(found, Mapping):
        by_label = {int(label): str(name) for label, name in found.items()}
        if sorted(by_label) != list(range(len(by_label))):
            raise InputError(f"Expected a name for every label from 0 on, but got those of {sorted(by_label)[:8]}.")
        return tuple(by_label[label] for label in range(len(by_label)))
    if isinstance(found, str) or not isinstance(found, Sequence | np.ndarray) or not len(found):
        raise InputError(
            f"Expected `classes` as a list of names, a mapping from labels to names, or weights that have them, but "
            f"got {shown(classes)}."
        )
    return tuple(str(name) for name in found)


def own_names(model: nn.Module) -> tuple[str, ...] | None:
    """The names of labels that a network brings: Hugging Face's `config.id2label`, timm's `label_names`."""
    net = network(model)
    known = getattr(getattr(net, "config", None), "id2label", None)
    if isinstance(known, Mapping) and known and not all(str(name) == f"LABEL_{label}" for label, name in known.items()):
        return class_names(known)
    listed = getattr(net, "pretrained_cfg", None)
    names = listed.get("label_names") if isinstance(listed, Mapping) else None
    return tuple(map(str, names)) if names else None


def _pictures(display: Any) -> Tensor:
    """Pictures to be shown, uint8 (N, H, W) or (N, H, W, 3)."""
    found = torch.from_numpy(np.ascontiguousarray(display)) if isinstance(display, np.ndarray) else display
    fits = isinstance(found, Tensor) and found.dtype == torch.uint8
    if not fits or not (found.dim() == 3 or (found.dim() == 4 and found.shape[3] == 3)):
        raise InputError(f"Expected `display` as uint8 pictures (N, H, W) or (N, H, W, 3), but got {shown(display)}.")
    pictures: Tensor = found
    return pictures
