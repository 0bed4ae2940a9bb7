"""The ledger of bottlenecks: Table 4's first column, scalar loops, and what is left out."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import heatproof as hp
from heatproof.checks import BottleneckLedger
from heatproof.methods import GradientXInput
from heatproof.methods.bottleneck import PerSampleBottleneck
from heatproof.methods.readout import ReadoutBottleneck
from heatproof.methods.split import Split
from heatproof.testing.playing import Row, play, stage
from reference import bottleneck as twin

LAYER = "0"
LABELS = 7


@pytest.fixture(scope="module")
def fitted():
    """Images (N, 1, 6, 6) → seven labels in float64, and a bottleneck behind the first convolution."""
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, LABELS)
    )
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 1.5 / max(1, parameter[0].numel()) ** 0.5, generator=stream)
    model = model.double().eval().requires_grad_(False)
    images = torch.randn(64, 1, 6, 6, generator=stream, dtype=torch.float64)
    return model, PerSampleBottleneck(layer=LAYER, steps=2, samples=3).fit(model, [images]), images


def played(model, methods, inputs, targets=None):
    targets = torch.arange(len(inputs)) % LABELS if targets is None else targets
    return play(BottleneckLedger(), stage(model, inputs, targets, methods))


def value(rows, method, metric):
    return rows[Row(method, "", 0.0, 0, metric)]


@pytest.mark.parametrize(("noise", "nats"), [("published", 2.500), ("paper", 5.000)])
def test_the_untrained_bottleneck_lets_through_what_table_4_prints(fitted, noise, nats):
    model, method, images = fitted
    rows = played(model, {"initial": replace(method, steps=0, noise=noise)}, images)
    # On the images that it was fitted on (R − μ)² averages to σ²; 63/64 of it, as σ² is the unbiased estimate.
    passed = 1 / (1 + math.exp(-5))
    short = passed**2 / 2 / 64
    assert value(rows, "initial", "information").mean().item() == pytest.approx(nats - short, abs=2e-4)
    assert value(rows, "initial", "information").mean().item() == pytest.approx(nats, abs=0.01)


@pytest.mark.parametrize("noise", ["paper", "published"])
def test_rows_are_what_scalar_loops_give(fitted, noise):
    model, method, images = fitted
    method, inputs, targets = replace(method, steps=0, noise=noise), images[:4], torch.tensor([0, 6, 3, 3])
    rows = played(model, {"initial": method}, inputs, targets)
    split, names = Split(model, LAYER), hp.draws.marks(inputs)
    mean, std = method.fitted["mean"].double(), method.fitted["variance"].double().sqrt()
    passed = 1 / (1 + math.exp(-5))
    scale = 1 - passed if noise == "paper" else math.sqrt(1 - passed)
    for i in range(4):
        signal = split.below(inputs[i : i + 1])
        elements = list(zip(signal.flatten().tolist(), mean.flatten().tolist(), std.flatten().tolist(), strict=True))
        nats = [twin.kl(r, m, s, passed, noise) for r, m, s in elements]
        expected = {"information": sum(nats) / len(nats), "bits": sum(nats) / math.log(2)}
        assert len(nats) == 3 * 6 * 6
        found = []
        noises = hp.draws.normal(signal, 0, "bottleneck", 0, samples=names[i : i + 1], copies=range(3))
        for drawn in noises.flatten(1).tolist():
            z = [passed * r + (1 - passed) * m + scale * s * n for (r, m, s), n in zip(elements, drawn, strict=True)]
            found.append(split.above(torch.tensor(z, dtype=torch.float64).view_as(signal), inputs[i : i + 1])[0])
        expected |= shares(found, int(targets[i]))
        for metric, wanted in expected.items():
            assert value(rows, "initial", metric)[i].item() == pytest.approx(wanted, abs=1e-6), metric
        plain = shares([model(inputs[i : i + 1])[0].detach()], int(targets[i]))
        for metric, wanted in plain.items():
            assert value(rows, "", metric)[i].item() == pytest.approx(wanted, abs=1e-12), metric


def shares(draws, label):
    """Mean probability, top-1 and top-5 of a label, from a list of logits."""
    ranks = [sum(1 for k, other in enumerate(one.tolist()) if k != label and other >= one[label]) for one in draws]
    likely = [math.exp(one[label]) / sum(math.exp(other) for other in one.tolist()) for one in draws]
    counts = {"top-1": [rank < 1 for rank in ranks], "top-5": [rank < 5 for rank in ranks], "probability": likely}
    return {name: float(sum(values)) / len(values) for name, values in counts.items()}


def test_more_beta_lets_less_through(fitted):
    model, method, images = fitted
    inputs = images[:5]
    methods = {str(beta): replace(method, beta=beta, steps=10) for beta in (0.1, 10.0, 1000.0)}
    rows = played(model, methods, inputs)
    through = [value(rows, label, "information").mean().item() for label in methods]
    assert through[0] > through[1] > through[2]
    for label, one in methods.items():
        said = one.explain(model, inputs, torch.arange(5)).diagnostics
        assert torch.equal(value(rows, label, "top-1"), said["top-1-after"])


def test_a_label_that_ties_is_not_the_likeliest(fitted):
    model, _, images = fitted
    dead = nn.Sequential(*model[:-1], nn.Linear(27, LABELS).double())
    nn.init.zeros_(dead[-1].weight)
    nn.init.zeros_(dead[-1].bias)
    dead = dead.eval().requires_grad_(False)
    rows = played(dead, {"iba": PerSampleBottleneck(layer=LAYER, steps=0, samples=2).fit(dead, [images])}, images[:3])
    for method_label in ("", "iba"):
        for metric in ("top-1", "top-5"):
            assert value(rows, method_label, metric).tolist() == [0.0] * 3


def test_methods_without_a_bottleneck_have_no_rows(fitted):
    model, method, images = fitted
    rows = played(model, {"gradient-x-input": GradientXInput(), "iba": method}, images[:3])
    assert {row.method for row in rows} == {"", "iba"}
    assert {row.metric for row in rows if row.method == ""} == {"probability", "top-1", "top-5"}
    assert {row.metric for row in rows if row.method} == {"information", "bits", "probability", "top-1", "top-5"}


def test_the_readout_bottleneck_has_an_entry(fitted):
    model, _, images = fitted
    targets = torch.arange(64) % LABELS
    method = ReadoutBottleneck(layer=LAYER, readouts=(LAYER, "4"), epochs=1, samples=2).fit(model, [(images, targets)])
    rows = played(model, {"readout": method}, images[:3])
    said = method.explain(model, images[:3], torch.arange(3)).diagnostics
    assert torch.equal(value(rows, "readout", "top-5"), said["top-5-after"])
    assert {row.metric for row in rows if row.method} == {"information", "bits", "probability", "top-1", "top-5"}


def test_top_5_of_five_labels_says_nothing(tmp_path):
    five = nn.Sequential(nn.Flatten(), nn.Linear(36, 5)).eval()
    run = hp.audit(
        five, torch.randn(3, 1, 6, 6), methods=["gradient"], checks=["bottleneck-ledger"], out=tmp_path, progress=False
    )
    assert set(run.rows().metric) == {"probability", "top-1"}
    assert run.manifest["checks"][0]["notes"] == ["top-5 is left out: the model has 5 outputs."]
