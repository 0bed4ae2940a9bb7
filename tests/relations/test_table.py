"""The table of relations and methods: nothing fails on networks drawn at random, few here and thousands when asked."""

import logging

import pytest
from hypothesis import given, settings
from relation_strategies import networks

from heatproof.testing.relations import RELATIONS, draw, quick_methods, relation_table, relations, survey

METHODS = quick_methods()
# Each takes a second or more a network: a sample of them here, all of them when asked.
SLOW = {"compiled", "exported", "exported-decomposed", "exported-unflattened", "onnx", "scripted", "traced"}
QUICK = [relation for relation in RELATIONS if relation.name not in SLOW]
PLAIN = ("gradient-x-input", "lrp-epsilon", "lrp-epsilon-plus", "guided-backprop", "deeplift", "occlusion")


@pytest.fixture(autouse=True)
def _quiet():
    """Without what torch's compiler logs when it meets the twentieth network."""
    logger = logging.getLogger("torch._dynamo")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


def failures(table):
    return [(*key, *failure) for key, cell in table.items() for failure in cell.failures]


def test_a_small_draw():
    table = survey(METHODS, [draw(seed) for seed in range(40)], relations=QUICK, methods_each=4, relations_each=6)
    assert failures(table) == []
    assert sum(cell.draws for cell in table.values()) > 400


def test_other_forms_of_a_few_networks():
    slow = [relation for relation in RELATIONS if relation.name in SLOW]
    table = survey(METHODS, [draw(seed) for seed in range(50, 56)], relations=slow, methods_each=5, relations_each=2)
    assert failures(table) == []


def held(spec):
    methods = {name: METHODS[name] for name in PLAIN}
    quick = relations("spelled-torch", "spelled-aten", "transposed", "mirrored", "alone", "zero-residual", "unit-1e-06")
    assert failures(relation_table(methods, [spec], relations=quick)) == []


@settings(max_examples=15, derandomize=True)
@given(networks())
def test_what_hypothesis_draws(spec):
    held(spec)


@pytest.mark.slow
@settings(max_examples=1000)
@given(networks())
def test_whatever_hypothesis_draws(spec):
    held(spec)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_thousands_of_networks(part):
    table = survey(METHODS, [draw(seed) for seed in range(1000 + 100 * part, 1100 + 100 * part)], seed=part)
    assert failures(table) == []
