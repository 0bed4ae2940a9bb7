"""What each worker says of itself: where it ran, what its maps cost, what failed."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict

from heatproof.runs.store import WORKERS, Store

EVERY = 2.0  # seconds between two writings


class Failure(TypedDict, total=False):
    """What failed: who, in which state, on which samples of which block (None where it was about no block)."""

    method: str
    check: str
    state: str
    block: int | None
    samples: list[str]
    error: str
    count: int


def failure(
    error: Exception | str, *, method: str = "", check: str = "", state: str = "", samples: Sequence[str] = ()
) -> Failure:
    """A failure, as an exception says it."""
    said = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return Failure(method=method, check=check, state=state, block=None, samples=list(samples), error=said, count=1)


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Log:
    """One worker's file. It is written again as things happen, not more often than every two seconds."""

    def __init__(self, store: Store, holder: str, environment: Mapping[str, Any]) -> None:
        self.store = store
        number = 1 + max((_number(file) for file in store.files.names(WORKERS)), default=0)
        self.file = f"{WORKERS}/{number:05d}-{holder}.json"
        self.said: dict[str, Any] = {
            "worker": holder,
            "started": now(),
            "finished": None,
            "environment": dict(environment),
            "blocks": 0,
            "recipes": {},  # by label of a method, the digest of what it was
            "costs": {},
            "unusable": {},  # maps that hold NaN or infinity, of those that `costs` counts
            "shrunk": [],  # who ran out of memory, and the rows a pass that were possible
            "learned": {},
            "estimate": {},
            "failures": [],
            "skipped": [],
        }
        self._written = 0.0

    @property
    def failures(self) -> list[Failure]:
        """What failed so far, alike ones apart where they are about other blocks or states."""
        found: list[Failure] = self.said["failures"]
        return found

    @property
    def kinds(self) -> int:
        """How many different failures there were."""
        return len({_kind(one) for one in self.failures})

    def fail(self, failures: Collection[Failure], block: int | None = None) -> None:
        """Failures of a block, or of what comes before all blocks."""
        self.failures.extend(Failure(**{**one, "block": block}) for one in failures)

    def cost(self, label: str, maps: int, seconds: float) -> None:
        """Maps that a method has made."""
        cost = self.said["costs"].setdefault(label, {"maps": 0, "seconds": 0.0})
        cost["maps"] += maps
        cost["seconds"] += seconds

    def skip(self, skipped: Iterable[tuple[str, str]]) -> None:
        """Samples that could not be used, each with the reason."""
        self.said["skipped"] += [list(one) for one in skipped if list(one) not in self.said["skipped"]]

    def unusable(self, label: str, number: int) -> None:
        """Maps of a method that hold NaN or infinity."""
        self.said["unusable"][label] = self.said["unusable"].get(label, 0) + number

    def write(self, *, last: bool = False) -> None:
        """Put it down, if it is time to."""
        if last:
            self.said["finished"] = now()
        if last or time.monotonic() - self._written > EVERY:
            self._written = time.monotonic()
            self.store.write(self.file, self.said)


def _number(file: str) -> int:
    first = file.partition("-")[0]
    return int(first) if first.isdigit() else 0


def _kind(one: Failure) -> tuple[str, str, str, str]:
    """What makes two failures one: of blocks, whatever the state; of what comes before them each state's is its own."""
    return one["method"], one["check"], one["error"], one["state"] if one.get("block") is None else ""


def together(failures: Sequence[Failure]) -> list[Failure]:
    """Alike failures as one, which counts in how many states and blocks it came; each is counted once."""
    found: dict[tuple[str, ...], Failure] = {}
    seen: set[tuple[Any, ...]] = set()
    for one in failures:
        where = (*_kind(one), one["state"], one.get("block"))
        if where in seen:
            continue
        seen.add(where)
        if (alike := found.get(_kind(one))) is None:
            found[_kind(one)] = Failure(**{**one, "samples": list(one["samples"]), "count": 1})
        else:
            alike["count"] += 1
            alike["samples"] += [name for name in one["samples"] if name not in alike["samples"]]
    return list(found.values())
