"""Series in a table: wide, a row a series; or long, a row a position."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from heatproof.data.table_rows import Rows, floats, rows_of, words_in
from heatproof.errors import InputError, unknown

TABLES = (".csv", ".tsv", ".parquet")


class Asked(NamedTuple):
    """What is said of a table of series: its columns by name, and the leads."""

    path: str
    id: str
    time: str
    label: str
    leads: tuple[str, ...]


def is_table(path: str) -> bool:
    """Whether a path names a table."""
    return any(end in TABLES for end in Path(path).suffixes)


class LongRows:
    """Series of a long table: the rows of one `id` are its positions, a column a lead.

    Raises: InputError for a column that is not there, a series of another length, or with several labels.
    """

    def __init__(self, asked: Asked) -> None:
        words = [name for name in (asked.id, asked.label) if name]
        self.rows = rows_of(asked.path, [*asked.leads, *filter(None, [asked.time])], words)
        label = _label_of(self.rows, asked)
        _check(self.rows, [asked.id, *asked.leads, *filter(None, [asked.time])], asked.path)
        others = {asked.id, asked.time, label}
        self.leads = asked.leads or tuple(
            name for name, number in self.rows.kinds.items() if number and name not in others
        )
        if not self.leads:
            raise InputError(f"Expected a column of numbers for each lead in {asked.path}, but it has none.")
        self.digest, self.where = self.rows.digest, asked.path
        words_there = words_in(self.rows, asked.id)
        if None in words_there:
            raise _lacking(asked.path, asked.id, words_there.index(None))
        names = [str(word) for word in words_there]
        self.ids = tuple(dict.fromkeys(names))
        number = {name: place for place, name in enumerate(self.ids)}
        of = np.array([number[name] for name in names], np.int64)
        if asked.time:
            times = np.concatenate([floats(part[asked.time]) for part in self.rows.chunks([asked.time])])
            if np.isnan(times).any():
                raise _lacking(asked.path, asked.time, int(np.isnan(times).argmax()))
            order = np.lexsort((times, of))
        else:
            order = np.argsort(of, kind="stable")
        lengths = np.bincount(of, minlength=len(self.ids))
        self.length = int(lengths[0]) if len(lengths) else 0
        other = np.flatnonzero(lengths != self.length)
        if len(other):
            raise InputError(
                f"Expected series of one length in {asked.path}, {self.length} rows as {self.ids[0]!r}, but "
                f"{self.ids[other[0]]!r} has {lengths[other[0]]}; cut or resample them to one."
            )
        self.places = order.reshape(len(self.ids), self.length)
        self.labels = self._labels(label)

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, places: Sequence[int]) -> np.ndarray:
        """Series (n, leads, T)."""
        wanted = self.places[list(places)]
        part = self.rows.take(wanted.reshape(-1).tolist(), self.leads)
        values = np.stack([floats(part[name]) for name in self.leads])
        return values.reshape(len(self.leads), len(wanted), self.length).transpose(1, 0, 2)

    def _labels(self, label: str) -> np.ndarray | None:
        if not label:
            return None
        words = words_in(self.rows, label)
        found = [{words[row] for row in rows} for rows in self.places.tolist()]
        several = next((i for i, one in enumerate(found) if len(one) != 1 or None in one), None)
        if several is not None:
            raise InputError(
                f"Expected one label a series in column {label!r} of {self.where}, but {self.ids[several]!r} has "
                f"{', '.join(sorted(map(str, found[several])))}."
            )
        return np.array([str(next(iter(one))) for one in found])


class WideRows:
    """Series of a wide table: a row each, a column a position; those of a lead are called `lead_0`, `lead_1`, …"""

    def __init__(self, asked: Asked) -> None:
        words = [asked.label] if asked.label else []
        self.rows: Rows = rows_of(asked.path, (), words)
        label = _label_of(self.rows, asked)
        free = [name for name, number in self.rows.kinds.items() if number and name != label]
        if not asked.leads:
            _check_one_lead(free, asked.path)
        self.leads = asked.leads or ("",)
        self.columns = [free] if not asked.leads else [_columns(lead, free) for lead in asked.leads]
        if len(asked.leads) == 1 and not self.columns[0]:
            self.columns = [free]
        lengths = {len(names) for names in self.columns}
        if len(lengths) > 1 or not min(lengths):
            said = ", ".join(f"{lead}: {len(names)}" for lead, names in zip(self.leads, self.columns, strict=True))
            raise InputError(
                f"Expected as many columns of numbers for each lead in {asked.path}, called like "
                f"'{self.leads[0]}_0', but got {said}."
            )
        self.length, self.digest = lengths.pop(), self.rows.digest
        self.labels = None
        if label:
            found = words_in(self.rows, label)
            if None in found:
                raise InputError(f"Expected a label in {label!r} for every row, but row {found.index(None)} has none.")
            self.labels = np.array(found)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """What rows are called."""
        return tuple(f"row {row}" for row in range(len(self)))

    def read(self, places: Sequence[int]) -> np.ndarray:
        """Series (n, leads, T)."""
        part = self.rows.take(list(places), [name for names in self.columns for name in names])
        return np.stack([np.stack([floats(part[name]) for name in names], 1) for names in self.columns], 1)


def _label_of(rows: Rows, asked: Asked) -> str:
    """The column of labels; the default one need not be there."""
    if asked.label in rows.kinds:
        return asked.label
    if asked.label in ("", "label"):
        return ""
    raise unknown(f"column of {asked.path}", asked.label, rows.kinds)


def _lacking(path: str, column: str, row: int) -> InputError:
    return InputError(f"Expected a value in {column!r} for every row of {path}, but row {row} has none.")


def _check(rows: Rows, names: Sequence[str], path: str) -> None:
    for name in names:
        if name not in rows.kinds:
            raise unknown(f"column of {path}", name, rows.kinds)


def _check_one_lead(names: Sequence[str], path: str) -> None:
    """Refuse columns called like positions beside others, such as a patient's number: these would be positions, too."""
    stems = {name: m[1] for name in names if (m := re.fullmatch(r"(.*?)[_. -]?\d+", name))}
    most, count = next(iter(Counter(stems.values()).most_common(1)), ("", 0))
    odd = [name for name in names if stems.get(name) != most]
    if odd and count > 1:
        first = next(name for name, stem in stems.items() if stem == most)
        raise InputError(
            f"Expected columns of numbers of one series in {path}, called like {first!r}, but {odd[0]!r} is called "
            f"otherwise; name the leads, leads=({most!r}, …), whose columns alone count then."
        )


def _columns(lead: str, names: Sequence[str]) -> list[str]:
    """The columns of a lead, in the order of their numbers."""
    found = [(int(m[1]), name) for name in names if (m := re.fullmatch(rf"{re.escape(lead)}[_. -]?(\d+)", name))]
    return [name for _, name in sorted(found)]
