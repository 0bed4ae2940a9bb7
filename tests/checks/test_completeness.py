import math
from dataclasses import replace

import check_toys as toys
import pytest
import torch
from torch import nn

import heatproof as hp
from heatproof.checks import TRAINED, Block, Completeness
from heatproof.errors import InputError
from heatproof.methods import GradientXInput, IntegratedGradients, Random
from heatproof.methods.fitted import learners
from heatproof.testing import ContractNet
from heatproof.testing.playing import play, stage
from reference import checks as twin

METHODS = {"gradient-x-input": GradientXInput(), "ig": IntegratedGradients(steps=3), "random": Random()}


def blocked(model, inputs, targets):
    names = tuple(str(i) for i in range(len(inputs)))
    return Block(model=model, inputs=inputs, targets=targets, samples=names, features=hp.features.Pixels())


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


def test_the_gap_is_to_what_the_method_promises():
    model, inputs = toys.network(), toys.images()
    rows = toys.played(Completeness(), methods=METHODS)
    own = METHODS["ig"].explain(model, inputs, torch.arange(3)).diagnostics["completeness-gap"]
    assert get(rows, "ig", "completeness-gap") == pytest.approx(own.tolist(), abs=1e-12)
    baseline = model(torch.zeros_like(inputs))[range(3), range(3)].detach()
    expected = [a - float(b) for a, b in zip(get(rows, "ig", "completeness-gap"), baseline, strict=True)]
    assert get(rows, "ig", "score-gap") == pytest.approx(expected, abs=1e-12)
    assert get(rows, "gradient-x-input", "completeness-gap") == get(rows, "gradient-x-input", "score-gap")


PROMISED = [
    "attribution-sum",
    "completeness-gap",
    "condition-number",
    "relative-gap",
    "relative-score-gap",
    "score-gap",
]
OVER_LABELS = ["label-correlation", "label-gap", "label-slope"]


@pytest.mark.parametrize("name", [name for name in hp.methods.names() if not learners(hp.methods.get(name))])
def test_only_what_is_promised_is_held_against_a_method(name):
    """A gradient or a Grad-CAM map that sums to something else is not incomplete."""
    method = hp.methods.get(name)
    method = replace(method, steps=2) if name == "meaningful-perturbation" else method
    inputs = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    on = stage(ContractNet(), inputs, torch.tensor([0, 3]), {"it": method})
    found = {row.metric for row in play(Completeness(), on) if row.method == "it"}
    promises = name.removesuffix("-flat") in (
        "gradient-x-input", "integrated-gradients", "over-baselines", "deeplift", "deep-taylor", "lrp-epsilon",
        "lrp-epsilon-plus",
        "lrp-epsilon-gamma-box", "lrp-epsilon-alpha2-beta1", "lrp-alpha1-beta0", "lrp-adaptive-beta",
    )  # fmt: skip
    assert found == {*PROMISED, *OVER_LABELS} - (
        set() if promises else {"completeness-gap", "condition-number", "relative-gap", *OVER_LABELS}
    )


@pytest.mark.parametrize("labels", [0, 3])
def test_over_labels_the_rows_are_what_scalar_loops_give(labels):
    model, inputs, targets = toys.network(), toys.images(), torch.tensor([3, 0, 1])
    rows = toys.played(Completeness(labels=labels), targets=targets, methods=METHODS)
    chosen = Completeness(labels=labels).shared(blocked(model, inputs, targets), TRAINED).labels.tolist()
    for i, some in enumerate(chosen):
        assert some[0] == targets[i]
        assert len(set(some)) == (labels or 4)
        for name in ("gradient-x-input", "ig"):
            baseline = torch.zeros_like(inputs[i]) if name == "ig" else None
            maps = [METHODS[name](model, inputs[i : i + 1], torch.tensor([label]))[0] for label in some]
            expected = twin.completeness_over_labels(model, inputs[i], maps, some, baseline)
            for metric, value in zip(("label-slope", "label-correlation", "label-gap"), expected, strict=True):
                assert get(rows, name, metric)[i] == pytest.approx(value, abs=1e-9), metric


def test_few_labels_have_no_line():
    rows = toys.played(Completeness(labels=2), methods=METHODS)
    assert all(math.isnan(value) for value in get(rows, "ig", "label-slope") + get(rows, "ig", "label-correlation"))
    assert all(value >= 0 for value in get(rows, "ig", "label-gap"))


def test_other_labels_are_drawn_for_each_sample_alone():
    model, inputs, targets = toys.network(), toys.images(), torch.tensor([3, 0, 1])
    check = Completeness(labels=3)
    whole = check.shared(blocked(model, inputs, targets), TRAINED).labels
    for i in range(3):
        one = slice(i, i + 1)
        alone = check.shared(blocked(model, inputs[one], targets[one]), TRAINED).labels
        assert torch.equal(alone, whole[one])


def test_labels_in_chunks_are_labels_together(monkeypatch):
    whole = toys.played(Completeness(), methods=METHODS)
    monkeypatch.setattr("heatproof.checks.completeness.BUDGET", 1)
    for row, values in toys.played(Completeness(), methods=METHODS).items():
        torch.testing.assert_close(values, whole[row], rtol=1e-12, atol=1e-12)


def test_a_foreign_callable_promises_nothing(tmp_path):
    def foreign(model, inputs, targets):
        return inputs.square()

    run = hp.audit(
        toys.network(), toys.images(3), methods=[foreign], checks=["completeness"], out=tmp_path, progress=False
    )
    assert set(run.rows().metric) == {"target-score", "attribution-sum", "score-gap", "relative-score-gap"}


def test_a_negative_number_of_labels_is_refused():
    with pytest.raises(InputError, match="Expected labels to be at least 0, which takes all of them, but got -1"):
        Completeness(labels=-1)


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
    with pytest.raises(InputError, match=r"Expected channels to be summed.*Pixels\(reduction='l2'"):
        Completeness().states(on.study())
