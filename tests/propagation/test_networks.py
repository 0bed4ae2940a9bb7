"""Networks as they are: no renaming, no canonizer, no line about an architecture."""

from pathlib import Path

import pytest
import torch
from networks import BUILDERS, QUICK, build

import heatproof as hp
from heatproof.errors import InputError
from heatproof.methods import LRP, DeepLIFT, GuidedBackprop
from heatproof.propagation.composites import Composite
from heatproof.propagation.nodes import Term
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
        total = explained.maps.abs().flatten(1).sum(1)
        assert bool((explained.diagnostics["completeness-gap"].abs() <= 1e-4 * total).all())
        assert bool((total > 0).all())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


class Ledger:
    """The z⁺ rule, writing down what each operation did not hand on: neurons without a positive contribution."""

    of_value = False

    def __init__(self):
        self.rule, self.lost = z_plus(epsilon=1e-9), []

    def surrogate(self, op, y, x):
        ((part, factor),) = self.rule.surrogate(op, y, x)
        s = part * factor
        held = s.detach()
        s.register_hook(lambda g: self.lost.append(float((g * (y - held)).sum())))
        return [Term(s, torch.ones_like(s))]


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "squeezenet1_1"])
def test_z_plus_loses_only_at_neurons_without_a_positive_contribution(name):
    # ReLUs, batch norms with shifts, residual sums, concatenations and pooling lose nothing on the way.
    pytest.importorskip("torchvision")
    model, x = build(name)
    model, x, ledger = model.double(), x.double(), Ledger()
    outputs, pull = LRP(composite=Composite(convolution=ledger, dense=ledger)).linearize(model, x)
    relevance = float(pull(torch.ones_like(outputs)).sum())
    arrived = float(outputs.sum())
    assert ledger.lost
    scale = float(outputs.abs().sum())
    assert abs(relevance - (arrived - sum(ledger.lost))) < 1e-7 * scale


def test_guided_backprop_refuses_a_network_without_relus():
    model, x = build("lstm")
    with pytest.raises(InputError, match="no relu was called"):
        GuidedBackprop()(model, x, torch.tensor([0, 1]))


def test_no_line_about_an_architecture():
    names = ("resnet", "vgg", "densenet", "inception", "googlenet", "mobilenet", "efficientnet", "vision_transformer")
    for path in (Path(hp.__file__).parent / "propagation").glob("*.py"):
        text = path.read_text(encoding="utf-8").lower()
        assert not [name for name in names if name in text], path.name
