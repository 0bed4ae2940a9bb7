"""Rows of a table with its columns' names: numbers as they are or standardized, categories as integers or one-hot."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from heatproof.data.base import DATA, MOST_LABELS, UNLABELLED, Dataset, Source, none_of
from heatproof.data.ids import unique
from heatproof.data.listing import Listing
from heatproof.data.seen_as import Names
from heatproof.data.table_fit import Fitted, fitted, is_whole
from heatproof.data.table_rows import Held, floats, kept_by, rows_of, rule_of, words_in, words_of
from heatproof.errors import InputError, shown, unknown
from heatproof.features import Features, Segments
from heatproof.frozen import Frozen, Settings

NUMBERS, CATEGORIES = "numbers", "categories"  # names of side inputs


@DATA.register("table")
@dataclass(frozen=True, kw_only=True)
class Table(Source):
    """Rows of a CSV (also compressed), TSV or Parquet file, or of a DataFrame (`heatproof.data.table`).

    Inputs are (N, F) float32: the columns of `numbers` in their order, and with `encoding="one-hot"` behind them a
    column for each word of each category's vocabulary. With `encoding="integers"` categories are side inputs, int64:
    the place of each word in its vocabulary, as "categories" (N, K) and each under its own name (N,), for embeddings of
    the network; `numbers` are a side input, too. A category is one feature however it is encoded, and so is a group.

    A row without one of its values is an error that names row and column, or left out with `missing="skip"`. A CSV file
    is held in memory by columns, of a Parquet file the row groups that are being read.

    Attributes:
        path: the file: .parquet, .tsv, or CSV otherwise.
        label: the column of labels: whole numbers from 0 on, or names, numbered in sorted order; "" for none.
        number: the column of a number that the network's output should be, in the place of a label.
        id: the column of unique ids; "" for the row's number.
        rows: "column=value" keeps the rows with that value; "" keeps all.
        numbers, categories: columns by name. Where neither is given, all columns that hold numbers, and all others, in
            the file's order, without those that are named above and below.
        ignore: columns that are no inputs.
        encoding: of categories: "integers" or "one-hot".
        vocabularies: the words of a category in the order of their integers; else those that `fit` has, sorted.
        unknown: the word of a vocabulary that stands for words which it lacks; "" refuses these, by row and column.
        groups: columns of `numbers` that are one feature, by its name: one-hots that the file has already.
        standardize: x ← (x − mean) / std of each column of `numbers`, by the rows of `fit`; in float64, std of the
            population, 1 for a column of equal values, as scikit-learn's StandardScaler has it. `mean` and `std` are
            given ones.
        fit: the table that vocabularies, mean, std and names of labels are taken of, such as the training part; `path`
            itself by default.
        fit_rows: "column=value" keeps its rows with that value.
        classes: the name of each label.
        missing: "refuse" or "skip".

    >>> import pandas as pd
    >>> patients = pd.DataFrame({"age": [50.0, 61.0], "dose": [1.0, 0.5], "ill": ["no", "yes"]})
    >>> patients.to_csv("patients.csv", index=False)
    >>> data = hp.data.Table(path="patients.csv", label="ill").load()
    >>> data.inputs.tolist(), data.targets.tolist()
    ([[50.0, 1.0], [61.0, 0.5]], [0, 1])
    """

    path: str = ""
    label: str = "label"
    number: str = ""
    id: str = ""
    rows: str = ""
    numbers: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    encoding: Literal["integers", "one-hot"] = "integers"
    vocabularies: Mapping[str, tuple[str, ...]] = Settings()
    unknown: str = ""
    groups: Mapping[str, tuple[str, ...]] = Settings()
    standardize: bool = False
    fit: str = ""
    fit_rows: str = ""
    classes: tuple[str, ...] = ()
    missing: Literal["refuse", "skip"] = "refuse"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("numbers", "categories", "ignore", "classes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("vocabularies", "groups"):
            lists = {str(key): tuple(map(str, words)) for key, words in getattr(self, name).items()}
            object.__setattr__(self, name, Settings(lists))
        grouped = [name for names in self.groups.values() for name in names]
        if twice := next((name for name in grouped if grouped.count(name) > 1), ""):
            raise InputError(f"Expected each column in one group at most, but {twice!r} is in `groups` twice.")
        if self.standardize and self.mean:
            raise InputError("Expected either `standardize` or `mean` and `std`, but got both.")
        for name, words in self.vocabularies.items():
            if len(set(words)) < len(words) or (self.unknown and self.unknown not in words):
                problem = f"lacks {self.unknown!r}" if len(set(words)) == len(words) else "has a word twice"
                raise InputError(f"Expected a vocabulary of different words, but that of {name!r} {problem}.")

    @property
    def labels_by_name(self) -> bool:
        return bool(self.label) and not self.number

    def listing(self) -> Listing:
        return _Table(self)


def table(frame: Any, **settings: Any) -> Table:
    """A source of the rows of a pandas or polars DataFrame, a table of pyarrow, or a file; `settings` are `Table`'s.

    Raises: InputError for anything else, and for settings that do not fit.
    """
    place = str(frame) if isinstance(frame, str | Path) else Held.of(frame)
    return Table(path=place, **settings)


class _Table(Listing):
    """The rows of a `Table`."""

    def __init__(self, source: Table) -> None:
        self.source = source
        self.name = "table" if isinstance(source.path, Held) else Path(source.path).name.split(".")[0]
        numeric = [*source.numbers, *filter(None, [source.number])]
        words = [*source.categories, *filter(None, [source.id]), *_columns_of_rules(source)]
        self.table = rows_of(source.path, numeric, words)
        self.label = source.number or source.label
        self._check_columns()
        self.numbers, self.categories = self._roles()
        self.wanted = list(dict.fromkeys([*self.numbers, *self.categories, *filter(None, [self.label])]))
        self.rows = kept_by(self.table, source.rows, source.path)
        self.fitted = self._fitted()
        self.classes = None if source.number else tuple(self.fitted.classes) or None
        self.features, self.names = self._features()
        self.ids = None
        if source.id:
            self.ids = unique([one or "" for one in words_in(self.table, source.id)])
        self.note = self._of_itself()
        self.hint = "a row needs a value in every column"

    @property
    def content(self) -> Any:
        words = {name: list(words) for name, words in self.fitted.vocabularies.items()}
        scale = [self.fitted.mean.tolist(), self.fitted.std.tolist()]
        kept = hashlib.sha256(np.asarray(self.rows, np.int64).tobytes()).hexdigest()
        return [self.table.digest, kept, self.numbers, self.categories, words, scale, self.classes]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, places: Sequence[int]) -> Dataset:
        chosen = [int(self.rows[place]) for place in places]
        part = self.table.take(chosen, self.wanted)
        columns = [floats(part[name]) for name in self.numbers]
        values = np.stack(columns, 1) if columns else np.empty((len(part), 0))
        texts = {name: words_of(part[name]) for name in self.categories}
        labels = self._labels(part)
        lacking = self._lacking(values, texts, labels)
        if lacking and self.source.missing == "refuse":
            row, column = next(iter(lacking.items()))
            raise InputError(
                f"Expected a value in every column of {self.name}, but row {chosen[row]} has none in {column!r}; fill "
                "it in, leave such rows out (missing='skip'), or the column (ignore=[…])."
            )
        kept = [i for i in range(len(chosen)) if i not in lacking]
        rows = [chosen[i] for i in kept]
        skipped = [(self._id(chosen[i]), f"no value in column {column!r}") for i, column in lacking.items()]
        if not kept:
            return none_of(self.name, self.classes, skipped)
        values, texts = values[kept], {name: [words[i] for i in kept] for name, words in texts.items()}
        labels = None if labels is None else [labels[i] for i in kept]
        inputs, given = self._inputs(values, {name: self._integers(name, words, rows) for name, words in texts.items()})
        number = self.source.number and labels is not None
        return Dataset(
            name=self.name,
            inputs=inputs,
            targets=torch.tensor([UNLABELLED] * len(kept) if number or labels is None else self._numbered(labels)),
            numbers=torch.tensor(labels, dtype=torch.float32) if number else None,
            ids=tuple(map(self._id, rows)),
            classes=self.classes,
            given=given,
            names=self.names,
            cells=self._cells(values, texts),
            features=self.features,
            skipped=tuple(skipped),
        )

    def _check_columns(self) -> None:
        source, known = self.source, list(self.table.kinds)
        named = [*source.numbers, *source.categories, *source.ignore, *source.vocabularies, source.id]
        named += [name for group in source.groups.values() for name in group]
        for name in filter(None, named):
            if name not in known:
                raise unknown(f"column of {self.name}", name, known)
        if self.label and self.label not in known:
            raise InputError(
                f"Expected the labels of {self.name} in a column {self.label!r}, but its columns are "
                f"{', '.join(known[:20])}; name it, label='…', or a number to predict, number='…', or say label=''."
            )
        if {NUMBERS, CATEGORIES} & set(known):
            raise InputError(f"Expected no columns called {NUMBERS!r} or {CATEGORIES!r}, which side inputs are called.")

    def _roles(self) -> tuple[list[str], list[str]]:
        """The columns of numbers, and of categories."""
        source, kinds = self.source, self.table.kinds
        words = next((name for name in source.numbers if not kinds[name]), None)
        if words is not None:
            raise InputError(
                f"Expected numbers in column {words!r} of {self.name}, but it holds words; is it one of `categories`?"
            )
        if source.numbers or source.categories:
            return list(source.numbers), list(source.categories)
        others = {self.label, source.id, *source.ignore, *_columns_of_rules(source)}
        free = [name for name in kinds if name not in others]
        if not free:
            raise InputError(f"Expected columns of inputs in {self.name}, but it has none beside {self.label!r}.")
        numbers = [name for name in free if kinds[name] and name not in source.vocabularies]
        return numbers, [name for name in free if name not in numbers]

    def _fitted(self) -> Fitted:
        """Vocabularies, mean, std and names of labels: as they are given, or of the rows of `fit`."""
        source = self.source
        if source.mean and len(source.mean) != len(self.numbers):
            raise InputError(
                f"Expected `mean` and `std` of {len(self.numbers)} columns ({', '.join(self.numbers[:4])}, …), but got "
                f"{len(source.mean)} of each."
            )
        rows = self.table
        if source.fit:
            rows = rows_of(source.fit, self.numbers, [*self.categories, *_columns_of_rules(source)])
        found = fitted(
            rows,
            kept_by(rows, source.fit_rows, source.fit or source.path),
            numbers=self.numbers if source.standardize else [],
            categories=[name for name in self.categories if name not in source.vocabularies],
            label=self.label if self.label and not source.number and not source.classes else "",
            where=source.fit or self.name,
        )
        if found.classes and self.table.kinds[self.label]:
            raise self._no_label(found.classes[0])
        words = {name: source.vocabularies.get(name) or found.vocabularies[name] for name in self.categories}
        mean = np.array(source.mean) if source.mean else found.mean if source.standardize else np.zeros(1)
        std = np.array(source.std) if source.std else found.std if source.standardize else np.ones(1)
        return Fitted(words, mean, std, source.classes or found.classes)

    def _of_itself(self) -> str:
        """What is taken of the audited table for want of another, in a sentence."""
        source = self.source
        if source.fit or source.fit_rows:
            return ""
        counted = [repr(name) for name in self.categories if name not in source.vocabularies]
        parts = [f"the integers of {', '.join(counted[:3])}{', …' if counted[3:] else ''}"] if counted else []
        parts += ["mean and std"] if source.standardize else []
        if not parts:
            return ""
        said = " and ".join(parts)
        return (
            f"{said[0].upper()}{said[1:]} are taken of the audited table itself; where the network was trained with "
            "others, name its training part as `fit`."
        )

    def _features(self) -> tuple[Features | None, Names]:
        """What counts as one feature of the inputs, if not each column by itself; and all columns' names."""
        member = {name: group for group, names in self.source.groups.items() for name in names}
        for name in member:
            if name not in self.numbers:
                raise unknown("column of numbers, in `groups`", name, self.numbers)
        parts = [member.get(name, name) for name in self.numbers]
        if self.source.encoding == "one-hot":
            parts += [name for name in self.categories for _ in self.fitted.vocabularies[name]]
        order = list(dict.fromkeys(parts))
        names = Names(columns=(*order, *(name for name in self.categories if name not in order)))
        if len(order) == len(parts):
            return None, names
        return Segments(Frozen(torch.tensor([order.index(part) for part in parts]))), names

    def _labels(self, part: Any) -> list[Any] | None:
        """The label of each row, or its number; None where it has none."""
        if not self.label:
            return None
        if self.source.number:
            return [None if value != value else value for value in floats(part[self.label]).tolist()]
        return list(words_of(part[self.label]))

    def _numbered(self, labels: Sequence[str]) -> list[int]:
        """The number of each label."""
        names, found = self.classes, list[int]()
        for word in labels:
            if names is not None and word in names:
                found.append(names.index(word))
                continue
            if not is_whole(word) and names is not None:
                raise unknown(f"class in column {self.label!r} of {self.name}", word, names)
            if not is_whole(word) or int(word) >= (len(names) if names else MOST_LABELS):
                raise self._no_label(word)
            found.append(int(word))
        return found

    def _no_label(self, word: str) -> InputError:
        most = f", below {len(self.source.classes)}," if self.source.classes else ""
        return InputError(
            f"Expected whole numbers from 0 on{most} or names in column {self.label!r} of {self.name}, but got "
            f"{shown(word)}; say number={self.label!r} where it is a number that the network predicts."
        )

    def _lacking(
        self, values: np.ndarray, texts: Mapping[str, Sequence[str | None]], labels: Sequence[Any] | None
    ) -> dict[int, str]:
        """The rows that lack a value, each with the column."""
        found = {i: self.numbers[j] for i, j in reversed(np.argwhere(~np.isfinite(values)).tolist())}
        columns: Iterable[tuple[str, Sequence[Any]]] = [*texts.items(), *([(self.label, labels)] if labels else [])]
        for name, words in columns:
            for i, word in enumerate(words):
                if word is None:
                    found.setdefault(i, name)
        return dict(sorted(found.items()))

    def _integers(self, name: str, words: Sequence[str | None], rows: Sequence[int]) -> Tensor:
        """The places of words in a category's vocabulary."""
        known = {word: place for place, word in enumerate(self.fitted.vocabularies[name])}
        instead = known.get(self.source.unknown)
        places = [known.get(str(word), instead) for word in words]
        if None in places:
            at = places.index(None)
            raise InputError(
                f"Expected words of the vocabulary of {name!r} ({', '.join(list(known)[:6])}), but row {rows[at]} of "
                f"{self.name} has {shown(words[at])}; add it to `vocabularies`, or name the word for such ones as "
                "`unknown`."
            )
        return torch.tensor(places, dtype=torch.int64)

    def _inputs(self, values: np.ndarray, places: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The explained tensor, and the side inputs."""
        scaled = torch.from_numpy((values - self.fitted.mean) / self.fitted.std).float()
        if self.source.encoding == "one-hot":
            sizes = {name: len(self.fitted.vocabularies[name]) for name in places}
            hot = [torch.nn.functional.one_hot(places[name], sizes[name]).float() for name in places]
            return torch.cat([scaled, *hot], 1), {}
        if not places:
            return scaled, {}
        together = torch.stack(list(places.values()), 1)
        given = {CATEGORIES: together, **places} | ({NUMBERS: scaled} if self.numbers else {})
        return scaled if self.numbers else together, given

    def _cells(self, values: np.ndarray, texts: Mapping[str, Sequence[str | None]]) -> tuple[tuple[str, ...], ...]:
        """What stands in each column of each row, in the order of the columns' names."""
        by_name: dict[str, Sequence[str]] = {name: [str(word) for word in words] for name, words in texts.items()}
        by_name |= {name: [f"{value:.4g}" for value in values[:, j]] for j, name in enumerate(self.numbers)}
        for group, members in self.source.groups.items():
            inside = values[:, [self.numbers.index(name) for name in members]]
            by_name[group] = [_of_group(row, members) for row in inside]
        return tuple(zip(*(by_name[name] for name in self.names.columns), strict=True))

    def _id(self, row: int) -> str:
        return f"row {row}" if self.ids is None else self.ids[row]


def _of_group(row: np.ndarray, members: Sequence[str]) -> str:
    """Which of some one-hots is 1, or their numbers."""
    ones = [name for name, value in zip(members, row, strict=True) if value == 1]
    return ones[0] if len(ones) == 1 and np.count_nonzero(row) == 1 else " ".join(f"{value:.3g}" for value in row)


def _columns_of_rules(source: Table) -> list[str]:
    """The columns that say which rows are kept."""
    return [rule[0] for rule in map(rule_of, (source.rows, source.fit_rows)) if rule is not None]
