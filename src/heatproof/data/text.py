"""Texts with labels from a table or a folder, as the tokens of a vocabulary or a tokenizer."""

import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import torch

from heatproof.data.array_files import whole_numbers
from heatproof.data.base import DATA, UNLABELLED, Dataset, Source
from heatproof.data.defaults import LENGTH, is_default
from heatproof.data.listing import Listing, told
from heatproof.data.text_rows import TextRows, column
from heatproof.data.tokenizers import FILES, Tokenized, Tokenizer, tokenizer_of
from heatproof.errors import HeatproofWarning, InputError, unknown
from heatproof.fields import ADDED

T = TypeVar("T")
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@DATA.register("text")
@dataclass(frozen=True, kw_only=True)
class TextTable(Source):
    """Texts and labels from a CSV (also compressed), TSV, JSON lines or Parquet file, or a folder of .txt files.

    Each text becomes `length` tokens. With `tokenizer` these are the tokens of Hugging Face's tokenizer there; else a
    token is a run of letters and digits, with inner apostrophes; everything else separates. A text that is longer
    than `length` is cut, which a warning says, a shorter one filled up with the token `pad`, both on `side`. A word
    that is not in the vocabulary becomes the token `unknown`, and is shown in [brackets]. Inputs are token numbers
    (N, length), int64: such a network is explained from the output of its embedding on (`at` of a specification's
    model).

    A row without text or label is named in `skipped` and left out; that no row is left is an error.

    Attributes:
        path: the file: .parquet, .jsonl, .tsv, or CSV otherwise; or a folder with a subfolder of .txt files for each
            class, as IMDB has them, or with .txt files alone, which have no labels.
        text: the column of texts.
        label: the column of labels: whole numbers from 0 on, or names, numbered in sorted order; "" for no labels.
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
        tokenizer: a folder with a tokenizer of Hugging Face, which makes the tokens and fills them up in its own way:
            of the fields above `length` alone counts then, 500 or what tokenizer and network take, by default. In an
            audit of `hf:FOLDER` it is that folder's. Needs the extra `transformers`.

    >>> import pandas as pd
    >>> reviews = pd.DataFrame({"text": ["a fine film", "a dull film"], "label": [1, 0]})
    >>> reviews.to_csv("reviews.csv", index=False)
    >>> data = hp.data.TextTable(path="reviews.csv", length=4).load()
    >>> data.targets, data.tokens[0]
    (tensor([1, 0]), ('<pad>', 'a', 'fine', 'film'))
    """

    path: str = ""
    text: str = "text"
    label: str = "label"
    rows: str = ""
    classes: tuple[str, ...] = ()
    vocabulary: str = ""
    vocabulary_rows: str = ""
    words: int = 5000
    length: int = LENGTH
    lowercase: bool = True
    side: str = "left"
    pad: str = "<pad>"
    unknown: str = "<unk>"
    tokenizer: str = field(default="", metadata=ADDED)

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

    @property
    def labels_by_name(self) -> bool:
        return bool(self.label)

    @cached_property
    def tokens_of(self) -> Tokenizer:
        """The tokenizer. Raises: InputError for a `length` that it, or the network beside it, does not take."""
        found = tokenizer_of(self.tokenizer)
        longest = found.longest
        if longest is not None and self.length > longest and not is_default(self.length):
            raise InputError(
                f"Expected length to be at most {longest}, which the model in {self.tokenizer!r} takes, but got "
                f"{self.length}."
            )
        return found

    @property
    def tokens_a_text(self) -> int:
        """How many tokens each text has."""
        longest = self.tokens_of.longest if self.tokenizer else None
        return int(self.length) if longest is None else min(int(self.length), longest)

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
        table = TextRows(path, self.text)
        texts = table.texts(table.where(self.vocabulary_rows))
        counts = Counter(word for text in texts if text is not None for word in self.tokenize(text))
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
    """The rows of a `TextTable`. A table is in memory as text, files of a folder are not; tokens are made by need."""

    def __init__(self, source: TextTable) -> None:
        self.source, self.name = source, Path(source.path).name.split(".")[0]
        self.table = TextRows(source.path, source.text)
        self.classes, self.numbers = _labels(source, self.table)
        self.rows = self.table.where(source.rows)
        if not (source.tokenizer or source.vocabulary or source.vocabulary_rows):
            self.note = (
                "The words' numbers are counted in the audited texts themselves; where the network was trained with "
                "others, name its `vocabulary`."
            )
        self.hint, self.said = f"a row needs a text in {source.text!r} and a label in {source.label!r}", False

    @property
    def content(self) -> Any:
        found = told(self.rows, map((self.numbers or {}).get, self.rows), self.table.content(self.rows))
        return [found, _digest(self.source.tokenizer) if self.source.tokenizer else told(self.source.numbered)]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, places: Sequence[int]) -> Dataset:
        source, length, labels = self.source, self.source.tokens_a_text, self.numbers or {}
        made: list[Tokenized] = []
        kept: list[int] = []
        skipped: list[tuple[str, str]] = []
        chosen = [self.rows[place] for place in places]
        for row, text in zip(chosen, self.table.texts(chosen), strict=True):
            words = text is not None and bool(text.strip() if source.tokenizer else source.tokenize(text))
            if not words or (self.numbers is not None and row not in self.numbers):
                lacking = f"no label in {source.label!r}" if words else f"no text in {source.text!r}"
                skipped.append((self.table.id_of(row), lacking))
                continue
            assert text is not None  # by `words`
            kept.append(row)
            made.append(source.tokens_of(text, length) if source.tokenizer else _counted(source, text))
        self._say_cut([row for row, text in zip(kept, made, strict=True) if text.cut], len(kept), length)
        return Dataset(
            name=self.name,
            inputs=torch.tensor([text.ids for text in made], dtype=torch.int64).reshape(len(made), length),
            targets=torch.tensor([labels.get(row, UNLABELLED) for row in kept], dtype=torch.int64),
            ids=tuple(map(self.table.id_of, kept)),
            classes=self.classes,
            tokens=tuple(text.words for text in made),
            mask=torch.tensor([text.mask for text in made], dtype=torch.int64).reshape(len(made), length),
            skipped=tuple(skipped),
        )

    def _say_cut(self, cut: Sequence[int], count: int, length: int) -> None:
        """Warn of texts of which the network sees a part alone; once, as the others' turn comes block by block."""
        if cut and not self.said:
            self.said = True
            side = self.source.tokens_of.cut_on if self.source.tokenizer else self.source.side
            end = "beginning" if side == "left" else "end"
            warnings.warn(
                f"{len(cut)} of {count} texts of {self.name} are longer than {length} tokens and cut "
                f"({', '.join(map(self.table.id_of, cut[:3]))}): the network does not see their {end}. Others may be, "
                "too; `length` says how many tokens a text may have.",
                HeatproofWarning,
                stacklevel=3,
            )


def _counted(source: TextTable, text: str) -> Tokenized:
    """The tokens of a counted or listed vocabulary."""
    numbered = source.numbered
    words, pad = source.tokenize(text), numbered[source.pad]
    ids = source.filled([numbered.get(word, numbered[source.unknown]) for word in words], pad)
    shown_as = source.filled([word if word in numbered else f"[{word}]" for word in words], source.pad)
    return Tokenized(ids, [int(one != pad) for one in ids], tuple(shown_as), len(words) > source.length)


def _digest(folder: str) -> str:
    """What the files of a tokenizer are."""
    found = hashlib.sha256()
    for name in FILES:
        path = Path(folder) / name
        if path.is_file():
            found.update(name.encode() + path.read_bytes())
    return found.hexdigest()


def _labels(source: TextTable, table: TextRows) -> tuple[tuple[str, ...] | None, dict[int, int] | None]:
    """The classes, and the label of each row that has one; None for texts without labels."""
    if not source.label or (table.root is not None and bool(table.table["label"].isna().all())):
        return source.classes or None, None
    given = {
        row: str(value).strip()
        for row, value in enumerate(column(table.table, source.label, source.path))
        if not pd.isna(value) and str(value).strip()
    }
    as_names = bool(source.classes) and set(given.values()) <= set(source.classes)
    whole = None if as_names else whole_numbers(list(given.values()), f"column {source.label!r} of {source.path}")
    if whole is not None:
        numbers, names = dict(zip(given, whole, strict=True)), source.classes
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
