"""Occlusion: its slow twin, closed forms, Captum, borders, chunks and errors."""

import captum.attr
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from method_networks import Watched, cnn, images, linear
from torch import nn

from heatproof import InputError
from heatproof.baselines import Blur, Constant, Mean, Token, Zero
from heatproof.features import Columns, Pixels, Tiles, Tokens
from heatproof.methods import Occlusion
from heatproof.models import Bound, rows_per_pass
from heatproof.testing import check_method
from reference import occlusion as reference

TARGETS = torch.tensor([0, 3, 1])


class Flat(nn.Module):
    """tanh(W x) summed with another row of W a label, for samples of any shape."""

    def __init__(self, *shape, outputs=4):
        super().__init__()
        stream = torch.Generator().manual_seed(1)
        size = torch.Size(shape).numel()
        self.weight = nn.Parameter(torch.randn(outputs, 3, size, generator=stream, dtype=torch.float64) / size**0.5)
        self.eval()

    def forward(self, x):
        return torch.einsum("chd,nd->nch", self.weight, x.flatten(1)).tanh().sum(2)


LAYOUTS = {
    "pixels": (None, (2, 7, 5), lambda at: (slice(None), *at)),
    "volume": (Pixels(), (2, 3, 4, 2), lambda at: (slice(None), *at)),
    "tiles": (
        Tiles(size=2),
        (2, 7, 5),
        lambda at: (slice(None), *(slice(2 * place, 2 * place + 2) for place in at)),
    ),
    "series": (Pixels(), (3, 6), lambda at: (slice(None), *at)),
    "channels last": (Pixels(layout="channels-last"), (4, 5, 2), lambda at: (*at, slice(None))),
    "stretches": (Tiles(size=2), (3, 7), lambda at: (slice(None), slice(2 * at[0], 2 * at[0] + 2))),
    "tokens": (Tokens(), (6, 3), lambda at: (at[0], slice(None))),
    "columns": (None, (9,), lambda at: at),
    "scalars": (Columns(), (2, 3, 4), lambda at: at),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("window", "stride"), [(1, 1), (3, 2), (2, 2), (5, 1), (9, 9)])
def test_equals_its_slow_twin(layout, window, stride):
    features, shape, scalars_of = LAYOUTS[layout]
    x, model = torch.randn(3, *shape, dtype=torch.float64), Flat(*shape)
    mean = Mean(layout="channels-first")
    method = Occlusion(window=window, stride=stride, features=features, baseline=mean)
    maps = method(model, x, TARGETS)
    chosen = features or {3: Pixels(), 2: Tokens(), 1: Columns()}[len(shape)]
    grid, background = chosen.grid(shape), mean(x).expand_as(x)
    sizes = [[width] * len(grid) for width in (window, stride)]
    for n, target in enumerate(TARGETS):
        expected = reference.occlusion(
            lambda one, c=target: model(one[None])[0, c].detach(), x[n], background[n], *sizes, grid, scalars_of
        )
        torch.testing.assert_close(chosen.pool(maps, shape)[n], expected, rtol=1e-10, atol=1e-13)


@given(size=st.integers(1, 12), window=st.integers(1, 14), stride=st.integers(1, 14))
@settings(max_examples=60, deadline=None)
def test_every_feature_is_covered_whatever_the_stride(size, window, stride):
    # Weights 1, inputs 1: a window's drop is the number of features in it.
    model, x, y = linear(torch.ones(1, size)), torch.ones(1, size, dtype=torch.float64), torch.zeros(1).long()
    if stride > window:
        with pytest.raises(InputError, match="every feature is occluded"):
            Occlusion(window=window, stride=stride)(model, x, y)
        return
    widths = torch.zeros(size), torch.zeros(size)
    for start in reference.starts(size, window, stride):
        widths[0][start : start + window] += min(window, size - start)
        widths[1][start : start + window] += 1
    expected = (widths[0] / widths[1]).double()[None]
    torch.testing.assert_close(Occlusion(window=window, stride=stride)(model, x, y), expected, rtol=1e-6, atol=0)


def test_linear_models_give_x_times_w():
    weight = torch.randn(3, 6, dtype=torch.float64)
    x, y = torch.randn(4, 6, dtype=torch.float64), torch.tensor([0, 2, 1, 0])
    torch.testing.assert_close(Occlusion()(linear(weight), x, y), x * weight[y])
    against = Occlusion(baseline=Constant(value=0.3))(linear(weight), x, y)
    torch.testing.assert_close(against, (x - 0.3) * weight[y])


def test_linear_models_of_images_give_x_times_w_summed_over_what_goes_missing():
    weight = torch.randn(3, 2 * 9 * 7, dtype=torch.float64)
    model, x = nn.Sequential(nn.Flatten(), linear(weight)).eval(), torch.randn(3, 2, 9, 7, dtype=torch.float64)
    y = torch.tensor([0, 2, 1])
    shares = x * weight[y].view_as(x)
    torch.testing.assert_close(Occlusion(window=1)(model, x, y), shares.sum(1, keepdim=True))
    torch.testing.assert_close(Occlusion(window=1, features=Columns())(model, x, y), shares)
    for method in (Occlusion(window=4), Occlusion(features=Tiles(size=4))):
        pooled = Tiles(size=4).pool(method(model, x, y), (2, 9, 7))
        sizes = Tiles(size=4).pool(torch.ones(1, 1, 9, 7), (2, 9, 7)) if method.features is None else 1.0
        torch.testing.assert_close(pooled, Tiles(size=4).pool(shares, (2, 9, 7)) * sizes)


def test_tokens_are_occluded_by_a_mask_token():
    class Bag(nn.Module):
        def forward(self, x):
            return x.sum(1) @ weight.T

    weight, x = torch.randn(4, 3, dtype=torch.float64), torch.randn(2, 6, 3, dtype=torch.float64)
    y, mask = torch.tensor([3, 0]), Token.of(nn.Embedding(9, 3, dtype=torch.float64), 7)
    maps = Occlusion(baseline=mask)(Bag().eval(), x, y)
    assert maps.shape == (2, 6, 1)
    expected = torch.einsum("nte,ne->nt", x - torch.tensor(mask.values, dtype=torch.float64), weight[y])
    torch.testing.assert_close(maps[:, :, 0], expected)


@pytest.mark.parametrize(
    ("features", "shape"), [(Pixels(), (2, 6, 5)), (Tiles(size=4), (2, 6, 5)), (Tokens(), (6, 3)), (Columns(), (7,))]
)
def test_occlusion_1_satisfies_sensitivity_1_exactly(features, shape):
    model, x, background = Flat(*shape), torch.randn(3, *shape, dtype=torch.float64), Zero()
    pooled = features.pool(Occlusion(window=1, features=features, baseline=background)(model, x, TARGETS), shape)
    pooled = pooled.flatten(1)
    for index in range(pooled.shape[1]):
        chosen = torch.zeros_like(pooled, dtype=torch.bool)
        chosen[:, index] = True
        without = features.replace(x, chosen.view(-1, *features.grid(shape)), background(x))
        drop = (model(x) - model(without)).detach().gather(1, TARGETS[:, None])[:, 0]
        torch.testing.assert_close(pooled[:, index], drop, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("window", "stride"), [(3, 3), (3, 2), (4, 1), (1, 1)])
def test_captum_agrees(window, stride):
    # Captum's windows span channels too, its map repeats over them, and is float32 whatever the inputs are.
    model, x = cnn(), images()
    expected = captum.attr.Occlusion(model).attribute(
        x, sliding_window_shapes=(2, window, window), strides=(2, stride, stride), target=TARGETS, baselines=0.2
    )
    maps = Occlusion(window=window, stride=stride, baseline=Constant(value=0.2))(model, x, TARGETS)
    assert maps.shape == (3, 1, 8, 8)
    torch.testing.assert_close(maps.expand_as(x).float(), expected)


def test_windows_of_different_sizes_a_dimension():
    model, x = cnn(), images()
    expected = captum.attr.Occlusion(model).attribute(
        x, sliding_window_shapes=(2, 3, 8), strides=(2, 2, 8), target=TARGETS
    )
    maps = Occlusion(window=(3, 8), stride=(2, 8))(model, x, TARGETS)
    torch.testing.assert_close(maps.expand_as(x).float(), expected)


class Sums(nn.Module):
    def forward(self, x):
        return x.sum(1)


def test_defaults():
    x, y = images(), TARGETS
    assert torch.equal(Occlusion()(cnn(), x, y), Occlusion(window=8, stride=8, features=Pixels())(cnn(), x, y))
    tokens, model = torch.randn(3, 20, 2, dtype=torch.float64), nn.Sequential(nn.Linear(2, 5), Sums()).double().eval()
    assert torch.equal(Occlusion()(model, tokens, y), Occlusion(window=1, features=Tokens())(model, tokens, y))
    series, model = tokens.mT, nn.Sequential(nn.Conv1d(2, 5, 3), nn.Flatten(), nn.Linear(90, 5)).double().eval()
    assert torch.equal(Occlusion()(model, series, y), Occlusion(window=8, features=Pixels())(model, series, y))
    with pytest.raises(InputError, match=r"what the dimensions of inputs \(3, 20, 2\) mean, .* features=Pixels\(\)"):
        Occlusion()(Flat(20, 2), tokens, y)
    assert Occlusion().cost(10, (3, 224, 224)) == pytest.approx((28 * 28 + 1) / 3)
    assert Occlusion(window=14, stride=7).cost(10, (1, 28, 35)) == pytest.approx((3 * 4 + 1) / 3)


def test_passes_are_bounded():
    model, x = Watched(cnn()), images(3)
    Occlusion(window=2, stride=1)(model, x, TARGETS)
    assert sum(model.rows) == 5 + 3 * (49 + 1)  # five prove once a model that samples are independent
    assert max(model.rows) <= rows_per_pass(x)


def test_more_samples_than_a_pass_takes(monkeypatch):
    model, x = cnn(), images(5)
    y = torch.tensor([0, 1, 2, 3, 4])
    together = Occlusion(window=3, stride=2)(model, x, y)
    monkeypatch.setattr("heatproof.methods.base.rows_per_pass", lambda _: 2)
    torch.testing.assert_close(Occlusion(window=3, stride=2)(model, x, y), together, rtol=1e-12, atol=1e-14)


def test_side_inputs_follow_their_samples():
    class Gated(nn.Module):
        def forward(self, x, gate):
            return (x * gate).sum(1, keepdim=True)

    x, gate = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    maps = Occlusion()(Bound(Gated().eval(), given={"gate": gate}), x, torch.zeros(4).long())
    torch.testing.assert_close(maps, x * gate)


@pytest.mark.parametrize(
    "method",
    [
        Occlusion(window=5, stride=3, baseline=Blur(sigma=2.0)),
        Occlusion(features=Tiles(size=5), baseline=Mean()),
        Occlusion(window=(2, 6, 7), features=Columns()),
    ],
    ids=str,
)
def test_other_settings_keep_the_contract(method):
    check_method(method)


def test_errors_say_what_to_do():
    with pytest.raises(InputError, match="a window of at least 1 feature, but got 0"):
        Occlusion(window=0)
    with pytest.raises(InputError, match=r"a stride of at least 1 feature, but got \(2, 0\)"):
        Occlusion(stride=(2, 0))
    with pytest.raises(InputError, match=r"a window of at least 1 feature, but got \(\)"):
        Occlusion(window=())
    with pytest.raises(InputError, match=r"features' grid \(8, 8\), but got \(2, 2, 2\) and None"):
        Occlusion(window=(2, 2, 2))(cnn(), images(), TARGETS)
    with pytest.raises(InputError, match=r"every feature is occluded, but got \(9, 9\) for windows of \(8, 8\)"):
        Occlusion(stride=9)(cnn(), images(), TARGETS)
    with pytest.raises(InputError, match=r"baseline that broadcasts to the inputs \(3, 2, 8, 8\)"):
        Occlusion(baseline=lambda x: x.new_zeros(3, 7))(cnn(), images(), TARGETS)
    with pytest.raises(InputError, match="between 0 and 4, the model's last output, but got 9"):
        Occlusion()(cnn(), images(), torch.tensor([0, 9, 1]))
