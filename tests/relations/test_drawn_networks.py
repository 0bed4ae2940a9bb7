"""Networks told in words: the same every time, of every operation, and as they say."""

import pytest
import torch
from hypothesis import given
from relation_strategies import networks

from heatproof.testing.relations import NetworkSpec, Step, build, draw, samples
from heatproof.testing.relations.building import MAKERS


@given(networks())
def test_any_list_of_steps_is_a_network(spec):
    x = samples(spec, 2)
    with torch.no_grad():
        out = build(spec)(x)
    assert out.shape == (2, spec.outputs)
    assert out.dtype == torch.float64
    assert bool(out.isfinite().all())


@given(networks())
def test_a_spec_is_told_by_its_repr(spec):
    assert eval(repr(spec), {"NetworkSpec": NetworkSpec, "Step": Step}) == spec


@given(networks())
def test_a_spec_decides_every_weight(spec):
    first = build(spec).state_dict()
    torch.manual_seed(5)
    second = build(spec).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_draws_depend_on_their_seed_alone():
    assert [draw(i) for i in range(20)] == [draw(i) for i in range(20)]
    assert len({draw(i) for i in range(200)}) > 190


def test_draws_call_every_operation():
    seen = set()

    def look(steps):
        for step in steps:
            seen.add(step.kind)
            look(step.inner)

    for seed in range(400):
        look(draw(seed).steps)
    assert seen == {*MAKERS, "residual", "concatenated"}


@pytest.mark.parametrize("seed", [i for i in range(60) if not draw(i).biases][:8])
def test_networks_without_biases_are_homogeneous(seed):
    spec = draw(seed)
    if {"excited", "selected", "attention"} & {step.kind for step in spec.steps}:
        return  # a gate is a product: of degree two
    net, x = build(spec), samples(spec, 2)
    with torch.no_grad():
        torch.testing.assert_close(net(3 * x), 3 * net(x), rtol=1e-12, atol=1e-12)
