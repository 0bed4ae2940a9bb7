"""Every source, read block by block, is what it is read whole."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from heatproof import data
from heatproof.data import (
    Coco,
    Dataset,
    DemoDigits,
    ImageFile,
    ImageFolder,
    NpzImages,
    PascalVOC,
    Source,
    TextTable,
    decoding,
)
from heatproof.errors import InputError

SIZE = 16


def picture(path: Path, seed: int, size: int = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)


def folder(root: Path) -> ImageFolder:
    for i in range(6):
        picture(root / "cat dog"[: 3 + 4 * (i % 2)] / f"{i}.png", i)
    (root / "cat" / "2.png").write_bytes(b"torn")
    return ImageFolder(root=str(root), resize=None, crop=8)


def boxed(root: Path) -> ImageFolder:
    lines = ["file,index,xmin,ymin,xmax,ymax"]
    for i in range(6):
        picture(root / f"{i}.png", i)
        lines.append(f"{i}.png,{i % 3},0,0,{2 * i + 1},8")
    (root / "all.csv").write_text("\n".join(lines))
    return ImageFolder(root=str(root), index="all.csv", boxes="all.csv", boxes_below=0.4, resize=None, crop=SIZE)


def voc(root: Path) -> PascalVOC:
    home = root / "VOCdevkit" / "VOC2012"
    for name in "abcd":
        picture(home / "JPEGImages" / f"{name}.jpg", ord(name))
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
        (home / "Annotations").mkdir(exist_ok=True)
        thing = (
            f"<object><name>{'cat' if name < 'c' else 'dog'}</name><difficult>{name == 'b':d}</difficult>{box}</object>"
        )
        (home / "Annotations" / f"{name}.xml").write_text(f"<annotation>{thing}</annotation>")
    (home / "ImageSets" / "Main").mkdir(parents=True)
    (home / "ImageSets" / "Main" / "val.txt").write_text("a\nb\nc\nd\n")
    return PascalVOC(root=str(root), resize=None, crop=SIZE)


def coco(root: Path) -> Coco:
    for i in range(4):
        picture(root / "val2017" / f"{i}.jpg", i)
    table = {
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(4)],
        "annotations": [{"image_id": i, "category_id": [3, 7][i % 2], "bbox": [0, 0, 8, 8]} for i in range(3)],
    }
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(table))
    return Coco(root=str(root), resize=None, crop=SIZE)


def arrays(save: Callable[..., None], **more: object) -> Callable[[Path], NpzImages]:
    def made(root: Path) -> NpzImages:
        values = np.random.default_rng(0).integers(0, 256, (7, 4, 5), dtype=np.uint8)
        images = values.astype(np.float32) if more else values
        if more:
            images[3, 0, 0] = np.nan
        save(root / "a.npz", x=images, y=np.arange(7))
        return NpzImages(path=str(root / "a.npz"))

    return made


def texts(root: Path) -> TextTable:
    rows = [("the cat", "1"), ("", "0"), ("a dog", ""), ("a cat and a dog", "0"), ("dog", "1"), ("the end", "1")]
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(root / "t.csv", index=False)
    return TextTable(path=str(root / "t.csv"), length=4)


def one_file(root: Path) -> ImageFile:
    picture(root / "one.png", 1)
    return ImageFile(path=str(root / "one.png"), resize=None, crop=8)


SOURCES: dict[str, Callable[[Path], Source]] = {
    "folder": folder,
    "boxed": boxed,
    "voc": voc,
    "coco": coco,
    "npz": arrays(np.savez),
    "npz compressed": arrays(np.savez_compressed),
    "npz floats": arrays(np.savez, floats=True),
    "text": texts,
    "file": one_file,
    "demo": lambda root: DemoDigits(limit=9),
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    if request.param == "demo":
        pytest.importorskip("sklearn")
    (tmp_path / "data").mkdir()
    return SOURCES[request.param](tmp_path / "data")


def rows_of(part: Dataset, name: str) -> list[object]:
    """A field, one item a sample."""
    value = getattr(part, name)
    return value.tolist() if isinstance(value, torch.Tensor) else list(value)


def joined(parts: list[Dataset], name: str) -> list[object] | None:
    if all(getattr(part, name) is None for part in parts if len(part)):
        return None
    return [row for part in parts if len(part) for row in rows_of(part, name)]


PER_SAMPLE = ("inputs", "targets", "ids", "display", "boxes", "box_labels", "tokens", "mask")


@pytest.mark.filterwarnings("ignore:.*texts of t are longer")
@pytest.mark.parametrize("shuffle", [None, 1])
def test_blocks_together_are_the_whole(source: Source, shuffle: int | None):
    source = replace(source, shuffle=shuffle)
    whole, blocks = source.load(), source.blocks()
    for size in (1, 2, len(blocks)):
        parts = [blocks.read(start, start + size) for start in range(0, len(blocks), size)]
        for name in PER_SAMPLE:
            value = getattr(whole, name)
            assert joined(parts, name) == (None if value is None else rows_of(whole, name))
        assert [pair for part in parts for pair in part.skipped] == list(whole.skipped)
        assert {(part.name, part.classes) for part in parts} == {(whole.name, whole.classes)}


def test_a_copy_in_another_process_reads_the_same(source: Source):
    blocks = source.blocks()
    again = pickle.loads(pickle.dumps(blocks))
    assert len(pickle.dumps(blocks)) < 2500  # a recipe, no listing
    assert (again.identity, len(again)) == (blocks.identity, len(blocks))
    assert again.read(0, 3).digests == blocks.read(0, 3).digests


def test_where_the_data_lie_is_no_part_of_what_they_are(source: Source, tmp_path: Path):
    places = {f.name: getattr(source, f.name) for f in fields(source) if f.name in ("root", "path")}
    moved = {key: value.replace(f"{tmp_path}/data", f"{tmp_path}/moved") for key, value in places.items() if value}
    identity = source.blocks().identity
    shutil.move(tmp_path / "data", tmp_path / "moved")
    assert replace(source, **moved).blocks().identity == identity
    assert replace(source, **moved, shuffle=3).blocks().identity != identity


def test_only_what_is_asked_for_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blocks = folder(tmp_path).blocks()
    seen: list[str] = []
    opened = decoding.Image.open
    monkeypatch.setattr(decoding.Image, "open", lambda path: seen.append(Path(path).name) or opened(path))
    assert (len(blocks), blocks.name, blocks.classes, len(blocks.identity)) == (
        6,
        tmp_path.name,
        ("cat", "cat dog"),
        64,
    )
    assert seen == []
    blocks.read(3, 5)
    assert seen == ["1.png", "3.png"]


def test_uncompressed_archives_stay_in_their_file(tmp_path: Path):
    (tmp_path / "small").mkdir()
    mapped = arrays(np.savez)(tmp_path).listing().images
    held = arrays(np.savez_compressed)(tmp_path / "small").listing().images
    assert isinstance(mapped, np.memmap)
    assert not isinstance(held, np.memmap)
    assert np.array_equal(mapped, held)
    np.savez(tmp_path / "f.npz", x=np.asfortranarray(held), y=np.arange(7))
    assert np.array_equal(NpzImages(path=str(tmp_path / "f.npz")).listing().images, held)


def test_a_listing_that_changed_is_refused_where_the_first_is_known(tmp_path: Path):
    pickled = pickle.dumps(folder(tmp_path).blocks())
    picture(tmp_path / "cat" / "8.png", 8)
    with pytest.raises(InputError, match=r"as it was when this began, but what it lists has changed: files were added"):
        pickle.loads(pickled).read(0, 2)


def test_labels_in_an_index_are_part_of_the_identity(tmp_path: Path):
    before = boxed(tmp_path).blocks().identity
    index = tmp_path / "all.csv"
    index.write_text(index.read_text().replace("3.png,0", "3.png,1"))
    assert boxed_again(tmp_path).blocks().identity != before


def boxed_again(root: Path) -> ImageFolder:
    return ImageFolder(root=str(root), index="all.csv", boxes="all.csv", boxes_below=0.4, resize=None, crop=SIZE)


def test_a_size_that_no_block_before_had_is_refused(tmp_path: Path):
    for i in range(3):
        picture(tmp_path / f"{i}.png", i, size=SIZE + (i == 2))
    blocks = ImageFolder(root=str(tmp_path), resize=None, crop=None).blocks()
    blocks.read(0, 2)
    with pytest.raises(InputError, match=r"\(3, 16, 16\) as those before, but '2.png' has \(3, 17, 17\); set `crop`"):
        blocks.read(2, 3)
    with pytest.raises(InputError, match=r"\(3, 16, 16\) as those before"):
        pickle.loads(pickle.dumps(blocks)).read(2, 3)


def test_what_is_odd_of_pictures_is_said_once(tmp_path: Path):
    for i in range(4):
        picture(tmp_path / f"{i}.png", i, size=2)
    blocks = ImageFolder(root=str(tmp_path), resize=16, crop=16).blocks()
    with pytest.warns(match="2 of 2 pictures .* enlarged more than 4 times"):
        blocks.read(0, 2)
    blocks.read(2, 4)


@pytest.mark.data
@pytest.mark.parametrize("name", ["MNIST", "CIFAR10"])
def test_torchvision_sets_by_blocks(name: str, data_folder: Path):
    pytest.importorskip("torchvision")
    try:
        source = data.TorchvisionDataset(dataset=name, root=str(data_folder), limit=5, offset=3)
        whole = source.load()
    except InputError:
        pytest.skip(f"{name} is not there")
    blocks = source.blocks()
    assert blocks.read(0, 2).digests + blocks.read(2, 5).digests == whole.digests
    assert pickle.loads(pickle.dumps(blocks)).identity == blocks.identity
