import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from heatproof.data import WebDataset, as_blocks
from heatproof.errors import InputError

VALUES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def png(i: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(VALUES[i]).save(stream, format="PNG")
    return stream.getvalue()


def pack(path: Path, files: list[tuple[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    meta = [json.dumps({"kind": {"name": "cat" if i % 2 else "dog"}, "number": i}).encode() for i in range(5)]
    samples = [[(f"d/s{i}.png", png(i)), (f"d/s{i}.cls", str(i).encode()), (f"d/s{i}.json", meta[i])] for i in range(5)]
    pack(tmp_path / "tars" / "a.tar", [*samples[0], *samples[1], ("README", b"no sample"), ("__meta__.txt", b"")])
    pack(tmp_path / "tars" / "b.tar", [*samples[2], *samples[3], *samples[4]])
    return tmp_path / "tars"


def source(root: Path, **fields: object) -> WebDataset:
    return WebDataset(**{"root": str(root), "resize": None, "crop": 8, **fields})


def test_every_sample_is_read_by_its_place(shards: Path):
    blocks = as_blocks(source(shards))
    block = blocks.read(1, 4)
    assert len(blocks) == 5
    assert block.ids == ("a.tar/d/s1", "b.tar/d/s2", "b.tar/d/s3")
    assert torch.equal(block.inputs, torch.from_numpy(VALUES[1:4]).permute(0, 3, 1, 2) / 255)
    assert block.targets.tolist() == [1, 2, 3]
    assert blocks.read(4, 5).digests == blocks.read(3, 5).digests[1:]


def test_labels_from_json(shards: Path):
    assert source(shards, label="json:number").load().targets.tolist() == [0, 1, 2, 3, 4]
    named = source(shards, label="json:kind.name", classes=("cat", "dog")).load()
    assert (named.targets.tolist(), named.classes) == ([1, 0, 1, 0, 1], ("cat", "dog"))
    assert not source(shards, label="").load().labelled


def test_one_archive_has_its_own_names(shards: Path):
    assert source(shards / "b.tar", shuffle=2, limit=2).load().name == "b.tar"
    assert set(source(shards / "b.tar").load().ids) == {"d/s2", "d/s3", "d/s4"}


def test_members_are_looked_up_once(shards: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    before = source(shards).blocks().identity
    (kept,) = cache.glob("tars-*.parquet")
    monkeypatch.setattr(tarfile, "open", None)
    assert source(shards).blocks().identity == before
    kept.write_bytes(b"torn")
    with pytest.warns(match="counts as absent"), pytest.raises(TypeError):
        source(shards).blocks().identity  # noqa: B018  # made anew, which needs tarfile


def test_an_archive_that_changed_is_looked_through_again(shards: Path):
    before = source(shards).blocks().identity
    pack(shards / "b.tar", [("d/s9.png", png(0)), ("d/s9.cls", b"3")])
    assert source(shards).blocks().identity != before
    assert source(shards).load().ids == ("a.tar/d/s0", "a.tar/d/s1", "b.tar/d/s9")


def test_what_a_sample_lacks_is_named(tmp_path: Path):
    files = [
        ("a.png", png(0)),
        ("a.cls", b"0"),
        ("b.cls", b"1"),
        ("c.png", png(1)),
        ("d.png", b"torn"),
        ("d.cls", b"1"),
    ]
    pack(tmp_path / "t" / "x.tar", files)
    loaded = source(tmp_path / "t").load()
    assert loaded.ids == ("a",)
    reasons = dict(loaded.skipped)
    assert list(reasons) == ["b", "c", "d"]
    assert reasons["b"].startswith("ValueError: it has no file jpg or jpeg or jfif or jpe or png")
    assert reasons["c"] == "ValueError: it has no file .cls"
    assert "UnidentifiedImageError" in reasons["d"]


def test_an_archive_that_shrank_costs_its_last_samples(shards: Path):
    blocks = source(shards).blocks()
    assert len(blocks) == 5  # looked up while it was whole
    whole = (shards / "b.tar").read_bytes()
    (shards / "b.tar").write_bytes(whole[:1024])
    block = blocks.read(1, 4)
    assert block.ids == ("a.tar/d/s1",)
    assert [name for name, _ in block.skipped] == ["b.tar/d/s2", "b.tar/d/s3"]
    assert "the archive ends" in block.skipped[1][1]


@pytest.mark.parametrize(
    ("files", "fields", "message"),
    [
        ([("a.png", png(0)), ("a.png", png(1))], {}, "each file once in .*'a.png' comes twice"),
        ([("README", b"")], {}, "but they hold no files"),
        ([("a.png", png(0)), ("a.cls", b"cat")], {}, "whole numbers from 0 on, but got 'cat'; give `classes`"),
        ([("a.png", png(0)), ("a.cls", b"cot")], {"classes": ("cat",)}, "but got 'cot'; did you mean 'cat'"),
        ([("a.png", png(0)), ("a.json", b'{"y": 0.5}')], {"label": "json:y"}, "labels from 0 on .* but 'a' has 0.5"),
    ],
)
def test_what_does_not_fit_is_an_error(tmp_path: Path, files: list, fields: dict, message: str):
    pack(tmp_path / "t" / "x.tar", files)
    with pytest.raises(InputError, match=message):
        source(tmp_path / "t", **fields).load()


def test_what_is_no_archive_is_an_error(tmp_path: Path):
    with pytest.raises(InputError, match="there is no such folder"):
        source(tmp_path / "none").load()
    (tmp_path / "t").mkdir()
    with tarfile.open(tmp_path / "t" / "x.tar.gz", "w:gz"):
        pass
    with pytest.raises(InputError, match=r"it holds none, but 'x\.tar\.gz': unpack it"):
        source(tmp_path / "t").load()
    (tmp_path / "t" / "x.tar.gz").rename(tmp_path / "t" / "x.tar")
    with pytest.raises(InputError, match="a tar archive without compression at"):
        source(tmp_path / "t").load()
