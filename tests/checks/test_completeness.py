import check_toys as toys
import pytest
import torch
from torch import nn

import heatproof as hp
from heatproof.checks import Completeness
from heatproof.errors import InputError
from heatproof.methods import GradientXInput, IntegratedGradients, Random
from heatproof.testing.playing import stage

METHODS = {"gradient-x-input": GradientXInput(), "ig": IntegratedGradients(steps=3), "random": Random()}


def get(rows, method, metric):
    return toys.row(rows, method, metric, "").tolist()


def test_sums_are_what_scalar_loops_give():
    model, inputs = toys.network(), toys.images()
    rows = toys.played(Completeness(), methods=METHODS)
    for label, method in METHODS.items():
        maps = method(model, inputs, torch.arange(3))
        for i in range(3):
            total = sum(float(value) for value in maps[i].flatten())
            score = float(model(inputs[i : i + 1])[0, i].detach())
            assert get(rows, label, "attribution-sum")[i] == pytest.approx(total, abs=1e-12)
            assert get(rows, label, "score-gap")[i] == pytest.approx(total - score, abs=1e-12)
            assert get(rows, label, "relative-score-gap")[i] == pytest.approx(abs(total - score) / abs(score), abs=1e-9)
            assert get(rows, "", "target-score")[i] == pytest.approx(score, abs=1e-12)


def test_the_gap_is_the_methods_own_where_it_has_one():
    model, inputs = toys.network(), toys.images()
    rows = toys.played(Completeness(), methods=METHODS)
    own = METHODS["ig"].explain(model, inputs, torch.arange(3)).diagnostics["completeness-gap"]
    assert get(rows, "ig", "completeness-gap") == own.tolist()
    baseline = model(torch.zeros_like(inputs))[range(3), range(3)].detach()
    expected = [a - float(b) for a, b in zip(get(rows, "ig", "completeness-gap"), baseline, strict=True)]
    assert get(rows, "ig", "score-gap") == pytest.approx(expected, abs=1e-12)
    assert get(rows, "random", "completeness-gap") == get(rows, "random", "score-gap")


def test_gradient_x_input_is_complete_without_biases():
    model = toys.network()
    with torch.no_grad():
        for layer in model:
            if hasattr(layer, "bias"):
                layer.bias.zero_()
    rows = toys.played(Completeness(), model=model, methods=METHODS)
    assert get(rows, "gradient-x-input", "completeness-gap") == pytest.approx([0.0] * 3, abs=1e-12)


def test_a_dead_score_has_no_relative_gap():
    model, inputs = toys.network(last=nn.ReLU()), toys.images(8)
    targets = torch.arange(8) % 4
    rows = toys.played(Completeness(), model=model, inputs=inputs, targets=targets, methods={"random": Random()})
    dead = toys.row(rows, "", "target-score", "") == 0
    assert 0 < dead.sum() < 8
    assert torch.equal(toys.row(rows, "random", "relative-score-gap", "").isnan(), dead)


def test_sums_need_channels_that_are_summed():
    pixels = hp.features.Pixels(reduction="l2")
    on = stage(toys.network(), toys.images(), torch.arange(3), METHODS, features=pixels)
    with pytest.raises(InputError, match=r"Expected channels to be summed.*Pixels\(reduction='l2'\)"):
        Completeness().states(on.study())
