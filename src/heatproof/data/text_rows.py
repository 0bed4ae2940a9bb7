"""Where texts and their labels stand: a table (CSV, TSV, JSON lines, Parquet), or a folder of text files."""

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from heatproof.data.listing import files_below
from heatproof.data.table_rows import rule_of
from heatproof.errors import InputError, unknown

# pandas and pyarrow report broken files through these.
UNREADABLE = (OSError, EOFError, ValueError, zlib.error)
JSON_LINES = (".jsonl", ".ndjson")
FILE, LABEL = "file", "label"  # columns of a folder: the file's path in it, and its subfolder


class TextRows:
    """The rows of a table of texts, or the .txt files of a folder, a subfolder a class, which are read by need.

    Raises: InputError for what is missing, broken, or lacks the column of texts.
    """

    def __init__(self, path: str, text: str) -> None:
        self.path, self.text = path, text
        self.root = Path(path) if path and Path(path).is_dir() else None
        self.table = _read(path) if self.root is None else _files(self.root)
        if self.root is None:
            column(self.table, text, path)

    def __len__(self) -> int:
        return len(self.table)

    def id_of(self, row: int) -> str:
        """What a row is called."""
        return f"row {row}" if self.root is None else str(self.table[FILE].iloc[row])

    def texts(self, rows: Sequence[int]) -> Iterator[str | None]:
        """The texts of some rows; None where there is none."""
        if self.root is None:
            yield from (one if isinstance(one, str) else None for one in self.table[self.text].iloc[list(rows)])
            return
        for name in self.table[FILE].iloc[list(rows)]:
            path = self.root / str(name)
            try:  # a pipe would be waited for
                yield path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
            except OSError:
                yield None

    def content(self, rows: Sequence[int]) -> Iterable[object]:
        """What tells rows apart without reading files: a table's texts, or files' names and sizes."""
        if self.root is None:
            return list(self.table[self.text].iloc[list(rows)])
        files = [(str(name), self.root / str(name)) for name in self.table[FILE].iloc[list(rows)]]
        return [(name, path.stat().st_size if path.exists() else 0) for name, path in files]

    def where(self, rule: str) -> list[int]:
        """The places of the rows that `rule`, "column=value", keeps; "" keeps all."""
        asked = rule_of(rule)
        if asked is None:
            return list(range(len(self)))
        name, value = asked
        values = column(self.table, name, self.path).astype(str)
        kept = [row for row, found in enumerate(values) if found == value]
        if not kept:
            found = ", ".join(sorted(map(str, values.unique()))[:8])
            raise InputError(f"Expected rows of {self.path} with {rule!r}, but there are none; {name} is {found}.")
        return kept


def column(table: pd.DataFrame, name: str, path: str) -> "pd.Series[str]":
    """A column by name. Raises: InputError with the nearest name."""
    if name not in table.columns:
        raise unknown(f"column of {path}", name, map(str, table.columns))
    return table[name]


def _read(path: str) -> pd.DataFrame:
    if not Path(path).is_file():
        raise InputError(f"Expected `path` to name a table or a folder of texts, but got {path!r}, which is neither.")
    ends = Path(path).suffixes
    try:
        if ends[-1:] == [".parquet"]:
            return pd.read_parquet(path)
        if ends[-1:] and ends[-1] in JSON_LINES:
            return _json_lines(Path(path))
        # As text: "NA" is a word, and only an empty cell is missing.
        return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], sep="\t" if ".tsv" in ends else ",")
    except UNREADABLE as error:
        raise InputError(
            f"Expected {path} to be a CSV, TSV, JSON lines or Parquet file, but reading it failed ({error})."
        ) from error


def _json_lines(path: Path) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is no object")
            rows.append(row)
    return pd.DataFrame(rows)


def _files(root: Path) -> pd.DataFrame:
    """The .txt files of a folder, each with its subfolder; without a label where they lie beside one another."""
    texts = [name for name in files_below(root) if name.endswith(".txt")]
    found = [(name, name.split("/")[0] if "/" in name else None) for name in texts]
    labels = {label for _, label in found}
    if None in labels and len(labels) > 1:
        found = [pair for pair in found if pair[1] is not None]  # word lists and read-mes beside the classes
    if not found:
        raise InputError(
            f"Expected .txt files in {str(root)!r}, a subfolder a class, or beside one another without labels, but "
            "found none."
        )
    return pd.DataFrame(found, columns=[FILE, LABEL])
