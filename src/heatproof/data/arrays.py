"""Blocks of samples that lie in one array: a tensor, a NumPy array, or a file that NumPy maps into memory."""

import mmap
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from heatproof.artifacts import digest
from heatproof.data.base import UNLABELLED, Box, Dataset, finite
from heatproof.data.overlay import unique
from heatproof.errors import InputError, shown
from heatproof.refusals import check_samples, check_targets, plain

PROBES = 16  # samples that tell one array from another: all of it would take as long as reading it


class ArrayBlocks:
    """Samples (N, …) of one array, float32 or float64; what is mapped from a file stays there until it is read.

    Args:
        inputs: the samples.
        targets: their labels (N,), whole numbers; none are known by default.
        given: side inputs by name, tensors with one row a sample.
        ids: a unique name a sample; its position by default.
        boxes: for each sample the boxes of its object, in pixels of `inputs`.
        name: what the data is called in reports.

    Raises: InputError for what is no array of finite samples, or not one a sample. What is mapped from a file is
        looked at when it is read: a sample that holds NaN or infinity is named in `skipped`.
    """

    classes: tuple[str, ...] | None = None

    def __init__(
        self,
        inputs: "Tensor | np.ndarray",
        targets: "Tensor | np.ndarray | None" = None,
        *,
        given: Mapping[str, Tensor] | None = None,
        ids: Sequence[str] | None = None,
        boxes: Sequence[Sequence[Box]] | None = None,
        name: str = "",
    ) -> None:
        self.mapped = isinstance(inputs, np.memmap)
        inputs = plain(inputs) if isinstance(inputs, Tensor) else inputs
        check_samples(_tensor(np.zeros_like(inputs[:1]) if self.mapped else inputs), None)
        self.inputs, self.name = inputs, name or f"{len(inputs)} samples"
        self.targets = None if targets is None else torch.as_tensor(targets)
        if self.targets is not None:
            self.targets = self.targets.long() if isinstance(targets, np.ndarray) else self.targets
            check_targets(torch.empty(tuple(inputs.shape), device="meta"), self.targets)
        self.given = {argument: plain(rows) for argument, rows in (given or {}).items()}
        self.ids = None if ids is None else unique(ids)
        self.boxes = None if boxes is None else tuple(tuple(one) for one in boxes)
        each = {
            "id": self.ids,
            "list of boxes": self.boxes,
            **{f"row of given[{k!r}]": v for k, v in self.given.items()},
        }
        for what, values in each.items():
            if values is not None and len(values) != len(self):
                raise InputError(f"Expected one {what} a sample ({len(self)}), but got {len(values)}.")

    def __len__(self) -> int:
        return len(self.inputs)

    def __getstate__(self) -> dict[str, Any]:
        """A mapped file goes along by its name."""
        state = dict(vars(self))
        array = self.inputs
        if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap):  # the whole of what was mapped
            order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
            state["inputs"] = _Mapped(str(array.filename), array.dtype.str, array.offset, array.shape, order)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state["inputs"], _Mapped):
            state["inputs"] = state["inputs"].opened()
        vars(self).update(state)

    @cached_property
    def identity(self) -> str:
        """SHA-256 of shape, dtype and at most 16 samples, and of all labels, ids, boxes and side inputs."""
        rows = np.unique(np.linspace(0, len(self) - 1, PROBES).round().astype(int)).tolist()
        tensors = {"inputs": torch.cat([_tensor(self.inputs[row : row + 1]) for row in rows]), **self.given}
        if self.targets is not None:
            tensors["targets"] = self.targets
        return digest(tensors, [list(self.inputs.shape), str(self.inputs.dtype), self.ids, self.boxes])

    def read(self, start: int, stop: int) -> Dataset:
        """Samples `start` to `stop`."""
        inputs = _tensor(self.inputs[start:stop])
        rows = slice(start, start + len(inputs))
        names = tuple(map(str, range(rows.start, rows.stop))) if self.ids is None else self.ids[rows]
        unlabelled = torch.full((len(inputs),), UNLABELLED)
        return finite(
            name=self.name,
            inputs=inputs,
            targets=unlabelled if self.targets is None else self.targets[rows].cpu(),
            ids=names,
            boxes=None if self.boxes is None else self.boxes[rows],
            given={name: value[rows].contiguous() for name, value in self.given.items()},
        )


class _Mapped(NamedTuple):
    """A file that NumPy maps into memory, by its name and what of it."""

    file: str
    dtype: str
    offset: int
    shape: tuple[int, ...]
    order: Literal["C", "F"]

    def opened(self) -> np.memmap:
        """The array, to be read alone."""
        return np.memmap(self.file, self.dtype, "r", self.offset, self.shape, self.order)


def _tensor(array: "Tensor | np.ndarray") -> Tensor:
    """The values as a tensor of its own for those of a file, else without a copy where none is needed."""
    if isinstance(array, Tensor):
        return array.contiguous()
    if isinstance(array, np.memmap) or not array.flags.writeable or min(array.strides, default=0) < 0:
        array = np.array(array)
    try:
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False)).contiguous()
    except TypeError:
        raise InputError(f"Expected an array of floating-point numbers, but got {shown(array)}.") from None
