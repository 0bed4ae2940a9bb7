"""A run folder: plain files, each complete or absent, readable without heatproof."""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from heatproof.errors import StoreError
from heatproof.rows import COLUMNS, SCHEMA

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")
ROW_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("check", "method", "setting", "role", "stage")),
        ("position", pa.float64()),
        ("sample", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("seed", pa.int64()),
        ("cell", pa.string()),
    ]
)
_TEXTS = [field.name for field in ROW_SCHEMA if pa.types.is_string(field.type)]
_ROWS = 2**18  # rows of a batch
_CELLS = b"heatproof.cells"
_OURS = (".lock", "rows", "maps", "superseded")
_READS = 5  # how often a reader looks again where a file was moved aside under its eyes
_HALF_WRITTEN = re.compile(r".+\.\d+\.\d+\.tmp").fullmatch


class Store:
    """The files of one run, held by one process at a time."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._lock = FileLock(run / ".lock")

    def check(self) -> None:
        """Refuse a folder that cannot become a run, without touching it.

        Raises: StoreError if it is no folder, or holds files that are no run of ours.
        """
        if self.run.exists() and not self.run.is_dir():
            raise StoreError(f"Expected {self.run} to be a folder, but it is a file; choose another folder.")
        present = list(self.run.iterdir()) if self.run.is_dir() else []
        foreign = [path for path in present if path.name not in _OURS and not _HALF_WRITTEN(path.name)]
        if foreign and not (self.run / "manifest.json").exists():
            raise StoreError(
                f"Expected an empty folder or a run of heatproof, but {self.run} holds other files; choose another."
            )

    def open(self) -> None:
        """Make the folder, take its lock and sweep away what a killed process left half written.

        Raises: StoreError if the folder cannot be a run's, or another process holds it.
        """
        self.check()
        try:
            for folder in (self.run / "rows", self.run / "maps"):
                folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise StoreError(
                f"Expected {self.run} to be free, but another process is writing to it; wait for it."
            ) from None
        except OSError as error:
            raise StoreError(f"Expected to write to {self.run}, but cannot: {error.strerror}.") from None
        for leftover in [*self.run.glob("*.tmp"), *self.run.glob("*/*.tmp")]:
            if _HALF_WRITTEN(leftover.name):
                leftover.unlink()

    def close(self) -> None:
        """Let go of the run."""
        self._lock.release()

    def manifest(self) -> dict[str, Any] | None:
        """What is known of this run so far; None for a new one."""
        return read_manifest(self.run) if (self.run / "manifest.json").exists() else None

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest as a whole."""
        text = json.dumps(manifest, indent=1, ensure_ascii=False)
        _write(self.run / "manifest.json", lambda path: path.write_text(text + "\n", encoding="utf-8"))

    def finished_cells(self) -> set[str]:
        """The ids of every cell whose rows are on disk."""
        cells: set[str] = set()
        for path in self._files("rows"):
            cells.update(_cells_of(path))
        return cells

    def write_rows(self, stem: str, rows: Mapping[str, list[Any]], cells: Iterable[str]) -> None:
        """The rows of some cells as one file; a cell without rows is finished all the same."""
        table = pa.table({name: rows[name] for name in COLUMNS}, schema=ROW_SCHEMA)
        _write_table(self.run / "rows" / f"{stem}.parquet", table, set(cells))

    def has_others(self, cells: Collection[str]) -> bool:
        """Whether there are rows of other cells than these, or of one cell twice."""
        here = [cell for path in self._files("rows") for cell in _cells_of(path)]
        return len(set(here)) < len(here) or not set(here) <= set(cells)

    def set_aside(self, cells: Collection[str]) -> None:
        """Leave the rows of these cells, each once, and move all others to `superseded`.

        At every moment each row is in `rows` at most once, and nothing is lost if the process is killed: what is moved
        is written there first, and a file takes the place of the one that it is the rest of.
        """
        wanted, seen = set(cells), set[str]()
        for path in self._files("rows"):
            here = set(_cells_of(path))
            left, moved = (here & wanted) - seen, here - wanted
            seen |= left
            if left == here:
                continue
            table = pq.read_table(path)
            if moved:
                (self.run / "superseded").mkdir(exist_ok=True)
                _write_table(self.run / "superseded" / _name(path, moved), table, moved)
            if left:
                _write_table(path, table, left)
            else:
                path.unlink()

    def bring_back(self, cells: Collection[str]) -> None:
        """Take those of these cells from `superseded` that `rows` lacks."""
        missing = set(cells) - self.finished_cells()
        for path in self._files("superseded"):
            if found := missing & set(_cells_of(path)):
                missing -= found
                _write_table(self.run / "rows" / _name(path, found), pq.read_table(path), found)

    def _files(self, folder: str) -> list[Path]:
        return sorted((self.run / folder).glob("*.parquet"))

    def write_maps(
        self, stem: str, maps: Mapping[str, "np.ndarray[Any, Any]"], cells: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Arrays by name, as one safetensors file that names the cells which each method's maps belong to."""
        from safetensors.numpy import save_file

        metadata = (
            None if cells is None else {"cells": json.dumps({method: sorted(named) for method, named in cells.items()})}
        )
        _write(self.run / "maps" / f"{stem}.safetensors", lambda path: save_file(dict(maps), path, metadata))


def read_manifest(run: Path) -> dict[str, Any]:
    """The manifest of a run.

    Raises: StoreError if there is none, or it is of a later schema.
    """
    path = Path(run) / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"Expected a run of heatproof with a manifest.json, but {run} has none.") from None
    except ValueError as error:
        raise StoreError(f"Expected {path} to be JSON, but it is not: {error}.") from None
    if manifest.get("schema") != SCHEMA:
        raise StoreError(f"Expected a run of schema {SCHEMA}, but {path} has {manifest.get('schema')!r}.")
    return manifest


def read(run: Path, take: Callable[[Iterator[pa.RecordBatch], dict[str, Any]], T]) -> T:
    """What `take` makes of a run's current rows, in batches with texts as dictionaries, and its manifest.

    It starts anew where an audit that goes on has moved a file aside meanwhile. Raises: StoreError as `read_manifest`.
    """
    for _ in range(_READS - 1):
        with suppress(FileNotFoundError):
            manifest = read_manifest(run)
            return take(row_batches(Path(run), manifest), manifest)
    manifest = read_manifest(run)
    return take(row_batches(Path(run), manifest), manifest)


def row_batches(run: Path, manifest: Mapping[str, Any], checks: Collection[str] = ()) -> Iterator[pa.RecordBatch]:
    """The rows of the cells that a manifest asks for, each cell once, file by file; of these checks alone, if any."""
    wanted, seen = set(manifest["cells"]), set[str]()
    for path in sorted((run / "rows").glob("*.parquet")):
        with pq.ParquetFile(path, read_dictionary=_TEXTS) as file:
            listed = (file.schema_arrow.metadata or {}).get(_CELLS)
            # A file that somebody else wrote may list nothing.
            named = set(pc.unique(file.read(["cell"])["cell"]).to_pylist() if listed is None else json.loads(listed))
            here = (named & wanted) - seen
            seen |= here
            if not here:
                continue
            whole = here == named  # then there is no need to look at each row's cell
            for batch in file.iter_batches(_ROWS, columns=list(COLUMNS)):
                keep = None if whole else pc.is_in(batch["cell"].dictionary_decode(), pa.array(sorted(here)))
                if checks:
                    ours = pc.is_in(batch["check"].dictionary_decode(), pa.array(sorted(checks)))
                    keep = ours if keep is None else pc.and_(keep, ours)
                yield batch if keep is None else batch.filter(keep)


def read_rows(run: Path, checks: Collection[str] = ()) -> pd.DataFrame:
    """Every row of the cells that the run's current plan asks for, in an order that depends on nothing but the rows.

    Of these checks alone, if any are named: one frame of all rows of a large run is larger than memory.
    """

    def frame(_: Iterator[pa.RecordBatch], manifest: dict[str, Any]) -> pd.DataFrame:
        batches = row_batches(Path(run), manifest, checks)
        table = pa.concat_tables(
            [ROW_SCHEMA.empty_table(), *(pa.Table.from_batches([batch]).cast(ROW_SCHEMA) for batch in batches)]
        )
        order = ["check", "method", "setting", "position", "seed", "metric", "sample"]
        rows: pd.DataFrame = table.to_pandas().drop_duplicates([*order, "cell"])
        return rows.sort_values(order, kind="stable", ignore_index=True)

    return read(run, frame)


def _cells_of(path: Path) -> list[str]:
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(f"Expected {path} to be a complete Parquet file, but it cannot be read: {error}.") from error
    cells: list[str] = json.loads(metadata.get(_CELLS, b"[]"))
    return cells


def _name(path: Path, cells: set[str]) -> str:
    """A name for those rows of a file that belong to these cells: block and state as before, then the cells."""
    digest = hashlib.sha256("".join(sorted(cells)).encode()).hexdigest()[:12]
    return f"{'-'.join(path.stem.split('-')[:2])}-{digest}.parquet"


def _write_table(path: Path, table: pa.Table, cells: set[str]) -> None:
    """Those rows of a table that belong to these cells, as a file that lists the cells."""
    rows = table.filter(pc.is_in(table["cell"], pa.array(sorted(cells), pa.string())))
    rows = rows.replace_schema_metadata({_CELLS: json.dumps(sorted(cells)).encode()})
    _write(path, lambda unfinished: pq.write_table(rows, unfinished, compression="zstd"))


def _write(path: Path, write: Any) -> None:
    """Write under a temporary name, flush to the disk, rename: the file is there as a whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(
            f"Could not write {path}: {error.strerror or error}. What was finished before is safe."
        ) from error
