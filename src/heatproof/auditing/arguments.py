"""What `audit` is called with, looked at before anything is made of it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from heatproof.auditing.manifest import About
from heatproof.errors import HeatproofError, InputError, shown
from heatproof.outputs import Outputs
from heatproof.refusals import check_dense

FOUR = 4  # numbers of a box


def check_kinds(*, outputs: Any, believable: Any, about: Any) -> None:
    """Refuse what is no kind of outputs, no names of questions, and nothing about the run. Raises: InputError."""
    if about is not None and not isinstance(about, About):
        raise InputError(f"Expected about to be an About(…), but got {shown(about)}.")
    if outputs is not None and not isinstance(outputs, str | Outputs):
        raise InputError(f"Expected outputs to be the name of a kind or an Outputs(…), but got {shown(outputs)}.")
    if not isinstance(believable, list | tuple) or not all(isinstance(name, str) for name in believable):
        raise InputError(f"Expected believable to be a list of names of questions, but got {shown(believable)}.")


def of_each(samples: int, *, ids: Any, boxes: Any, labels: Any, targets: Any) -> tuple[tuple[str, ...] | None, Any]:
    """Ids as text and boxes as tuples of numbers, if there are any. Raises: InputError for what is none of these."""
    for what, value in (("labels", labels), ("targets", targets)):
        if isinstance(value, Tensor):
            check_dense(value, what)
    if labels is not None:
        several = isinstance(labels, list | tuple | np.ndarray | Tensor)
        if not several or getattr(labels, "ndim", 1) != 1 or len(labels) != samples:
            got = f"{len(labels)}" if several and getattr(labels, "ndim", 1) == 1 else shown(labels)
            raise InputError(f"Expected labels ({samples},), one a sample, but got {got}.")
    names = _made(ids, "ids to be a list, one a sample", lambda: tuple(map(_text, _several(ids))))
    placed = _made(
        boxes,
        "boxes to be a list of boxes (xmin, ymin, xmax, ymax) a sample",
        lambda: [[_box(box) for box in _several(ours)] for ours in _several(boxes)],
    )
    return names, placed


def _made(value: Any, what: str, make: Callable[[], Any]) -> Any:
    if value is None:
        return None
    try:
        return make()
    except HeatproofError:
        raise
    except Exception as error:  # whatever somebody's objects raise
        raise InputError(f"Expected {what}, but got {shown(value)}.") from error


def _several(value: Any) -> Any:
    if isinstance(value, str | bytes | dict):
        raise TypeError("one, and not several")
    return list(value)


def _text(name: Any) -> str:
    if not isinstance(name, str | int | float) and not hasattr(name, "item"):
        raise InputError(f"Expected ids to be text or numbers, but got {shown(name)}.")
    return str(name.item() if hasattr(name, "item") else name)


def _box(box: Any) -> tuple[float, ...]:
    numbers = tuple(map(float, _several(box)))
    if len(numbers) != FOUR:
        raise InputError(f"Expected boxes of 4 numbers (xmin, ymin, xmax, ymax), but got {shown(box)}.")
    return numbers
