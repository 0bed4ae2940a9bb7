"""Integrated Gradients."""

import weakref

import captum.attr
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from method_networks import Watched, cnn, images, linear, quadratic
from torch import nn

from heatproof import InputError, baselines
from heatproof.methods import GradientXInput, IntegratedGradients, path
from heatproof.models import Bound, rows_per_pass
from heatproof.propagation.independence import check_independent
from reference import methods as reference

TARGETS = torch.tensor([4, 0, 2])


@given(seed=st.integers(0, 2**31), value=st.floats(-2, 2))
def test_quadratic_has_its_closed_form_with_one_node(seed, value):
    # The gradient is linear on the path, and one Gauss–Legendre node integrates linear functions exactly.
    model = quadratic(seed=seed)
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    y = torch.tensor([2, 0, 1])
    A, b = model.A.detach()[y], model.b.detach()[y]
    expected = (x - value) * (torch.einsum("nde,ne->nd", A, x + value) + b)
    method = IntegratedGradients(steps=1, baseline=baselines.Constant(value=value))
    explanation = method.explain(model, x, y)
    torch.testing.assert_close(explanation.maps, expected)
    scale = explanation.maps.abs().sum(1) + explanation.diagnostics["score"].abs() + 1
    assert bool((explanation.diagnostics["completeness-gap"].abs() <= 1e-12 * scale).all())


@pytest.mark.parametrize(
    ("quadrature", "nodes", "weights"),
    [
        ("gauss-legendre", *(part for part in np.polynomial.legendre.leggauss(7))),
        ("riemann", [k / 7 for k in range(1, 8)], [1 / 7] * 7),
        ("linspace", [k / 6 for k in range(7)], [1 / 7] * 7),
    ],
)
def test_equals_the_slow_twin(quadrature, nodes, weights):
    if quadrature == "gauss-legendre":  # from [−1, 1] to [0, 1]
        nodes, weights = [(node + 1) / 2 for node in nodes], [weight / 2 for weight in weights]
    model, x = cnn(), images()
    method = IntegratedGradients(steps=7, quadrature=quadrature, baseline=baselines.Constant(value=0.3))
    expected = reference.integrated_gradients(model, x, TARGETS, torch.tensor(0.3, dtype=x.dtype), nodes, weights)
    torch.testing.assert_close(method(model, x, TARGETS), expected, rtol=1e-10, atol=1e-13)


def test_captum_agrees():
    model, x = cnn(), images()
    expected = captum.attr.IntegratedGradients(model).attribute(x, target=TARGETS, n_steps=20)
    # Captum weighs the gradients with float32 numbers.
    torch.testing.assert_close(IntegratedGradients(steps=20)(model, x, TARGETS), expected, rtol=1e-7, atol=1e-8)


def test_gap_is_the_sum_minus_the_change_of_the_score():
    model, x = cnn(), images()
    explanation = IntegratedGradients(steps=3).explain(model, x, TARGETS)
    before, after = (model(at).detach().gather(1, TARGETS[:, None])[:, 0] for at in (torch.zeros_like(x), x))
    torch.testing.assert_close(explanation.diagnostics["score"], after)
    torch.testing.assert_close(explanation.diagnostics["baseline-score"], before)
    gap = explanation.maps.flatten(1).sum(1) - (after - before)
    torch.testing.assert_close(explanation.diagnostics["completeness-gap"], gap)


def test_gap_closes_with_more_steps():
    model, x = cnn(), images()
    gaps = [
        float(IntegratedGradients(steps=steps).explain(model, x, TARGETS).diagnostics["completeness-gap"].abs().max())
        for steps in (10, 300)
    ]
    assert gaps[1] < gaps[0] / 10


def test_equals_gradient_x_input_on_linear_models():
    model, x = linear(torch.randn(3, 6)), torch.randn(4, 6, dtype=torch.float64)
    y = torch.tensor([0, 2, 1, 0])
    torch.testing.assert_close(IntegratedGradients()(model, x, y), GradientXInput()(model, x, y))


def test_passes_are_bounded_and_shared_between_labels():
    model = Watched(cnn())
    x = images(5)
    check_independent(model, x)  # once a model
    model.rows.clear()
    outputs, pull = IntegratedGradients(steps=200).linearize(model, x)
    assert model.rows == [5]
    model.rows.clear()
    pull(torch.randn(4, *outputs.shape, dtype=x.dtype))
    assert sum(model.rows) == 200 * 5
    assert max(model.rows) <= rows_per_pass(x)
    assert len(model.rows) == 8  # 25 nodes of 5 samples fit into 128 rows; four labels share every pass


def test_more_samples_than_a_pass_takes(monkeypatch):
    model, x = cnn(), images(5)
    y = torch.tensor([0, 1, 2, 3, 4])
    together = IntegratedGradients(steps=4)(model, x, y)
    monkeypatch.setattr("heatproof.methods.base.rows_per_pass", lambda _: 2)
    torch.testing.assert_close(IntegratedGradients(steps=4)(model, x, y), together, rtol=1e-12, atol=1e-14)


def test_side_inputs_follow_their_samples():
    class Gated(torch.nn.Module):
        def forward(self, x, gate):
            return (x * gate).square().sum(1, keepdim=True)

    x, gate = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    maps = IntegratedGradients(steps=2)(Bound(Gated().eval(), given={"gate": gate}), x, torch.zeros(4).long())
    torch.testing.assert_close(maps, (x * gate).square())


def test_errors_say_what_to_do():
    with pytest.raises(InputError, match="Expected steps to be at least 1, but got 0"):
        IntegratedGradients(steps=0)
    with pytest.raises(InputError, match="name of a quadrature, but got 'gauss'; did you mean 'gauss-legendre'"):
        IntegratedGradients(quadrature="gauss")
    with pytest.raises(InputError, match=r"baseline that broadcasts to the inputs \(3, 2, 8, 8\), .* gave \(3, 7\)"):
        IntegratedGradients(baseline=lambda x: x.new_zeros(3, 7))(cnn(), images(), TARGETS)
    with pytest.raises(InputError, match="finite baseline"):
        IntegratedGradients(baseline=baselines.Constant(value=float("nan")))(cnn(), images(), TARGETS)
    with pytest.raises(InputError, match="between 0 and 4, the model's last output, but got 9"):
        IntegratedGradients()(cnn(), images(), torch.tensor([0, 9, 1]))


def test_one_chunks_graph_is_held_at_a_time(monkeypatch):
    """Twice the memory, where the next graph is built before the last is gone."""
    monkeypatch.setattr("heatproof.methods.base.rows_per_pass", lambda _: 2)
    alive, graphs, plain = [], [], path.gradients

    def counted(*args):
        alive.append(sum(graph() is not None for graph in graphs))
        found = plain(*args)
        graphs.append(weakref.ref(found.pull.outputs))
        return found

    monkeypatch.setattr(path, "gradients", counted)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh()).eval()
    IntegratedGradients(steps=6)(model, torch.randn(2, 4), torch.tensor([0, 1]))
    assert alive == [0] * 6
