"""What a source holds, known before a sample is read, and the wanted part of it as blocks."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from heatproof.data.base import Dataset, Source, select
from heatproof.errors import InputError

# Fields that say where something lies, which is no part of what it is.
PLACES = ("root", "path", "vocabulary", "tokenizer", "fit", "label_file")


class Listing(ABC):
    """The samples that there are, by their places from 0 on, each readable alone.

    Attributes:
        name: what the data is called in reports.
        classes: the name of each label, or None.
        content: plain data that tells these samples from others as far as is known without reading them, wherever they
            lie: file names and labels, sizes, checksums.
        note: what a reader should know of how samples are made, in a sentence; "" for nothing.
        hint: what to do where none of the wanted samples can be used.
        one_shape: what to do where samples differ in shape.
    """

    name: str
    classes: tuple[str, ...] | None = None
    content: Any = None
    note: str = ""
    hint: str = ""
    one_shape: str = "bring them to one shape"

    @abstractmethod
    def __len__(self) -> int:
        """How many samples there are, broken ones included."""

    @abstractmethod
    def read(self, places: Sequence[int]) -> Dataset:
        """The samples at these places, in this order; those that cannot be used are named in `skipped` instead."""


class Loaded(Listing):
    """Samples that are in memory already."""

    def __init__(self, data: Dataset) -> None:
        self.data, self.name, self.classes = data, data.name, data.classes

    @property
    def content(self) -> Any:  # found when asked for
        return self.data.fingerprint

    def __len__(self) -> int:
        return len(self.data)

    def read(self, places: Sequence[int]) -> Dataset:
        data = select(self.data, places)
        return data if 0 in places else replace(data, skipped=())  # said once


class SourceBlocks:
    """The wanted samples of a source. Its listing is made when it is first needed, in every process anew.

    Pickles as the recipe and the identity; a process that finds another listing than the first did raises InputError.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._expected = ""
        self._shape: tuple[int, ...] | None = None  # of the samples read so far

    def __getstate__(self) -> dict[str, Any]:
        return {"source": self.source, "_expected": self.identity, "_shape": self._shape}

    @cached_property
    def _listing(self) -> Listing:
        return self.source.listing()

    @cached_property
    def _chosen(self) -> Sequence[int]:
        total = len(self._listing)
        # A source with a `load` of its own has chosen already.
        chosen = range(total) if type(self.source).load is not Source.load else self.source.choose(total)
        if self._expected and self._found != self._expected:
            raise InputError(
                f"Expected {self.name} as it was when this began, but what it lists has changed: files were added, "
                "removed or renamed; bring them back, or begin anew."
            )
        return chosen

    @property
    def name(self) -> str:
        """What the data is called in reports."""
        return self._listing.name

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The name of each label, or None."""
        return self._listing.classes

    @property
    def note(self) -> str:
        """What a reader should know of how samples are made, in a sentence; "" for nothing."""
        return self._listing.note

    @property
    def identity(self) -> str:
        """SHA-256 of the recipe, but for where files lie, and of the listing; no sample is read."""
        return self._expected or self._found

    @cached_property
    def _found(self) -> str:
        from heatproof.recipes import describe, digest  # which know every other recipe, and so much else

        recipe = {name: value for name, value in describe(self.source).items() if name not in PLACES}
        return digest([recipe, self._listing.content])

    def __len__(self) -> int:
        return len(self._chosen)

    def read(self, start: int, stop: int) -> Dataset:
        """Samples `start` to `stop`, without those that cannot be used, which it names in `skipped`."""
        return self._of_one_shape(self._listing.read(self._chosen[start:stop]))

    def take(self, places: Sequence[int]) -> Dataset:
        """The samples at some places, as `read` gives them."""
        return self._of_one_shape(self._listing.read([self._chosen[place] for place in places]))

    def _of_one_shape(self, data: Dataset) -> Dataset:
        if len(data):
            shape = tuple(data.inputs.shape[1:])
            self._shape = self._shape or shape
            if shape != self._shape:
                raise InputError(
                    f"Expected samples of one shape in {self.name}, {self._shape} as those before, but "
                    f"{data.ids[0]!r} has {shape}; {self._listing.one_shape}."
                )
        return data

    def unusable(self, data: Dataset) -> InputError:
        """The error for samples of which none can be used."""
        first = "; the first, {}: {}".format(*data.skipped[0]).rstrip(".") if data.skipped else ""
        hint = f"; {self._listing.hint}" if self._listing.hint else ""
        return InputError(f"Expected samples of {self.name}, but none of {len(self)} can be used{first}{hint}.")


def files_below(folder: Path) -> Iterator[str]:
    """The files in a folder and below it, as POSIX paths within it, in sorted order; nothing hidden (`.name`)."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        within = Path(place).relative_to(folder).as_posix()
        prefix = "" if within == "." else f"{within}/"
        yield from (f"{prefix}{name}" for name in sorted(files) if not name.startswith("."))


def told(*columns: Iterable[object]) -> str:
    """SHA-256 of columns of what is listed, line by line."""
    content = hashlib.sha256()
    for line in zip(*columns, strict=True):
        content.update(repr(line).encode())
    return content.hexdigest()
