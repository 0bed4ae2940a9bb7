"""Blocks of a map-style data set, of torch or anybody's: sample i is item i, made by the user's code by need."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from heatproof.artifacts import digest
from heatproof.data.base import Dataset, finite, none_of
from heatproof.data.ids import Seen
from heatproof.data.items import Columns, Sample, check_first, samples_of_batch, stacked_samples
from heatproof.data.reading import Reading
from heatproof.errors import HeatproofError, InputError
from heatproof.identity import identity

PROBED, TIMES = 4, 4  # items that are read before, how often each: a flip by a fair coin escapes 1 time in 4096
FIRST = 8  # items among which one must be readable


class Items(Protocol):
    """A data set whose item i is its sample i."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> Any: ...


class ItemBlocks:
    """The items of a map-style data set.

    A few items are read at once, several times each: for their shape, and to see whether the data set gives the same
    sample each time. An item whose making raises is named in `skipped`, with the reason, and so is one that holds NaN.
    Items' own ids are known when they are read: one that comes twice is refused then, in the process that reads both.

    Args:
        items: the data set.
        columns: which part of an item is what.
        collate: makes a batch of a list of items, as the `collate_fn` of a DataLoader; stacked by default.
        reading: how it may be read ahead. By one thread by default: most data sets are not made for more.
        name: what the data is called in reports.
        told: what else tells this data set apart, plain data.

    Raises: InputError for a data set that is empty, whose first items all raise, that gives another sample each time,
        or whose items have no parts that can be explained.
    """

    def __init__(
        self,
        items: Items,
        columns: Columns,
        *,
        collate: Callable[[list[Any]], Any] | None = None,
        reading: Reading | None = None,
        name: str = "",
        told: Any = None,
    ) -> None:
        self.items, self.columns, self.collate = items, columns, collate
        self.reading = reading or Reading(by="one thread")
        self.name, self.classes = name or type(items).__name__, columns.classes
        self._seen = Seen(len(items)) if "id" in columns.of else None
        if not len(items):
            raise InputError(f"Expected at least one sample in {self.name}, but there is none.")
        self._first = self._example()
        check_first(self._first)
        code = [None if one is None else identity(one) for one in (columns.transform, collate)]
        kind = f"{type(items).__module__}.{type(items).__qualname__}"
        parts = [{str(key): value for key, value in one.items()} for one in (columns.of, columns.given)]
        self.identity = digest({}, [told, kind, len(items), parts, columns.classes, code, self._probes()])

    def __len__(self) -> int:
        return len(self.items)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_seen": None if self._seen is None else Seen(len(self))}

    def read(self, start: int, stop: int) -> Dataset:
        """Samples `start` to `stop`, without those that cannot be used, which it names in `skipped`."""
        names, made, skipped = list[str](), list[Any](), list[tuple[str, str]]()
        for place in range(len(self))[start:stop]:
            try:
                made.append(self._made(place))
                names.append(str(place))
            except (HeatproofError, MemoryError):
                raise
            except Exception as error:  # whatever the user's code raises
                skipped.append((str(place), f"{type(error).__name__}: {error}"))
        if not made:
            return none_of(self.name, self.classes, skipped)
        parts = stacked_samples(self._batched(made, names), names, self._first)
        if self._seen is not None:
            for own, name in zip(parts["ids"], names, strict=True):
                self._seen(own, int(name))
        parts |= {"name": self.name, "classes": self.classes, "skipped": tuple(skipped)}
        return finite(**parts) if parts["inputs"].is_floating_point() else Dataset(**parts)

    def _made(self, place: int) -> Any:
        """Item number `place`: a sample, or as it is where `collate` wants it so."""
        item = self.items[place]
        if self.collate is not None:
            return item
        try:
            return self.columns.sample(item)
        except HeatproofError as error:
            raise InputError(f"Sample {place} of {self.name}: {error}") from error

    def _batched(self, made: list[Any], names: Sequence[str]) -> list[Sample]:
        if self.collate is None:
            return made
        try:
            batch = self.collate(made)
        except (HeatproofError, MemoryError):
            raise
        except Exception as error:  # whatever the user's code raises
            raise InputError(
                f"Expected collate_fn to make a batch of samples {names[0]} to {names[-1]} of {self.name}, but it "
                f"raised {type(error).__name__}: {error}."
            ) from error
        return samples_of_batch(self.columns, batch, len(made))

    def _example(self) -> Sample:
        """The first sample that can be made."""
        problem = ""
        for place in range(min(FIRST, len(self))):
            try:
                return self._batched([self._made(place)], [str(place)])[0]
            except (HeatproofError, MemoryError):
                raise
            except Exception as error:  # whatever the user's code raises
                problem = problem or f"sample {place} raised {type(error).__name__}: {error}"
        raise InputError(
            f"Expected samples of {self.name}, but none of the first {min(FIRST, len(self))} can be made; {problem}."
        )

    def _probes(self) -> list[str]:
        """The digests of a few samples. Raises: InputError if one is another each time that it is made."""
        places = sorted({round(i * (len(self) - 1) / (PROBED - 1)) for i in range(PROBED)})
        found: list[str] = []
        for place in places:
            reads = [self.read(place, place + 1) for _ in range(TIMES)]
            contents = {"".join(one.digests) + str(one.targets.tolist()) for one in reads}
            if len(contents) > 1:
                raise InputError(
                    f"Expected the same sample {place} of {self.name} each time that it is read, but it changes: take "
                    "what draws at random (crops, flips, noise) out of its transforms, or keep samples once with "
                    "heatproof.data.snapshot."
                )
            found += contents
        return found
