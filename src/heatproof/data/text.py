"""Texts with labels from a table, as the tokens of a vocabulary."""

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import torch

from heatproof.data.base import DATA, Dataset, Source
from heatproof.data.listing import Listing, told
from heatproof.errors import InputError, shown, unknown

T = TypeVar("T")
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
# pandas and pyarrow report broken files through these.
UNREADABLE = (OSError, EOFError, ValueError, zlib.error)


@DATA.register("text")
@dataclass(frozen=True, kw_only=True)
class TextTable(Source):
    """Texts and labels from a CSV (also compressed) or Parquet file; each text becomes `length` tokens.

    A token is a run of letters and digits, with inner apostrophes; everything else separates. A text that is longer
    than `length` is cut, a shorter one filled up with the token `pad`, both on `side`. A word that is not in the
    vocabulary becomes the token `unknown`, and is shown in [brackets]. Inputs are token numbers (N, length), int64:
    such a network is explained from the output of its embedding on (`at` of a specification's model).

    A row without text or label is named in `skipped` and left out; that no row is left is an error.

    Attributes:
        path: the file: .parquet, or CSV otherwise.
        text: the column of texts.
        label: the column of labels: whole numbers from 0 on, or names, numbered in sorted order.
        rows: "column=value" keeps the rows with that value; "" keeps all.
        classes: the name of each label; the labels' own names, where they have some, by default.
        vocabulary: a .txt file with a token a line, `pad` and `unknown` among them; or a table like `path`, whose texts
            are counted, "" for `path` itself.
        vocabulary_rows: "column=value" keeps the rows to count; they should be rows that a network was trained on.
        words: how many tokens the vocabulary has when it is counted: `pad` (0), `unknown` (1), then the most frequent
            words, the most frequent first; equally frequent ones in alphabetical order.
        length: tokens a text.
        lowercase: whether texts are put into lower case first.
        side: "left" (fill up before the text, keep its end) as a recurrent network wants it, or "right".
        pad: the token that fills up.
        unknown: the token for words that the vocabulary lacks.
    """

    path: str = ""
    text: str = "text"
    label: str = "label"
    rows: str = ""
    classes: tuple[str, ...] = ()
    vocabulary: str = ""
    vocabulary_rows: str = ""
    words: int = 5000
    length: int = 500
    lowercase: bool = True
    side: str = "left"
    pad: str = "<pad>"
    unknown: str = "<unk>"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "classes", tuple(self.classes))
        if self.side not in ("left", "right"):
            raise unknown("side", self.side, ("left", "right"))
        if self.mean or self.length < 1 or self.words < 3:
            raise InputError(
                "Expected texts without `mean` and `std`, length from 1 and words from 3 on, but got "
                f"{self.mean}, {self.length} and {self.words}."
            )

    def listing(self) -> Listing:
        return _Texts(self)

    def tokenize(self, text: str) -> list[str]:
        """The words of a text, in order."""
        return WORD.findall(text.lower() if self.lowercase else text)

    @cached_property
    def numbered(self) -> dict[str, int]:
        """The vocabulary: each token's number.

        Raises: InputError for a file that cannot be read, has no text, or lacks `pad` or `unknown`.
        """
        if self.vocabulary.endswith(".txt"):
            return self._listed(Path(self.vocabulary))
        path = self.vocabulary or self.path
        table = _read(path)
        texts = _column(table, self.text, path).iloc[_where(table, self.vocabulary_rows, path)]
        counts = Counter(word for text in texts if isinstance(text, str) for word in self.tokenize(text))
        if not counts:
            raise InputError(f"Expected texts in column {self.text!r} of {path} to count words in, but there are none.")
        ranked = sorted(counts, key=lambda word: (-counts[word], word))[: self.words - 2]
        return {word: number for number, word in enumerate((self.pad, self.unknown, *ranked))}

    def _listed(self, path: Path) -> dict[str, int]:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"Expected a vocabulary in {str(path)!r}, but reading it failed ({error}).") from None
        numbered = {token: number for number, token in enumerate(lines)}
        missing = [token for token in (self.pad, self.unknown) if token not in numbered]
        if missing or len(numbered) < len(lines):
            problem = f"lacks {' and '.join(map(repr, missing))}" if missing else "has a token twice"
            raise InputError(
                f"Expected {path} to list a token a line, {self.pad!r} and {self.unknown!r} among them, but it "
                f"{problem}; name the file's own with `pad` and `unknown`."
            )
        return numbered

    def filled(self, items: Sequence[T], pad: T) -> list[T]:
        missing = [pad] * (self.length - len(items))
        if self.side == "left":
            return [*missing, *items[-self.length :]]
        return [*items[: self.length], *missing]


class _Texts(Listing):
    """The rows of a `TextTable`. The table is in memory as text; tokens are made by need."""

    def __init__(self, source: TextTable) -> None:
        self.source, self.name = source, Path(source.path).name.split(".")[0]
        table = _read(source.path)
        self.classes, self.numbers = _labels(source, table)
        self.rows = _where(table, source.rows, source.path)
        self.texts = _column(table, source.text, source.path)
        self.hint = f"a row needs a text in {source.text!r} and a label in {source.label!r}"

    @property
    def content(self) -> Any:
        return told(self.rows, (self.numbers.get(row) for row in self.rows), self.texts.iloc[self.rows])

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, places: Sequence[int]) -> Dataset:
        source, numbered = self.source, self.source.numbered
        ids: list[list[int]] = []
        tokens: list[tuple[str, ...]] = []
        kept: list[int] = []
        skipped: list[tuple[str, str]] = []
        chosen = [self.rows[place] for place in places]
        for row, text in zip(chosen, self.texts.iloc[chosen], strict=True):
            words = source.tokenize(text) if isinstance(text, str) else []
            if not words or row not in self.numbers:
                lacking = f"no label in {source.label!r}" if words else f"no text in {source.text!r}"
                skipped.append((f"row {row}", lacking))
                continue
            kept.append(row)
            unknown_word, pad = numbered[source.unknown], numbered[source.pad]
            ids.append(source.filled([numbered.get(word, unknown_word) for word in words], pad))
            tokens.append(tuple(source.filled([w if w in numbered else f"[{w}]" for w in words], source.pad)))
        inputs = torch.tensor(ids, dtype=torch.int64).reshape(len(ids), source.length)
        return Dataset(
            name=self.name,
            inputs=inputs,
            targets=torch.tensor([self.numbers[row] for row in kept], dtype=torch.int64),
            ids=tuple(f"row {row}" for row in kept),
            classes=self.classes,
            tokens=tuple(tokens),
            mask=(inputs != numbered[source.pad]).long(),
            skipped=tuple(skipped),
        )


def _labels(source: TextTable, table: pd.DataFrame) -> tuple[tuple[str, ...] | None, dict[int, int]]:
    """The classes, and the label of each row that has one."""
    given = {
        row: str(value).strip()
        for row, value in enumerate(_column(table, source.label, source.path))
        if not pd.isna(value) and str(value).strip()
    }
    if all(value.isdecimal() for value in given.values()):
        long = next((value for value in given.values() if len(value) > 8), None)
        if long is not None:
            raise InputError(f"Expected labels below 10⁸ in {source.path}, but got {shown(long)}.")
        numbers = {row: int(value) for row, value in given.items()}
        names = source.classes
    else:
        names = source.classes or tuple(sorted(set(given.values())))
        strange = sorted(set(given.values()) - set(names))
        if strange:
            raise unknown(f"class in column {source.label!r} of {source.path}", strange[0], names)
        numbers = {row: names.index(value) for row, value in given.items()}
    highest = max(numbers.values(), default=0)
    if names and highest >= len(names):
        raise InputError(
            f"Expected labels below {len(names)}, one for each of `classes`, in {source.path}, but got {highest}."
        )
    return names or None, numbers


def _read(path: str) -> pd.DataFrame:
    if not Path(path).is_file():
        raise InputError(f"Expected `path` to name a table of texts, but got {path!r}, which is no file.")
    try:
        if Path(path).suffix == ".parquet":
            return pd.read_parquet(path)
        # As text: "NA" is a word, and only an empty cell is missing.
        return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    except UNREADABLE as error:
        raise InputError(f"Expected {path} to be a CSV or Parquet file, but reading it failed ({error}).") from error


def _column(table: pd.DataFrame, name: str, path: str) -> "pd.Series[str]":
    if name not in table.columns:
        raise unknown(f"column of {path}", name, map(str, table.columns))
    return table[name]


def _where(table: pd.DataFrame, rule: str, path: str) -> list[int]:
    """The places of the rows that `rule`, "column=value", keeps."""
    if not rule:
        return list(range(len(table)))
    name, equals, value = rule.partition("=")
    if not equals:
        raise InputError(f"Expected rows as 'column=value', but got {rule!r}.")
    column = _column(table, name.strip(), path).astype(str)
    kept = [row for row, found in enumerate(column) if found == value.strip()]
    if not kept:
        found = ", ".join(_some(column.unique()))
        raise InputError(f"Expected rows of {path} with {rule!r}, but there are none; {name.strip()} is {found}.")
    return kept


def _some(values: Iterable[str]) -> list[str]:
    return sorted(map(str, values))[:8]
