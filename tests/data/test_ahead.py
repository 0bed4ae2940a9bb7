import threading
import time
import weakref

import pytest
import torch

from heatproof.data import Dataset
from heatproof.data.ahead import ahead
from heatproof.data.reading import Reading
from heatproof.errors import InputError

RANGES = [(0, 2), (2, 4), (4, 6), (6, 8), (8, 9)]


class Numbers:
    """Sample i is the number i; knows which ranges were asked for, and by which threads."""

    name, classes, identity = "numbers", None, "numbers"

    def __init__(self, reading: Reading | None = None, broken: int | None = None) -> None:
        self.asked: list[int] = []
        self.threads: set[str] = set()
        self.broken = broken
        if reading is not None:
            self.reading = reading

    def __len__(self) -> int:
        return 9

    def read(self, start: int, stop: int) -> Dataset:
        self.asked.append(start)
        self.threads.add(threading.current_thread().name)
        if start == self.broken:
            raise InputError(f"sample {start} is broken")
        inputs = torch.arange(start, min(stop, 9), dtype=torch.float32)[:, None]
        return Dataset(name="numbers", inputs=inputs, targets=inputs[:, 0].long(), ids=tuple(map(str, inputs[:, 0])))


WAYS = {
    "here": (None, 0),
    "threads": (None, 3),
    "one thread": (Reading(by="one thread"), None),
    "processes": (Reading(by="processes", workers=2), None),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same_blocks_in_order(way: str):
    reading, workers = WAYS[way]
    torch.manual_seed(3)
    expected, state = torch.arange(9.0), torch.get_rng_state()
    blocks = list(ahead(Numbers(reading), RANGES, workers=workers))
    assert [len(block) for block in blocks] == [2, 2, 2, 2, 1]
    assert torch.equal(torch.cat([block.inputs[:, 0] for block in blocks]), expected)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("way", WAYS)
def test_what_a_block_raises_comes_in_its_turn(way: str):
    reading, workers = WAYS[way]
    reader = ahead(Numbers(reading, broken=4), RANGES, workers=workers)
    assert [next(reader).ids[0], next(reader).ids[0]] == ["tensor(0.)", "tensor(2.)"]
    with pytest.raises(InputError, match=r"^sample 4 is broken$"):
        next(reader)


def settled(found: list[int], count: int) -> list[int]:
    """What was asked for when nothing more is, in the time that a reader would take."""
    for _ in range(200):
        if len(found) >= count:
            break
        time.sleep(0.005)
    time.sleep(0.02)
    return list(found)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_no_more_is_read_ahead_than_was_asked_for(depth: int):
    numbers = Numbers()
    reader = ahead(numbers, RANGES, workers=2, depth=depth)
    next(reader)
    assert settled(numbers.asked, depth + 1) == [0, 2, 4, 6][: depth + 1]
    reader.close()
    assert not any(name.startswith("heatproof-reading") for name in (one.name for one in threading.enumerate()))


def test_blocks_that_were_used_are_let_go():
    """Beside the one that the caller has there are `depth` others at most, however many there are."""
    alive: list[weakref.ref[Dataset]] = []

    class Watched(Numbers):
        def read(self, start: int, stop: int) -> Dataset:
            found = super().read(start, stop)
            alive.append(weakref.ref(found))
            return found

    most = 0
    for block in ahead(Watched(), [(i % 9, i % 9 + 1) for i in range(50)], depth=2):
        assert len(block) == 1
        most = max(most, sum(one() is not None for one in alive))
    assert most <= 4  # one is made while the caller looks


def test_code_that_may_not_run_in_two_threads_does_not():
    numbers = Numbers(Reading(by="one thread"))
    list(ahead(numbers, RANGES, workers=4, depth=3))
    assert len(numbers.threads) == 1


def test_nothing_is_read_before_it_is_asked_for():
    numbers = Numbers()
    ahead(numbers, RANGES)
    assert numbers.asked == []


@pytest.mark.parametrize("bad", [{"depth": 0}, {"workers": -1}])
def test_bad_settings_are_refused(bad: dict):
    with pytest.raises(InputError, match="depth from 1 and workers from 0 on"):
        ahead(Numbers(), RANGES, **bad)
