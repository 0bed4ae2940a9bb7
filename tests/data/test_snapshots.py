import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from heatproof import artifacts
from heatproof.data import Dataset, DemoDigits, Snapshot, as_blocks, snapshot
from heatproof.errors import InputError, StoreError

X = torch.arange(10 * 3, dtype=torch.float32).reshape(10, 3)
Y = torch.arange(10) % 3


class Stream(IterableDataset):
    def __init__(self, items: Any) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


PAIRS = list(zip(X, Y, strict=True))
FORMS = {
    "generator": lambda: (pair for pair in PAIRS),
    "stream": lambda: Stream(PAIRS),
    "loader of a stream": lambda: DataLoader(Stream(PAIRS), batch_size=4),
    "loader without batches": lambda: DataLoader(Stream(PAIRS), batch_size=None),
    "map-style": lambda: TensorDataset(X, Y),
    "blocks": lambda: as_blocks(X, Y),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_was_gone_through_is_read_by_position(form: str, tmp_path: Path):
    source = snapshot(FORMS[form](), tmp_path / "kept", shard=4)
    assert source == Snapshot(path=str(tmp_path / "kept"))
    blocks = as_blocks(source)
    assert len(blocks) == 10
    assert [path.name for path in sorted((tmp_path / "kept").glob("*.safetensors"))][-1] == "000002.safetensors"
    for start, stop in ((0, 4), (3, 9), (9, 10)):
        block = blocks.read(start, stop)
        assert torch.equal(block.inputs, X[start:stop])
        assert torch.equal(block.targets, Y[start:stop])
        assert block.ids == tuple(map(str, range(start, stop)))
    shuffled = replace(source, shuffle=1, limit=7).load()
    order = [int(name) for name in shuffled.ids]
    assert order != sorted(order)
    assert torch.equal(shuffled.inputs, X[order])
    assert pickle.loads(pickle.dumps(blocks)).read(2, 6).digests == blocks.read(2, 6).digests


def test_everything_that_a_sample_has_is_kept(tmp_path: Path):
    whole = Dataset(
        name="all",
        inputs=torch.tensor([[1, 2], [3, 0], [4, 5]]),
        targets=torch.tensor([0, 1, 0]),
        ids=("a", "b", "c"),
        classes=("no", "yes"),
        display=torch.zeros(3, 2, 2, dtype=torch.uint8),
        boxes=(((0.0, 0.0, 1.0, 2.0),), (), ((1.0, 1.0, 2.0, 2.0), (0.0, 0.0, 1.0, 1.0))),
        box_labels=((0,), (), (1, 0)),
        tokens=(("one", "two"), ("three", "<pad>"), ("four", "five")),
        mask=torch.tensor([[1, 1], [1, 0], [1, 1]]),
        given={"extra": torch.ones(3, 2, dtype=torch.float64)},
        numbers=torch.tensor([0.5, 1.0, 2.0]),
    )
    found = snapshot(whole, tmp_path / "kept", shard=2).load()
    for name in ("name", "ids", "classes", "boxes", "box_labels", "tokens"):
        assert getattr(found, name) == getattr(whole, name)
    for name in ("inputs", "targets", "display", "mask", "numbers"):
        assert torch.equal(getattr(found, name), getattr(whole, name))
    assert found.digests == whole.digests


def test_a_source_is_decoded_once_for_all(tmp_path: Path):
    pytest.importorskip("sklearn")
    source = DemoDigits(limit=7)
    found = snapshot(source, tmp_path / "kept", limit=5, shard=2).load()
    assert found.digests == source.load().digests[:5]
    assert found.boxes == source.load().boxes[:5]


def test_what_is_there_is_given_and_not_made_again(tmp_path: Path):
    def never() -> Iterator[Any]:
        raise AssertionError("gone through")
        yield

    first = snapshot(iter(PAIRS), tmp_path / "kept")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}
    assert snapshot(never(), tmp_path / "kept") == first
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()} == before


def test_an_interrupted_one_is_no_snapshot_and_is_made_anew(tmp_path: Path):
    def torn() -> Iterator[Any]:
        yield from PAIRS[:6]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        snapshot(torn(), tmp_path / "kept", shard=2)
    assert len(list((tmp_path / "kept").glob("*.safetensors"))) == 3
    with pytest.raises(InputError, match=r"a finished snapshot at .*snapshot\.json cannot be read"):
        Snapshot(path=str(tmp_path / "kept")).load()
    assert torch.equal(snapshot(iter(PAIRS), tmp_path / "kept", shard=4).load().inputs, X)


def test_the_digest_is_of_what_was_kept(tmp_path: Path):
    parts = {
        "one": PAIRS,
        "same": list(PAIRS),
        "other": [(x + 1, y) for x, y in PAIRS],
        "labels": list(zip(X, Y.flip(0), strict=True)),
    }
    digests = {}
    for name, pairs in parts.items():
        source = snapshot(iter(pairs), tmp_path / name, name="n")
        digests[name] = json.loads((Path(source.path) / "snapshot.json").read_text())["digest"]
    assert digests["one"] == digests["same"]
    assert len(set(digests.values())) == 3
    identities = {as_blocks(Snapshot(path=str(tmp_path / name))).identity for name in parts}
    assert len(identities) == 3


def test_a_random_data_set_is_kept_as_it_came(tmp_path: Path):
    class Noisy:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, place: int) -> Any:
            return X[place] + torch.randn(3)

    blocks = as_blocks(snapshot(Noisy(), tmp_path / "kept"))
    assert blocks.read(0, 3).digests == blocks.read(0, 3).digests


def test_parts_of_items_are_told_as_for_blocks(tmp_path: Path):
    items = ({"a": x + 1, "n": f"id {i}", "m": torch.ones(2), "k": "xyz"[i % 3]} for i, x in enumerate(X))
    source = snapshot(
        items,
        tmp_path / "kept",
        columns={"image": "a", "id": "n", "label": "k"},
        given={"mask": "m"},
        transform=lambda value: value - 1,
        classes=list("xyz"),
        limit=4,
    )
    found = source.load()
    assert torch.equal(found.inputs, X[:4])
    assert found.ids == ("id 0", "id 1", "id 2", "id 3")
    assert (found.targets.tolist(), found.classes) == ([0, 1, 2, 0], ("x", "y", "z"))
    assert found.given["mask"].shape == (4, 2)


def test_samples_with_nan_are_left_out(tmp_path: Path):
    found = snapshot(iter([X[0], X[1] / 0, X[2]]), tmp_path / "kept").load()
    assert found.ids == ("0", "2")


@pytest.mark.parametrize(
    ("items", "more", "message"),
    [
        ([], {}, "at least one sample to keep"),
        ([X[0], X[1][:2]], {}, r"\(3,\) of torch\.float32 as the first, but '1' has \(2,\)"),
        ([X[0].half()], {}, r"call \.float\(\)"),
        ([{"image": X[0], "id": "a"}, {"image": X[0], "id": "a"}], {"columns": {"id": "id"}}, "'a' comes twice"),
        ([3.0], {"batched": True}, "items|rows|row of each sample"),
    ],
)
def test_what_is_no_sample_is_refused(items: list, more: dict, message: str, tmp_path: Path):
    with pytest.raises(InputError, match=message):
        snapshot(iter(items), tmp_path / "kept", shard=1, **more)
    assert not (tmp_path / "kept" / "snapshot.json").exists()


def test_a_damaged_file_is_named(tmp_path: Path):
    source = snapshot(iter(PAIRS), tmp_path / "kept", shard=4)
    torn = tmp_path / "kept" / "000001.safetensors"
    torn.write_bytes(torn.read_bytes()[:-9])
    assert torch.equal(as_blocks(source).read(0, 4).inputs, X[:4])
    with pytest.raises(InputError, match=r"000001\.safetensors in the snapshot .* as it was written"):
        as_blocks(source).read(3, 6)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"to keep samples in .* but writing failed"):
        snapshot(iter(PAIRS), tmp_path / "file" / "kept")


def test_files_are_safetensors_with_their_digest(tmp_path: Path):
    snapshot(iter(PAIRS), tmp_path / "kept", shard=4)
    stored = artifacts.read_tensors(tmp_path / "kept" / "000001.safetensors")
    assert torch.equal(stored.tensors["inputs"], X[4:8])
    assert stored.facts["ids"] == ["4", "5", "6", "7"]
