import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from heatproof.data import HuggingFace, as_blocks
from heatproof.errors import InputError, MissingExtraError, UnknownNameError

datasets = pytest.importorskip("datasets")
datasets.disable_progress_bars()

VALUES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
LABELS = [0, 1, 0, 1, 1, 0]


def png(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, format="PNG")
    return stream.getvalue()


def table(labels: Any = None, **more: list[Any]) -> Any:
    features = {
        "image": datasets.Image(),
        "label": labels or datasets.ClassLabel(names=["cat", "dog"]),
        **{name: datasets.Value("string") for name in more},
    }
    rows = {"image": [{"bytes": png(one), "path": None} for one in VALUES], "label": LABELS, **more}
    if labels is not None:
        rows["label"] = [["cat", "dog"][one] for one in LABELS]
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    table(name=list("abcdef")).save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": table(), "test": table()}).save_to_disk(tmp_path / "parts")
    return tmp_path


def test_a_table_from_disk_is_its_rows(saved: Path):
    blocks = as_blocks(datasets.load_from_disk(saved / "one"))
    block = blocks.read(2, 5)
    expected = torch.from_numpy(VALUES[2:5]).permute(0, 3, 1, 2) / 255
    assert torch.equal(block.inputs, expected)
    assert block.targets.tolist() == LABELS[2:5]
    assert blocks.classes == block.classes == ("cat", "dog")
    assert np.array_equal(block.display, VALUES[2:5])


def test_columns_and_ids_are_named(saved: Path):
    data = datasets.load_from_disk(saved / "one").rename_column("image", "photo").rename_column("label", "kind")
    blocks = as_blocks(
        data, columns={"image": "photo", "label": "kind", "id": "name"}, transform=lambda p: np.float32(p)
    )
    assert blocks.read(1, 3).ids == ("b", "c")
    assert blocks.classes == ("cat", "dog")
    assert torch.equal(blocks.read(1, 3).inputs, torch.from_numpy(VALUES[1:3]).float())


def test_ids_that_come_twice_are_seen_before_a_picture_is_read():
    with pytest.raises(InputError, match="'a' comes twice"):
        as_blocks(table(name=list("abcdea")), columns={"id": "name"})


def test_tokens_of_a_table():
    rows = {"input_ids": [[1, 2, 0], [3, 4, 5]], "attention_mask": [[1, 1, 0], [1, 1, 1]], "label": [0, 1]}
    blocks = as_blocks(datasets.Dataset.from_dict(rows), given=["input_ids", "attention_mask"])
    block = blocks.read(0, 2)
    assert block.inputs.tolist() == rows["input_ids"]
    assert block.sides["attention_mask"].tolist() == rows["attention_mask"]


def test_the_source_decodes_like_every_other(saved: Path):
    source = HuggingFace(path=str(saved / "one"), id="name", resize=None, crop=6, mean=(0.5,) * 3, std=(0.5,) * 3)
    whole, blocks = source.load(), source.blocks()
    expected = torch.from_numpy(VALUES[:, 1:7, 1:7]).permute(0, 3, 1, 2) / 255
    assert torch.allclose(whole.inputs, (expected - 0.5) / 0.5, atol=1e-6)
    assert (whole.ids, whole.classes, whole.name) == (tuple("abcdef"), ("cat", "dog"), "one")
    assert blocks.read(0, 4).digests + blocks.read(4, 6).digests == whole.digests
    assert HuggingFace(path=str(saved / "parts"), split="test", resize=None, crop=6).load().name == "parts test"


def test_torn_pictures_are_skipped(tmp_path: Path):
    data = table().cast_column("image", datasets.Image(decode=False))
    torn = data.map(
        lambda row, i: {"image": {"bytes": b"torn" if i == 1 else row["image"]["bytes"], "path": None}},
        with_indices=True,
    )
    torn.cast_column("image", datasets.Image()).save_to_disk(tmp_path / "torn")
    loaded = HuggingFace(path=str(tmp_path / "torn"), resize=None, crop=8).load()
    assert loaded.ids == ("0", "2", "3", "4", "5")
    assert loaded.skipped[0][0] == "1"
    block = as_blocks(datasets.load_from_disk(tmp_path / "torn")).read(0, 3)
    assert block.ids == ("0", "2")


def test_labels_that_are_names_are_numbered(tmp_path: Path):
    table(datasets.Value("string")).save_to_disk(tmp_path / "named")
    loaded = HuggingFace(path=str(tmp_path / "named"), resize=None, crop=8).load()
    assert (loaded.classes, loaded.targets.tolist()) == (("cat", "dog"), LABELS)
    other = HuggingFace(path=str(tmp_path / "named"), resize=None, crop=8, classes=("dog", "cat")).load()
    assert other.targets.tolist() == [1 - label for label in LABELS]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": "none"}, "save_to_disk wrote at 'none', but reading it failed"),
        ({"path": "parts"}, "split of .*, but got ''; known are: test, train"),
        ({"path": "one", "split": "test"}, "no `split` for"),
        ({"path": "one", "image": "img"}, "column of .*, but got 'img'"),
        ({"path": "one", "image": "name"}, r"hold pictures \(datasets\.Image\)"),
    ],
)
def test_what_does_not_fit_is_an_error(saved: Path, fields: dict, message: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(saved)
    with pytest.raises(InputError, match=message):
        HuggingFace(**fields).load()


def test_what_streams_or_has_parts_is_refused():
    with pytest.raises(InputError, match=r"IterableDataset, which streams; load it from disk.*snapshot"):
        as_blocks(table().to_iterable_dataset())
    with pytest.raises(InputError, match=r"one part of a data set, .* of 'train', 'test'; .* such as data\['train'\]"):
        as_blocks(datasets.DatasetDict({"train": table(), "test": table()}))


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'heatproof\[huggingface\]'"):
        HuggingFace(path="x").load()
    assert issubclass(UnknownNameError, InputError)
