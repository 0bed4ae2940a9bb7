import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from heatproof import data
from heatproof.data import Dataset, ImageFolder, NpzImages, TorchvisionDataset
from heatproof.errors import InputError, MissingExtraError, UnknownNameError

X = torch.zeros(2, 1, 4, 4)
Y = torch.zeros(2, dtype=torch.int64)


def gradient_picture(width: int, height: int, shift: int = 0) -> Image.Image:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    rgb = np.stack([x * 7 + shift, y * 5, (x + y) * 3], -1) % 256
    return Image.fromarray(rgb.astype(np.uint8))


def test_names():
    names = "coco demo huggingface image-file image-folder npz series snapshot table text"
    names += " torchvision voc volumes webdataset"
    assert data.names() == names.split()


# --- Dataset ---


def test_a_dataset_names_its_bad_samples():
    bad = X.clone()
    bad[1, 0, 2, 2] = torch.nan
    with pytest.raises(InputError, match=r"1 of 2 samples of d hold NaN or infinity \(b\)"):
        Dataset(name="d", inputs=bad, targets=Y, ids=("a", "b"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": X.half()}, "float32 or float64"),
        ({"inputs": X[:, 0, 0, 0]}, r"\(N, …\)"),
        ({"inputs": X.long()}, "but got torch.int64"),
        ({"inputs": X[:0]}, "one label from 0 on in int64 for each of the 0 samples"),
        ({"given": {"mask": torch.ones(3, 4)}}, r"2 rows of given\['mask'\]"),
        ({"numbers": torch.ones(3)}, "2 numbers"),
        ({"targets": Y.int()}, "int64"),
        ({"targets": Y - 2}, "from 0 on"),
        ({"targets": torch.tensor([0, -1])}, "from 0 on"),
        ({"targets": Y[:1]}, "each of the 2 samples"),
        ({"ids": ("a",)}, "2 ids"),
        ({"ids": ("a", "a")}, "'a' comes twice"),
        ({"boxes": ()}, "2 box lists"),
        ({"display": torch.zeros(3, 4, 4, dtype=torch.uint8)}, "2 display pictures"),
    ],
)
def test_a_dataset_refuses_what_does_not_fit(changes: dict, message: str):
    with pytest.raises(InputError, match=message):
        Dataset(**{"name": "d", "inputs": X, "targets": Y, "ids": ("a", "b"), **changes})


# --- selection and normalization, the same for every source ---


@pytest.fixture
def archive(tmp_path: Path) -> str:
    images = np.arange(6 * 3 * 4 * 5, dtype=np.int64).reshape(6, 3, 4, 5) % 256
    path = tmp_path / "six.npz"
    np.savez(path, x=images.astype(np.uint8), y=np.arange(6, dtype=np.uint8), classes=np.array(list("abcdef")))
    return str(path)


def test_offset_limit_and_shuffle(archive: str):
    assert NpzImages(path=archive, offset=2, limit=3).load().ids == ("2", "3", "4")
    assert NpzImages(path=archive, offset=4, limit=3).load().ids == ("4", "5")
    shuffled = NpzImages(path=archive, shuffle=0).load()
    assert sorted(shuffled.ids) == list("012345")
    assert shuffled.ids != tuple("012345")
    assert shuffled.targets.tolist() == [int(i) for i in shuffled.ids]
    assert NpzImages(path=archive, shuffle=0, offset=1, limit=2).load().ids == shuffled.ids[1:3]


def test_normalization_is_by_channel(archive: str):
    plain = NpzImages(path=archive).load().inputs
    scaled = NpzImages(path=archive, mean=[0.5, 0.25, 0.0], std=[0.5, 1.0, 2.0]).load().inputs
    assert torch.equal(scaled[:, 0], (plain[:, 0] - 0.5) / 0.5)
    assert torch.equal(scaled[:, 1], plain[:, 1] - 0.25)
    assert torch.equal(scaled[:, 2], plain[:, 2] / 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"offset": 6}, "below the 6 samples"),
        ({"offset": -1}, "offset >= 0"),
        ({"limit": 0}, "limit >= 1"),
        ({"mean": (0.5,), "std": (0.5,)}, "3 channels, but got 1"),
        ({"mean": (0.5,)}, "same length"),
        ({"mean": (0.5,), "std": (0.0,)}, "every std positive"),
        ({"layout": "nhwc"}, "layout, but got 'nhwc'"),
    ],
)
def test_bad_selections_are_errors(archive: str, fields: dict, message: str):
    with pytest.raises(InputError, match=message):
        NpzImages(path=archive, **fields).load()


# --- npz ---


def test_npz_scales_bytes_and_keeps_the_picture(archive: str):
    loaded = NpzImages(path=archive).load()
    stored = np.load(archive)
    assert loaded.name == "six"
    assert loaded.classes == tuple("abcdef")
    assert torch.equal(loaded.inputs, torch.from_numpy(stored["x"]).float() / 255)
    assert torch.equal(loaded.display, torch.from_numpy(stored["x"]).permute(0, 2, 3, 1))


@pytest.mark.parametrize("layout", ["channels-first", "channels-last"])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_npz_layouts_agree(tmp_path: Path, layout: str, channels: int):
    images = np.random.default_rng(0).integers(0, 256, (3, channels, 4, 5), dtype=np.uint8)
    stored = images if layout == "channels-first" else images.transpose(0, 2, 3, 1)
    np.savez(tmp_path / "a.npz", x=stored, y=np.zeros(3, dtype=np.int64))
    loaded = NpzImages(path=str(tmp_path / "a.npz"), layout=layout).load()
    assert torch.equal(loaded.inputs, torch.from_numpy(images).float() / 255)
    expected = {1: images[:, 0], 2: None, 3: images.transpose(0, 2, 3, 1)}[channels]
    assert (loaded.display is None) if expected is None else np.array_equal(loaded.display, expected)


def test_npz_takes_floats_as_they_are_and_grey_images_without_a_channel(tmp_path: Path):
    images = np.linspace(-2, 2, 2 * 3 * 3).reshape(2, 3, 3)
    np.savez(tmp_path / "f.npz", pictures=images, labels=np.array([1, 0]))
    loaded = NpzImages(path=str(tmp_path / "f.npz"), images="pictures", labels="labels").load()
    assert torch.equal(loaded.inputs[:, 0], torch.from_numpy(images).float())
    assert loaded.display is None
    assert loaded.classes is None
    assert loaded.targets.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 3, 3)), "z": np.zeros(2, int)}, r"array in .*, but got 'y'; known are: x, z"),
        ({"x": np.zeros((2, 3), np.uint8), "y": np.zeros(2, int)}, r"but got uint8 \(2, 3\)"),
        ({"x": np.zeros((2, 3, 3), np.int32), "y": np.zeros(2, int)}, r"but got int32"),
        ({"x": np.zeros((2, 3, 3)), "y": np.zeros(2)}, "integer labels, but got float64"),
        ({"x": np.zeros((2, 3, 3)), "y": np.zeros(3, int)}, "2 integer labels"),
        ({"x": np.full((2, 3, 3), np.nan), "y": np.zeros(2, int)}, "NaN or infinity"),
        ({"x": np.array([{}, {}], object), "y": np.zeros(2, int)}, "without object arrays"),
    ],
)
def test_npz_says_what_is_wrong(tmp_path: Path, arrays: dict, message: str):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=message):
        NpzImages(path=str(tmp_path / "a.npz")).load()


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut off", b"\x80\x04N."])
def test_npz_refuses_other_files(tmp_path: Path, content: bytes):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz to be an \.npz file of plain arrays, but reading it failed"):
        NpzImages(path=str(tmp_path / "a.npz")).load()


def test_npz_refuses_a_single_array_and_no_file(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"\.npz file of plain arrays"):
        NpzImages(path=str(tmp_path / "a.npy")).load()
    with pytest.raises(InputError, match="but got '', which is no file"):
        NpzImages().load()


# --- image folder ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, size in (("cat/1.png", (30, 20)), ("cat/2.PNG", (20, 30)), ("ant/x.png", (25, 25))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        gradient_picture(*size).save(tmp_path / name)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    return tmp_path


def test_subfolders_are_classes_in_sorted_order(folder: Path):
    loaded = ImageFolder(root=str(folder), resize=16, crop=12).load()
    assert loaded.classes == ("ant", "cat")
    assert loaded.ids == ("ant/x.png", "cat/1.png", "cat/2.PNG")
    assert loaded.targets.tolist() == [0, 1, 1]
    assert loaded.inputs.shape == (3, 3, 12, 12)
    assert torch.equal(loaded.inputs, loaded.display.permute(0, 3, 1, 2).float() / 255)
    assert loaded.boxes is None
    assert loaded.skipped == ()


@pytest.mark.parametrize("size", [(40, 31), (31, 40), (33, 33), (57, 20)])
@pytest.mark.parametrize(("resize", "crop"), [(20, 17), (16, 16), (24, 13)])
def test_resize_and_crop_are_torchvisions(tmp_path: Path, size: tuple[int, int], resize: int, crop: int):
    transforms = pytest.importorskip("torchvision.transforms")
    (tmp_path / "a").mkdir()
    picture = gradient_picture(*size)
    picture.save(tmp_path / "a" / "p.png")
    loaded = ImageFolder(root=str(tmp_path), resize=resize, crop=crop).load()
    expected = transforms.Compose([transforms.Resize(resize), transforms.CenterCrop(crop), transforms.ToTensor()])
    assert torch.equal(loaded.inputs[0], expected(picture))


def test_a_broken_file_is_named_and_the_rest_goes_on(folder: Path):
    whole = (folder / "cat" / "1.png").read_bytes()
    (folder / "cat" / "1.png").write_bytes(whole[: len(whole) // 2])
    (folder / "cat" / "0.jpg").write_bytes(b"no image at all")
    loaded = ImageFolder(root=str(folder), resize=16, crop=12).load()
    assert loaded.ids == ("ant/x.png", "cat/2.PNG")
    assert loaded.targets.tolist() == [0, 1]
    assert [file for file, _ in loaded.skipped] == ["cat/0.jpg", "cat/1.png"]
    assert "UnidentifiedImageError" in loaded.skipped[0][1]


def test_a_file_smaller_than_the_crop_is_skipped_with_its_size(folder: Path):
    loaded = ImageFolder(root=str(folder), resize=None, crop=24).load()
    assert loaded.ids == ("ant/x.png",)
    assert loaded.skipped[0] == ("cat/1.png", "ValueError: 30 x 20 pixels are less than the crop of 24")


def test_only_broken_files_are_an_error(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "p.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"none of 1 can be used; the first, a/p\.png: UnidentifiedImageError"):
        ImageFolder(root=str(tmp_path)).load()


@pytest.fixture
def indexed(tmp_path: Path) -> Path:
    gradient_picture(40, 20).save(tmp_path / "wide.png")
    gradient_picture(20, 20).save(tmp_path / "square.png")
    lines = ["file,index,class_name,xmin,ymin,xmax,ymax", "wide.png,2,fox,4,2,38,18", "wide.png,2,fox,0,0,6,20"]
    (tmp_path / "all.csv").write_text("\n".join([*lines, "square.png,0,elk,5,5,10,15"]) + "\n")
    return tmp_path


def test_index_and_boxes_move_with_the_image(indexed: Path):
    """40 x 20 doubled is 80 x 40; the crop of 40 starts at x = 20: x ← 2x − 20, y ← 2y, cut to [0, 40]."""
    loaded = ImageFolder(root=str(indexed), index="all.csv", boxes="all.csv", resize=40, crop=40).load()
    assert loaded.ids == ("wide.png", "square.png")
    assert loaded.targets.tolist() == [2, 0]
    assert loaded.classes == ("elk", "1", "fox")
    # The second box of the wide picture, x from 0 to 6, lies wholly left of the crop.
    assert loaded.boxes == (((0.0, 4.0, 40.0, 36.0),), ((10.0, 10.0, 20.0, 30.0),))


def test_only_images_with_small_boxes(indexed: Path):
    """The boxes cover 40 · 32 and 10 · 20 of 1600 pixels: 0.8 and 0.125."""

    def source(below: float) -> ImageFolder:
        return ImageFolder(root=str(indexed), index="all.csv", boxes="all.csv", boxes_below=below, resize=40, crop=40)

    assert source(0.81).load().ids == ("wide.png", "square.png")
    assert source(0.8).load().ids == ("square.png",)
    with pytest.raises(InputError, match=r"none of 2 can be used; .* cover less than 0\.125 of them"):
        source(0.125).load()
    with pytest.raises(
        InputError,
        match=r"boxes_below, a share in .* beside a file of `boxes` or a folder of `masks`, but got 0.5 and boxes None",
    ):
        ImageFolder(root=str(indexed), index="all.csv", boxes_below=0.5).load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\nwide.png,1\n", "columns file, index in .*, but got file, label; add index"),
        ("", "but got no line; add file, index"),
        ("file,index\nwide.png,two\n", "whole numbers in column 'index' of .*, but got 'two' for 'wide.png'"),
        ("file,index\nwide.png,1\nwide.png,2\n", "'wide.png' has 1 and 2"),
        ("file,index\nwide.png,-1\n", "from 0 on"),
    ],
)
def test_a_bad_index_says_what_is_wrong(indexed: Path, text: str, message: str):
    (indexed / "bad.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        ImageFolder(root=str(indexed), index="bad.csv", resize=20, crop=20).load()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"index": "none.csv"}, "CSV file at .*none.csv"),
        ({"resize": None, "crop": None, "index": "all.csv"}, "one size, but got 2 sizes"),
        ({"resize": 20, "crop": 21}, "got crop 21 of 20"),
        ({"root": "."}, "subfolder of images for each class in '.', or images without labels, but found no image"),
        ({"crop": (16, 16, 16)}, r"crop to be a number of pixels or \(height, width\), but got \(16, 16, 16\)"),
        ({"resize": "256"}, "resize to be a number of pixels .* but got '256'"),
        ({"resize": (20, 30), "crop": (21, 20)}, r"got crop \(21, 20\) of \(20, 30\)"),
        ({"channels": 4}, "3 for RGB or 1 for grey, but got 4"),
        ({"background": (0, 0, 256)}, "three numbers from 0 to 255"),
        ({"root": "nowhere"}, "'nowhere' to be a folder"),
    ],
)
def test_bad_folders_are_errors(indexed: Path, fields: dict, message: str, monkeypatch: pytest.MonkeyPatch):
    (indexed / "empty").mkdir()
    monkeypatch.chdir(indexed / "empty")
    with pytest.raises(InputError, match=message):
        ImageFolder(**{"root": str(indexed), **fields}).load()


# --- torchvision ---


def write_mnist(root: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """The IDX files of the test part."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        header = np.array([0x803, *images.shape], ">i4").tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(
            np.array([0x801, len(labels)], ">i4").tobytes() + labels.tobytes()
        )


def test_mnist_from_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("torchvision")
    images = np.arange(3 * 28 * 28, dtype=np.int64).reshape(3, 28, 28).astype(np.uint8)
    write_mnist(tmp_path, images, np.array([7, 0, 2], np.uint8))
    monkeypatch.setenv("HEATPROOF_DATA", str(tmp_path))
    loaded = TorchvisionDataset(offset=1).load()
    assert loaded.name == "MNIST test"
    assert loaded.ids == ("1", "2")
    assert loaded.targets.tolist() == [0, 2]
    assert torch.equal(loaded.inputs[:, 0], torch.from_numpy(images[1:]).float() / 255)
    assert torch.equal(loaded.display, torch.from_numpy(images[1:]))


@pytest.mark.parametrize("name", ["FashionMNIST", "KMNIST"])
def test_the_other_sets_in_the_layout_of_mnist(tmp_path: Path, name: str):
    pytest.importorskip("torchvision")
    images = np.full((2, 28, 28), 51, np.uint8)
    write_mnist(tmp_path, images, np.array([9, 1], np.uint8))
    (tmp_path / "MNIST").rename(tmp_path / name)
    loaded = TorchvisionDataset(dataset=name, root=str(tmp_path), train=True, mean=(0.2,), std=(0.5,)).load()
    assert loaded.name == f"{name} train"
    assert loaded.targets.tolist() == [9, 1]
    torch.testing.assert_close(loaded.inputs, torch.zeros(2, 1, 28, 28))


@pytest.mark.parametrize("content", [b"", b"\x00\x00\x08\x03cut off", b"no idx file at all, but long enough to be one"])
def test_a_broken_torchvision_file_is_an_error_that_names_the_data(tmp_path: Path, content: bytes):
    pytest.importorskip("torchvision")
    write_mnist(tmp_path, np.zeros((2, 28, 28), np.uint8), np.zeros(2, np.uint8))
    (tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(InputError, match="MNIST in torchvision's layout under"):
        TorchvisionDataset(root=str(tmp_path)).load()


def test_pictures_without_labels_are_an_error(tmp_path: Path):
    pytest.importorskip("torchvision")
    write_mnist(tmp_path, np.zeros((3, 28, 28), np.uint8), np.zeros(2, np.uint8))
    with pytest.raises(InputError, match="3 pictures and 2 labels"):
        TorchvisionDataset(root=str(tmp_path)).load()


def test_cifar_from_its_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """torchvision unpickles a batch only if its checksum is the published one; here the fixture's are put there."""
    datasets = pytest.importorskip("torchvision.datasets")
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    images = np.arange(2 * 3 * 32 * 32, dtype=np.int64).reshape(2, 3072).astype(np.uint8)
    files = {"test_batch": {"data": images, "labels": [3, 8]}, "batches.meta": {"label_names": list("abcdefghij")}}
    sums = {}
    for name, content in files.items():
        (folder / name).write_bytes(pickle.dumps(content))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    cifar = datasets.CIFAR10
    monkeypatch.setattr(cifar, "train_list", [])
    monkeypatch.setattr(cifar, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": sums["batches.meta"]})
    loaded = TorchvisionDataset(dataset="CIFAR10", root=str(tmp_path)).load()
    assert loaded.classes == tuple("abcdefghij")
    assert loaded.targets.tolist() == [3, 8]
    assert torch.equal(loaded.inputs, torch.from_numpy(images).view(2, 3, 32, 32).float() / 255)
    assert loaded.display.shape == (2, 32, 32, 3)
    (folder / "test_batch").write_bytes(pickle.dumps({"data": images[:1], "labels": [3]}))
    with pytest.raises(InputError, match="CIFAR10 in torchvision's layout"):
        TorchvisionDataset(dataset="CIFAR10", root=str(tmp_path)).load()


def test_permuted_labels_are_the_same_labels_in_another_order():
    source = data.DemoDigits(limit=100)
    plain, permuted = source.load(), data.PermutedLabels(source=source).load()
    assert torch.equal(permuted.inputs, plain.inputs)
    assert permuted.targets.sort().values.equal(plain.targets.sort().values)
    # of 100 samples with ten labels about ten keep theirs by chance
    assert 2 <= int((permuted.targets == plain.targets).sum()) <= 20
    assert torch.equal(data.PermutedLabels(source=source).load().targets, permuted.targets)
    assert not torch.equal(data.PermutedLabels(source=source, seed=1).load().targets, permuted.targets)


def test_torchvision_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("torchvision")
    with pytest.raises(InputError, match=r"MNIST in torchvision's layout .* heatproof downloads nothing"):
        TorchvisionDataset(root=str(tmp_path)).load()
    with pytest.raises(UnknownNameError, match="did you mean 'MNIST'"):
        TorchvisionDataset(dataset="MINST", root=str(tmp_path)).load()
    monkeypatch.delenv("HEATPROOF_DATA", raising=False)
    with pytest.raises(InputError, match="give `root` or set HEATPROOF_DATA"):
        TorchvisionDataset().load()


def test_torchvision_missing_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'heatproof\[vision\]'"):
        TorchvisionDataset(root=str(tmp_path)).load()


def test_extras_are_imported_late():
    """The package, its data sources and its zoo load where no extra is installed."""
    extras = ("torchvision", "sklearn", "timm", "transformers", "skimage", "captum", "zennit")
    code = (
        f"import sys; sys.modules |= dict.fromkeys({extras}); import heatproof.data, heatproof.zoo, heatproof.methods"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


@pytest.mark.data
def test_real_images_with_boxes(data_folder: Path):
    root = data_folder / "imagenet-val-boxes" / "images"
    if not root.is_dir():
        pytest.skip("no imagenet-val-boxes in HEATPROOF_DATA")
    table = "../boxes.csv"
    loaded = ImageFolder(root=str(root), index=table, boxes=table, limit=3).load()
    # 341 x 256 pixels, so the crop of 224 starts at x = round(58.5) = 58 and y = 16; the first box is 75.7 … 300.76.
    assert loaded.ids[0] == "ILSVRC2012_val_00000001.jpg"
    assert loaded.targets.tolist()[:2] == [65, 970]
    assert loaded.boxes[0] == (pytest.approx((75.7 - 58, 73.73 - 16, 224.0, 131.75 - 16)),)
