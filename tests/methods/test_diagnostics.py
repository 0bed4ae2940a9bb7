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
