"""Methods of other packages give what they give by hand, and what ours give where the formula is the same."""

import pickle
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import heatproof as hp
from heatproof.adapters import Captum, Python, PytorchGradCAM, Shap, TorchCAM, Zennit
from heatproof.adapters.base import as_maps
from heatproof.errors import InputError, MissingExtraError, UnknownNameError
from heatproof.frozen import Settings


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return (
            nn.Sequential(
                nn.Conv2d(2, 3, 3, padding=1, bias=False),
                nn.ReLU(),
                nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(4 * 4 * 4, 3, bias=False),
            )
            .double()
            .eval()
        )


X = torch.rand(3, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
Y = torch.tensor([2, 0, 1])


class TestCaptum:
    @pytest.fixture(autouse=True)
    def captum(self) -> None:
        pytest.importorskip("captum", reason="captum is not installed")

    @pytest.mark.parametrize(
        ("theirs", "ours"),
        [
            (Captum("InputXGradient"), hp.methods.GradientXInput()),
            (Captum("Saliency"), hp.methods.Saliency()),
            (Captum("GuidedBackprop"), hp.methods.GuidedBackprop()),
            (Captum("IntegratedGradients", call={"n_steps": 20}), hp.methods.IntegratedGradients(steps=20)),
            (Captum("DeepLift"), hp.methods.DeepLIFT()),
            (
                Captum("Occlusion", call={"sliding_window_shapes": (2, 2, 2), "strides": (2, 2, 2)}),
                None,
            ),
        ],
        ids=repr,
    )
    def test_of_inputs(self, theirs: Captum, ours: Any) -> None:
        net = network()
        found = theirs(net, X, Y)
        assert found.shape == X.shape
        if ours is not None:
            torch.testing.assert_close(found, ours(net, X, Y), rtol=1e-6, atol=1e-9)  # its nodes are float32

    @pytest.mark.parametrize("explainer", ["LayerGradCam", "LayerActivation", "LayerIntegratedGradients"])
    def test_of_a_layer_enlarged_to_the_inputs(self, explainer: str) -> None:
        from captum import attr

        net = network()
        target = {} if explainer == "LayerActivation" else {"target": Y}
        by_hand = getattr(attr, explainer)(net, net[2]).attribute(X, **target)
        expected = F.interpolate(by_hand.detach().sum(1, keepdim=True), (8, 8), mode="bilinear", align_corners=False)
        torch.testing.assert_close(Captum(explainer, layer="2")(net, X, Y), expected)

    def test_side_inputs_follow_what_captum_repeats(self) -> None:
        class Gained(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = network()

            def forward(self, x: Tensor, gain: Tensor) -> Tensor:
                out: Tensor = self.net(x * gain[:, None, None, None])
                return out

        bound = hp.Bound(Gained().eval(), given={"gain": torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)})
        for theirs, ours in (
            (Captum("IntegratedGradients", call={"n_steps": 20}), hp.methods.IntegratedGradients(steps=20)),
            (Captum("DeepLift"), hp.methods.DeepLIFT()),
        ):
            torch.testing.assert_close(theirs(bound, X, Y), ours(bound, X, Y), rtol=1e-6, atol=1e-9)

    def test_a_noise_tunnel(self) -> None:
        adapter = Captum("Saliency", call={"abs": False}, tunnel={"nt_samples": 3, "stdevs": 0.0})
        torch.testing.assert_close(adapter(network(), X, Y), hp.methods.Gradient()(network(), X, Y))

    def test_names_are_told_apart(self) -> None:
        with pytest.raises(
            UnknownNameError, match=r"explainer of captum\.attr, but got 'LayerGradCAM'; did you mean 'Layer"
        ):
            Captum("LayerGradCAM", layer="2")(network(), X, Y)
        with pytest.raises(InputError, match="Expected `layer`, the name of a submodule, but got none"):
            Captum("LayerGradCam")(network(), X, Y)


class TestZennit:
    @pytest.fixture(autouse=True)
    def zennit(self) -> None:
        pytest.importorskip("zennit", reason="zennit is not installed")

    def test_a_composite_by_name_gives_our_rules(self) -> None:
        theirs = Zennit("EpsilonPlus", arguments={"epsilon": 1e-9})
        ours = hp.methods.get("lrp-epsilon-plus")
        torch.testing.assert_close(theirs(network(), X, Y), ours(network(), X, Y), rtol=1e-4, atol=1e-7)

    def test_without_a_composite_it_is_the_gradient(self) -> None:
        torch.testing.assert_close(Zennit()(network(), X, Y), hp.methods.Gradient()(network(), X, Y))
        smooth = Zennit(attributor="SmoothGrad", settings={"n_iter": 2, "noise_level": 0.0})
        torch.testing.assert_close(smooth(network(), X, Y), hp.methods.Gradient()(network(), X, Y))

    def test_a_composite_as_it_is(self) -> None:
        from zennit.composites import EpsilonPlusFlat

        by_name, itself = Zennit("EpsilonPlusFlat"), Zennit(EpsilonPlusFlat())
        assert torch.equal(by_name(network(), X, Y), itself(network(), X, Y))

    def test_names(self) -> None:
        with pytest.raises(UnknownNameError, match="composite of Zennit, but got 'EpsilonPlusFlatt'; did you mean"):
            Zennit("EpsilonPlusFlatt")(network(), X, Y)


def arrays(model: nn.Module, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    assert targets.dtype == np.int64
    return inputs * 2


class TestPython:
    @pytest.mark.parametrize("call", [arrays, f"{__name__}:arrays"], ids=["itself", "by name"])
    def test_a_function_of_arrays(self, call: Any) -> None:
        sys.modules.setdefault(arrays.__module__, sys.modules[__name__])
        assert torch.equal(Python(call, numpy=True)(network(), X, Y), 2 * X)

    @pytest.mark.parametrize(
        ("call", "said"),
        [
            ("", "Expected `call`, the method as module:function, but got none"),
            ("arrays", "Expected the method as module:function, but got 'arrays'"),
            ("no_such_module:maps", "Expected a module 'no_such_module' with the method, but there is none"),
            (
                "heatproof.draws:generat_or",
                "function in heatproof.draws, but got 'generat_or'; did you mean 'generator'",
            ),
            (lambda *_: None, "as a tensor or array, but got None"),
        ],
    )
    def test_errors(self, call: Any, said: str) -> None:
        with pytest.raises(InputError, match=said):
            Python(call)(network(), X, Y)


@pytest.mark.parametrize(
    ("found", "inputs", "expected"),
    [
        (torch.ones(2, 4, 4), torch.ones(2, 3, 4, 4), torch.ones(2, 1, 4, 4)),
        (torch.ones(2, 4), torch.ones(2, 4, 7), torch.ones(2, 4, 1)),
        (torch.ones(2, 4, 5), torch.ones(2, 4, 7), torch.full((2, 4, 1), 5.0)),
        (torch.ones(2, 6, 2, 2), torch.ones(2, 3, 4, 4), torch.full((2, 1, 4, 4), 6.0)),
        (torch.ones(2, 6, 3), torch.ones(2, 2, 9), torch.full((2, 1, 9), 6.0)),
        ((np.ones((2, 3)),), torch.ones(2, 3), torch.ones(2, 3)),
    ],
    ids=["positions", "tokens", "a layer of tokens", "a layer", "a layer of a series", "a tuple of an array"],
)
def test_what_explainers_return_broadcasts(found: Any, inputs: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(as_maps(found, inputs), expected)


@pytest.mark.parametrize("found", [None, torch.ones(3, 4), torch.ones(2, 5)])
def test_what_is_no_attribution(found: Any) -> None:
    with pytest.raises(InputError, match="Expected attributions"):
        as_maps(found, torch.ones(2, 4))


@pytest.mark.parametrize(
    ("adapter", "text"),
    [
        (Captum("IntegratedGradients", call={"n_steps": 5}), "Captum('IntegratedGradients', call={'n_steps': 5})"),
        (Zennit("EpsilonPlus"), "Zennit('EpsilonPlus')"),
        (PytorchGradCAM(layer="3"), "PytorchGradCAM('GradCAM', layer='3')"),
        (TorchCAM(layer="3"), "TorchCAM('GradCAM', layer='3')"),
        (Shap(background=[[0.0]]), "Shap('GradientExplainer', background=[[0.0]])"),
        (Python("heatproof.draws:generator", numpy=True), "Python('heatproof.draws:generator', numpy=True)"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_adapters_are_values(adapter: Any, text: str) -> None:
    again = pickle.loads(pickle.dumps(adapter))
    assert (again, hash(again), repr(again)) == (adapter, hash(adapter), text)


def test_settings_compare_as_dicts_do() -> None:
    assert Settings({"b": [1, 2], "a": 1}) == Settings({"a": 1, "b": (1, 2)}) == {"a": 1, "b": (1, 2)}
    assert repr(Settings({"b": 2, "a": 1})) == "{'a': 1, 'b': 2}"


def test_a_package_that_is_missing() -> None:
    from heatproof.adapters.base import package

    with pytest.raises(
        MissingExtraError, match=r"needs the package 'other-name'. Install it with: pip install other-name$"
    ):
        package("no_such_package.attr", "The method x", called="other-name")


def test_every_adapter_has_a_name() -> None:
    assert hp.adapters.names() == ["captum", "given", "python", "pytorch-grad-cam", "shap", "torch-cam", "zennit"]
    assert hp.adapters.get("captum", explainer="Saliency") == Captum("Saliency")
