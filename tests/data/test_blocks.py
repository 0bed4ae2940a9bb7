import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import heatproof as hp
from heatproof.data import Blocks, Dataset, Source, as_blocks
from heatproof.errors import InputError

X = torch.arange(5 * 3 * 4, dtype=torch.float32).reshape(5, 3, 4)
Y = torch.tensor([0, 1, 0, 2, 1])
BOXES = [[(0.0, 0.0, float(i), 2.0)] for i in range(5)]


def dataset(**parts: object) -> Dataset:
    return Dataset(**{"name": "five", "inputs": X, "targets": Y, "ids": tuple("abcde"), **parts})


@dataclass(frozen=True, kw_only=True)
class Plugin(Source):
    """A source of somebody else's that only knows how to load."""

    def load(self) -> Dataset:
        places = list(self.choose(5))
        return Dataset(name="plugin", inputs=X[places], targets=Y[places], ids=tuple("abcde"[i] for i in places))


def mapped(folder: Path, array: np.ndarray) -> np.ndarray:
    np.save(folder / "x.npy", array)
    return np.load(folder / "x.npy", mmap_mode="r")


@pytest.mark.parametrize("kind", ["tensor", "array", "mapped", "Dataset", "plugin"])
def test_every_kind_of_data_in_memory_reads_any_range(kind: str, tmp_path: Path):
    data = {
        "tensor": lambda: X,
        "array": lambda: X.numpy(),
        "mapped": lambda: mapped(tmp_path, X.numpy()),
        "Dataset": dataset,
        "plugin": Plugin,
    }[kind]()
    blocks = as_blocks(data, Y if kind in ("tensor", "array", "mapped") else None)
    assert isinstance(blocks, Blocks)
    assert len(blocks) == 5
    for start, stop in ((0, 2), (2, 5), (4, 9), (5, 5)):
        block = blocks.read(start, stop)
        assert torch.equal(block.inputs, X[start:stop])
        assert torch.equal(block.targets, Y[start:stop])
    again = pickle.loads(pickle.dumps(blocks))
    assert again.identity == blocks.identity
    assert again.read(1, 3).digests == blocks.read(0, 5).digests[1:3]


def test_the_forms_of_one_array_are_the_same_samples(tmp_path: Path):
    forms = [X, X.numpy(), mapped(tmp_path, X.numpy()), X.numpy().astype(">f4"), X.flip(0).numpy()[::-1]]
    frozen = X.numpy().copy()
    frozen.flags.writeable = False
    found = {as_blocks(one, Y).read(0, 5).digests for one in [*forms, frozen]}
    assert len(found) == 1


def test_a_mapped_file_is_pickled_by_its_name(tmp_path: Path):
    blocks = as_blocks(mapped(tmp_path, np.zeros((1000, 100), dtype=np.float32)))
    pickled = pickle.dumps(blocks)
    assert len(pickled) < 2000
    assert torch.equal(pickle.loads(pickled).read(998, 1000).inputs, torch.zeros(2, 100))
    part = as_blocks(blocks.inputs[10:])
    assert len(pickle.loads(pickle.dumps(part))) == 990


def test_identity_tells_what_differs():
    base = as_blocks(X, Y).identity
    others = [
        as_blocks(X + 1, Y),
        as_blocks(X.double(), Y),
        as_blocks(X.reshape(5, 12), Y),
        as_blocks(X, Y.flip(0)),
        as_blocks(X),
        as_blocks(X, Y, ids=list("abcde")),
        as_blocks(X, Y, boxes=BOXES),
        as_blocks(X, Y, given={"mask": torch.ones(5, 2)}),
    ]
    assert as_blocks(X.clone(), Y.clone(), name="other").identity == base
    assert len({base, *(one.identity for one in others)}) == 9


def test_digests_are_of_what_a_network_is_given():
    mask = torch.ones(5, 2)
    plain, sided = as_blocks(X), as_blocks(X, given={"mask": mask})
    assert len(set(plain.read(0, 5).digests)) == 5
    mask[3, 1] = 0
    changed = as_blocks(X, given={"mask": mask}).read(0, 5).digests
    same = [a == b for a, b in zip(sided.read(0, 5).digests, changed, strict=True)]
    assert same == [True] * 5  # the blocks share the tensor
    other = as_blocks(X, given={"mask": mask.flip(0)}).read(0, 5).digests
    assert [a == b for a, b in zip(changed, other, strict=True)] == [True, False, True, False, True]


def test_side_inputs_travel_with_their_block():
    ids = torch.arange(10).reshape(5, 2)
    block = as_blocks(X, given={"ids": ids}).read(3, 5)
    assert torch.equal(block.given["ids"], ids[3:])
    assert torch.equal(block.sides["ids"], ids[3:])


def test_labels_ids_boxes_and_side_inputs_are_laid_over_any_blocks():
    side = torch.arange(5.0)[:, None]
    over = as_blocks(dataset(), Y.flip(0), ids=range(5), boxes=BOXES, given={"side": side}, name="mine")
    block = over.read(2, 4)
    assert (block.name, block.ids, block.boxes) == ("mine", ("2", "3"), tuple(map(tuple, BOXES[2:4])))
    assert torch.equal(block.targets, Y.flip(0)[2:4])
    assert torch.equal(block.given["side"], side[2:4])
    assert over.identity != as_blocks(dataset()).identity
    assert pickle.loads(pickle.dumps(over)).identity == over.identity


def test_what_is_laid_over_stays_with_its_position_where_samples_are_left_out(tmp_path: Path):
    values = X.numpy().copy()
    values[1, 0, 0] = np.nan
    over = as_blocks(as_blocks(mapped(tmp_path, values)), Y, ids=list("abcde"))
    block = over.read(0, 3)
    assert block.ids == ("a", "c")
    assert block.targets.tolist() == [0, 0]
    assert block.skipped == (("1", "it holds NaN or infinity"),)


def test_a_range_without_a_usable_sample_is_empty(tmp_path: Path):
    blocks = as_blocks(mapped(tmp_path, np.full((3, 2), np.nan, dtype=np.float32)))
    block = blocks.read(0, 2)
    assert len(block) == 0
    assert block.digests == ()
    assert [name for name, _ in block.skipped] == ["0", "1"]


def test_sources_choose_before_they_are_cut_into_blocks():
    blocks = Plugin(offset=1, limit=3, shuffle=4).blocks()
    whole = Plugin(offset=1, limit=3, shuffle=4).load()
    assert len(blocks) == 3
    assert blocks.read(0, 2).ids + blocks.read(2, 3).ids == whole.ids


@pytest.mark.parametrize(
    ("data", "more", "message"),
    [
        (X[:0], {}, "at least one sample"),
        (X.half(), {}, r"float32 or float64.*call \.float\(\)"),
        (X.numpy().astype(np.uint8), {}, r"scale integer images as in training"),
        (np.array(["a"]), {}, "floating-point numbers"),
        (X / 0, {}, r"samples \[0, 1, 2, 3, 4\] hold NaN or infinity"),
        (X, {"targets": Y[:3]}, r"targets \(5,\)"),
        (X, {"targets": Y.float()}, "targets.long"),
        (X, {"ids": list("abcda")}, "'a' comes twice"),
        (X, {"ids": list("abc")}, "ids for each of the 5 samples, but got 3"),
        (X, {"boxes": BOXES[:2]}, "boxes for each of the 5 samples, but got 2"),
        (X, {"given": {"m": torch.ones(4)}}, r"given\['m'\] for each of the 5 samples, but got 4"),
        (dataset(), {"targets": Y[:3]}, r"targets \(5,\)"),
        (dataset(), {"ids": list("aacde")}, "'a' comes twice"),
        (dataset(), {"boxes": BOXES[:2]}, "boxes for each of the 5 samples, but got 2"),
        (3, {}, r"a tensor or array \(N, …\).* but got 3"),
    ],
)
def test_what_is_no_data_is_refused(data: object, more: dict, message: str):
    with pytest.raises(InputError, match=message):
        as_blocks(data, **more)


def test_blocks_are_public():
    assert hp.data.Blocks is Blocks
    assert hp.data.as_blocks is as_blocks
