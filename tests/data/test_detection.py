import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from heatproof.data import Coco, PascalVOC
from heatproof.data.detection import VOC_CLASSES
from heatproof.errors import InputError

DOG, CAT, PERSON = (VOC_CLASSES.index(name) for name in ("dog", "cat", "person"))


def picture(path: Path, width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    Image.fromarray((np.stack([x * 3, y * 5, x + y], -1) % 256).astype(np.uint8)).save(path)


def xml(*objects: tuple[str, tuple[int, int, int, int], int]) -> str:
    parts = [
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>"
        + "".join(f"<{edge}>{v}</{edge}>" for edge, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        + "</bndbox></object>"
        for name, box, difficult in objects
    ]
    return f"<annotation>{''.join(parts)}</annotation>"


# --- VOC ---


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Three pictures of 60 × 40 pixels, one of them broken, one with a broken annotation, and one that is absent."""
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    for name in ("one", "two", "torn", "untold"):
        picture(folder / "JPEGImages" / f"{name}.jpg", 60, 40)
    (folder / "JPEGImages" / "torn.jpg").write_bytes(b"\xff\xd8 no picture")
    (folder / "Annotations").mkdir()
    # The crop of 40 is columns 10 … 50. VOC's 11 … 20 are pixels 10 … 20 from 0 on, the last not included.
    annotations = {
        "one": xml(("dog", (11, 1, 20, 40), 0), ("cat", (21, 1, 50, 40), 0), ("person", (11, 1, 50, 40), 1)),
        "two": xml(("cat", (1, 1, 15, 10), 0), ("person", (1, 11, 20, 30), 0)),
        "torn": xml(("dog", (11, 1, 20, 40), 0)),
        "untold": "<annotation><object>",
    }
    for name, text in annotations.items():
        (folder / "Annotations" / f"{name}.xml").write_text(text)
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "val.txt").write_text("one\ntwo\ntorn\nuntold\nabsent\n")
    return tmp_path


def test_voc_by_hand(voc: Path):
    loaded = PascalVOC(root=str(voc), resize=None, crop=40).load()
    assert loaded.name == "VOC 2012 val"
    assert loaded.ids == ("one.jpg", "two.jpg")
    assert loaded.classes == VOC_CLASSES
    assert loaded.inputs.shape == (2, 3, 40, 40)
    assert torch.equal(loaded.inputs, loaded.display.permute(0, 3, 1, 2).float() / 255)
    # `two`: of the cat's 15 columns 5 are in the crop (a third), of the person's 20 columns 10 (half).
    assert loaded.box_labels == ((DOG, CAT), (PERSON,))
    assert loaded.boxes == (((0.0, 0.0, 10.0, 40.0), (10.0, 0.0, 40.0, 40.0)), ((0.0, 10.0, 10.0, 30.0),))
    # `one`: the cat takes 30 columns, the dog 10; the person is marked as difficult.
    assert loaded.targets.tolist() == [CAT, PERSON]
    assert [name for name, _ in loaded.skipped] == ["torn.jpg", "untold.jpg", "absent.jpg"]
    assert "UnidentifiedImageError" in loaded.skipped[0][1]
    assert "ParseError" in loaded.skipped[1][1]
    assert "FileNotFoundError" in loaded.skipped[2][1]


def test_the_share_of_a_box_that_must_be_inside(voc: Path):
    strict = PascalVOC(root=str(voc), resize=None, crop=40, inside=0.51, limit=2).load()
    assert strict.ids == ("one.jpg",)
    assert strict.skipped == (("two.jpg", "ValueError: no object has 51% of its box in the crop"),)
    loose = PascalVOC(root=str(voc), resize=None, crop=40, inside=1 / 3, limit=2).load()
    assert loose.box_labels[1] == (CAT, PERSON)


def test_the_boxes_of_the_explained_label_alone(voc: Path):
    loaded = PascalVOC(root=str(voc), resize=None, crop=40).load()
    assert loaded.boxes_of(torch.tensor([DOG, DOG])) == (((0.0, 0.0, 10.0, 40.0),), ())
    assert loaded.boxes_of(loaded.targets) == (((10.0, 0.0, 40.0, 40.0),), ((0.0, 10.0, 10.0, 30.0),))


def test_boxes_follow_the_resized_picture(voc: Path):
    """Short side 40 → 20 halves everything, then the crop of 20 takes columns 5 … 25."""
    loaded = PascalVOC(root=str(voc), resize=20, crop=20, limit=1).load()
    assert loaded.boxes == (((0.0, 0.0, 5.0, 20.0), (5.0, 0.0, 20.0, 20.0)),)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"year": "2007"}, r"VOC 2007 under .*val\.txt cannot be read .* heatproof downloads nothing"),
        ({"part": "test"}, r"test\.txt cannot be read"),
        ({"crop": 300}, "got crop 300 of 224"),
        ({"inside": 0.0}, "`inside` above 0 and at most 1, but got 0.0"),
        ({"offset": 2}, "none of 3 can be used; the first, torn.jpg"),
        ({"offset": 5}, "below the 5 samples"),
    ],
)
def test_bad_voc_is_an_error(voc: Path, fields: dict, message: str):
    with pytest.raises(InputError, match=message):
        PascalVOC(**{"root": str(voc), **fields}).load()


def test_an_empty_list_of_pictures_is_said(voc: Path):
    (voc / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main" / "val.txt").write_text("")
    with pytest.raises(InputError, match="Expected samples of PascalVOC, but there are none"):
        PascalVOC(root=str(voc)).load()


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ("<object><name>unicorn</name><bndbox><xmin>1</xmin></bndbox></object>", "an object 'unicorn' without a box"),
        ("<object><name>dog</name></object>", "an object 'dog' without a box"),
        (
            "<object><name>dog</name><bndbox><xmin>a</xmin><ymin>1</ymin><xmax>2</xmax><ymax>3</ymax></bndbox></object>",
            "could not convert string to float",
        ),
    ],
)
def test_a_strange_object_costs_its_picture_alone(voc: Path, objects: str, message: str):
    path = voc / "VOCdevkit" / "VOC2012" / "Annotations" / "two.xml"
    path.write_text(f"<annotation>{objects}</annotation>")
    loaded = PascalVOC(root=str(voc), resize=None, crop=40, limit=2).load()
    assert loaded.ids == ("one.jpg",)
    ((name, reason),) = loaded.skipped
    assert name == "two.jpg"
    assert message in reason


# --- MSCOCO ---


def write_coco(root: Path, annotations: list[dict]) -> None:
    for number in (1, 2, 3):
        picture(root / "val2017" / f"{number:012d}.jpg", 50, 40)
    (root / "val2017" / f"{3:012d}.jpg").write_bytes(b"torn")
    (root / "annotations").mkdir(exist_ok=True)
    table = {
        "images": [{"id": number, "file_name": f"{number:012d}.jpg"} for number in (2, 1, 3)],
        # ids have gaps and stand in no order
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}, {"id": 13, "name": "stop sign"}],
        "annotations": annotations,
    }
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(table))


def thing(image: int, category: int, *box: float, crowd: int = 0) -> dict:
    return {"image_id": image, "category_id": category, "bbox": list(box), "iscrowd": crowd}


def test_coco_by_hand(tmp_path: Path):
    write_coco(
        tmp_path,
        [
            thing(1, 90, 10, 5, 20, 10.5),
            thing(1, 1, 0, 0, 8, 40),  # 3 of its 8 columns are inside: 37.5 %
            thing(1, 13, 0, 0, 9, 40),  # 4 of 9: 44 %
            thing(2, 1, 10, 0, 4, 4),
            thing(2, 1, 20, 0, 4, 4),
            thing(2, 13, 10, 0, 5, 5),
            thing(2, 90, 0, 0, 50, 40, crowd=1),
            thing(3, 1, 0, 0, 50, 40),
        ],
    )
    loaded = Coco(root=str(tmp_path), resize=None, crop=40).load()
    assert loaded.classes == ("person", "stop sign", "toothbrush")
    assert loaded.ids == ("000000000001.jpg", "000000000002.jpg")
    assert loaded.box_labels == ((2, 1), (0, 0, 1))
    assert loaded.boxes[0] == ((5.0, 5.0, 25.0, 15.5), (0.0, 0.0, 4.0, 40.0))
    # 20 × 10.5 against 4 × 40; two persons of 16 pixels each against a sign of 25.
    assert loaded.targets.tolist() == [2, 0]
    assert [name for name, _ in loaded.skipped] == ["000000000003.jpg"]


@given(st.integers(0, 49), st.integers(0, 39), st.integers(1, 50), st.integers(1, 40), st.sampled_from([0.4, 0.5, 1.0]))
def test_a_label_counts_by_its_pixels_in_the_crop(
    tmp_path_factory: pytest.TempPathFactory, x: int, y: int, width: int, height: int, inside: float
):
    """The 40 % rule, pixel by pixel."""
    root = tmp_path_factory.mktemp("coco")
    write_coco(root, [thing(1, 13, 5, 0, 40, 40), thing(1, 1, x, y, width, height)])
    loaded = Coco(root=str(root), resize=None, crop=40, inside=inside, limit=1).load()
    pixels = [(i, j) for i in range(x, x + width) for j in range(y, y + height)]
    share = sum(5 <= i < 45 and j < 40 for i, j in pixels) / len(pixels)
    assert (0 in loaded.box_labels[0]) == (share >= inside)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"bbox": [1, 2, 3]}, "without box"), ({"category_id": 5}, "known category"), ({"bbox": None}, "without box")],
)
def test_a_strange_annotation_costs_its_picture_alone(tmp_path: Path, changes: dict, reason: str):
    write_coco(tmp_path, [thing(1, 1, 10, 0, 20, 20), {**thing(2, 1, 10, 0, 20, 20), **changes}])
    loaded = Coco(root=str(tmp_path), resize=None, crop=40, limit=2).load()
    assert loaded.ids == ("000000000001.jpg",)
    assert "an annotation without box or known category" in loaded.skipped[0][1]
    assert reason in loaded.skipped[0][1]


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"images": []}', b"\xff\xfe", b'{"images": 3, "categories": []}'])
def test_a_broken_table_is_an_error_that_names_it(tmp_path: Path, content: bytes):
    write_coco(tmp_path, [])
    (tmp_path / "annotations" / "instances_val2017.json").write_bytes(content)
    with pytest.raises(InputError, match=r"MSCOCO's instances in .*val2017\.json.* heatproof downloads nothing"):
        Coco(root=str(tmp_path)).load()


def test_no_table_is_an_error(tmp_path: Path):
    with pytest.raises(InputError, match="FileNotFoundError"):
        Coco(root=str(tmp_path)).load()
