"""pytorch-grad-cam and torch-cam through their adapters: what they give by hand, also where they alone would not."""

import random
from typing import Any

import adapted_networks as nets
import numpy as np
import pytest
import torch
from adapted_networks import X, Y
from torch import Tensor, nn
from torch.nn import functional as F

import heatproof as hp
from heatproof.adapters import PytorchGradCAM, TorchCAM
from heatproof.auditing.traces import none_left
from heatproof.errors import InputError, UnknownNameError

pytorch_grad_cam = pytest.importorskip(
    "pytorch_grad_cam", reason="the package grad-cam is not installed", exc_type=ImportError
)
torch_cams = pytest.importorskip("torchcam.methods", reason="the package torchcam is not installed")
NO_EXPLAINER = ("Ablation", "Activations", "DeepFeature", "GuidedBackprop")  # layers, hooks, and what takes no targets
OF_PYTORCH_GRAD_CAM = [
    name
    for name, value in sorted(vars(pytorch_grad_cam).items())
    if isinstance(value, type) and (name == "AblationCAM" or not name.startswith(NO_EXPLAINER))
]
OF_TORCHCAM = [
    name
    for name, value in sorted(vars(torch_cams).items())
    if isinstance(value, type) and name not in ("LeGrad", "RefineCAM")  # of a vision transformer; of several layers
]


def seed() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  # the one that they draw from
    torch.manual_seed(0)


def enlarged(maps: Tensor) -> Tensor:
    return F.interpolate(maps, X.shape[2:], mode="bilinear", align_corners=False)


def scaled(maps: Tensor) -> Tensor:
    maps = maps - maps.amin((1, 2, 3), keepdim=True)
    return maps / (1e-7 + maps.amax((1, 2, 3), keepdim=True))


@pytest.mark.parametrize("explainer", OF_PYTORCH_GRAD_CAM)
def test_every_class_of_pytorch_grad_cam(explainer: str, capfd: pytest.CaptureFixture[str]) -> None:
    """What it gives by hand, without a word on the terminal, and without a trace on the model."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    net, layers = nets.cnn(), [] if explainer == "FullGrad" else ["2"]
    by_hand = getattr(pytorch_grad_cam, explainer)(net, [net[int(name)] for name in layers])
    seed()
    expected = by_hand(X, [ClassifierOutputTarget(label) for label in Y.tolist()])
    del by_hand
    capfd.readouterr()
    net = nets.cnn()
    with none_left(net, 0):
        np.random.seed(0)  # noqa: NPY002  # as above
        found = PytorchGradCAM(explainer, layer=tuple(layers))(net, X, Y)
    torch.testing.assert_close(found, torch.from_numpy(expected)[:, None].to(X))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("explainer", OF_TORCHCAM)
def test_every_class_of_torchcam(explainer: str) -> None:
    arguments = {"fc_layer": "6"} if explainer == "CAM" else {}
    net = nets.cnn()
    seed()
    with getattr(torch_cams, explainer)(net, net[3], **arguments) as by_hand:
        (expected,) = by_hand(Y.tolist(), net(X), normalized=False)
    with torch.random.fork_rng():
        seed()
        found = TorchCAM(explainer, layer="3", arguments=arguments)(net, X, Y)
    torch.testing.assert_close(found, enlarged(expected[:, None].detach()))
    with none_left(net, 0):
        TorchCAM(explainer, layer="3", arguments=arguments)(net, X, Y)


def test_both_give_our_grad_cam() -> None:
    """A map is enlarged bilinearly; pytorch-grad-cam scales it to 0 … 1 before and after."""
    net = nets.cnn()
    ours = hp.methods.GradCAM(layer="3")(net, X, Y)
    assert ours.amax() > 0
    torch.testing.assert_close(TorchCAM(layer="3")(net, X, Y), enlarged(ours))
    torch.testing.assert_close(PytorchGradCAM(layer="3")(net, X, Y), scaled(enlarged(scaled(ours))))


@pytest.mark.parametrize(
    "adapter",
    [
        PytorchGradCAM(layer="net.3"),
        PytorchGradCAM("ScoreCAM", layer="net.3"),
        PytorchGradCAM("AblationCAM", layer="net.3"),
        TorchCAM(layer="net.3"),
        TorchCAM("ScoreCAM", layer="net.3"),
    ],
    ids=repr,
)
def test_side_inputs_follow(adapter: Any) -> None:
    """A sample is masked and repeated with its own side inputs, whatever the batches of the package."""
    found = adapter(nets.bound(), X, Y)
    layer = adapter.layer.removeprefix("net.")
    alone = type(adapter)(adapter.explainer, layer=f"inner.net.{layer}")
    for row in range(3):
        one = alone(nets.with_gain(row), X[row : row + 1], Y[row : row + 1])
        torch.testing.assert_close(found[row : row + 1], one)


@pytest.mark.parametrize("kind", [PytorchGradCAM, TorchCAM])
def test_frozen_networks_and_a_single_output(kind: Any) -> None:
    net = nets.cnn()
    expected = kind(layer="3")(net, X, Y * 0)
    one = nn.Sequential(*net[:6], nn.Linear(6, 1), nn.Flatten(0)).eval().requires_grad_(False)
    one[6].load_state_dict({"weight": net[6].weight[:1], "bias": net[6].bias[:1]})
    torch.testing.assert_close(kind(layer="3")(one, X, Y * 0), expected)


@pytest.mark.parametrize("kind", [PytorchGradCAM, TorchCAM])
def test_what_the_user_keeps_stays(kind: Any) -> None:
    """Gradients of a training in progress are not cleared, and nothing is added to them."""
    net = nets.cnn()
    net(X).sum().backward()
    kept = {name: (parameter.grad, parameter.grad.clone()) for name, parameter in net.named_parameters()}
    kind(layer="3")(net, X, Y)
    for name, parameter in net.named_parameters():
        assert parameter.grad is kept[name][0]
        assert torch.equal(parameter.grad, kept[name][1])


def test_an_interrupted_explainer_leaves_its_layer() -> None:
    """Ablation CAM puts a layer of its own into the network, and leaves it there where it is interrupted."""

    class Third(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            Third.calls += 1
            if Third.calls == 3:
                raise IndexError("the third call")
            return x

    net = nn.Sequential(*nets.cnn(), Third()).eval()
    layers = list(net)
    with pytest.raises(IndexError, match="the third call"):
        PytorchGradCAM("AblationCAM", layer="2")(net, X, Y)
    assert [one is other for one, other in zip(net, layers, strict=True)] == [True] * 8
    assert not any(module._forward_hooks for module in net.modules())


def test_several_layers() -> None:
    net = nets.cnn()
    fused = TorchCAM(layer=("1", "3"))(net, X, Y)
    with torch_cams.GradCAM(net, ["1", "3"]) as by_hand:
        expected = by_hand.fuse_cams(by_hand(Y.tolist(), net(X), normalized=False))
    torch.testing.assert_close(fused, expected[:, None])
    refined = TorchCAM("RefineCAM", layer=("1", "3"), arguments={"base_method": "LayerCAM"})(net, X, Y)
    with torch_cams.RefineCAM(net, ["1", "3"], base_method=torch_cams.LayerCAM) as by_hand:
        (expected,) = by_hand(Y.tolist(), net(X), normalized=False)
    torch.testing.assert_close(refined, expected[:, None])
    both = PytorchGradCAM(layer=("1", "3"))(net, X, Y)
    assert not torch.equal(both, PytorchGradCAM(layer="3")(net, X, Y))


class Tokens(nn.Module):
    """Patches of 2 × 2 pixels as tokens (N, 16, 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, 5, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cut(x).flatten(2).transpose(1, 2)
        return out


def as_picture(tokens: Tensor) -> Tensor:
    return tokens.transpose(1, 2).unflatten(2, (4, 4))


class Pooled(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        return tokens.mean(1)


def test_tokens_are_reshaped() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(Tokens(), nn.ReLU(), Pooled(), nn.Linear(5, 3)).eval()
        same = nn.Sequential(net[0].cut, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), net[3]).eval()
    expected = TorchCAM(layer="1")(same, X, Y)
    torch.testing.assert_close(TorchCAM(layer="1", reshape=as_picture)(net, X, Y), expected)
    by_name = TorchCAM(layer="1", reshape=f"{__name__}:as_picture")
    torch.testing.assert_close(by_name(net, X, Y), expected)
    ours = hp.methods.GradCAM(layer="1")(same, X, Y)
    theirs = PytorchGradCAM(layer="1", reshape=as_picture)(net, X, Y)
    torch.testing.assert_close(theirs, scaled(enlarged(scaled(ours))))


@pytest.mark.parametrize("kind", [PytorchGradCAM, TorchCAM])
def test_volumes(kind: Any) -> None:
    net = nn.Sequential(
        nn.Conv3d(1, 3, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(3, 2)
    ).eval()
    x = torch.rand(2, 1, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    ours = hp.methods.GradCAM(layer="1")(net, x, torch.tensor([0, 1]))
    theirs = kind(layer="1")(net, x, torch.tensor([0, 1]))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one / one.amax().clamp_min(1e-7), other / other.amax().clamp_min(1e-7))


def test_names() -> None:
    net = nets.cnn()
    with pytest.raises(UnknownNameError, match=r"explainer of pytorch_grad_cam, but got 'GradCam'; did you mean"):
        PytorchGradCAM("GradCam", layer="3")(net, X, Y)
    with pytest.raises(InputError, match="Expected `layer`, the name of a submodule, but got none"):
        TorchCAM("GradCAM")(net, X, Y)
    with pytest.raises(UnknownNameError, match=r"explainer of torchcam.methods, but got 'LayerCam'; did you mean"):
        TorchCAM("RefineCAM", layer=("1", "3"), arguments={"base_method": "LayerCam"})(net, X, Y)
