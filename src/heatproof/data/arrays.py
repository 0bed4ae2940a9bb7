"""Blocks of samples that lie in one array: a tensor, a NumPy array, or a file that NumPy maps into memory."""

import mmap
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from heatproof.artifacts import digest
from heatproof.data.base import UNLABELLED, Dataset, finite
from heatproof.errors import InputError, shown
from heatproof.refusals import check_dense, check_samples, plain

PROBES = 16  # samples that tell one array from another: all of it would take as long as reading it


class ArrayBlocks:
    """Samples (N, …) of one array, float32 or float64; what is mapped from a file stays there until it is read.

    Args:
        inputs: the samples.
        name: what the data is called in reports.

    Raises: InputError for what is no array of finite samples. What is mapped from a file is looked at when it is read:
        a sample that holds NaN or infinity is named in `skipped`.
    """

    classes: tuple[str, ...] | None = None

    def __init__(self, inputs: "Tensor | np.ndarray", *, name: str = "") -> None:
        inputs = plain(inputs) if isinstance(inputs, Tensor) else inputs
        mapped = isinstance(inputs, np.memmap)
        check_samples(_tensor(np.zeros_like(inputs[:1]) if mapped else inputs), None)
        self.inputs, self.name = inputs, name or f"{len(inputs)} samples"

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
        """SHA-256 of shape, dtype and at most 16 samples."""
        rows = np.unique(np.linspace(0, len(self) - 1, PROBES).round().astype(int)).tolist()
        probes = torch.cat([_tensor(self.inputs[row : row + 1]) for row in rows])
        return digest({"samples": probes}, [list(self.inputs.shape), str(probes.dtype)])

    def read(self, start: int, stop: int) -> Dataset:
        """Samples `start` to `stop`, without those that hold NaN or infinity, which it names in `skipped`."""
        inputs = _tensor(self.inputs[start:stop])
        names = tuple(map(str, range(start, start + len(inputs))))
        return finite(name=self.name, inputs=inputs, targets=torch.full((len(inputs),), UNLABELLED), ids=names)


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
        check_dense(array, "samples")
        return array.contiguous()
    if isinstance(array, np.memmap) or not array.flags.writeable or min(array.strides, default=0) < 0:
        array = np.array(array)
    try:
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False)).contiguous()
    except TypeError:
        raise InputError(f"Expected an array of floating-point numbers, but got {shown(array)}.") from None
