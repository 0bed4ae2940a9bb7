"""What competition leaves: Algorithm 1 by hand, the closed form, the truncated normal."""

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import nn

from heatproof.errors import InputError
from heatproof.methods import Competitive, GradientXInput
from heatproof.theory import competition
from heatproof.theory.two_labels import draw, limit, survives, truncated
from reference import theory as slow


def drawn(delta=0.3, *, dimensions=40, samples=5, cosine=0.5, seed=0):
    return draw(delta, dimensions=dimensions, samples=samples, cosine=cosine, seed=seed)


@pytest.mark.parametrize("cut", [0.0, 0.5, 3.0, 20.0])
def test_truncated_normal_has_the_tail_that_is_asked_for(cut):
    # SciPy's own truncated normal is off by 2e-8 of itself at 20σ; its logarithm of the tail is not.
    uniform = torch.tensor([0.0, 0.1, 0.5, 0.9, 1 - 1e-9], dtype=torch.float64)
    found = truncated(torch.full_like(uniform, cut), uniform)
    expected = torch.log1p(-uniform) + norm.logsf(cut)
    assert norm.logsf(found.numpy()).tolist() == pytest.approx(expected.tolist(), abs=1e-10, rel=1e-13)
    assert found[0] == cut


@pytest.mark.parametrize("cosine", [-1.0, 0.0, 0.5, 1.0])
def test_what_is_drawn_is_what_is_asked_for(cosine):
    first, second, inputs = drawn(cosine=cosine)
    h, other = first[:, :20], second[:, :20]
    assert torch.allclose(h.norm(dim=1), other.norm(dim=1))
    assert torch.allclose((h * other).sum(1) / h.square().sum(1), torch.full((5,), cosine, dtype=torch.float64))
    assert bool(((first * inputs).sum(1) >= 0.3 - 1e-12).all())


def test_inputs_of_two_logits_differ_along_the_gradient_alone():
    near, far = drawn(0.1), drawn(0.4)
    assert torch.equal(near.first, far.first)
    assert torch.equal(near.second, far.second)
    moved = far.inputs - near.inputs
    along = (moved * near.first).sum(1, keepdim=True) / near.first.square().sum(1, keepdim=True) * near.first
    assert torch.allclose(moved, along, atol=1e-12)


def test_a_sample_is_the_same_among_fewer():
    assert all(torch.equal(many[:2], few) for many, few in zip(drawn(), drawn(samples=2), strict=True))


def test_rows_are_algorithm_1_in_scalar_loops():
    table = competition((0.2, 0.5), dimensions=40, samples=5)
    assert len(table) == 10
    for delta, part in table.groupby("delta"):
        first, second, inputs = drawn(delta)
        for i, row in enumerate(part.itertuples()):
            shared, other = slow.left_of_competition(first[i].tolist(), second[i].tolist(), inputs[i].tolist())
            assert row.c1 * delta / 2 == pytest.approx(shared, abs=1e-12)
            assert row.c2 * delta / 2 == pytest.approx(other, abs=1e-12)
            assert row.logit == pytest.approx(float(first[i] @ inputs[i]), abs=1e-12)
            assert row.shared == pytest.approx(float(first[i, :20] @ inputs[i, :20]), abs=1e-12)
            assert row.rival == pytest.approx(float(second[i, :20] @ inputs[i, :20]), abs=1e-12)


def test_competition_is_that_of_a_linear_network_of_two_labels():
    first, second, inputs = (part[0] for part in drawn())
    network = nn.Linear(40, 2, bias=False).double().eval()
    with torch.no_grad():
        network.weight.copy_(torch.stack([first, second]))
    maps = Competitive(GradientXInput())(network, inputs[None], torch.tensor([0]))[0]
    scores = first * inputs
    assert torch.allclose(maps, torch.where(survives(scores, second * inputs), scores, 0.0), atol=1e-15)


@pytest.mark.parametrize("cosine", [-0.9, 0.0, 0.5, 0.99])
def test_limit_is_the_integral(cosine):
    k = math.sqrt((1 - cosine) / (1 + cosine))
    integral, _ = quad(lambda g: g * g * norm.cdf(k * abs(g)) * norm.pdf(g), -12, 12, points=[0])
    assert limit(cosine) == pytest.approx(integral, abs=1e-9)


def test_limits_in_closed_form():
    assert limit(0.0) == pytest.approx(0.75 + 1 / (2 * math.pi))
    assert limit(0.5) == pytest.approx(2 / 3 + math.sqrt(3) / (4 * math.pi))
    assert limit(-1.0) == 1.0
    assert limit(1.0) == 0.5


@pytest.mark.parametrize("cosine", [0.0, 0.5, 0.9])
def test_what_is_left_tends_to_the_limit(cosine):
    table = competition((0.25, 0.5), dimensions=20_000, samples=40, cosine=cosine)
    for _, part in table.groupby("delta"):
        assert abs(part["c1"].mean() - limit(cosine)) < 4 * part["c1"].sem()
        assert abs(part["c2"].mean() - limit(0.0)) < 4 * part["c2"].sem()
        assert (part["shared"] / part["delta"]).mean() == pytest.approx(0.5, abs=0.01)
        assert (part["rival"] / part["delta"]).mean() == pytest.approx(cosine / 2, abs=0.01)


@pytest.mark.parametrize(
    ("deltas", "settings", "message"),
    [
        ((0.0,), {}, "Expected delta > 0, but got 0.0"),
        ((0.1,), {"dimensions": 5}, "Expected an even number of at least 4 dimensions, but got 5"),
        ((0.1,), {"cosine": 1.5}, "Expected a cosine from -1 to 1, but got 1.5"),
    ],
)
def test_settings_that_mean_nothing_are_refused(deltas, settings, message):
    with pytest.raises(InputError, match=message):
        competition(deltas, **settings)
    if "cosine" in settings:
        with pytest.raises(InputError, match=message):
            limit(settings["cosine"])
