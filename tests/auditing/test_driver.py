"""Who hands out blocks, with workers that are none: they die as a test says."""

from collections.abc import Collection, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from heatproof.auditing.engines.driver import Driver, Said
from heatproof.auditing.engines.task import Answer
from heatproof.errors import AuditError, StoreError

IDS = frozenset({"question"})


class Log:
    def __init__(self) -> None:
        self.said: list[tuple[str, int | None]] = []

    def fail(self, failures: Collection[Any], block: int | None = None) -> None:
        self.said += [(one["error"], block) for one in failures]

    def write(self, *, last: bool = False) -> None:
        pass


class Crew:
    """Places whose workers answer at once; `deaths` are how often a block ends its worker, None how often a start does.

    `told` is everything that was asked of it.
    """

    kind, noun, hint = "Worker", "workers", "look."

    def __init__(self, places: int, deaths: dict[int | None, int]) -> None:
        self.places, self.deaths = places, deaths
        self.told: list[Any] = []
        self.next: list[Said] = []

    def start(self, place: int) -> None:
        self.told.append(("start", place))
        self.next.append(self._of(place, None))

    def give(self, place: int, block: int, ids: Collection[str]) -> None:
        assert ids == IDS
        self.told.append((place, block))
        self.next.append(self._of(place, block))

    def _of(self, place: int, block: int | None) -> Said:
        if self.deaths.get(block, 0):
            self.deaths[block] -= 1
            return Said(place, ended="by chance")
        return Said(place, answer=None if block is None else Answer((("method", 2.0),), ()))

    def heard(self) -> Iterator[Said]:
        said, self.next = self.next, []
        yield from said

    def stop(self) -> None:
        self.told.append("stop")

    def end(self) -> None:
        self.told.append("end")


def driven(crew: Crew, blocks: int = 4, max_errors: int = 10) -> tuple[list[Any], list[Any]]:
    log, heard = Log(), list[Any]()
    worker: Any = SimpleNamespace(log=log, max_errors=max_errors)
    missing = dict.fromkeys(range(blocks), IDS)
    Driver(worker, missing, lambda label, passes: heard.append((label, passes)), crew).run()
    return log.said, heard


def test_each_block_once_and_everybody_goes() -> None:
    crew = Crew(2, {})
    said, heard = driven(crew)
    assert (said, heard) == ([], [("method", 2.0)] * 4)
    assert sorted(one[1] for one in crew.told if isinstance(one[0], int)) == [0, 1, 2, 3]
    assert crew.told[:2] == [("start", 0), ("start", 1)]
    assert crew.told[-1] == "end"
    assert "stop" not in crew.told


def test_no_more_workers_than_blocks() -> None:
    crew = Crew(8, {})
    driven(crew, blocks=1)
    assert [one for one in crew.told if one[0] == "start"] == [("start", 0)]


def test_what_died_twice_is_handed_on() -> None:
    crew = Crew(2, {1: 2})
    said, heard = driven(crew)
    assert (said, len(heard)) == ([], 4)
    assert sum(one[1] == 1 for one in crew.told if isinstance(one[0], int)) == 3


@pytest.mark.parametrize("places", [1, 2])
def test_a_block_that_kills_three_is_a_failure(places: int) -> None:
    said, heard = driven(Crew(places, {1: 99}))
    assert said == [("WorkerDied: 3 workers ended (by chance) while they were at block 1.", 1)]
    assert len(heard) == 3


def test_who_dies_before_the_beginning_is_not_started_for_ever() -> None:
    crew = Crew(1, {None: 99})
    with pytest.raises(
        AuditError, match=r"as 3 workers in a row ended \(by chance\) before they could begin; look\. W"
    ):
        driven(crew)
    assert crew.told == [("start", 0)] * 3 + ["stop", "end"]


def test_too_many_failures_stop_all() -> None:
    crew = Crew(1, {0: 3, 2: 3})
    with pytest.raises(AuditError, match=r"Stopped after 2 different failures \(1 are allowed\)"):
        driven(crew, max_errors=1)
    assert crew.told[-2:] == ["stop", "end"]


def test_what_one_refuses_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = Crew(1, {})
    monkeypatch.setattr(crew, "_of", lambda place, block: Said(place, refused=StoreError("no")))
    with pytest.raises(StoreError, match="no"):
        driven(crew)
