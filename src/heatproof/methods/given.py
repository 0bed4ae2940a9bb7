"""Maps that were made elsewhere, by any tool in any language: one a sample id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from heatproof import artifacts
from heatproof.array_files import arrays_in
from heatproof.errors import InputError, shown
from heatproof.fields import typed
from heatproof.layouts.inputs import feature_axes
from heatproof.methods.base import Explanation, Method
from heatproof.refusals import check_dense

TOGETHER, IDS = "maps", "ids"  # the names of one array of all maps, and of the ids of its rows


class Maps:
    """Maps by sample id, in memory or in a file; equal, hashed and shown by the digest of their content."""

    def __init__(self, source: "str | Path | Mapping[str, Any] | Tensor | np.ndarray", ids: Sequence[str] = ()) -> None:
        self.path = str(source) if isinstance(source, str | Path) else ""
        arrays = _of_file(Path(self.path)) if self.path else source
        self._maps = _by_id(arrays, ids, self.path)
        self.digest = artifacts.digest(self._maps, [])

    @property
    def ids(self) -> tuple[str, ...]:
        """The samples that there is a map of."""
        return tuple(self._maps)

    def of(self, ids: Sequence[str]) -> list[Tensor]:
        """The maps of some samples. Raises: InputError for those that there is none of."""
        missing = [name for name in ids if name not in self._maps]
        if missing:
            raise InputError(
                f"Expected a map of each sample{self._where}, but there is none of {', '.join(map(repr, missing[:4]))}"
                f"{f' and {len(missing) - 4} more' if len(missing) > 4 else ''}; it has those of "
                f"{', '.join(map(repr, self.ids[:4]))}{', …' if len(self.ids) > 4 else ''}: the ids of the samples are "
                "what an audit calls them (`ids`)."
            )
        return [self._maps[name] for name in ids]

    @property
    def _where(self) -> str:
        return f" in {self.path}" if self.path else ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Maps) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return repr(self.path) if self.path else f"<{len(self._maps)} maps {self.digest[:16]}>"


@typed
@dataclass(frozen=True, repr=False)
class Given(Method):
    """Maps that are given, one a sample id: `Given("maps.safetensors")`, or arrays by id.

    Faithfulness, localization, complexity and agreement are judged as of any method. What needs a map of another
    network, or another map of the same one, has none: those questions answer "unknown".

    A map has the shape of a sample, sizes of 1 where it does not resolve a dimension, or no dimension of channels at
    all: (H, W) of an image (C, H, W).

    Args:
        maps: a file, .safetensors, .npz or .npy, or a mapping, with an array a sample under its id; or with one array
            `maps` (N, …), whose rows have the ids that an array `ids` of text names, or "0", "1", … An array (N, …) as
            well.
        ids: the samples' ids, in the order of the rows of one array.

    >>> maps = {name: images[i] for i, name in enumerate("abcd")}
    >>> run = hp.audit(
    ...     net, images, labels, methods=[hp.methods.Given(maps)], checks=["calibration"], ids=list("abcd"),
    ...     out="given", progress=False,
    ... )
    >>> run.rows()["method"].unique().tolist()
    ['', 'Given(<4 maps a4df1905da52a324>)']
    """

    given: ClassVar[bool] = True  # no map of another network, nor a second one of the same

    maps: Any = ""
    ids: tuple[str, ...] = ()
    samples: tuple[str, ...] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(map(str, self.ids)))
        if not isinstance(self.maps, Maps) and not (isinstance(self.maps, str) and not self.maps):
            object.__setattr__(self, "maps", Maps(self.maps, self.ids))
            object.__setattr__(self, "ids", ())  # they are among the maps now

    def __repr__(self) -> str:
        return f"Given({self.maps!r})"

    def of(self, samples: Sequence[str]) -> "Given":
        """The same maps, of the samples with these ids in the order in which they will come."""
        return replace(self, samples=tuple(samples))

    def check(self) -> None:
        """Refuse samples that there is no map of. Raises: InputError."""
        if not isinstance(self.maps, Maps):
            raise InputError("Expected `maps`, a file or arrays by sample id, but got none.")
        self.maps.of(self.samples or ())

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        return 0.0

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        if self.samples is None or len(self.samples) != len(inputs):
            raise InputError(
                f"Expected to know which samples these {len(inputs)} are, as maps are given by id, but got "
                f"{'no ids' if self.samples is None else f'{len(self.samples)} ids'}; call {self!r}.of(ids), or give "
                "it to an audit, which knows them."
            )
        self.check()
        found = self.maps.of(self.samples)
        return Explanation(torch.stack([self._fitting(one, model, inputs) for one in found]).to(inputs))

    def _fitting(self, one: Tensor, model: nn.Module, inputs: Tensor) -> Tensor:
        shape = inputs.shape[1:]
        if one.dim() == len(shape) - 1:
            axes = feature_axes(model, inputs)
            one = one.unsqueeze((axes[0] if axes else 1) - 1)
        if one.dim() == len(shape) and all(ours in (1, full) for ours, full in zip(one.shape, shape, strict=True)):
            return one
        raise InputError(
            f"Expected maps that broadcast to a sample {tuple(shape)}, but got {tuple(one.shape)}; enlarge those of a "
            "layer to the size of its inputs, as torch.nn.functional.interpolate does."
        )


def _of_file(path: Path) -> Mapping[str, Any]:
    arrays = arrays_in(path, "maps")
    return {TOGETHER: arrays[""]} if list(arrays) == [""] else arrays


def _by_id(arrays: Any, ids: Sequence[str], path: str) -> dict[str, Tensor]:
    where = f" in {path}" if path else ""
    if not isinstance(arrays, Mapping):
        arrays = {TOGETHER: arrays, **({IDS: np.array(list(ids))} if ids else {})}
    elif ids:
        arrays = {**arrays, IDS: np.array(list(ids))}
    if TOGETHER in arrays and set(arrays) <= {TOGETHER, IDS}:
        rows = _tensor(arrays[TOGETHER], TOGETHER, where)
        if rows.dim() == 0:
            raise InputError(f"Expected maps (N, …){where}, one a sample, but got a single number.")
        names = [str(name) for name in arrays[IDS]] if IDS in arrays else [str(i) for i in range(len(rows))]
        if len(names) != len(rows) or len(set(names)) != len(names):
            raise InputError(
                f"Expected an id for each of the {len(rows)} maps{where}, each once, but got {len(names)}, "
                f"{len(set(names))} of them different."
            )
        return dict(zip(names, rows, strict=True))
    if not arrays:
        raise InputError(f"Expected maps by sample id{where}, but there are none.")
    return {str(name): _tensor(value, str(name), where) for name, value in arrays.items() if name != IDS}


def _tensor(value: Any, name: str, where: str) -> Tensor:
    if isinstance(value, np.ndarray) and value.dtype.kind in "iuf":
        value = torch.from_numpy(np.ascontiguousarray(value))
    if not isinstance(value, Tensor) or value.is_complex() or value.dtype == torch.bool:
        raise InputError(f"Expected maps of numbers{where}, but {name!r} is {shown(value)}.")
    check_dense(value, f"maps{where}")
    found = value.detach().cpu()
    return found if found.dtype == torch.float64 else found.float()
