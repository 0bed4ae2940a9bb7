"""Competition among labels."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from method_networks import Watched, cnn, images, linear

from heatproof import InputError
from heatproof.errors import HeatproofWarning
from heatproof.methods import (
    Competitive,
    Gradient,
    GradientXInput,
    IntegratedGradients,
    Linearizable,
    Linearization,
    Saliency,
    SmoothGrad,
    VarGrad,
    get,
)
from reference import methods as reference

TARGETS = torch.tensor([4, 0, 2])


def scores_as_maps(scores, targets, **settings):
    """The competition of given scores (C, N, D): a method whose pull of label i is row i."""
    scores = torch.as_tensor(scores, dtype=torch.float64)

    class Given(Linearizable):
        def _linearize(self, model, inputs):
            outputs = torch.zeros(scores.shape[1], scores.shape[0], dtype=torch.float64)
            return Linearization(outputs, lambda cotangent: torch.einsum("nc,cnd->nd", cotangent, scores))

    inputs = torch.zeros(scores.shape[1:], dtype=torch.float64)
    return Competitive(Given(), **settings).explain(torch.nn.Identity().eval(), inputs, torch.tensor(targets))


@given(outputs=st.integers(2, 6), seed=st.integers(0, 2**31), zeros=st.booleans())
def test_cgi_equals_algorithm_1_bit_for_bit(outputs, seed, zeros):
    model, x = cnn(outputs, seed=seed), images(2, seed=seed)
    if zeros:
        x = x.relu()
    y = torch.tensor([seed % outputs, (seed + 1) % outputs])
    expected = reference.competitive_gradient_x_input(model, x, y)
    assert torch.equal(get("cgi")(model, x, y), expected)


@pytest.mark.parametrize(
    "inner", [Gradient(), IntegratedGradients(steps=4), SmoothGrad(GradientXInput(), samples=3)], ids=str
)
@pytest.mark.parametrize("per", ["scalar", "pixel"])
def test_is_zero_or_the_method_itself_where_it_wins(inner, per):
    model, x = cnn(), images()
    outputs, pull = inner.linearize(model, x)
    labels = torch.stack([pull(torch.eye(5, dtype=x.dtype)[i].expand_as(outputs)) for i in range(5)])
    if per == "pixel":
        labels = labels.sum(2, keepdim=True)
    own = labels[TARGETS, torch.arange(3)]
    wins = torch.where(own > 0, own == labels.amax(0), own == labels.amin(0))
    kept = Competitive(inner, per=per)(model, x, TARGETS)
    assert kept.shape == own.shape
    assert torch.equal(kept, torch.where(wins, own, 0.0))
    assert 0 < int((kept != 0).sum()) < kept.numel()


def test_labels_competing_in_chunks_are_the_same(monkeypatch):
    model, x = cnn(), images()
    method = Competitive(IntegratedGradients(steps=3))
    together = method(model, x, TARGETS)
    monkeypatch.setattr("heatproof.methods.competition.BUDGET", 2 * (x.numel() + 15))
    assert torch.equal(method(model, x, TARGETS), together)


def test_path_methods_share_passes_between_labels():
    model = Watched(cnn(10))
    Competitive(IntegratedGradients(steps=20))(model, images(), TARGETS)
    assert sum(model.rows) == 5 + 3 + 20 * 3  # five prove once a model that samples are independent


@pytest.mark.parametrize("labels", [2, 3, 10, 50])
def test_surviving_share_of_independent_symmetric_scores(labels):
    # Given x, the labels' scores x_j w_ij of one feature are i.i.d. and symmetric; features are independent.
    features = 20_000
    stream = torch.Generator().manual_seed(labels)
    model = linear(torch.randn(labels, features, generator=stream, dtype=torch.float64))
    x = torch.randn(1, features, generator=stream, dtype=torch.float64)
    share = get("cgi").explain(model, x, torch.tensor([1])).diagnostics["surviving-share"]
    expected = 2 * (1 - 2**-labels) / labels
    error = (expected * (1 - expected) / features) ** 0.5
    assert abs(float(share) - expected) < 4 * error


def test_rules_of_algorithm_1_on_every_kind_of_score():
    # columns: won, lost, tied, negative won, negative lost, negative tied, zero, positive against negatives
    own = [3.0, 1.0, 2.0, -3.0, -1.0, -2.0, 0.0, 0.1]
    one = [2.0, 2.0, 2.0, -2.0, -2.0, -2.0, 5.0, -9.0]
    two = [-9.0, 0.0, 1.0, 9.0, 0.0, -1.0, -5.0, -1.0]
    kept = scores_as_maps([[own], [one], [two]], [0])
    assert kept.maps.tolist() == [[3.0, 0.0, 2.0, -3.0, 0.0, -2.0, 0.0, 0.1]]
    assert float(kept.diagnostics["surviving-share"]) == 5 / 7
    assert float(kept.diagnostics["tie-rate"]) == 2 / 7
    energy = (9 + 4 + 9 + 4 + 0.01) / (9 + 1 + 4 + 9 + 1 + 4 + 0.01)
    np.testing.assert_allclose(kept.diagnostics["surviving-energy"], energy, rtol=1e-14)
    dropped = scores_as_maps([[own], [one], [two]], [0], ties="drop")
    assert dropped.maps.tolist() == [[3.0, 0.0, 0.0, -3.0, 0.0, 0.0, 0.0, 0.1]]


def test_each_sample_competes_for_its_own_label():
    scores = torch.tensor([[[1.0], [1.0], [1.0]], [[2.0], [2.0], [2.0]], [[-3.0], [-3.0], [-3.0]]])
    assert scores_as_maps(scores, [0, 1, 2]).maps.flatten().tolist() == [0.0, 2.0, -3.0]


def test_twin_logits_tie_exactly():
    model = cnn(4)
    with torch.no_grad():
        for parameter in model[4].parameters():
            parameter[3] = parameter[1]
    x, y = images(), torch.tensor([1, 3, 1])
    kept = get("cgi").explain(model, x, y)
    assert bool((kept.diagnostics["tie-rate"] > 0.3).all())
    assert int((Competitive(GradientXInput(), ties="drop")(model, x, y) != 0).sum()) == 0
    assert torch.equal(kept.maps, reference.competitive_gradient_x_input(model, x, y))


def test_one_output_has_no_rivals_and_warns():
    model, x = cnn(1), images()
    y = torch.zeros(3).long()
    with pytest.warns(HeatproofWarning, match="several outputs to compete, but it has one"):
        kept = get("cgi").explain(model, x, y)
    assert torch.equal(kept.maps, GradientXInput()(model, x, y))
    assert kept.diagnostics["surviving-share"].tolist() == [1.0] * 3


def test_pixels_are_summed_over_channels_tokens_over_their_embedding():
    class Sequence(torch.nn.Module):
        def forward(self, x):
            return torch.stack([(x[:, :, 0] * x[:, :, 1]).sum(1), x.square().sum((1, 2))], 1)

    x = torch.tensor([[[1.0, 4.0], [3.0, 3.0]]], dtype=torch.float64)
    # Gradient × Input: label 0 has 4 and 4, 9 and 9; label 1 has 2 and 32, 18 and 18.
    model, y = Sequence().eval(), torch.tensor([0])
    pixel = Competitive(GradientXInput(), per="pixel", layout="channels-last")
    assert pixel(model, x, y).tolist() == [[[0.0], [0.0]]]
    with pytest.raises(InputError, match=r"what the dimensions of inputs \(1, 2, 2\) mean, .* layout='channels-last'"):
        Competitive(GradientXInput(), per="pixel")(model, x, y)
    assert get("cgi")(model, x, y).tolist() == [[[4.0, 0.0], [0.0, 0.0]]]
    table = linear([[1.0, 2.0], [2.0, 1.0]])
    ones = torch.ones(1, 2, dtype=torch.float64)
    assert Competitive(GradientXInput(), per="pixel")(table, ones, y).tolist() == [[0.0, 2.0]]


@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e-170])
def test_energy_survives_tiny_scores(scale):
    kept = scores_as_maps(scale * torch.tensor([[[3.0, 1.0]], [[1.0, 2.0]]], dtype=torch.float64), [0])
    np.testing.assert_allclose(kept.diagnostics["surviving-energy"], 0.9, rtol=1e-14)


def test_energy_in_float32_survives_dead_networks():
    model = cnn(dtype=torch.float32)
    with torch.no_grad():
        model[4].weight.mul_(1e-25)
    energy = get("cgi").explain(model, images(dtype=torch.float32), TARGETS).diagnostics["surviving-energy"]
    alive = get("cgi").explain(cnn(dtype=torch.float32), images(dtype=torch.float32), TARGETS)
    torch.testing.assert_close(energy, alive.diagnostics["surviving-energy"], rtol=1e-4, atol=0)


def test_a_blank_map_has_no_shares():
    kept = scores_as_maps(torch.zeros(3, 1, 4), [0])
    assert kept.maps.tolist() == [[0.0] * 4]
    for name in ("surviving-share", "surviving-energy", "tie-rate"):
        assert bool(kept.diagnostics[name].isnan().all()), name


def test_a_rival_that_is_not_a_number_is_not_hidden():
    scores = torch.tensor([[[1.0, 1.0]], [[torch.nan, 0.0]]])
    maps = scores_as_maps(scores, [0]).maps
    assert maps.isnan().tolist() == [[True, False]]


def test_errors_say_what_to_do():
    for method in (Saliency(), VarGrad(), SmoothGrad(Saliency()), get("cgi"), "gradient"):
        with pytest.raises(InputError, match="Expected a method whose labels can be compared, one with `linearize`"):
            Competitive(method)
    with pytest.raises(InputError, match="did you mean 'pixel'"):
        Competitive(Gradient(), per="pixels")
    with pytest.raises(InputError, match="name of a way to settle ties, but got 'break'; known are: drop, keep"):
        Competitive(Gradient(), ties="break")
    with pytest.raises(InputError, match="between 0 and 4, the model's last output, but got 7"):
        get("cgi")(cnn(), images(), torch.tensor([1, 7, 0]))
