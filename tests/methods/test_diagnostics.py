"""Every number that a method says of its own maps is declared, for the reports."""

from dataclasses import replace

import pytest
import torch
from quarters import LAYER, blobs, network

import heatproof as hp
from heatproof.methods.bottleneck import PerSampleBottleneck
from heatproof.methods.fitted import FittedMethod
from heatproof.methods.patterns import PatternAttribution, PatternNet
from heatproof.methods.readout import ReadoutBottleneck
from heatproof.metrics import DIAGNOSTICS
from heatproof.testing import ContractNet

# Methods that learn from data are not registered; a new one is missing here until it is entered.
LEARNING = [
    PatternNet(),
    PatternAttribution(),
    PerSampleBottleneck(layer=LAYER, steps=1, samples=2),
    ReadoutBottleneck(layer=LAYER, readouts=(LAYER, "head.2"), epochs=1),
]
DECLARED = {metric.name: metric for metric in DIAGNOSTICS}


def said():
    """The diagnostics of every method of ours, by the method."""
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for name in hp.methods.names():
        method = hp.methods.get(name)
        method = replace(method, steps=2) if name == "meaningful-perturbation" else method
        yield name, method.explain(ContractNet(), images, torch.tensor([0, 3])).diagnostics
    model, (x, y) = network(), blobs(16)
    for recipe in LEARNING:
        fitted = recipe.fit(model, [(x, y)])
        yield type(recipe).__name__, fitted.explain(model, x[:2], y[:2]).diagnostics


@pytest.fixture(scope="module")
def diagnostics():
    return dict(said())


def test_every_diagnostic_is_declared_and_every_declaration_occurs(diagnostics):
    undeclared = {label: set(found) - DECLARED.keys() for label, found in diagnostics.items()}
    assert not {label: names for label, names in undeclared.items() if names}
    assert set().union(*diagnostics.values()) == DECLARED.keys()


def test_diagnostics_stay_in_their_declared_range(diagnostics):
    for found in diagnostics.values():
        for name, values in found.items():
            metric, known = DECLARED[name], values[~values.isnan()]
            assert metric.low is None or bool((known >= metric.low).all()), name
            assert metric.high is None or bool((known <= metric.high).all()), name


def test_every_method_that_learns_is_tried():
    def below(kind):
        return {kind, *[one for child in kind.__subclasses__() for one in below(child)]}

    ours = {kind for kind in below(FittedMethod) if kind.__module__.startswith("heatproof.methods.")}
    public = {kind for kind in ours - {FittedMethod} if not kind.__name__.startswith("_")}
    assert public == {type(recipe) for recipe in LEARNING}
