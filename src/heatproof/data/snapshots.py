"""Samples kept once, so that what can only be gone through, or gives others each time, is read by position."""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.utils.data import DataLoader

from heatproof import artifacts
from heatproof.artifacts import FACTS, Stored
from heatproof.data.base import DATA, Dataset, Source, finite, none_of
from heatproof.data.blocks import Blocks, as_blocks
from heatproof.data.items import Columns, Key, Sample, check_first, samples_of_batch, stacked_samples
from heatproof.data.listing import Listing
from heatproof.errors import InputError, StoreError

INDEX = "snapshot.json"
SCHEMA = 1
EACH = ("display", "masks", "mask", "numbers")  # tensors that a data set may have beside inputs and targets
LISTS = ("boxes", "box_labels", "tokens")


@DATA.register("snapshot")
@dataclass(frozen=True, kw_only=True)
class Snapshot(Source):
    """Samples that `snapshot` kept, as they were. `mean` and `std` are taken out of pictures once more, if given.

    Attributes:
        path: the folder.

    >>> source = hp.data.snapshot(((torch.rand(3, 8, 8), i % 2) for i in range(5)), "kept")
    >>> source == hp.data.Snapshot(path="kept"), source.load().targets
    (True, tensor([0, 1, 0, 1, 0]))
    """

    path: str = ""

    def listing(self) -> Listing:
        return _Kept(self)


def snapshot(
    data: Any,
    folder: str | Path,
    *,
    columns: Mapping[str, Key] | None = None,
    given: Mapping[str, Key] | Sequence[str] | None = None,
    transform: Callable[[Any], Any] | None = None,
    classes: Sequence[str] | None = None,
    batched: bool | None = None,
    limit: int | None = None,
    name: str = "",
    shard: int = 256,
) -> Snapshot:
    """Go through data once, keep the samples as files of tensors, and give them as a source.

    What a folder holds already is given as it is, and `data` is not looked at: so running the same program again
    goes on. A snapshot that was interrupted is made anew. Files are whole or absent; the last one, `snapshot.json`,
    says that it is complete, with the digest of all.

    Args:
        data: anything that can be gone through: an IterableDataset, a DataLoader in whatever order, a generator, a
            data set that draws at random; or what `as_blocks` takes, decoded once for all.
        folder: where to; made if it is not there.
        columns, given, transform, classes, name: as in `as_blocks`.
        batched: whether one item is a batch of samples; so are a DataLoader's by default, and nobody else's.
        limit: at most so many samples: a stream may have no end.
        shard: samples a file.

    Raises: InputError for samples that are no samples or differ in shape, or where there is none; StoreError if the
        folder cannot be written.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with FileLock(path / ".snapshot.lock"):
            if not (path / INDEX).is_file():
                keys = given if isinstance(given, Mapping) else {key: key for key in given or ()}
                asked = Columns(
                    of=columns or {},
                    given=keys,
                    transform=transform,
                    classes=None if classes is None else tuple(classes),
                )
                _write(path, _chunks(data, asked, batched, limit, shard, name))
    except OSError as error:
        raise StoreError(f"Expected to keep samples in {str(path)!r}, but writing failed ({error}).") from error
    return Snapshot(path=str(path))


def _chunks(
    data: Any, asked: Columns, batched: bool | None, limit: int | None, shard: int, name: str
) -> Iterator[Dataset]:
    """The samples, so many at a time."""
    if isinstance(data, Tensor | Dataset | Source | Blocks):
        blocks = as_blocks(data, name=name)
        total = len(blocks) if limit is None else min(limit, len(blocks))
        yield from (blocks.read(start, min(start + shard, total)) for start in range(0, total, shard))
        return
    shown = name or type(getattr(data, "dataset", data)).__name__
    whole = isinstance(data, DataLoader) and data.batch_size is not None if batched is None else batched
    samples = islice(_samples(_each(data), asked, whole), limit)
    like: Sample | None = None
    position = 0
    while chunk := list(islice(samples, shard)):
        if like is None:
            like = chunk[0]
            check_first(like)
        names = [str(i) for i in range(position, position + len(chunk))]
        parts = {**stacked_samples(chunk, names, like), "name": shown, "classes": asked.classes}
        yield finite(**parts) if parts["inputs"].is_floating_point() else Dataset(**parts)
        position += len(chunk)


def _each(data: Any) -> Iterable[Any]:
    if hasattr(data, "__iter__") and not isinstance(data, Mapping | str | bytes):
        return data  # type: ignore[no-any-return]  # by the check
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, Mapping | str | bytes):
        return (data[i] for i in range(len(data)))
    raise InputError(f"Expected samples that can be gone through, but got a {type(data).__name__}.")


def _samples(items: Iterable[Any], asked: Columns, batched: bool) -> Iterator[Sample]:
    for item in items:
        if not batched:
            yield asked.sample(item)
            continue
        image = asked.taken_apart(item)["image"]
        yield from samples_of_batch(asked, item, len(image) if hasattr(image, "__len__") else 0)


def _write(folder: Path, chunks: Iterable[Dataset]) -> None:
    shards: list[list[Any]] = []
    told: dict[str, Any] = {}
    seen: set[bytes] = set()  # of own ids 8 bytes each: those of an item may come twice
    for number, data in enumerate(chunks):
        told = told or {"name": data.name, "classes": data.classes}
        for name in data.ids:
            mark = hashlib.sha256(name.encode()).digest()[:8]
            if mark in seen:
                raise InputError(f"Expected a unique id a sample, but {name!r} comes twice.")
            seen.add(mark)
        stored = _stored(data)
        file = f"{number:06d}.safetensors"
        with artifacts.whole(folder / file) as unfinished:
            artifacts.write_tensors(unfinished, stored)
        shards.append([file, len(data), artifacts.digest(stored.tensors, dict(stored.facts))])
    if not sum(rows for _, rows, _ in shards):
        raise InputError(f"Expected at least one sample to keep in {str(folder)!r}, but there is none.")
    digest = hashlib.sha256("".join(one for _, _, one in shards).encode()).hexdigest()
    with artifacts.whole(folder / INDEX) as unfinished:
        index = {"schema": SCHEMA, **told, "digest": digest, "shards": shards}
        unfinished.write_text(json.dumps(index), encoding="utf-8")


def _stored(data: Dataset) -> Stored:
    optional = {name: getattr(data, name) for name in EACH}
    tensors = {"inputs": data.inputs, "targets": data.targets}
    tensors |= {name: value for name, value in optional.items() if value is not None}
    tensors |= {f"given.{name}": rows for name, rows in data.given.items()}
    lists = {name: getattr(data, name) for name in LISTS if getattr(data, name) is not None}
    return Stored(tensors, {"ids": data.ids, "skipped": data.skipped, **lists})


class _Kept(Listing):
    """The samples of a `Snapshot`: so many a file, each row readable alone."""

    def __init__(self, source: Snapshot) -> None:
        self.source, self.folder = source, Path(source.path)
        try:
            index = json.loads((self.folder / INDEX).read_text(encoding="utf-8"))
            self.shards = [(str(file), int(rows)) for file, rows, _ in index["shards"]]
            if index["schema"] != SCHEMA:
                raise ValueError(f"it was written as version {index['schema']}, this one reads {SCHEMA}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"Expected a finished snapshot at {source.path!r}, but {INDEX} cannot be read "
                f"({type(error).__name__}: {error}); make it with heatproof.data.snapshot(data, folder)."
            ) from error
        self.name, self.content = index["name"], index["digest"]
        self.classes = None if index["classes"] is None else tuple(index["classes"])
        self.starts = [0, *accumulate(rows for _, rows in self.shards)]

    def __len__(self) -> int:
        return self.starts[-1]

    def read(self, places: Sequence[int]) -> Dataset:
        parts: list[dict[str, Any]] = []
        for shard, rows in _by_shard(places, self.starts):
            parts.append(self._rows(self.shards[shard][0], rows))
        if not parts:
            return none_of(self.name, self.classes, ())
        found: dict[str, Any] = {"given": {}}
        for name in parts[0]:
            many = [part[name] for part in parts]
            if name.startswith("given."):
                found["given"][name.removeprefix("given.")] = torch.cat(many)
            else:
                lists = name == "ids" or name in LISTS
                found[name] = tuple(one for part in many for one in part) if lists else torch.cat(many)
        found["inputs"] = self.source.normalize(found["inputs"])
        return Dataset(name=self.name, classes=self.classes, **found)

    def _rows(self, file: str, rows: list[int]) -> dict[str, Any]:
        """Some rows of a file, in their order."""
        try:
            with safe_open(self.folder / file, framework="pt") as stored:
                facts = json.loads(stored.metadata()[FACTS])
                names = list(stored.keys())
                low, high = min(rows), max(rows) + 1
                near = torch.tensor([row - low for row in rows])
                found: dict[str, Any] = {name: stored.get_slice(name)[low:high][near] for name in names}
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise InputError(
                f"Expected {file} in the snapshot {self.source.path!r} as it was written, but reading it failed "
                f"({error}); make the snapshot anew in another folder."
            ) from error
        for name in ("ids", *(one for one in LISTS if one in facts)):
            found[name] = [_tuples(facts[name][row]) for row in rows]
        return found


def _by_shard(places: Sequence[int], starts: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Places that follow each other in one file, together: its number, and the rows in it."""
    shard, rows = -1, list[int]()
    for place in places:
        now = bisect_right(starts, place) - 1
        if now != shard and rows:
            yield shard, rows
            rows = []
        shard = now
        rows.append(place - starts[now])
    if rows:
        yield shard, rows


def _tuples(value: Any) -> Any:
    """Lists of JSON as the tuples that they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
