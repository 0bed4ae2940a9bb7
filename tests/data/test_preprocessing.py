"""Pictures as a network wants them: what timm, torchvision and Hugging Face say, and that it is what they do."""

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import heatproof as hp
from heatproof.auditing.model_spec import ModelSpec
from heatproof.data import ImageFolder, NpzImages
from heatproof.data.preprocessing import Preprocessing, as_wanted, of_folder, of_timm, preprocessing
from heatproof.data.wanted import wanted, with_names
from heatproof.errors import HeatproofWarning, InputError

TOLD = Preprocessing(told_by="somebody", resize=40, crop=32, interpolation="bicubic", mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        small = Image.fromarray(draw.integers(0, 255, (9, 12, 3), dtype=np.uint8))
        small.resize((300, 220), Image.Resampling.BICUBIC).save(tmp_path / "pets" / name / "a.png")
    return tmp_path / "pets"


def picture(folder: Path) -> Image.Image:
    return Image.open(folder / "cat" / "a.png").convert("RGB")


def as_read(folder: Path, told: Preprocessing | None) -> Tensor:
    """The first picture, as a source without settings of its own reads it for a network."""
    return wanted(ImageFolder(root=str(folder)), told=told).source.load().inputs[:1]


@pytest.mark.parametrize(
    ("size", "crop_pct", "mode", "interpolation"),
    [
        ((3, 64, 64), 0.875, "center", "bicubic"),
        ((3, 60, 60), 0.95, "squash", "bilinear"),
        ((3, 48, 64), 1.0, "squash", ""),
    ],
)
def test_what_timm_says_is_what_timm_does(
    folder: Path, size: tuple[int, ...], crop_pct: float, mode: str, interpolation: str
) -> None:
    timm = pytest.importorskip("timm")
    net = timm.create_model("resnet10t", num_classes=2).eval()
    net.pretrained_cfg = {
        **net.pretrained_cfg, "input_size": size, "crop_pct": crop_pct, "crop_mode": mode,
        "mean": (0.1, 0.2, 0.3), "std": (0.5, 0.4, 0.3), "interpolation": interpolation,
    }  # fmt: skip
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=net, args={}))
    found = as_read(folder, preprocessing(net))
    torch.testing.assert_close(found, transform(picture(folder))[None], rtol=0, atol=1e-6)


def test_timm_pads_and_that_is_not_read() -> None:
    config = {"input_size": (3, 64, 64), "mean": (0.5,) * 3, "std": (0.5,) * 3, "crop_mode": "border", "tag": "x"}
    with pytest.warns(HeatproofWarning, match=r"of timm's x is not read, because it pads pictures \(border, 64 x 64\)"):
        assert of_timm(nn.Identity(), config) is None


def test_a_network_of_other_channels_than_timm_s_tells_nothing() -> None:
    timm = pytest.importorskip("timm")
    assert preprocessing(timm.create_model("resnet10t", in_chans=1)) is None


@pytest.mark.parametrize("weights", ["ResNet50_Weights.IMAGENET1K_V2", "Swin_V2_T_Weights.IMAGENET1K_V1"])
def test_what_torchvision_s_weights_say_is_what_their_transforms_do(folder: Path, weights: str) -> None:
    models = pytest.importorskip("torchvision.models")
    of = models.get_weight(weights)
    for given in (of, of.transforms()):
        found = as_read(folder, preprocessing(given))
        torch.testing.assert_close(found, of.transforms()(picture(folder))[None], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("ViTImageProcessor", {"size": {"height": 48, "width": 64}}),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 64}, "image_mean": [0.1, 0.2, 0.3]}),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}),
        ("CLIPImageProcessor", {}),
        ("DeiTImageProcessor", {"do_normalize": False}),
    ],
)
def test_what_a_processor_of_hugging_face_says_is_what_it_does(
    folder: Path, tmp_path: Path, kind: str, settings: dict[str, Any]
) -> None:
    transformers = pytest.importorskip("transformers")
    getattr(transformers, kind)(**settings).save_pretrained(tmp_path / "model")
    theirs = transformers.AutoImageProcessor.from_pretrained(tmp_path / "model")
    read = of_folder(tmp_path / "model")
    assert read is not None
    found, expected = as_read(folder, read), theirs(picture(folder), return_tensors="pt")["pixel_values"]
    assert found.shape == expected.shape
    scale = torch.tensor(read.std or (1.0,)).view(1, -1, 1, 1)
    assert float(((found - expected).abs() * scale).max()) <= 2.01 / 255  # theirs rounds between its steps


def test_a_processor_that_does_more_is_not_read(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    transformers.MobileViTImageProcessor().save_pretrained(tmp_path)  # it turns the colors around
    with pytest.warns(HeatproofWarning, match="of MobileViTImageProcessor is not read, because it does more than"):
        assert of_folder(tmp_path) is None


def test_nothing_is_guessed(tmp_path: Path) -> None:
    assert of_folder(tmp_path) is None
    assert preprocessing(nn.Conv2d(3, 4, 3)) is None
    source = ImageFolder(root="pets")
    assert as_wanted(source, None) == (source, "")
    with pytest.raises(InputError, match="a network, or weights of torchvision, but got 'resnet18'"):
        preprocessing("resnet18")


def test_a_broken_processor_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(InputError, match="to describe an image processor of transformers, but loading it failed"):
        of_folder(tmp_path)


def test_a_model_that_normalizes_itself_wants_no_mean() -> None:
    timm = pytest.importorskip("timm")
    net = hp.Bound(timm.create_model("resnet10t").eval(), preprocessing=lambda x: (x - 0.5) / 0.5)
    told = preprocessing(net)
    assert told is not None
    assert (told.resize, told.crop, told.mean, told.std) == (201, 176, (), ())


def test_what_was_set_wins_group_by_group() -> None:
    source, said = as_wanted(ImageFolder(root="pets"), TOLD)
    assert source == ImageFolder(root="pets", **TOLD.settings)
    assert said == (
        "Preprocessing read from the model (somebody): resize 40, crop 32, interpolation bicubic, channels 3, "
        "mean 0.5 0.5 0.5, std 0.25 0.25 0.25."
    )
    with pytest.warns(HeatproofWarning, match=r"somebody, which the model brings, says otherwise: crop 30, not 32\."):
        source, said = as_wanted(ImageFolder(root="pets", resize=40, crop=30), TOLD)
    assert (source.resize, source.crop, source.mean) == (40, 30, TOLD.mean)
    assert "resize" not in said
    with pytest.warns(HeatproofWarning, match=r"mean 0.485 0.456 0.406, not 0.5 0.5 0.5; std .* How often"):
        source, _ = as_wanted(ImageFolder(root="pets", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)), TOLD)
    assert (source.mean[0], source.crop, source.interpolation) == (0.485, 32, "bicubic")


def test_the_same_that_is_told_is_no_contradiction() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source, said = as_wanted(ImageFolder(root="pets", **TOLD.settings), TOLD)
    assert said == ""
    assert source.crop == 32


def test_an_explicit_default_is_explicit() -> None:
    with pytest.warns(HeatproofWarning, match="resize 256, not 40; crop 224, not 32"):
        source, _ = as_wanted(ImageFolder(root="pets", resize=256, crop=224), TOLD)
    assert (source.resize, source.crop) == (256, 224)


def test_grey_pictures_of_a_colored_network_s_preprocessing() -> None:
    with pytest.warns(HeatproofWarning, match="channels 1, not 3"):
        source, _ = as_wanted(ImageFolder(root="pets", channels=1), TOLD)
    assert (source.mean, source.crop) == ((), 32)


def test_subfolders_take_the_places_of_the_network_s_labels(folder: Path) -> None:
    names = ("eel", "dog", "cat")
    source = with_names(ImageFolder(root=str(folder), resize=None, crop=None), names)
    assert source.load().targets.tolist() == [2, 1]
    assert source.blocks().classes == names


def test_subfolders_that_the_network_does_not_know_are_said(folder: Path) -> None:
    with pytest.warns(HeatproofWarning, match=r"have not \('cat'; the model's are 'dog', 'eel', …\), so label"):
        source = with_names(ImageFolder(root=str(folder), resize=None, crop=None), ("dog", "eel"))
    assert source.load().targets.tolist() == [0, 1]


def test_labels_by_number_whose_names_are_other_labels_of_the_network_s_are_said(tmp_path: Path) -> None:
    pixels = np.zeros((2, 8, 8), np.uint8)
    np.savez(tmp_path / "pets.npz", x=pixels, y=np.arange(2), classes=np.array(["cat", "dog"]))
    source = NpzImages(path=str(tmp_path / "pets.npz"))
    with pytest.warns(HeatproofWarning, match="Label 0 of the data is called 'cat', and that is label 1 of the model"):
        assert with_names(source, ("dog", "cat")) == source
    assert with_names(source, ("cat", "dog", "eel")) == source
    assert with_names(source, ("wolf", "fox")) == source  # other words: nobody knows


def test_a_name_of_two_of_the_network_s_labels_is_said(folder: Path) -> None:
    with pytest.warns(HeatproofWarning, match="2 labels called 'dog', 0 and 2, and the data's are taken for the first"):
        source = with_names(ImageFolder(root=str(folder), resize=None, crop=None), ("dog", "cat", "dog"))
    assert source.load().targets.tolist() == [1, 0]


class Mean(nn.Module):
    """Two labels, by the mean of the first channel; tells of its pictures as timm's networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)
        self.pretrained_cfg = {
            "architecture": "mean", "input_size": (3, 16, 16), "crop_pct": 1.0, "interpolation": "bilinear",
            "mean": (0.5,) * 3, "std": (0.5,) * 3, "label_names": ("dog", "cat"),
        }  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x[:, :1].mean((2, 3)).relu())


def test_an_audit_of_a_folder_needs_no_numbers(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = hp.audit(
        Mean().eval(), ImageFolder(root=str(folder)), hp.targets.Label("given"), methods=["gradient"],
        checks=["completeness"], out=tmp_path / "run", threads=1,
    )  # fmt: skip
    data = run.manifest["data"]
    assert data["shape"] == [3, 16, 16]
    assert data["classes"] == ["dog", "cat"]
    assert data["read"] == (
        "Preprocessing read from the model (timm's mean): resize 16, crop 16, interpolation bilinear, channels 3, mean "
        "0.5 0.5 0.5, std 0.5 0.5 0.5."
    )
    assert data["read"] in capsys.readouterr().err.replace("\n", " ")


def test_the_weights_that_name_the_classes_tell_of_the_pictures_too(folder: Path, tmp_path: Path) -> None:
    class Weights(SimpleNamespace):
        def transforms(self) -> Any:
            return SimpleNamespace(
                resize_size=[20], crop_size=[12], mean=[0.5] * 3, std=[0.5] * 3, interpolation="bilinear"
            )

    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    run = hp.audit(
        net, ImageFolder(root=str(folder)), methods=["gradient"], checks=["completeness"], out=tmp_path / "run",
        threads=1, classes=Weights(meta={"categories": ["cat", "dog"]}), progress=False,
    )  # fmt: skip
    assert run.manifest["data"]["shape"] == [3, 12, 12]


V1, V2 = (256, 224), (232, 224)  # resize and crop of ResNet-50's weights


@pytest.mark.parametrize(
    ("name", "weights", "said", "expected"),
    [
        ("squeezenet1_0", "mine.safetensors", "", (256, 224)),  # there are no others
        ("resnet50", "resnet50-11ad3fa6.pth", "", V2),  # by the name that torchvision gives the file
        ("resnet50", "sub/resnet50-0676ba61.safetensors", "", V1),
        ("resnet50", "mine.safetensors", "IMAGENET1K_V2", V2),
        ("resnet50", "mine.safetensors", "", None),  # nothing tells which
        ("resnet50", "resnet50-11ad3fa6.pth", "none", None),
    ],
)
def test_which_of_torchvision_s_weights_a_spec_has(
    name: str, weights: str, said: str, expected: tuple[int, int] | None
) -> None:
    pytest.importorskip("torchvision")
    spec = ModelSpec(name=f"torchvision:{name}", weights=weights, preprocessing=said)
    told, names = spec.told(nn.Identity()), spec.names(nn.Identity())
    assert (None if told is None else (told.resize, told.crop)) == expected
    assert (None if names is None else names[0]) == (None if expected is None else "tench")


def test_another_network_than_torchvision_trained_tells_nothing() -> None:
    pytest.importorskip("torchvision")
    spec = ModelSpec(name="torchvision:squeezenet1_0", weights="a.pt", arguments={"num_classes": 10})
    assert spec.told(nn.Identity()) is None
    with pytest.raises(InputError, match="set of weights of torchvision:resnet50, but got 'IMAGENET1K_V3'; did"):
        ModelSpec(name="torchvision:resnet50", preprocessing="IMAGENET1K_V3").told(nn.Identity())
    with pytest.raises(InputError, match="`preprocessing` of a:b to be none, or that of torchvision's weights"):
        ModelSpec(name="a:b", preprocessing="IMAGENET1K_V1").told(nn.Identity())
