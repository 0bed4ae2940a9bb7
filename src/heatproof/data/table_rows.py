"""Rows of a table: of a CSV file or a frame, held in memory by columns, or of a Parquet file, by row groups."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from heatproof.errors import InputError, shown, unknown

UNREADABLE = (OSError, EOFError, ValueError, KeyError)  # pyarrow's own errors are some of these
_NO_NUMBER = re.compile(r"column #(?P<column>\d+): Row #(?P<line>\d+): .* to double: invalid value '(?P<value>.*)'")
GROUPS = 4  # row groups that are kept decoded
WHOLE = 2**26  # bytes of a file that is told from others by all of it


class Rows(Protocol):
    """A table whose rows have numbers. `kinds` says of each column whether it holds numbers, in the file's order."""

    kinds: dict[str, bool]
    digest: str

    def __len__(self) -> int: ...

    def take(self, places: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Some columns of some rows."""

    def chunks(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Some columns of all rows, a part that fits into memory after the other."""


class Held(str):
    """A table in memory, in the place of a path: the text is the digest of what it holds."""

    table: pa.Table

    @classmethod
    def of(cls, frame: Any) -> "Held":
        """Of a pandas DataFrame, a polars one, or a table of pyarrow. Raises: InputError for anything else."""
        try:
            if hasattr(frame, "to_arrow"):
                table = frame.to_arrow()
            elif isinstance(frame, pa.Table):
                table = frame
            else:
                table = pa.Table.from_pandas(frame, preserve_index=False)
        except (TypeError, AttributeError, ValueError, pa.ArrowException) as error:
            got = f"{shown(frame)} ({error})"
            raise InputError(f"Expected a table, such as a pandas DataFrame, but got {got}.") from None
        table = table.replace_schema_metadata(None).combine_chunks()
        written = pa.BufferOutputStream()
        with pa.ipc.new_stream(written, table.schema) as stream:
            stream.write_table(table)
        held = cls(hashlib.sha256(written.getvalue()).hexdigest())
        held.table = table
        return held


def _check_names(names: Sequence[str], where: str) -> None:
    """Refuse a table with two columns of one name. Raises: InputError."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"Expected columns with a name of their own in {where}, but two are called {twice[0]!r}.")


class InMemory:
    """Rows of a table of pyarrow."""

    def __init__(self, table: pa.Table, digest: str) -> None:
        _check_names(table.schema.names, "the table")
        self.table, self.digest = table, digest
        self.kinds = {field.name: _holds_numbers(field.type) for field in table.schema}

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def take(self, places: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Some columns of some rows."""
        return self.table.select(list(columns)).take(pa.array(list(places), pa.int64()))

    def chunks(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The table."""
        yield self.table.select(list(columns))


class ParquetRows:
    """Rows of a Parquet file: the row groups that hold them are decoded when they are wanted."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.file = pq.ParquetFile(path)
            self.digest = _footer(Path(path))
        except UNREADABLE as error:
            raise InputError(f"Expected {path} to be a Parquet file, but reading it failed ({error}).") from error
        _check_names(self.file.schema_arrow.names, path)
        self.kinds = {field.name: _holds_numbers(field.type) for field in self.file.schema_arrow}
        sizes = [self.file.metadata.row_group(i).num_rows for i in range(self.file.num_row_groups)]
        self.starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self._group = lru_cache(maxsize=GROUPS)(self._decoded)

    def __len__(self) -> int:
        return int(self.file.metadata.num_rows)

    def take(self, places: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Some columns of some rows."""
        wanted = np.asarray(places, dtype=np.int64)
        groups = np.searchsorted(self.starts, wanted, side="right") - 1
        order = np.argsort(groups, kind="stable")
        parts = []
        for group in np.unique(groups).tolist():
            rows = wanted[order][groups[order] == group] - self.starts[group]
            parts.append(self._group(group, tuple(columns)).take(pa.array(rows)))
        if not parts:
            return self.file.schema_arrow.empty_table().select(list(columns))
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return pa.concat_tables(parts).take(pa.array(back))

    def chunks(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """One row group after the other."""
        for group in range(self.file.num_row_groups):
            yield self._decoded(group, tuple(columns))

    def _decoded(self, group: int, columns: tuple[str, ...]) -> pa.Table:
        try:
            return self.file.read_row_group(group, columns=list(columns))
        except UNREADABLE as error:
            raise InputError(
                f"Expected row group {group} of {self.path} to be readable, but it is not: {error}."
            ) from None


def rows_of(path: str, numbers: Sequence[str], words: Sequence[str]) -> Rows:
    """The rows of a file, or of a table in memory. Columns of `numbers` and `words` are read as such.

    Raises: InputError for what is missing or broken, and a value that is no number, with its row and column.
    """
    if isinstance(path, Held):
        return InMemory(path.table, str(path))
    if not path or not Path(path).is_file():
        raise InputError(
            f"Expected `path` to name a table, .csv, .tsv or .parquet, but got {path!r}, which is no file."
        )
    if Path(path).suffix == ".parquet":
        return ParquetRows(path)
    return _csv(path, numbers, words)


def _csv(path: str, numbers: Sequence[str], words: Sequence[str]) -> InMemory:
    parse = arrow_csv.ParseOptions(delimiter="\t" if ".tsv" in Path(path).suffixes else ",", newlines_in_values=True)
    read = arrow_csv.ReadOptions(use_threads=False)
    try:
        with arrow_csv.open_csv(path, parse_options=parse, read_options=read) as first:
            _check_names(first.schema.names, path)
            kinds = {field.name: _holds_numbers(field.type) for field in first.schema}
        kinds |= {name: True for name in numbers if name in kinds} | {name: False for name in words if name in kinds}
        types = {name: pa.float64() if number else pa.string() for name, number in kinds.items()}
        convert = arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=False)
        table = arrow_csv.read_csv(path, parse_options=parse, read_options=read, convert_options=convert)
    except InputError:
        raise
    except UNREADABLE as error:
        wrong = _NO_NUMBER.search(str(error))
        if wrong is not None:
            name = list(kinds)[int(wrong["column"])]
            raise InputError(
                f"Expected numbers in column {name!r} of {path}, but line {wrong['line']} has {wrong['value']!r}; mend "
                "it, or name the column among `categories`."
            ) from None
        raise InputError(f"Expected {path} to be a CSV file, but reading it failed ({error}).") from error
    return InMemory(table.combine_chunks(), hashlib.sha256(Path(path).read_bytes()).hexdigest())


def floats(column: Any) -> np.ndarray:
    """A column of numbers as float64, NaN where it has none."""
    if pa.types.is_decimal(column.type) or pa.types.is_boolean(column.type):
        column = column.cast(pa.float64() if pa.types.is_decimal(column.type) else pa.int8())
    found: np.ndarray = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return found


def words_of(column: Any) -> list[str | None]:
    """A column as text, None where it has none; whole numbers without a point."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        values = column.to_pylist()
        return [None if v is None or v != v else str(int(v)) if v == int(v) else str(v) for v in values]
    return [None if value is None or value == "" else value for value in column.cast(pa.string()).to_pylist()]


def words_in(rows: Rows, column: str) -> list[str | None]:
    """A whole column as text, as `words_of`."""
    return [word for part in rows.chunks([column]) for word in words_of(part[column])]


def _holds_numbers(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _footer(path: Path) -> str:
    """SHA-256 of a Parquet file; of one above 64 MiB that of its size and its last part, which has statistics of every
    column and row group."""
    if path.stat().st_size <= WHOLE:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    with path.open("rb") as file:
        file.seek(0, 2)
        size = file.tell()
        file.seek(max(0, size - 8))
        length = int.from_bytes(file.read(4), "little")
        file.seek(max(0, size - 8 - length))
        return hashlib.sha256(str(size).encode() + file.read()).hexdigest()


def rule_of(rule: str) -> tuple[str, str] | None:
    """Column and value of "column=value"; None for "". Raises: InputError for anything else."""
    if not rule:
        return None
    name, equals, value = rule.partition("=")
    if not equals:
        raise InputError(f"Expected rows as 'column=value', but got {rule!r}.")
    return name.strip(), value.strip()


def kept_by(rows: Rows, rule: str, path: str) -> np.ndarray:
    """The places of the rows that a rule keeps."""
    asked = rule_of(rule)
    if asked is None:
        return np.arange(len(rows))
    name, value = asked
    if name not in rows.kinds:
        raise unknown(f"column of {path}", name, rows.kinds)
    kept, seen, at = list[np.ndarray](), set[str](), 0
    for part in rows.chunks([name]):
        coded = part[name].combine_chunks().dictionary_encode()
        words = words_of(coded.dictionary)
        codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        wanted = [place for place, word in enumerate(words) if word == value]
        kept.append(np.flatnonzero(np.isin(codes, wanted)) + at)
        seen.update(map(str, words[:8]))
        at += len(part)
    found = np.concatenate(kept) if kept else np.empty(0, np.int64)
    if not len(found):
        raise InputError(
            f"Expected rows of {path} with {rule!r}, but there are none; {name} is {', '.join(sorted(seen)[:8])}."
        )
    return found
