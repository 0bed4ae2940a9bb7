"""What a picture file shows, and what is refused instead of shown wrong."""

import importlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from typer.testing import CliRunner

from heatproof import cli
from heatproof.data import Coco, ImageFile, ImageFolder, PascalVOC
from heatproof.data.decoding import shown
from heatproof.errors import HeatproofWarning, InputError, UnknownNameError

DEEP = np.arange(20 * 30).reshape(20, 30).astype(np.uint16) * 109  # from 0 to 65291
RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def seen(path: Path, channels: int = 3, **fields: object) -> np.ndarray:
    return np.asarray(shown(path, channels, **fields).image)


def grey(path: Path) -> np.ndarray:
    picture = seen(path)
    assert (picture == picture[..., :1]).all()
    return picture[..., 0]


# --- depth ---


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_run_from_black_to_white(tmp_path: Path, ending: str):
    Image.fromarray(DEEP).save(tmp_path / f"deep.{ending}")
    assert np.array_equal(grey(tmp_path / f"deep.{ending}"), np.round(DEEP / 257).astype(np.uint8))


def test_white_is_where_the_file_says(tmp_path: Path):
    """PGM's own maximum, 12 bits in a TIFF, and a TIFF in which 0 is white."""
    twelve = DEEP % 4096
    (tmp_path / "a.pgm").write_bytes(b"P5 30 20 4095\n" + twelve.astype(">u2").tobytes())
    assert np.abs(grey(tmp_path / "a.pgm") - twelve.astype(float) * 255 / 4095).max() <= 0.51
    Image.fromarray(DEEP).save(tmp_path / "inverted.tif", tiffinfo={262: 0})
    assert np.array_equal(grey(tmp_path / "inverted.tif"), 255 - np.round(DEEP / 257).astype(np.uint8))


def test_a_transparent_grey_value_of_sixteen_bits(tmp_path: Path):
    Image.fromarray(DEEP).save(tmp_path / "t.png", transparency=int(DEEP[3, 4]))
    expected = np.round(DEEP / 257).astype(np.uint8)
    expected[3, 4] = 255
    assert np.array_equal(grey(tmp_path / "t.png"), expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (DEEP.astype(np.int32), "32-bit grey, and nothing tells which value is white; save it with 8 or 16 bits"),
        (DEEP.astype(np.float32) / 65535, "floating-point grey, and nothing tells which value is white"),
    ],
)
def test_what_has_no_agreed_white_is_refused(tmp_path: Path, values: np.ndarray, message: str):
    Image.fromarray(values).save(tmp_path / "p.tif")
    with pytest.raises(InputError, match=message):
        ImageFile(path=str(tmp_path / "p.tif"), resize=None, crop=None).load()
    Image.fromarray(RGB).save(tmp_path / "good.png")
    loaded = ImageFolder(root=str(tmp_path), resize=None, crop=None).load()
    assert loaded.ids == ("good.png",)
    assert message in loaded.skipped[0][1]


def test_pages_are_refused_and_animations_show_their_first_picture(tmp_path: Path):
    pages = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    pages[0].save(tmp_path / "p.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match="it holds 2 pages; save the one that is meant"):
        shown(tmp_path / "p.tif")
    pages[0].save(tmp_path / "p.png", save_all=True, append_images=pages[1:])
    assert np.array_equal(seen(tmp_path / "p.png"), RGB)


# --- color, transparency, channels ---


@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
def test_transparency_shows_the_background(tmp_path: Path, ending: str):
    """By hand: color · alpha + background · (1 − alpha), white by default."""
    alpha = np.full((20, 30), 255, np.uint8)
    alpha[:10], alpha[10:15] = 0, 51
    options = {"lossless": True, "exact": True} if ending == "webp" else {}
    Image.fromarray(np.dstack([RGB, alpha])).save(tmp_path / f"a.{ending}", **options)
    share = alpha[..., None] / 255
    for background in ((255, 255, 255), (0, 40, 200)):
        picture = seen(tmp_path / f"a.{ending}", background=background)
        assert np.abs(picture - (RGB * share + np.array(background) * (1 - share))).max() <= 1
    assert np.array_equal(seen(tmp_path / f"a.{ending}")[15:], RGB[15:])


def test_transparency_of_palettes_and_grey(tmp_path: Path):
    palette = Image.fromarray(RGB).quantize(4)
    palette.save(tmp_path / "p.png", transparency=2)
    clear = np.asarray(palette) == 2
    picture = seen(tmp_path / "p.png")
    assert (picture[clear] == 255).all()
    assert np.array_equal(picture[~clear], np.asarray(palette.convert("RGB"))[~clear])
    Image.fromarray(np.dstack([RGB[..., 0], np.zeros_like(RGB[..., 0])])).save(tmp_path / "la.png")
    assert (seen(tmp_path / "la.png") == 255).all()


def test_a_color_profile_is_brought_to_srgb_and_a_broken_one_is_none(tmp_path: Path):
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(RGB).save(tmp_path / "srgb.png", icc_profile=own)
    assert np.array_equal(seen(tmp_path / "srgb.png"), RGB)
    Image.fromarray(RGB).save(tmp_path / "broken.png", icc_profile=b"no profile")
    assert np.array_equal(seen(tmp_path / "broken.png"), RGB)
    # sRGB's own profile under another name with the primaries red and green exchanged: the picture's too are.
    swapped = bytearray(own)
    red, green = swapped.index(b"rXYZ"), swapped.index(b"gXYZ")
    swapped[red : red + 4], swapped[green : green + 4] = b"gXYZ", b"rXYZ"
    description = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(own))).strip()
    for text in (description, description.encode("utf-16-be").decode("latin-1")):
        swapped = bytearray(bytes(swapped).replace(text.encode("latin-1"), b"x" * len(text)))
    Image.fromarray(RGB).save(tmp_path / "swapped.png", icc_profile=bytes(swapped))
    exchanged = seen(tmp_path / "swapped.png").astype(int)
    assert np.abs(exchanged - RGB[..., [1, 0, 2]]).max() <= 2


def test_grey_networks_get_one_channel(tmp_path: Path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    loaded = ImageFile(path=str(tmp_path / "a.png"), resize=None, crop=None, channels=1, mean=(0.5,), std=(0.5,)).load()
    luma = np.asarray(Image.fromarray(RGB).convert("L"))
    assert loaded.inputs.shape == (1, 1, 20, 30)
    assert torch.equal(loaded.inputs[0, 0], (torch.from_numpy(luma.copy()).float() / 255 - 0.5) / 0.5)
    assert np.array_equal(loaded.display[0], luma)


# --- orientation, and boxes of pictures that are stored turned ---


def stored_turned(path: Path, picture: np.ndarray, orientation: int) -> Image.Image:
    """`picture` saved turned, with the EXIF orientation that tells viewers how to turn it back."""
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = Image.fromarray(picture)
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(back[orientation]))
    exif = Image.Exif()
    exif[274] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    stored.save(path, exif=exif.tobytes())
    return stored


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright(tmp_path: Path, orientation: int):
    stored_turned(tmp_path / "a.png", RGB, orientation)
    assert np.array_equal(seen(tmp_path / "a.png"), RGB)


@pytest.mark.parametrize("orientation", [3, 6])
def test_turned_tiffs_are_upright_or_refused(tmp_path: Path, orientation: int):
    turned = Image.fromarray(RGB).transpose(
        Image.Transpose.ROTATE_180 if orientation == 3 else Image.Transpose.ROTATE_90
    )
    turned.save(tmp_path / "a.tif", tiffinfo={274: orientation}, compression="tiff_lzw")
    assert np.array_equal(seen(tmp_path / "a.tif"), RGB)
    turned.save(tmp_path / "raw.tif", tiffinfo={274: orientation})
    if orientation == 3:
        assert np.array_equal(seen(tmp_path / "raw.tif"), RGB)
    else:
        with pytest.raises(ValueError, match="a turned TIFF without compression, which Pillow garbles"):
            shown(tmp_path / "raw.tif")


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_of_a_turned_picture_by_where_they_were_drawn(tmp_path: Path, orientation: int):
    """A white rectangle on black: its box is the same whether it was drawn in the file's pixels or in the upright's."""
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[3:8, 10:14] = 255
    stored = np.asarray(stored_turned(tmp_path / "a.png", picture, orientation))
    rows, columns = np.nonzero(stored[..., 0])
    in_file = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    for box, size in (((10, 3, 14, 8), (30, 20)), (in_file, (20, 30))):
        line = ",".join(map(str, ["a.png", *box, *size, 0]))
        (tmp_path / "b.csv").write_text(f"file,xmin,ymin,xmax,ymax,width,height,index\n{line}\n")
        source = ImageFolder(root=str(tmp_path), index="b.csv", boxes="b.csv", resize=None, crop=None)
        assert source.load().boxes == (((10.0, 3.0, 14.0, 8.0),),)


@pytest.mark.parametrize(("orientation", "size"), [(6, None), (3, (30, 20)), (2, None)])
def test_boxes_that_could_be_either_way_are_refused(tmp_path: Path, orientation: int, size: tuple[int, int] | None):
    stored_turned(tmp_path / "a.png", RGB, orientation)
    columns, values = ("", "") if size is None else (",width,height", f",{size[0]},{size[1]}")
    (tmp_path / "b.csv").write_text(f"file,index,xmin,ymin,xmax,ymax{columns}\na.png,0,1,2,3,4{values}\n")
    with pytest.raises(
        InputError, match=rf"stored turned \(EXIF orientation {orientation}\), and nothing tells whether"
    ):
        ImageFolder(root=str(tmp_path), index="b.csv", boxes="b.csv", resize=None, crop=None).load()


def test_boxes_of_another_picture_are_refused(tmp_path: Path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    (tmp_path / "b.csv").write_text("file,index,xmin,ymin,xmax,ymax,width,height\na.png,0,1,2,3,4,300,200\n")
    with pytest.raises(InputError, match="its boxes were drawn in 300 x 200 pixels, but the picture has 30 x 20"):
        ImageFolder(root=str(tmp_path), index="b.csv", boxes="b.csv", resize=None, crop=None).load()


def test_coco_and_voc_turn_boxes_with_the_picture(tmp_path: Path):
    picture = np.zeros((20, 30, 3), np.uint8)
    stored_turned(tmp_path / "val2017" / "a.png", picture, 6)
    for size in ((30, 20), (20, 30)):
        box = (
            [10, 3, 4, 5] if size == (30, 20) else [3, 16, 5, 4]
        )  # stored: columns are rows, rows count from the right
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / "instances_val2017.json").write_text(
            json.dumps(
                {
                    "images": [{"id": 1, "file_name": "a.png", "width": size[0], "height": size[1]}],
                    "categories": [{"id": 7, "name": "fox"}],
                    "annotations": [{"image_id": 1, "category_id": 7, "bbox": box}],
                }
            )
        )
        assert Coco(root=str(tmp_path), resize=None, crop=None).load().boxes == (((10.0, 3.0, 14.0, 8.0),),)
    voc = tmp_path / "VOCdevkit" / "VOC2012"
    (voc / "Annotations").mkdir(parents=True)
    (voc / "ImageSets" / "Main").mkdir(parents=True)
    (voc / "ImageSets" / "Main" / "val.txt").write_text("a\n")
    stored_turned(voc / "JPEGImages" / "a.jpg", picture, 6)
    (voc / "Annotations" / "a.xml").write_text(
        "<annotation><size><width>20</width><height>30</height></size><object><name>dog</name><bndbox><xmin>4</xmin>"
        "<ymin>17</ymin><xmax>8</xmax><ymax>20</ymax></bndbox></object></annotation>"
    )
    assert PascalVOC(root=str(tmp_path), resize=None, crop=None).load().boxes == (((10.0, 3.0, 14.0, 8.0),),)


# --- sizes ---


def test_rectangular_sizes_are_torchvisions(tmp_path: Path):
    transforms = pytest.importorskip("torchvision.transforms")
    Image.fromarray(RGB).save(tmp_path / "a.png")
    loaded = ImageFile(path=str(tmp_path / "a.png"), resize=(24, 16), crop=[20, 10]).load()
    expected = transforms.Compose([transforms.Resize((24, 16)), transforms.CenterCrop((20, 10)), transforms.ToTensor()])
    assert torch.equal(loaded.inputs[0], expected(Image.fromarray(RGB)))
    assert loaded.inputs.shape == (1, 3, 20, 10)


def test_tiny_and_very_long_pictures_are_said(tmp_path: Path):
    Image.fromarray(RGB[:6, :6]).save(tmp_path / "tiny.png")
    Image.fromarray(np.tile(RGB, (1, 8, 1))).save(tmp_path / "long.png")
    with pytest.warns(HeatproofWarning) as said:
        ImageFolder(root=str(tmp_path), resize=40, crop=32).load()
    assert [str(one.message).split(" pictures ")[0] for one in said] == ["1 of 2", "1 of 2"]
    assert "enlarged more than 4 times: their maps show interpolation (tiny.png)" in str(said[0].message)
    assert "more than 4 times as long as wide" in str(said[1].message)
    assert "(long.png)" in str(said[1].message)
    Image.fromarray(np.zeros((1, 20_000, 3), np.uint8)).save(tmp_path / "strip.png")
    with pytest.raises(InputError, match="20000 x 1 pixels would be resized to 5120000 x 256; crop it first"):
        ImageFile(path=str(tmp_path / "strip.png"), crop=None).load()


def test_of_a_strip_that_would_become_too_large_the_middle_alone_is_resized(tmp_path, monkeypatch):
    wide = Image.fromarray(np.tile(RGB, (1, 40, 1)))
    wide.save(tmp_path / "wide.png")
    source = ImageFile(path=str(tmp_path / "wide.png"), resize=64, crop=48)
    whole = source.decode(tmp_path / "wide.png")
    monkeypatch.setattr("heatproof.data.pictures.MOST_PIXELS", 48 * 48)
    middle = source.decode(tmp_path / "wide.png")
    assert (middle.scale, middle.corner) == (whole.scale, whole.corner)
    np.testing.assert_array_equal(middle.picture, whole.picture)


# --- folders ---


def _folders(root: Path, *files: str) -> str:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RGB).save(root / file, format="png")
    return str(root)


def test_hidden_files_and_folders_are_no_classes(tmp_path: Path):
    hidden = (".ipynb_checkpoints/ant-checkpoint.png", "cat/.ipynb_checkpoints/a.png", "cat/._a.png", ".a.png")
    root = _folders(tmp_path, "ant/a.png", "cat/b.png", *hidden)
    loaded = ImageFolder(root=root, resize=None, crop=None).load()
    assert loaded.classes == ("ant", "cat")
    assert loaded.ids == ("ant/a.png", "cat/b.png")
    assert loaded.targets.tolist() == [0, 1]


def test_a_folder_without_pictures_would_shift_the_labels(tmp_path: Path):
    root = _folders(tmp_path, "ant/a.png", "cat/b.png")
    (tmp_path / "annotations").mkdir()
    with pytest.raises(InputError, match="found none in 'annotations', which would shift the labels of those after it"):
        ImageFolder(root=root, resize=None, crop=None).load()


def test_some_of_the_networks_classes(tmp_path: Path):
    root = _folders(tmp_path, "ant/a.png", "cat/b.png")
    loaded = ImageFolder(root=root, resize=None, crop=None, classes=["dog", "cat", "bee", "ant"]).load()
    assert loaded.targets.tolist() == [3, 1]
    assert loaded.classes == ("dog", "cat", "bee", "ant")
    with pytest.raises(UnknownNameError, match=r"class, as a subfolder of .*, but got 'ant'"):
        ImageFolder(root=root, resize=None, crop=None, classes=["dog", "cat"]).load()


def test_a_flat_folder_has_no_labels(tmp_path: Path):
    root = _folders(tmp_path, "a.png", "b.png", ".ipynb_checkpoints/c.png")
    loaded = ImageFolder(root=root, resize=None, crop=None).load()
    assert loaded.ids == ("a.png", "b.png")
    assert loaded.targets.tolist() == [-1, -1]
    assert not loaded.labelled
    assert loaded.classes is None
    _folders(tmp_path, "cat/c.png")
    with pytest.raises(InputError, match=r"but found both, such as 'a\.png'; name a CSV file"):
        ImageFolder(root=root, resize=None, crop=None).load()


NET = (
    "import torch\nfrom torch import nn\n"
    "def net():\n"
    "    torch.manual_seed(0)\n"
    "    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, OUT)\n"
    "    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), *head)\n"
)


@pytest.mark.parametrize("targets", ["predicted", "label"])
def test_a_flat_folder_of_grey_pictures_is_audited_by_predicted_labels(
    tmp_path: Path, targets: str, monkeypatch: pytest.MonkeyPatch
):
    _folders(tmp_path / "some", "a.png", "b.png")
    (tmp_path / "grey_net.py").write_text(NET.replace("OUT", "3"))
    (tmp_path / "spec.toml").write_text(
        f'methods = ["gradient"]\nchecks = ["completeness"]\ntargets = "{targets}"\n[model]\nname = "grey_net:net"\n'
        '[data]\nname = "image-folder"\nroot = "some"\nresize = [20, 24]\ncrop = [16, 20]\nchannels = 1\n'
    )
    result = CliRunner().invoke(cli.app, ["audit", str(tmp_path / "spec.toml"), "--threads", "1"])
    if targets == "predicted":
        assert result.exit_code == 0, result.output
    else:
        assert isinstance(result.exception, InputError)
        assert 'the labels of some for targets = "label", but it has none' in str(result.exception)


@pytest.mark.parametrize("outputs", ["3", "1"])
def test_explain_reads_grey_rectangles_and_one_output_has_no_probability(
    tmp_path: Path, outputs: str, monkeypatch: pytest.MonkeyPatch
):
    _folders(tmp_path, "a.png")
    name = f"explained_{outputs}"
    (tmp_path / f"{name}.py").write_text(NET.replace("OUT", outputs))
    monkeypatch.syspath_prepend(tmp_path)
    options = ["--crop", "16,24", "--resize", "none", "--channels", "1", "--method", "gradient"]
    out = tmp_path / "map.png"
    command = ["explain", f"{name}:net", str(tmp_path / "a.png"), *options, "--out", str(out)]
    result = CliRunner().invoke(cli.app, command)
    assert result.exit_code == 0, result.output
    read = ImageFile(path=str(tmp_path / "a.png"), resize=None, crop=(16, 24), channels=1).load()
    with torch.no_grad():
        logits = importlib.import_module(name).net().eval()(read.inputs)[0]
    probable = logits.softmax(0).max(0)
    several = f"label {int(probable.indices)}, probability {float(probable.values):.3f}"
    assert (several if outputs == "3" else f"score {float(logits[0]):.4g}") in result.output
    # panels of 24 x 16 pixels enlarged nine times
    with Image.open(out) as drawn:
        assert drawn.size == (2 * 224 + 3 * 12, 16 * 9 + 74)  # titles above, a bar of numbers below


@pytest.mark.parametrize(("ending", "kind"), [("jfif", "JPEG"), ("jpe", "JPEG"), ("jp2", "JPEG2000"), ("avif", "AVIF")])
def test_endings_of_usual_formats_are_pictures(tmp_path: Path, ending: str, kind: str) -> None:
    from PIL import features

    needed = {"JPEG2000": "jpg_2000", "AVIF": "avif"}.get(kind)
    if needed and not features.check(needed):
        pytest.skip(f"this Pillow has no {kind}")
    Image.new("RGB", (8, 8), (200, 0, 0)).save(tmp_path / f"a.{ending}", kind)
    found = ImageFolder(root=str(tmp_path), resize=None, crop=None).load()
    assert found.ids == (f"a.{ending}",)


def test_pictures_of_kinds_that_are_not_read_are_named(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for name in ("b.HEIC", "c.psd", "notes.txt"):
        (tmp_path / name).write_bytes(b"\0")
    found = ImageFolder(root=str(tmp_path), resize=None, crop=None).load()
    assert found.ids == ("a.png",)
    assert found.skipped == (
        ("b.HEIC", "ValueError: pictures of the kind .heic are not read; save it as PNG or JPEG"),
        ("c.psd", "ValueError: pictures of the kind .psd are not read; save it as PNG or JPEG"),
    )
