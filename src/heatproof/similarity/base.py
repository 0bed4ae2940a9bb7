"""What every similarity measure shares: the checks at the door, chunks that fit the cache, kept references."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from heatproof.errors import InputError
from heatproof.metrics import Metric
from heatproof.registry import Registry

# Features in one chunk. On a CPU, a megabyte in float64 stays in the nearer caches: one batch of 32 maps of 224² takes
# SSIM three times as long as its chunks. An accelerator wants large batches instead. A function of the device type
# alone, so the numbers of a sample never depend on load.
CHUNK = {"cpu": 2**17}
CHUNK_ELSEWHERE = 2**24


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a measure keeps of one side of a comparison: opaque; made by `measure.prepare`, read by `measure.compare`.

    `parts` are tensors with one row a sample, `shape` is that of the maps.

    >>> one = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
    >>> measure = hp.similarity.Spearman()
    >>> kept = measure.prepare(one)
    >>> measure.compare(kept, measure.prepare(-one))
    tensor([-1.], dtype=torch.float64)
    """

    measure: "Similarity"
    shape: torch.Size
    parts: tuple[Tensor, ...]


class Similarity(ABC):
    """A measure of how alike two maps of a sample are: one number a sample.

    `measure(maps, other)` takes two batches of pooled maps (N, *grid), floating, on one device, and gives (N,) float64
    on that device. A degenerate sample is NaN, never 0: a map that is constant (all zero, say), or holds NaN (or ±∞,
    where values count and not ranks alone) has no pattern to compare, and a 0 would read as "passed".

    `compare(prepare(maps), other)` gives the same numbers bit for bit, and what `prepare` kept serves any number of
    comparisons: the trained model's maps against every stage of a randomization. `other` may be prepared, too.

    A sample's number depends on its two maps alone, not on the batch.
    Raises: InputError if shapes, types or devices differ, or if `fits` gives a reason against the maps' grid.

    >>> from dataclasses import dataclass
    >>> from heatproof.metrics import Metric
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Cosine(hp.similarity.Similarity):
    ...     metric = Metric(name="cosine", title="Cosine", low=-1.0, high=1.0, itself=1.0, text="The maps' cosine.")
    ...     def fits(self, grid):
    ...         return None
    ...     def parts(self, maps):
    ...         return (maps.double().flatten(1),)
    ...     def score(self, first, second):
    ...         return torch.cosine_similarity(first[0], second[0])
    ...
    >>> Cosine()(images[:2, 0], -images[:2, 0]).round(decimals=6)
    tensor([-1., -1.], dtype=torch.float64)
    """

    @abstractmethod
    def fits(self, grid: Sequence[int]) -> str | None:
        """None if the measure applies to maps of `grid`, else one sentence: what it needs and what to choose."""

    @property
    @abstractmethod
    def metric(self) -> Metric:
        """Name, range and reference points of the numbers."""

    @abstractmethod
    def parts(self, maps: Tensor) -> tuple[Tensor, ...]:
        """What one chunk of maps (n, *grid) contributes on its own; each part has n rows."""

    @abstractmethod
    def score(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
        """The similarity (n,) float64 of two chunks, from their parts."""

    def __call__(self, maps: Tensor, other: Tensor) -> Tensor:
        _check_alike(maps, other)
        maps, other = self._checked(maps), self._checked(other)
        scores = [self.score(self.parts(maps[s]), self.parts(other[s])) for s in _slices(maps.shape, maps.device)]
        return _joined(scores, maps.device)

    def prepare(self, maps: Tensor) -> Prepared:
        """What can be computed of `maps` (N, *grid) alone, to be compared with others later."""
        maps = self._checked(maps)
        if len(maps) == 0:
            # One made-up map tells the number and the shapes of the parts.
            return Prepared(
                self, maps.shape, tuple(part[:0] for part in self.parts(maps.new_zeros(1, *maps.shape[1:])))
            )
        columns = zip(*(self.parts(maps[s]) for s in _slices(maps.shape, maps.device)), strict=True)
        return Prepared(self, maps.shape, tuple(torch.cat(column) for column in columns))

    def compare(self, prepared: Prepared, other: Tensor | Prepared) -> Tensor:
        """The similarity (N,) float64 of prepared maps to `other`, maps of the same shape or prepared ones."""
        for side in (prepared, other):
            if isinstance(side, Prepared) and side.measure != self:
                raise InputError(f"Expected maps prepared by {self}, but got some prepared by {side.measure}.")
        _check_alike(prepared, other)
        if isinstance(other, Tensor):
            other = self._checked(other)
        device = prepared.parts[0].device
        scores = []
        for s in _slices(prepared.shape, device):
            second = tuple(part[s] for part in other.parts) if isinstance(other, Prepared) else self.parts(other[s])
            scores.append(self.score(tuple(part[s] for part in prepared.parts), second))
        return _joined(scores, device)

    def _checked(self, maps: Tensor) -> Tensor:
        if maps.ndim < 2 or not maps.is_floating_point():
            raise InputError(
                f"Expected floating maps (N, *grid), but got {maps.dtype} of shape {tuple(maps.shape)}; "
                "pool attributions with a Features recipe first."
            )
        reason = self.fits(maps.shape[1:])
        if reason is not None:
            raise InputError(reason)
        return maps.detach()


SIMILARITIES: Registry[Similarity] = Registry("similarity", "heatproof.similarity", group="heatproof.similarities")


def label(measure: Similarity, family: str) -> str:
    """The registered name of `measure`, or that of its `family` with the fields that differ: `hog[cell=8]`.

    Two recipes never share a label, so that their rows never mix.
    """
    for name in [family, *SIMILARITIES.names()]:
        if SIMILARITIES.get(name) == measure:
            return name
    default = SIMILARITIES.get(family)
    pairs = [(field.name, getattr(measure, field.name)) for field in fields(measure)]  # type: ignore[arg-type]
    changed = [f"{name}={value}" for name, value in pairs if value != getattr(default, name)]
    return f"{family}[{','.join(changed)}]"


def titled(measure: Similarity, title: str, family: str) -> str:
    """The title of a measure: its family's, with the rest of its label where it is another recipe of that family."""
    rest = label(measure, family).removeprefix(family).removeprefix("-")
    return f"{title}{'' if rest.startswith('[') or not rest else ', '}{rest}"


def _check_alike(first: Tensor | Prepared, second: Tensor | Prepared) -> None:
    devices = [side.device if isinstance(side, Tensor) else side.parts[0].device for side in (first, second)]
    if first.shape != second.shape or devices[0] != devices[1]:
        raise InputError(
            f"Expected two batches of maps of one shape on one device, but got {tuple(first.shape)} on {devices[0]} "
            f"and {tuple(second.shape)} on {devices[1]}."
        )


def _slices(shape: torch.Size, device: torch.device) -> Iterator[slice]:
    rows = max(1, CHUNK.get(device.type, CHUNK_ELSEWHERE) // max(1, shape[1:].numel()))
    return (slice(start, start + rows) for start in range(0, shape[0], rows))


def _joined(scores: list[Tensor], device: torch.device) -> Tensor:
    return torch.cat(scores) if scores else torch.empty(0, dtype=torch.float64, device=device)
