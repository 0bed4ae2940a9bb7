"""Masks of objects: where they come from, how they are cut, and that they travel as boxes do."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import heatproof as hp
from heatproof.data import Dataset, ImageFolder, NpzImages, as_blocks, snapshot
from heatproof.errors import InputError

RNG = np.random.default_rng(0)


def picture(width: int, height: int, orientation: int = 1) -> tuple[Image.Image, dict[str, bytes]]:
    exif = Image.Exif()
    exif[274] = orientation
    pixels = RNG.integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels), {} if orientation == 1 else {"exif": exif.tobytes()}


def save(path: Path, width: int, height: int, orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image, beside = picture(width, height, orientation)
    image.save(path, **beside)


def mask_file(path: Path, inside: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(inside.astype(np.uint8)).save(path)  # 1 is nearly black, and inside


def box(height: int, width: int, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    inside = np.zeros((height, width), bool)
    inside[y0:y1, x0:x1] = True
    return inside


def test_masks_are_resized_and_cropped_with_their_pictures_and_may_be_missing(tmp_path: Path) -> None:
    """40 x 20 doubled is 80 x 40; the crop of 40 starts at x = 20: x ← 2x − 20, y ← 2y."""
    save(tmp_path / "cat" / "1.jpg", 40, 20)
    save(tmp_path / "dog" / "1.png", 20, 20)
    mask_file(tmp_path / "masks" / "cat" / "1.png", box(20, 40, 4, 2, 25, 18))
    loaded = ImageFolder(root=str(tmp_path), masks="masks", resize=40, crop=40).load()
    assert loaded.classes == ("cat", "dog")  # the folder of masks is no class
    assert loaded.masks is not None
    assert loaded.masks.dtype == torch.bool
    assert torch.equal(loaded.masks[0], torch.from_numpy(box(40, 40, 0, 4, 30, 36)))
    assert not loaded.masks[1].any()


@pytest.mark.parametrize(("resize", "crop"), [(17, 13), (64, 50), ((31, 45), (30, 41)), (None, 20)])
def test_a_mask_is_cut_as_nearest_neighbor_cuts_a_picture(tmp_path: Path, resize: object, crop: object) -> None:
    inside = RNG.random((23, 37)) < 0.5
    mask_file(tmp_path / "masks" / "one.png", inside)
    Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)).convert("RGB").save(tmp_path / "one.png")
    loaded = ImageFolder(
        root=str(tmp_path), masks="masks", resize=resize, crop=crop, interpolation="nearest",  # type: ignore[arg-type]  # of several kinds
    ).load()  # fmt: skip
    assert loaded.masks is not None
    assert torch.equal(loaded.masks[0], loaded.inputs[0, 0] > 0.5)


def test_masks_are_found_by_name_where_no_other_picture_has_it(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png", "b/2.jpg"):
        save(tmp_path / "pictures" / name, 8, 8)
    for name in ("1.png", "2.png"):
        mask_file(tmp_path / "masks" / name, box(8, 8, 0, 0, 2, 2))
    loaded = ImageFolder(root=str(tmp_path / "pictures"), masks="../masks", resize=None, crop=8).load()
    assert loaded.masks is not None
    assert dict(zip(loaded.ids, loaded.masks.sum((1, 2)).tolist(), strict=True)) == {
        "a/1.png": 0, "b/1.png": 0, "b/2.jpg": 4,
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["palette", "color", "alpha", "sixteen bits"])
def test_what_is_not_zero_is_inside_whatever_the_file(tmp_path: Path, kind: str) -> None:
    inside = box(8, 8, 1, 2, 4, 7)
    stored = Image.fromarray(inside.astype(np.uint8))
    if kind == "palette":
        stored.putpalette([9, 9, 9, 0, 0, 0])  # the index counts and not its color
    elif kind == "color":
        stored = Image.merge("RGB", [Image.new("L", (8, 8)), Image.new("L", (8, 8)), stored])
    elif kind == "alpha":
        stored = Image.merge("LA", [stored, Image.new("L", (8, 8), 255)])
    else:
        stored = Image.fromarray(inside.astype(np.uint16))
    save(tmp_path / "one.png", 8, 8)
    (tmp_path / "masks").mkdir()
    stored.save(tmp_path / "masks" / "one.png")
    loaded = ImageFolder(root=str(tmp_path), masks="masks", resize=None, crop=8).load()
    assert loaded.masks is not None
    assert torch.equal(loaded.masks[0], torch.from_numpy(inside))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_of_a_turned_picture_is_turned_with_it(tmp_path: Path, orientation: int) -> None:
    inside = box(8, 12, 1, 2, 5, 4)  # in the file's own pixels, 12 x 8
    save(tmp_path / "one.png", 12, 8, orientation)
    exif = Image.Exif()
    exif[274] = orientation
    said = Image.fromarray(inside.astype(np.uint8))
    (tmp_path / "masks").mkdir()

    def mask() -> torch.Tensor:
        loaded = ImageFolder(root=str(tmp_path), masks="masks", resize=None, crop=None).load()
        assert loaded.masks is not None
        return loaded.masks[0]

    said.save(tmp_path / "masks" / "one.png", exif=exif.tobytes())
    as_it_says = mask()
    said.save(tmp_path / "masks" / "one.png")
    as_stored = mask()
    Image.fromarray(as_it_says.numpy().astype(np.uint8)).save(tmp_path / "masks" / "one.png")
    as_seen = mask()
    turns = {
        5: inside.T, 6: np.rot90(inside, -1), 7: np.rot90(inside, 2).T, 8: np.rot90(inside),
    }  # fmt: skip
    want = torch.from_numpy(turns[orientation].copy())
    assert all(torch.equal(one, want) for one in (as_it_says, as_stored, as_seen))


@pytest.mark.parametrize(
    ("size", "orientation", "said"),
    [
        ((9, 8), 1, "its mask has 9 x 8 pixels, but the picture has 8 x 8"),
        ((8, 8), 3, "nothing tells whether its mask was drawn before or after turning it upright"),
    ],
)
def test_masks_that_cannot_be_placed_leave_the_picture_out(
    tmp_path: Path, size: tuple[int, int], orientation: int, said: str
) -> None:
    save(tmp_path / "one.png", 8, 8, orientation)
    save(tmp_path / "two.png", 8, 8)
    mask_file(tmp_path / "masks" / "one.png", np.ones(size[::-1]))
    loaded = ImageFolder(root=str(tmp_path), masks="masks", resize=None, crop=8).load()
    assert loaded.ids == ("two.png",)
    assert said in loaded.skipped[0][1]


def test_folders_without_masks_and_both_kinds_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "one.png", 8, 8)
    with pytest.raises(InputError, match=r"Expected `masks` to name a folder of PNG files, but .*none' is none"):
        ImageFolder(root=str(tmp_path), masks="none").load()
    (tmp_path / "masks").mkdir()
    with pytest.raises(
        InputError, match=r"of the same name, such as 'one\.png', but none of the 0 there fits any of 1"
    ):
        ImageFolder(root=str(tmp_path), masks="masks").load()
    with pytest.raises(InputError, match="Expected `boxes` or `masks` of the objects, but got both"):
        ImageFolder(root=str(tmp_path), masks="masks", boxes="boxes.csv").load()


def test_only_images_with_small_masks(tmp_path: Path) -> None:
    for name, side in (("a", 2), ("b", 6), ("c", 0)):
        save(tmp_path / f"{name}.png", 8, 8)
        mask_file(tmp_path / "masks" / f"{name}.png", box(8, 8, 0, 0, side, side))
    loaded = ImageFolder(root=str(tmp_path), masks="masks", boxes_below=0.33, resize=None, crop=8).load()
    assert loaded.ids == ("a.png",)


@pytest.mark.parametrize("save_arrays", [np.savez, np.savez_compressed])
def test_masks_of_an_archive(tmp_path: Path, save_arrays: object) -> None:
    masks = RNG.integers(0, 3, (5, 6, 7))
    save_arrays(tmp_path / "a.npz", x=np.zeros((5, 1, 6, 7), np.float32), y=np.arange(5), m=masks)  # type: ignore[operator]  # a function
    source = NpzImages(path=str(tmp_path / "a.npz"), masks="m", shuffle=0, limit=3, offset=1)
    loaded = source.load()
    assert loaded.masks is not None
    assert torch.equal(loaded.masks, torch.from_numpy(masks[[int(name) for name in loaded.ids]] != 0))
    with pytest.raises(InputError, match=r"Expected array 'y' of .* to be masks \(5, 6, 7\), nonzero inside, but got"):
        NpzImages(path=str(tmp_path / "a.npz"), masks="y").load()
    with pytest.raises(InputError, match="array in"):
        NpzImages(path=str(tmp_path / "a.npz"), masks="masks").load()


def test_masks_travel_through_blocks_and_snapshots(tmp_path: Path) -> None:
    inputs, targets = torch.rand(5, 3, 4, 6), torch.arange(5)
    masks = torch.rand(5, 4, 6) < 0.5
    data = Dataset(name="mine", inputs=inputs, targets=targets, ids=tuple("abcde"), masks=masks)
    for blocks in (
        as_blocks(data),
        as_blocks(inputs, masks=masks),
        snapshot(data, tmp_path / "kept", shard=2).blocks(),
    ):
        read = blocks.read(1, 4).masks
        assert read is not None
        assert torch.equal(read, masks[1:4])
    other = Dataset(name="mine", inputs=inputs, targets=targets, ids=tuple("abcde"), masks=~masks)
    assert data.fingerprint != other.fingerprint
    assert as_blocks(inputs, masks=masks).identity != as_blocks(inputs, masks=~masks).identity
    boxed = as_blocks(data, boxes=[[(0, 0, 2, 2)]] * 5).read(0, 2)
    assert (boxed.masks, boxed.boxes) == (None, (((0, 0, 2, 2),),) * 2)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"masks": torch.zeros(2, 4, 6)}, r"to be a bool tensor \(2, 4, 6\), True inside, but got torch\.float32"),
        ({"masks": torch.zeros(2, 6, 4, dtype=torch.bool)}, r"bool tensor \(2, 4, 6\), .* but got .* \(2, 6, 4\)"),
        ({"masks": torch.zeros(3, 4, 6, dtype=torch.bool)}, "Expected 2 masks of objects, one a sample of mine"),
        (
            {"masks": torch.zeros(2, 4, 6, dtype=torch.bool), "boxes": ((), ())},
            "Expected boxes or masks of the objects of mine, but got both",
        ),
    ],
)
def test_masks_are_bool_of_the_inputs_size(more: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        hp.data.Dataset(
            name="mine", inputs=torch.rand(2, 3, 4, 6), targets=torch.zeros(2, dtype=torch.int64), ids=("a", "b"),
            **more,  # type: ignore[arg-type]  # of several kinds
        )  # fmt: skip
