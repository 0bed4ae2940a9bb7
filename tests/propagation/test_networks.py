"""Networks as they are: no renaming, no canonizer, no line about an architecture."""

from pathlib import Path

import pytest
import torch
from networks import BUILDERS, QUICK, build

import heatproof as hp
from heatproof.errors import InputError
from heatproof.methods import LRP, DeepLIFT, GuidedBackprop
from heatproof.propagation.composites import Composite
from heatproof.propagation.rules import z_plus

NETWORKS = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in BUILDERS]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_unchanged_by_name(name):
    pytest.importorskip("torchvision")
    pytest.importorskip("timm" if "timm" in name else "transformers" if name == "bert" else "torch")
    model, x = build(name)
    targets = torch.tensor([0, 1])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for inputs in (x, x * (torch.arange(x.shape[-1]) >= x.shape[-1] // 2)):  # with a black half, too
        plain = hp.methods.Gradient().linearize(model, inputs).outputs
        for method in (LRP(composite="epsilon"), LRP(), LRP(composite="epsilon-alpha2-beta1")):
            outputs, pull = method.linearize(model, inputs)
            assert torch.equal(outputs, plain)
            assert bool(torch.isfinite(pull(torch.ones_like(outputs))).all())
        explained = DeepLIFT().explain(model, inputs, targets)
        said = explained.diagnostics
        change = (said["score"] - said["baseline-score"]).abs()
        assert bool((said["completeness-gap"].abs() <= 1e-3 * change).all())
        assert bool((change > 0).all())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "squeezenet1_1", "mobilenet_v3_large"])
def test_z_plus_loses_only_at_neurons_without_a_positive_contribution(name):
    # ReLUs, batch norms with shifts, residual sums, concatenations and pooling lose nothing on the way.
    pytest.importorskip("torchvision")
    model, x = build(name)
    model, x = model.double(), x.double()
    plus = Composite(convolution=z_plus(epsilon=1e-9), dense=z_plus(epsilon=1e-9))
    outputs, _ = LRP(composite=plus).linearize(model, x)
    diagnostics = LRP(composite=plus).explain(model, x, outputs.argmax(1)).diagnostics
    missing = diagnostics["conservation-gap"] - diagnostics["inherent-gap"]
    assert bool((missing.abs() < 1e-7 * outputs.abs().sum(1)).all())
    if name == "mobilenet_v3_large":  # its projections end in no ReLU, so that their negative outputs carry relevance
        assert bool((diagnostics["inherent-gap"] < -0.1 * diagnostics["score"]).all())


def test_guided_backprop_refuses_a_network_without_relus():
    model, x = build("lstm")
    with pytest.raises(InputError, match="no relu was called"):
        GuidedBackprop()(model, x, torch.tensor([0, 1]))


def test_no_line_about_an_architecture():
    names = ("resnet", "vgg", "densenet", "inception", "googlenet", "mobilenet", "efficientnet", "vision_transformer")
    for path in (Path(hp.__file__).parent / "propagation").glob("*.py"):
        text = path.read_text(encoding="utf-8").lower()
        assert not [name for name in names if name in text], path.name
