"""Faults that users met, put back by a patch: the relations find each of them by name."""

from contextlib import nullcontext
from dataclasses import replace

import pytest

from heatproof import door, sound
from heatproof.methods.lrp import LRP
from heatproof.propagation import calls, choices, rules
from heatproof.propagation.composites import COMPOSITES
from heatproof.testing import ContractError, check_relations
from heatproof.testing.relations import NetworkSpec, Step, quick_methods, relations, subject_of

METHODS = quick_methods()
NORMED = NetworkSpec((2, 4, 6), (Step("conv"), Step("batch_norm"), Step("relu")))


def broken(method, spec, relation):
    """Whether the relation, and no other one, finds a fault."""
    subject = subject_of(spec)
    with pytest.raises(ContractError) as caught:
        check_relations(method, *subject[:3], relations=relations(relation))
    return caught.value.clause == relation


@pytest.mark.parametrize(("relation", "method"), [("spelled-torch", "lrp-epsilon"), ("exported", "guided-backprop")])
def test_one_name_and_two_orders_of_arguments(monkeypatch, relation, method):
    order = ["input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"]
    bound = calls.bound

    def as_functional(function, name, args, kwargs):
        if name == "batch_norm":
            return dict(zip(order, args, strict=False)) | kwargs
        return bound(function, name, args, kwargs)

    monkeypatch.setattr(calls, "bound", as_functional)
    assert broken(METHODS[method], NORMED, relation)


@pytest.mark.parametrize("relation", ["homogeneous-1e-06", "homogeneous-1e-13"])
def test_an_epsilon_that_is_a_number(relation):
    spec = NetworkSpec((4,), (Step("linear"), Step("relu")), biases=False)
    absolute = LRP(composite=COMPOSITES["epsilon"].stabilized("absolute"))
    assert broken(absolute, spec, relation)


def test_an_epsilon_that_is_a_share_of_a_label_that_is_masked(monkeypatch):
    factor = rules.Epsilon.factor
    monkeypatch.setattr(rules.Epsilon, "factor", lambda self, op, y: factor(self, replace(op, bias=None), y))
    assert broken(METHODS["lrp-epsilon"], NetworkSpec((4,), (Step("linear"), Step("relu"))), "dead-label")


@pytest.mark.parametrize("relation", ["running-statistics", "last-input", "range-observer"])
def test_a_network_that_is_run_and_not_put_back(monkeypatch, relation):
    monkeypatch.setattr(door, "unchanged", lambda model, device: nullcontext())
    assert broken(METHODS["gradient"], NORMED, relation)


def test_a_derivative_of_torchs_own(monkeypatch):
    monkeypatch.setattr(sound, "derived", lambda outputs: outputs)
    spec = NetworkSpec((3, 8, 8), (Step("instance_norm"), Step("layer_norm")), outputs=2)
    assert broken(METHODS["gradient-x-input"], spec, "alone")


def test_places_of_a_pooling_that_rounding_chose(monkeypatch):
    monkeypatch.setattr(choices, "NEXT_TO", 0.0)
    spec = NetworkSpec((2, 4, 8), (Step("conv", size=1), Step("tanh"), Step("max_pool", size=2)), "dense", seed=415)
    assert broken(METHODS["deeplift"], spec, "mirrored")
