"""SmoothGrad and VarGrad."""

import numpy as np
import pytest
import torch
from method_networks import Watched, cnn, images, linear, quadratic

from heatproof import InputError
from heatproof.draws import normal, reseed
from heatproof.errors import HeatproofWarning
from heatproof.methods import Competitive, Gradient, GradientXInput, IntegratedGradients, Saliency, SmoothGrad, VarGrad
from heatproof.models import Bound, rows_per_pass
from reference import methods as reference

TARGETS = torch.tensor([4, 0, 2])


def shifted(model, inputs, targets):
    """A foreign method: large values that vary a little."""
    return 1e4 + inputs


def resolves_no_channels(model, inputs, targets):
    return inputs.sum(1, keepdim=True)


@pytest.mark.parametrize("per_pass", [2, 4, 7, 256])
def test_equal_the_slow_twins_however_passes_are_cut(per_pass, monkeypatch):
    monkeypatch.setattr("heatproof.methods.base.rows_per_pass", lambda _: per_pass)
    model, x = cnn(), images()
    maps = reference.noisy_gradients(model, x, TARGETS, samples=9, noise=0.3, seed=5)
    smooth = SmoothGrad(samples=9, noise=0.3, seed=5)(model, x, TARGETS)
    torch.testing.assert_close(smooth, torch.from_numpy(maps.mean(0)), rtol=1e-10, atol=1e-13)
    variance = VarGrad(samples=9, noise=0.3, seed=5)(model, x, TARGETS)
    torch.testing.assert_close(variance, torch.from_numpy(np.var(maps, 0)), rtol=1e-10, atol=1e-13)


def test_quadratic_has_its_closed_form():
    model, x = quadratic(), torch.randn(2, 4, dtype=torch.float64)
    y = torch.tensor([1, 2])
    sigma = 0.2 * (x.amax(1) - x.amin(1))[:, None]
    noise = sigma * normal(x, 0, "noise", copies=range(30))
    A, b = model.A.detach()[y], model.b.detach()[y]
    smooth = SmoothGrad(samples=30, noise=0.2)(model, x, y)
    torch.testing.assert_close(smooth, 2 * torch.einsum("nde,ne->nd", A, x + noise.mean(0)) + b)
    # The gradient's spread is 2A times that of the noise.
    spread = 2 * torch.einsum("nde,kne->knd", A, noise - noise.mean(0))
    torch.testing.assert_close(VarGrad(samples=30, noise=0.2)(model, x, y), spread.square().mean(0))


def test_linear_model_has_no_variance():
    weight = torch.randn(3, 6, dtype=torch.float64)
    model, x, y = linear(weight), torch.randn(2, 6, dtype=torch.float64), torch.tensor([0, 2])
    torch.testing.assert_close(SmoothGrad()(model, x, y), weight[y])
    assert torch.equal(VarGrad()(model, x, y), torch.zeros_like(x))


def test_variance_does_not_cancel_in_float32():
    x = images(dtype=torch.float32)
    copies = np.stack([(shifted(None, x, None) + _noise(x, 0.01, copy)).numpy() for copy in range(25)])
    got = VarGrad(shifted, noise=0.01)(cnn(dtype=torch.float32), x, TARGETS)
    # 1e4 + x itself is rounded to 1e-3; what is left is compared with the exact variance of the rounded values.
    torch.testing.assert_close(
        got, torch.from_numpy(np.var(copies.astype(np.float64), 0)).float(), rtol=0.02, atol=1e-6
    )
    naive = (copies**2).mean(0) - copies.mean(0) ** 2
    assert (naive < 0).any()  # what the textbook formula gives


def _noise(x, level, copy):
    flat = x.flatten(1)
    sigma = level * (flat.amax(1) - flat.amin(1))
    return sigma[:, None, None, None] * normal(x, 0, "noise", copies=range(copy, copy + 1))[0]


def test_noise_belongs_to_the_sample_the_copy_and_the_seed_alone():
    x = images()
    seen = []

    def watching(model, inputs, targets):
        seen.append(inputs)
        return inputs

    for model, method in [(cnn(), SmoothGrad), (cnn(seed=1), VarGrad)]:
        method(watching, samples=4)(model, x, TARGETS)
    assert torch.equal(*(part.unflatten(0, (4, 3)) for part in seen))
    other = SmoothGrad(watching, samples=4, seed=1)(cnn(), x, TARGETS)
    assert not bool((other == seen[0].unflatten(0, (4, 3)).mean(0)).any())
    again = reseed(SmoothGrad(SmoothGrad(samples=4), samples=4), 1)
    assert again.seed == again.method.seed == 2**32


def test_noise_is_a_share_of_each_samples_range():
    x = torch.randn(2, 1, 200, 200, dtype=torch.float64)
    x[1] *= 100
    seen = []

    def watching(model, inputs, targets):
        seen.append(inputs)
        return inputs

    SmoothGrad(watching, samples=1, noise=0.15)(torch.nn.Flatten().eval(), x, torch.zeros(2).long())
    expected = 0.15 * (x.flatten(1).amax(1) - x.flatten(1).amin(1))
    # 40 000 draws: the relative standard error of a standard deviation is 1/√80 000 = 0.35 %.
    torch.testing.assert_close((torch.cat(seen) - x).flatten(1).std(1), expected, rtol=4 * 0.0035, atol=0)


def test_constant_samples_get_no_noise():
    x = torch.full((1, 2, 8, 8), 0.5, dtype=torch.float64)
    y = torch.tensor([1])
    torch.testing.assert_close(SmoothGrad()(cnn(), x, y), Gradient()(cnn(), x, y))
    assert float(VarGrad()(cnn(), x, y).abs().max()) == 0.0


def test_around_methods_that_cannot_be_linearized():
    model, x = cnn(), images()
    smooth = SmoothGrad(Saliency(), samples=6)
    maps = np.abs(reference.noisy_gradients(model, x, TARGETS, samples=6, noise=0.15, seed=0))
    explanation = smooth.explain(model, x, TARGETS)
    torch.testing.assert_close(explanation.maps, torch.from_numpy(maps.mean(0)), rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(explanation.diagnostics["score"], model(x).detach().gather(1, TARGETS[:, None])[:, 0])
    assert (smooth.linearizable, smooth.linear) == (False, False)
    with pytest.raises(InputError, match=r"method that can be linearized, but Saliency\(\) cannot"):
        smooth.linearize(model, x)
    with pytest.raises(InputError, match="Expected a method whose labels can be compared"):
        Competitive(smooth)


def test_around_a_foreign_callable_that_resolves_no_channels():
    maps = SmoothGrad(resolves_no_channels, samples=3, noise=0.0)(cnn(), images(), TARGETS)
    torch.testing.assert_close(maps, images().sum(1, keepdim=True))


def test_pull_sees_the_same_noise_for_every_label():
    model, x = cnn(), images()
    method = SmoothGrad(IntegratedGradients(steps=3), samples=4)
    outputs, pull = method.linearize(model, x)
    labels = torch.eye(5, dtype=x.dtype)[:, None].expand(5, 3, 5)
    maps = pull(labels)
    for label in range(5):
        torch.testing.assert_close(maps[label], method(model, x, torch.full((3,), label)), rtol=1e-10, atol=1e-13)
    assert torch.equal(outputs, model(x).detach())


def test_passes_are_bounded():
    model = Watched(cnn())
    x = images(3)
    SmoothGrad(samples=300)(model, x, TARGETS)
    assert max(model.rows) <= rows_per_pass(x)
    assert sum(model.rows) == 5 + 3 + 300 * 3  # independence of samples, scores of the clean inputs, and every copy


def test_side_inputs_follow_their_samples():
    class Gated(torch.nn.Module):
        def forward(self, x, gate):
            return (x * gate).sum(1, keepdim=True)

    x, gate = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    model, y = Bound(Gated().eval(), given={"gate": gate}), torch.zeros(4).long()
    for inner, expected in [(Gradient(), gate), (Saliency(), gate.abs()), (IntegratedGradients(steps=2), None)]:
        maps = SmoothGrad(inner, samples=3)(model, x, y)
        wanted = GradientXInput()(model, _mean_input(x), y) if expected is None else expected
        torch.testing.assert_close(maps, wanted)


def _mean_input(x):
    sigma = 0.15 * (x.amax(1) - x.amin(1))[:, None]
    return x + sigma * normal(x, 0, "noise", copies=range(3)).mean(0)


@pytest.mark.parametrize("kind", [SmoothGrad, VarGrad])
def test_errors_say_what_to_do(kind):
    with pytest.raises(InputError, match="Expected samples to be at least 1, but got 0"):
        kind(samples=0)
    with pytest.raises(InputError, match="Expected noise to be a share of the inputs' range, at least 0, but got -1"):
        kind(noise=-1)
    with pytest.raises(InputError, match=r"Expected a method, such as .*, but got 'gradient'"):
        kind("gradient")
    with pytest.raises(InputError, match=r"broadcast to \((\d+), 2, 8, 8\), but .* gave \(\1, 64\)"):
        kind(lambda model, inputs, targets: inputs[:, 0].flatten(1))(cnn(), images(), TARGETS)
    with pytest.raises(InputError, match="between 0 and 4"):
        kind(Saliency())(cnn(), images(), TARGETS + 5)


def raw_table(rows=6):
    """Columns of one sample drawn alike, in units 1, 1000 and 0.001, and a network that reads them as one unit."""
    units = torch.tensor([1.0, 1e3, 1e-3, 1.0], dtype=torch.float64)
    model, plain = quadratic(), quadratic()
    with torch.no_grad():
        model.A.copy_(plain.A / (units[:, None] * units))
        model.b.copy_(plain.b / units)
    x = torch.randn(rows, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return model, plain, x, units


@pytest.mark.parametrize("method", [SmoothGrad, VarGrad])
@pytest.mark.parametrize("inner", [Gradient(), Saliency(), IntegratedGradients(steps=3)], ids=str)
def test_a_column_in_other_units_changes_nothing_but_its_unit(method, inner):
    model, plain, x, units = raw_table()
    y = torch.arange(6) % 3
    # The noise is keyed by a sample's values; of these the units are part.
    scale = tuple((units * torch.tensor([1, 2, 3, 4])).tolist())
    got = method(_in_units(inner, units), samples=7, scale=scale)(model, x * units, y)
    noise_of = normal(x * units, 0, "noise", copies=range(7))
    sigma = 0.15 * torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    maps = torch.stack([inner(plain, x + sigma * one, y) for one in noise_of])
    by_hand = maps.mean(0) if method is SmoothGrad else (maps - maps.mean(0)).square().mean(0)
    torch.testing.assert_close(got, by_hand, rtol=1e-9, atol=1e-12)


def _in_units(inner, units):
    """The method's maps in the units of the plain table."""
    power = 0.0 if isinstance(inner, IntegratedGradients) else 1.0
    return lambda model, x, y: inner(model, x, y) * units**power


def test_scale_has_its_closed_form_on_channels():
    model, x = cnn(), images()
    sigma = 0.3 * torch.tensor([2.0, 0.1], dtype=torch.float64).view(1, 2, 1, 1)
    copies = [Gradient()(model, x + sigma * one, TARGETS) for one in normal(x, 5, "noise", copies=range(4))]
    smooth = SmoothGrad(samples=4, noise=0.3, seed=5, scale=(2.0, 0.1))(model, x, TARGETS)
    torch.testing.assert_close(smooth, torch.stack(copies).mean(0))


NOISY = [SmoothGrad(samples=2), VarGrad(samples=2), SmoothGrad(Saliency(), samples=2)]


@pytest.mark.parametrize("method", NOISY, ids=str)
def test_columns_of_other_units_are_told_once_a_model(method):
    model, _, x, units = raw_table()
    y = torch.zeros(6, dtype=torch.int64)
    with pytest.warns(HeatproofWarning, match=r"ranges of columns .* lie between 0\.00\d+ and \d.*; give scale="):
        first = method(model, x * units, y)
    assert torch.equal(method(model, x * units, y), first)  # and no warning
    torch.testing.assert_close(method(model, (x * units)[:1], y[:1]), first[:1], rtol=1e-12, atol=0)  # its own


def test_scale_is_checked():
    with pytest.raises(InputError, match=r"number a column or channel, 2 of inputs \(3, 2, 8, 8\), but got 3"):
        SmoothGrad(scale=(1.0, 2.0, 3.0))(cnn(), images(), TARGETS)
    with pytest.raises(InputError, match="scale to be the range of each feature, finite and at least 0"):
        VarGrad(scale=(1.0, -2.0))
