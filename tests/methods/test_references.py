"""Baselines that are numbers, tensors, one a sample and many; multipliers; noise in input units."""

import pickle
from dataclasses import replace

import captum.attr
import pytest
import torch
from method_networks import Watched, cnn, images, linear, quadratic
from torch import nn

import heatproof as hp
from heatproof import InputError, targets
from heatproof.baselines import Constant, PerSample, Values, Zero
from heatproof.features import Segments
from heatproof.frozen import Frozen
from heatproof.methods import (
    DeepLIFT,
    ExpectedGradients,
    GradCAM,
    Gradient,
    IntegratedGradients,
    MeaningfulPerturbation,
    Occlusion,
    OverBaselines,
    SmoothGrad,
    VarGrad,
)
from heatproof.methods.base import METHODS
from heatproof.models import rows_at_most
from heatproof.recipes import build, describe

LABELS = torch.tensor([4, 0, 2])


def drawn(*shape, seed=7):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kind", [IntegratedGradients, DeepLIFT, Occlusion, MeaningfulPerturbation])
def test_numbers_and_tensors_are_baselines(kind):
    assert kind(baseline=0.5) == kind(baseline=Constant(value=0.5))
    tensor = drawn(2, 8, 8)
    one = kind(baseline=tensor)
    assert one == kind(baseline=Values(tensor)) == pickle.loads(pickle.dumps(one))
    assert one != kind(baseline=tensor + 1)
    assert hash(one) == hash(kind(baseline=tensor.clone()))
    for nonsense in (True, None, "zeros", [0.0, float("nan")]):
        with pytest.raises(InputError, match="Expected"):
            kind(baseline=nonsense)


def test_a_specification_says_them_in_numbers():
    method = build(METHODS, {"name": "integrated-gradients", "baseline": 0.25})
    assert method == IntegratedGradients(baseline=0.25)
    method = build(METHODS, {"name": "deeplift", "baseline": {"name": "values", "values": [[1.0, 2.0]]}})
    assert (
        method
        == DeepLIFT(baseline=Values([[1.0, 2.0]]))
        == build(METHODS, {"name": "deeplift", "baseline": [[1.0, 2.0]]})
    )
    method = build(METHODS, {"name": "smoothgrad", "sigma": [0.1, 0.2], "of": "squares"})
    assert method == SmoothGrad(sigma=(0.1, 0.2), of="squares")


def test_fields_at_their_defaults_leave_identities_as_they_were():
    for method, new in (
        (IntegratedGradients(), {"multipliers"}),
        (SmoothGrad(), {"sigma", "of"}),
        (Occlusion(), {"show"}),
    ):
        assert not new & set(describe(method))
    assert describe(IntegratedGradients(multipliers=True))["multipliers"] is True
    assert describe(DeepLIFT(baseline=Values(drawn(3)))) != describe(DeepLIFT(baseline=Values(drawn(3, seed=8))))


def unpooled():
    """Without max-pooling, of which Captum's DeepLIFT has another rule."""
    net = cnn().float()
    return nn.Sequential(net[0], net[1], nn.AvgPool2d(2), *net[3:]).eval()


@pytest.mark.parametrize("per_sample", [True, False])
def test_captum_agrees_on_tensors_and_on_one_a_sample(per_sample):
    model, x = unpooled(), images(dtype=torch.float32)
    values = drawn(*((3, 2, 8, 8) if per_sample else (2, 8, 8))).float()
    baseline, theirs = (PerSample(values), values) if per_sample else (Values(values), values[None])
    expected = captum.attr.IntegratedGradients(model).attribute(x, theirs, target=LABELS, n_steps=9)
    found = IntegratedGradients(steps=9, baseline=baseline)(model, x, LABELS)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    with pytest.warns(UserWarning, match="forward"):
        expected = captum.attr.DeepLift(model).attribute(x.clone().requires_grad_(), theirs, target=LABELS)
    found = DeepLIFT(baseline=baseline)(model, x, LABELS)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-6)


def test_each_sample_keeps_its_baseline_wherever_it_is_copied_to():
    A = quadratic()
    x, baseline = drawn(3, 4), drawn(3, 4, seed=1)
    labels = torch.tensor([2, 0, 1])
    method = IntegratedGradients(steps=2, baseline=PerSample(baseline))
    plain = method(A, x, labels)
    torch.testing.assert_close(plain.sum(1), (A(x) - A(baseline)).gather(1, labels[:, None])[:, 0].detach())
    still = SmoothGrad(method, samples=5, sigma=0.0)(A, x, labels)
    torch.testing.assert_close(still, plain)
    foreign = SmoothGrad(
        VarGrad(method, samples=2, sigma=0.0), samples=3, sigma=0.0
    )  # by the way without linearization
    torch.testing.assert_close(foreign(A, x, labels), torch.zeros_like(x))
    each = method(A, x, targets.LabelSet([[0, 2], [1], [2]], of="each"))
    torch.testing.assert_close(each[1], method(A, x, torch.tensor([2, 1, 2]))[0])
    torch.testing.assert_close(each[3], method(A, x, torch.tensor([2, 1, 2]))[2])
    with pytest.raises(InputError, match="a baseline for each of 2 samples"):
        method(A, x[:2], labels[:2])


def test_an_audit_takes_no_rows(tmp_path):
    method = IntegratedGradients(baseline=PerSample(torch.zeros(3, 4)))
    with pytest.raises(InputError, match="an audit goes block by block"):
        hp.audit(quadratic(), drawn(3, 4), LABELS.clamp(max=2), methods=[method], checks=["steadiness"], out=tmp_path)


@pytest.mark.parametrize(
    "method", [IntegratedGradients(steps=5), DeepLIFT(), IntegratedGradients(steps=3, quadrature="riemann-left")]
)
def test_multipliers_times_the_difference_are_the_map(method):
    model, x = cnn(), images()
    multipliers = replace(method, multipliers=True, baseline=0.25)
    found = multipliers.explain(model, x, LABELS)
    torch.testing.assert_close(found.maps * (x - 0.25), replace(method, baseline=0.25)(model, x, LABELS))
    assert set(found.diagnostics) == {"score"}
    assert multipliers.promised_sums(model, x, model(x)) is None


@pytest.mark.parametrize(
    ("quadrature", "captums"),
    [
        ("riemann-left", "riemann_left"),
        ("riemann-middle", "riemann_middle"),
        ("riemann-right", "riemann_right"),
        ("trapezoid", "riemann_trapezoid"),
    ],
)
def test_quadratures_are_captums(quadrature, captums):
    model, x = cnn(), images()
    explainer = captum.attr.IntegratedGradients(model)
    expected = explainer.attribute(x, target=LABELS, n_steps=7, method=captums)
    if quadrature == "trapezoid":
        expected = expected * 7 / 6  # whose weights sum to 1 − 1/7 there
    found = IntegratedGradients(steps=7, quadrature=quadrature)(model, x, LABELS)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def test_a_trapezoid_has_two_ends():
    with pytest.raises(InputError, match="2 steps or more for a trapezoid"):
        IntegratedGradients(steps=1, quadrature="trapezoid")


def test_the_mean_over_baselines():
    model, x = cnn(), images()
    rows = drawn(4, 2, 8, 8)
    method = OverBaselines(DeepLIFT(), baselines=rows)
    expected = torch.stack([DeepLIFT(baseline=row)(model, x, LABELS) for row in rows]).mean(0)
    torch.testing.assert_close(method(model, x, LABELS), expected)
    promised = method.promised_sums(model, x, model(x).detach())
    torch.testing.assert_close(promised, (model(x) - model(rows).mean(0)).detach())
    torch.testing.assert_close(expected.flatten(1).sum(1), promised.gather(1, LABELS[:, None])[:, 0])
    with pytest.warns(UserWarning, match="forward"):
        expected = captum.attr.DeepLiftShap(unpooled()).attribute(
            x.float().requires_grad_(), rows.float(), target=LABELS
        )
    found = OverBaselines(DeepLIFT(), baselines=rows)(unpooled(), x.float(), LABELS)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-6)


def test_drawn_baselines_depend_on_the_sample_alone():
    model, x = cnn(), images()
    rows = drawn(6, 2, 8, 8)
    for method in (
        OverBaselines(IntegratedGradients(steps=2), baselines=rows, samples=3),
        ExpectedGradients(baselines=rows, samples=7),
    ):
        maps = method(model, x, LABELS)
        torch.testing.assert_close(method(model, x[1:2], LABELS[1:2]), maps[1:2])
        assert not torch.equal(replace(method, seed=1)(model, x, LABELS), maps)
        nested = SmoothGrad(method, samples=2, sigma=0.0)(model, x, LABELS)
        torch.testing.assert_close(nested, maps)
        both = method.linearize(model, x).pull(torch.eye(5, dtype=x.dtype)[:2, None].expand(-1, 3, -1))
        torch.testing.assert_close(both[1], method(model, x, torch.tensor([1, 1, 1])))


def test_expected_gradients_of_a_linear_model_are_exact():
    weight = drawn(3, 4)
    x, rows = drawn(3, 4, seed=2), drawn(1, 4, seed=3)
    labels = torch.tensor([0, 2, 1])
    method = ExpectedGradients(baselines=rows, samples=3)
    torch.testing.assert_close(method(linear(weight), x, labels), weight[labels] * (x - rows))
    slopes = ExpectedGradients(baselines=rows, samples=3, multipliers=True)
    torch.testing.assert_close(slopes(linear(weight), x, labels), weight[labels])


def test_expected_gradients_tend_to_the_mean_of_integrated_gradients():
    model = quadratic()
    x, rows, labels = drawn(2, 4), drawn(3, 4, seed=3), torch.tensor([0, 2])
    exact = OverBaselines(IntegratedGradients(steps=1), baselines=rows)(model, x, labels)
    found = ExpectedGradients(baselines=rows, samples=20_000)(model, x, labels)
    assert float((found - exact).abs().max()) < 0.04 * float(exact.abs().max())


def test_what_is_no_distribution_is_refused():
    with pytest.raises(InputError, match="a method with a baseline"):
        OverBaselines(Gradient(), baselines=torch.zeros(2, 3))
    for method in (OverBaselines, ExpectedGradients):
        with pytest.raises(InputError, match="rows like samples"):
            method(baselines=torch.tensor(1.0))
        with pytest.raises(InputError, match="finite numbers"):
            method(baselines=torch.tensor([[float("inf")]]))
        with pytest.raises(InputError, match="samples to be at least 1"):
            method(baselines=torch.zeros(2, 3), samples=0)
        with pytest.raises(InputError, match="broadcast to samples"):
            method(baselines=torch.zeros(2, 3))(quadratic(), drawn(1, 4), 0)


def test_sigma_is_in_input_units():
    model, x, labels = quadratic(), drawn(3, 4), torch.tensor([2, 0, 1])
    ranges = tuple((x.amax(1) - x.amin(1)).tolist())
    one = SmoothGrad(samples=3, noise=0.5)(model, x[:1], labels[:1])
    torch.testing.assert_close(SmoothGrad(samples=3, sigma=0.5 * ranges[0])(model, x[:1], labels[:1]), one)
    per_column = SmoothGrad(samples=3, noise=0.5, scale=(1, 2, 0, 4))(model, x, labels)
    for sigma in ((0.5, 1.0, 0, 2.0), torch.tensor([0.5, 1.0, 0.0, 2.0]), Frozen([0.5, 1.0, 0.0, 2.0])):
        torch.testing.assert_close(SmoothGrad(samples=3, sigma=sigma)(model, x, labels), per_column)
        assert hash(VarGrad(samples=3, sigma=sigma)) is not None
    for nonsense, words in ((-1.0, "at least 0"), (float("inf"), "finite"), (True, "a number"), ((), "finite")):
        with pytest.raises(InputError, match=words):
            SmoothGrad(sigma=nonsense)
    with pytest.raises(InputError, match="but got both"):
        SmoothGrad(sigma=1.0, scale=(1.0,))
    with pytest.raises(InputError, match="sigma to broadcast to a sample"):
        SmoothGrad(sigma=torch.ones(3))(model, x, labels)
    with pytest.raises(InputError, match="sigma to have a number a column"):
        SmoothGrad(sigma=(1.0, 2.0))(model, x, labels)


def test_squares():
    model, x, labels = quadratic(), drawn(3, 4), torch.tensor([2, 0, 1])
    mean = SmoothGrad(samples=6, sigma=0.3)(model, x, labels)
    squares = SmoothGrad(samples=6, sigma=0.3, of="squares")
    variance = VarGrad(samples=6, sigma=0.3)(model, x, labels)
    torch.testing.assert_close(squares(model, x, labels), variance + mean.square())
    assert not squares.linear
    of_cam = SmoothGrad(GradCAM(layer="0"), samples=2, sigma=0.0, of="squares")
    torch.testing.assert_close(of_cam(cnn(), images(), LABELS), GradCAM(layer="0")(cnn(), images(), LABELS).square())
    with pytest.raises(InputError, match="kind of mean"):
        SmoothGrad(of="cubes")


def test_the_window_by_itself():
    weight = drawn(3, 4)
    x, labels = drawn(3, 4, seed=2), torch.tensor([0, 2, 1])
    # On a linear model a window brings by itself what it takes away.
    torch.testing.assert_close(
        Occlusion(show="window", baseline=0.5)(linear(weight), x, labels), weight[labels] * (x - 0.5)
    )
    model, image = cnn(), images()
    found = Occlusion(show="window", window=4, features=hp.features.Pixels(), baseline=0.1).explain(
        model, image, LABELS
    )
    bare = model(torch.full_like(image, 0.1)).detach().gather(1, LABELS[:, None])[:, 0]
    torch.testing.assert_close(found.diagnostics["baseline-score"], bare)
    shown = torch.full_like(image, 0.1)
    shown[:, :, :4, 4:] = image[:, :, :4, 4:]
    gain = model(shown).detach().gather(1, LABELS[:, None])[:, 0] - bare
    torch.testing.assert_close(found.maps[:, 0, 0, 5], gain)
    assert Zero() == Occlusion().baseline
    with pytest.raises(InputError, match="part to show"):
        Occlusion(show="all")


def test_segments_of_any_shape():
    model, x = cnn(), images()
    mask = (torch.arange(8)[:, None] + torch.arange(8)) % 3 * 5 - 2  # numbers −2, 3, 8, in no connected shape
    features = Segments(mask)
    assert features.grid((2, 8, 8)) == (3,)
    explainer = captum.attr.FeatureAblation(model)
    expected = explainer.attribute(x, target=LABELS, feature_mask=(mask + 2).expand(1, 2, 8, 8) // 5)
    maps = Occlusion(features=features)(model, x, LABELS)
    assert maps.shape == (3, 1, 8, 8)
    drops = features.pool(maps, (2, 8, 8))
    torch.testing.assert_close(features.spread(drops, (2, 8, 8)).expand_as(x), expected)
    torch.testing.assert_close(features.pool(maps.expand_as(x), (2, 8, 8)), 2 * drops)
    with pytest.raises(InputError, match="maps that resolve"):
        features.pool(x[:, :, :1], (2, 8, 8))
    with pytest.raises(InputError, match="broadcasts to samples"):
        features.grid((4,))
    with pytest.raises(InputError, match="whole numbers"):
        Segments(torch.zeros(2))


@pytest.mark.parametrize("method", [IntegratedGradients(steps=7), Occlusion(window=4), SmoothGrad(samples=5)])
def test_a_user_says_how_many_rows_a_pass_takes(method):
    net, x = Watched(cnn()), images()
    plain = method(net, x, LABELS)
    net.rows.clear()
    with rows_at_most(2):
        torch.testing.assert_close(method(net, x, LABELS), plain)
    assert max(rows for rows in net.rows if rows != len(x)) == 2  # all samples once, for their scores
    for nonsense in (0, True, 2.5):
        with pytest.raises(InputError, match="1 row or more"), rows_at_most(nonsense):
            pass
