"""A tensor, and arguments by name, as values: what a recipe may hold, so that it compares, hashes and pickles."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heatproof import artifacts
from heatproof.array_files import array_in
from heatproof.errors import InputError, shown
from heatproof.paths import located
from heatproof.refusals import check_dense


class Frozen:
    """A tensor on the CPU that nobody changes; equal, hashed and shown by `digest`, the SHA-256 of dtype and values.

    Args:
        values: a tensor, a NumPy array, nested lists of numbers, or the path of a file .npz, .npy or .safetensors with
            one array, which in a spec is relative to it.
    """

    def __init__(self, values: "Tensor | np.ndarray | Sequence[Any] | float | str | Path | Frozen") -> None:
        self._tensor: Tensor = values._tensor if isinstance(values, Frozen) else _tensor(values)
        self.digest: str = (
            values.digest if isinstance(values, Frozen) else artifacts.digest({"values": self._tensor}, [])
        )

    @property
    def tensor(self) -> Tensor:
        """A copy of the values."""
        return self._tensor.clone()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return tuple(self._tensor.shape)

    def __len__(self) -> int:
        return len(self._tensor)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frozen) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        if self._tensor.numel() <= 8:
            return repr(self._tensor.tolist())
        return f"<{'×'.join(map(str, self.shape))} {self.digest[:16]}>"

    def __reduce__(self) -> "tuple[object, ...]":
        return Frozen, (self._tensor,)


class Settings(Mapping[str, Any]):
    """Arguments by name, which nobody changes: they compare, hash and print as a dict would."""

    def __init__(self, values: "Mapping[str, Any] | Settings" = {}) -> None:  # noqa: B006  # it is copied
        self._values = {name: tuple(v) if isinstance(v, list) else v for name, v in sorted(values.items())}

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(repr(self._values))

    def __repr__(self) -> str:
        return repr(self._values)


def _tensor(values: Any) -> Tensor:
    if isinstance(values, Tensor):
        check_dense(values, "numbers")
        return values.detach().cpu().clone().contiguous()
    if isinstance(values, str | Path):
        values = array_in(located(str(values)), "numbers")
    try:
        return torch.from_numpy(np.ascontiguousarray(np.array(values)))
    except (TypeError, ValueError) as error:
        raise InputError(f"Expected numbers, as a tensor or an array, but got {shown(values)}: {error}.") from None
