"""Every number that a method says of its own maps is declared, for the reports."""

from dataclasses import replace

import pytest
import torch

import heatproof as hp
from heatproof.methods.fitted import FittedMethod
from heatproof.metrics import DIAGNOSTICS, EXCLUDE, REFIT, REUSE
from heatproof.testing import ContractNet

SHORT = {"meaningful-perturbation": 2, "iba": 1}
DECLARED = {metric.name: metric for metric in DIAGNOSTICS}


def said():
    """The diagnostics of every method of ours, by the method."""
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    labels = torch.arange(8) % 5
    for name in hp.methods.names():
        method = hp.methods.get(name)
        method = replace(method, steps=SHORT[name]) if name in SHORT else method
        method = method.fit(ContractNet(), [(images, labels)]) if isinstance(method, FittedMethod) else method
        yield name, method.explain(ContractNet(), images[:2], labels[:2]).diagnostics


@pytest.fixture(scope="module")
def diagnostics():
    return dict(said())


def test_every_diagnostic_is_declared_and_every_declaration_occurs(diagnostics):
    undeclared = {label: set(found) - DECLARED.keys() for label, found in diagnostics.items()}
    assert not {label: names for label, names in undeclared.items() if names}
    of_audits = {metric.name for metric in (REFIT, REUSE, EXCLUDE)}
    assert set().union(*diagnostics.values()) == DECLARED.keys() - of_audits


def test_diagnostics_stay_in_their_declared_range(diagnostics):
    for found in diagnostics.values():
        for name, values in found.items():
            metric, known = DECLARED[name], values[~values.isnan()]
            assert metric.low is None or bool((known >= metric.low).all()), name
            assert metric.high is None or bool((known <= metric.high).all()), name


def test_maps_alone_are_made_without_what_only_diagnostics_need():
    """A call that hands out maps runs nothing for diagnostics, and one inside it that reads them has them all."""
    rows = []
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)).eval()
    net.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    x, method = torch.randn(5, 4), hp.methods.IntegratedGradients(steps=2)
    method(net, x, 0)  # settles the network
    rows.clear()
    maps = method(net, x, 0)
    assert rows == [5, 10]  # f(x), and the nodes
    rows.clear()
    found = method.explain(net, x, 0)
    assert rows == [5, 10, 5]  # and the baseline, for the gap
    assert torch.equal(maps, found.maps)
    assert set(found.diagnostics) == {"score", "baseline-score", "completeness-gap", "condition-number"}


class Reads(hp.methods.LRP):
    """A method of somebody's, over what it inherits."""

    def _explain(self, model, inputs, targets):
        found = super()._explain(model, inputs, targets)
        return hp.methods.Explanation(found.maps * found.diagnostics["score"][:, None], found.diagnostics)


class Around(hp.methods.Method):
    """A method of somebody's, around one of ours."""

    def _explain(self, model, inputs, targets):
        inner = hp.methods.LRP().explain(model, inputs, targets)
        return hp.methods.Explanation(inner.maps / inner.diagnostics["score"][:, None])


@pytest.mark.parametrize("method", [Reads(), Around(), hp.methods.SmoothGrad(Around(), samples=2)])
def test_who_reads_diagnostics_has_them(method):
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)).eval()
    x = torch.randn(3, 4)
    assert torch.equal(method(net, x, 1), method.explain(net, x, 1).maps)
