import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from heatproof.data import Blocks, Dataset, as_blocks, choosing, permuted_labels
from heatproof.data.base import joined
from heatproof.data.choosing import held, relabelled, some_of
from heatproof.data.overlay import DatasetBlocks
from heatproof.data.picking import batches_of, first_of, labels_of, picked
from heatproof.errors import InputError

X = torch.arange(20, dtype=torch.float32).reshape(10, 2)
Y = torch.arange(10) % 3
WHOLE = Dataset(name="ten", inputs=X, targets=Y, ids=tuple("abcdefghij"))
BROKEN = (0, 4, 7)


class Reads:
    """The samples of `WHOLE`, three of which cannot be used, without a way to take several at once."""

    name, classes, identity = "ten", None, "ten"

    def __init__(self) -> None:
        self.read_from: list[int] = []

    def __len__(self) -> int:
        return 10

    def read(self, start: int, stop: int) -> Dataset:
        self.read_from.append(start)
        places = range(10)[start:stop]
        kept = picked(as_blocks(WHOLE), [place for place in places if place not in BROKEN])
        return joined([kept, *(skip(place) for place in places if place in BROKEN)])


def skip(place: int) -> Dataset:
    none = torch.empty(0, dtype=torch.int64)
    return Dataset(name="ten", inputs=torch.empty(0, 2), targets=none, ids=(), skipped=((str(place), "torn"),))


@pytest.fixture(params=["memory", "overlaid", "read one by one"])
def blocks(request: pytest.FixtureRequest) -> Blocks:
    return {
        "memory": lambda: as_blocks(WHOLE),
        "overlaid": lambda: as_blocks(Reads(), Y),
        "read one by one": Reads,
    }[request.param]()


def usable(blocks: Blocks) -> list[int]:
    return [i for i in range(10) if isinstance(blocks, DatasetBlocks) or i not in BROKEN]


def test_samples_at_any_places_in_any_order(blocks: Blocks):
    wanted = [5, 0, 2, 9]
    found = picked(blocks, wanted)
    kept = [place for place in wanted if place in usable(blocks)]
    assert found.ids == tuple("abcdefghij"[place] for place in kept)
    assert torch.equal(found.inputs, X[kept])
    assert torch.equal(found.targets, Y[kept])


def test_the_first_samples_that_can_be_used(blocks: Blocks):
    assert first_of(blocks, 2).ids == tuple("abcdefghij"[place] for place in usable(blocks)[:2])
    assert len(first_of(blocks, 50)) == len(usable(blocks))


def test_batches_in_an_order(blocks: Blocks):
    order = torch.tensor([9, 0, 1, 4, 2, 3])
    parts = list(batches_of(blocks, order, 2))
    assert len(parts) == 3
    kept = [place for place in order.tolist() if place in usable(blocks)]
    assert torch.equal(torch.cat([part.inputs for part in parts]), X[kept])


def test_labels_are_known_without_the_samples_that_cannot_be_used(blocks: Blocks):
    places, labels = labels_of(blocks)
    assert places == usable(blocks)
    assert torch.equal(labels, Y[places])


def test_labels_are_read_once():
    blocks = Reads()
    labels_of(blocks)
    before = len(blocks.read_from)
    labels_of(blocks)
    assert len(blocks.read_from) == before


def test_some_samples_with_labels_dealt_out_anew(blocks: Blocks):
    some = some_of(blocks, [1, 2, 5, 6, 9])
    assert torch.equal(labels_of(some)[1], Y[[1, 2, 5, 6, 9]])
    assert some.read(1, 4).ids == ("c", "f", "g")
    anew = relabelled(some, torch.tensor([7, 8, 9, 6, 5]), "anew")
    assert (anew.name, len(anew)) == ("anew", 5)
    assert anew.read(2, 5).targets.tolist() == [9, 6, 5]
    assert picked(anew, [4, 0]).targets.tolist() == [5, 7]
    assert torch.equal(picked(anew, [4, 0]).inputs, X[[9, 1]])
    assert len({blocks.identity, some.identity, anew.identity, some_of(blocks, [1, 2]).identity}) == 4
    assert pickle.loads(pickle.dumps(anew)).identity == anew.identity


def test_permuted_labels_of_blocks_are_those_of_memory():
    order = permuted_labels(WHOLE, 3).targets
    assert torch.equal(relabelled(as_blocks(WHOLE), order, "p").read(0, 10).targets, order)


def test_what_is_small_is_held_in_memory(blocks: Blocks, monkeypatch: pytest.MonkeyPatch):
    found = held(blocks)
    assert isinstance(found, DatasetBlocks)
    assert found.data.ids == tuple("abcdefghij"[place] for place in usable(blocks))
    assert len(found.data.skipped) == 10 - len(found)
    monkeypatch.setattr(choosing, "MOST_BYTES", 79)  # 10 samples of 8 bytes
    assert held(blocks) is blocks


def test_nothing_to_hold_is_an_error(tmp_path: Path):
    np.save(tmp_path / "x.npy", np.full((3, 2), np.nan, dtype=np.float32))
    with pytest.raises(InputError, match="none of 3 can be used; the first, 0: it holds NaN or infinity"):
        held(as_blocks(np.load(tmp_path / "x.npy", mmap_mode="r")))
