"""What a table's inputs are made with: vocabularies, mean and std, names of labels, as given or taken from rows."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from heatproof.data.table_rows import Rows, floats, words_of
from heatproof.errors import InputError, unknown


class Fitted(NamedTuple):
    """The words of each category, (F,) mean and std of the numbers, and the labels' names where they have some."""

    vocabularies: Mapping[str, Sequence[str]]
    mean: np.ndarray
    std: np.ndarray
    classes: Sequence[str]


def fitted(
    rows: Rows,
    kept: np.ndarray,
    *,
    numbers: Sequence[str],
    categories: Sequence[str],
    label: str,
    where: str,
) -> Fitted:
    """All of it, in one pass over the rows at the places `kept`, a part that fits into memory after the other.

    Std of the population, 1 for a column of equal values. Labels that are whole numbers have no names.
    """
    wanted = list(dict.fromkeys([*categories, *numbers, *([label] if label else [])]))
    for name in wanted:
        if name not in rows.kinds:
            raise unknown(f"column of {where}", name, rows.kinds)
    found: dict[str, set[str]] = {name: set() for name in categories}
    names: set[str] = set()
    so_far, at = Moments(0, np.zeros(len(numbers)), np.zeros(len(numbers))), 0
    for part in rows.chunks(wanted) if wanted else ():
        inside = kept[(kept >= at) & (kept < at + len(part))] - at
        at += len(part)
        chosen = part.take(pa.array(inside))
        for name in categories:
            if pa.types.is_nested(chosen[name].type):
                raise InputError(
                    f"Expected numbers or words in column {name!r} of {where}, but it holds {chosen[name].type}; leave "
                    f"it out, ignore=[{name!r}]."
                )
            found[name].update(filter(None, words_of(chosen[name].unique())))
        if label:
            names.update(filter(None, words_of(chosen[label].unique())))
        if numbers:
            values = np.stack([floats(chosen[name]) for name in numbers], 1)
            so_far = so_far.with_more(values[np.isfinite(values).all(1)])
    std = np.sqrt(so_far.squares / max(so_far.rows, 1))
    return Fitted(
        {name: tuple(sorted(words)) for name, words in found.items()},
        so_far.mean,
        np.where(std > 0, std, 1.0),
        () if all(map(is_whole, names)) else tuple(sorted(names)),
    )


class Moments(NamedTuple):
    """Of rows (n, F): how many, their mean, and the summed squares of their differences from it."""

    rows: int
    mean: np.ndarray
    squares: np.ndarray

    def with_more(self, more: np.ndarray) -> "Moments":
        """Of these rows and more of them. Source: Chan, Golub and LeVeque 1979, eq. 1.5, for two samples."""
        if not len(more):
            return self
        mean, count = more.mean(0), self.rows + len(more)
        apart = mean - self.mean
        within = np.square(more - mean).sum(0) + np.square(apart) * self.rows * len(more) / count
        return Moments(count, self.mean + apart * len(more) / count, self.squares + within)


def is_whole(word: Any) -> bool:
    """Whether a label is a whole number from 0 on, as text."""
    return isinstance(word, str) and word.isdecimal() and len(word) < 9
