"""The values of a run by seed and sample, gathered from its rows batch by batch: what every reading is made of.

Sums of squares would not do: most questions compare two quantities sample by sample, and intervals resample samples. So
each value is kept once, as 8 bytes of one table, and 16 while it is gathered; no frame of all rows is ever made.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from heatproof.reading.intervals import BLOCK, of_means
from heatproof.reading.resampling import Array
from heatproof.reading.values import Interval, Key, Values, known_mean

COLUMNS = ("check", "method", "setting", "position", "metric", "seed", "sample", "value")  # of rows, as read here
Rows = pd.DataFrame | Iterable[pa.RecordBatch]
Part = tuple[NDArray[np.int32], NDArray[np.int32], Array]  # keys, samples and values of a batch, by number


@dataclass(frozen=True, eq=False)
class Table:
    """The values of every (check, method, setting, position, metric), sorted by it, all over the same `samples`.

    `gone` counts the degenerate rows of those that have any. Rows about no single sample (sample "") are left out. Of
    several values of one seed and sample the mean counts.
    """

    values: dict[Key, Values]
    gone: dict[Key, int]
    samples: tuple[str, ...]

    @classmethod
    def of(cls, rows: Rows) -> "Table":
        """The table of rows: a frame of them, or batches with the columns `COLUMNS`, texts as dictionaries or plain."""
        gathering = _Gathering()
        for batch in [_batch(rows)] if isinstance(rows, pd.DataFrame) else rows:
            gathering.add(batch)
        return gathering.table()

    def under(self, names: Mapping[str, str]) -> "Table":
        """The same with checks under other names; where two get one name their values of a seed and sample are met."""
        alike: dict[Key, list[Key]] = {}
        for key in self.values:
            alike.setdefault((names.get(key[0], key[0]), *key[1:]), []).append(key)
        values = {key: _met([self.values[one] for one in alike[key]]) for key in sorted(alike)}
        gone = {key: sum(self.gone.get(one, 0) for one in ours) for key, ours in alike.items()}
        return Table(values, {key: count for key, count in gone.items() if count}, self.samples)


class _Gathering:
    """Batches of rows as numbers, until all have come."""

    def __init__(self) -> None:
        self.keys: dict[tuple[Key, int], int] = {}
        self.samples: dict[str, int] = {}
        self.parts: list[Part] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Take the rows of a batch that are about a sample."""
        columns = [_encoded(batch.column(name)) for name in COLUMNS[:-1]]
        values = np.asarray(batch.column("value").to_numpy(zero_copy_only=False), dtype=np.float64)
        names = columns.pop()
        # One number a key: few keys are in a batch, so each is looked up once.
        combined = np.zeros(len(values), dtype=np.int64)
        for numbers, known in columns:
            combined = combined * max(1, len(known)) + numbers
        places, distinct = pd.factorize(combined)
        keys = np.array([self._key(int(one), [known for _, known in columns]) for one in distinct], dtype=np.int32)
        samples = np.array([self.samples.setdefault(str(name), len(self.samples)) for name in names[1]], dtype=np.int32)
        part = keys[places], samples[names[0]], values
        if "" in names[1]:
            about = samples[names[0]] != self.samples[""]
            part = part[0][about], part[1][about], part[2][about]
        self.parts.append(part)

    def _key(self, combined: int, known: list[list[object]]) -> int:
        found: list[object] = []
        for values in reversed(known):
            combined, place = divmod(combined, len(values))
            found.append(values[place])
        seed, metric, position, setting, method, check = found
        key = (str(check), str(method), str(setting), float(str(position)), str(metric)), int(str(seed))
        return self.keys.setdefault(key, len(self.keys))

    def table(self) -> Table:
        """Everything in its place."""
        names = sorted(self.samples.keys() - {""})
        column = np.full(len(self.samples), -1, dtype=np.int64)
        column[[self.samples[name] for name in names]] = np.arange(len(names))
        met = np.zeros(len(self.keys), dtype=bool)  # keys that have rows about a sample
        for keys, _, _ in self.parts:
            met[keys] = True
        entries = sorted(entry for entry, number in self.keys.items() if met[number])
        line = np.full(len(self.keys), -1, dtype=np.int64)
        line[[self.keys[entry] for entry in entries]] = np.arange(len(entries))
        values, times = np.zeros((len(entries), len(names))), np.zeros((len(entries), len(names)), dtype=np.uint16)
        gone = np.zeros(len(entries), dtype=np.int64)
        while self.parts:  # each is let go as its values find their place
            keys, samples, found = self.parts.pop()
            lines, known = line[keys], ~np.isnan(found)
            places = (lines * len(names) + column[samples])[known]
            np.add.at(values.reshape(-1), places, found[known])
            np.add.at(times.reshape(-1), places, 1)
            gone += np.bincount(lines[~known], minlength=len(entries))
        several = times > 1
        values[several] /= times[several]
        values[times == 0] = np.nan
        return Table(*_by_key(entries, values, gone), tuple(names))


def _by_key(
    entries: list[tuple[Key, int]], values: Array, gone: NDArray[np.int64]
) -> tuple[dict[Key, Values], dict[Key, int]]:
    """Lines of the same key together, without seeds under which nothing has a value (the first, where none has)."""
    some = np.logical_or.reduce(np.isfinite(values), axis=1)
    found: dict[Key, Values] = {}
    degenerate: dict[Key, int] = {}
    for key, ours in groupby(range(len(entries)), key=lambda line: entries[line][0]):
        lines = list(ours)
        kept = [line for line in lines if some[line]] or lines[:1]
        whole = kept[-1] - kept[0] + 1 == len(kept)  # then a view of the table, not a copy
        array = values[kept[0] : kept[-1] + 1] if whole else values[kept]
        found[key] = Values(array, tuple(entries[line][1] for line in kept))
        if count := int(gone[lines].sum()):
            degenerate[key] = count
    return found, degenerate


def _met(values: list[Values]) -> Values:
    """The mean of several quantities' values by seed and sample, of those that have one."""
    if len(values) == 1:
        return values[0]
    seeds = tuple(sorted({seed for one in values for seed in one.seeds}))
    stacked = np.full((len(values), len(seeds), values[0].array.shape[1]), np.nan)
    for place, one in zip(stacked, values, strict=True):
        place[[seeds.index(seed) for seed in one.seeds]] = one.array
    return Values(known_mean(stacked), seeds)


def _encoded(column: pa.Array) -> tuple[NDArray[np.int32], list[object]]:
    """A column as numbers, and what each stands for."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()


def _batch(rows: pd.DataFrame) -> pa.RecordBatch:
    columns = {name: rows[name].to_numpy(np.float64 if name == "value" else None) for name in COLUMNS}
    return pa.record_batch({name: pa.array(values, from_pandas=False) for name, values in columns.items()})


def intervals(rows: Table | Rows) -> dict[Key, Interval]:
    """The mean and interval of everything in a table, or of all rows of a frame."""
    table = rows if isinstance(rows, Table) else Table.of(rows)
    ends: dict[Key, tuple[float, float]] = {}
    alike: dict[int, list[Key]] = {}
    for key, values in table.values.items():
        alike.setdefault(len(values.seeds), []).append(key)
    for keys in alike.values():
        for start in range(0, len(keys), BLOCK):
            part = keys[start : start + BLOCK]
            low, high = of_means(np.stack([table.values[key].array for key in part], axis=2))
            ends.update(zip(part, zip(low.tolist(), high.tolist(), strict=True), strict=True))
    return {
        key: Interval(values.mean, *ends[key], values.n, table.gone.get(key, 0)) for key, values in table.values.items()
    }
