"""What the dimensions of a layer's output mean, told by the operations that made it."""

import pytest
import torch
from layout_networks import Mixer, Pooling, Sequences, Tokens, Windows, noise, seeded
from torch import nn

from heatproof.errors import HeatproofWarning, InputError, UnknownNameError
from heatproof.layouts.seen import seen
from heatproof.methods import GradCAM, GuidedBackprop, GuidedGradCAM, PerSampleBottleneck, ReadoutBottleneck
from heatproof.methods.spatial import last_map
from heatproof.models import Bound, forward
from reference import cam as reference

TARGETS = torch.tensor([0, 3, 1])


def readings(model, x):
    """Grid, axes of the input and channels of every layer that reads as a map."""
    return {name: (r.grid, r.axes, r.width) for name, r in seen(model, x).readings.items() if r is not None}


@pytest.mark.parametrize("size", [(16, 8), (8, 16), (7, 20), (3, 24), (24, 3)])
@pytest.mark.parametrize("width", [2, 3, 4, 8])
def test_convolutions_give_channels_first_whatever_the_sizes_are(size, width):
    layers = [
        nn.Conv2d(2, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d((1, 2), ceil_mode=True),
        nn.Conv2d(width, 4, 1),
    ]
    model = seeded(lambda: nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)))
    x = noise(3, 2, *size)
    for layer in range(5):
        expected = reference.grad_cam(model[: layer + 1], model[layer + 1 :], x, TARGETS)
        torch.testing.assert_close(GradCAM(layer=str(layer))(model, x, TARGETS), expected, rtol=1e-10, atol=1e-14)


def test_one_row_of_pixels():
    model = seeded(lambda: nn.Sequential(nn.Conv2d(2, 4, (1, 3)), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 18, 4)))
    x = noise(3, 2, 1, 20)
    expected = reference.grad_cam(model[:2], model[2:], x, TARGETS)
    torch.testing.assert_close(GradCAM()(model, x, TARGETS), expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("size", [(9, 13), (13, 9), (5, 21), (11, 11)])
def test_tokens_lie_as_their_patches_did_between_those_that_are_none(size):
    model, x = seeded(Tokens), noise(3, 2, *size)
    rows, columns = ((side - 1) // 2 for side in size)
    assert readings(model, x)["before"] == ((rows, columns), (2, 3), 6)
    # Not `after`, whose class token alone is read, nor `mix`, which the attention's weights do not pass.
    assert last_map(model, x) == "before"
    tokens = model.before(model.tokens(x)).detach()
    expected = []
    for sample in range(3):

        def behind(A, sample=sample):  # (1, 6, rows, columns), with the other tokens of its sample put back
            one = tokens[sample : sample + 1]
            return model.behind(torch.cat([one[:, :1], A.flatten(2).mT, one[:, -2:]], 1))

        patches = tokens[sample, 1:-2].T.reshape(1, 6, rows, columns)
        one = slice(sample, sample + 1)
        expected.append(reference.grad_cam(lambda _, p=patches: p, behind, x[one], TARGETS[one]))
    torch.testing.assert_close(GradCAM(layer="before")(model, x, TARGETS), torch.cat(expected))


def test_a_mixer_has_no_positions_while_its_tokens_are_mixed():
    found = readings(seeded(lambda: Mixer(3 * 5)), noise(3, 2, 6, 10))
    assert found["embed"] == found["norm"] == found["across"] == ((3, 5), (2, 3), 6)
    assert not {"along", "along.0", "along.1", "along.2"} & found.keys()


def test_windows_are_put_together_as_they_were_cut():
    model, x = seeded(Windows), noise(3, 2, 10, 6)  # 5 × 3 places, padded to 6 × 4
    found = readings(model, x)
    assert found["norm"] == ((5, 3), (2, 3), 6)
    # In windows the samples' axis holds windows as well: no map of a sample, and none is guessed.
    assert "value" not in found
    assert last_map(model, x) == "patches"  # which the skip connection around the attention passes as well


@pytest.mark.parametrize("swapped", [False, True])
def test_maps_of_transposed_images_are_transposed(swapped):
    class Transposed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Pooling(2)

        def forward(self, x):
            return self.inner(x.mT)

    model, x = seeded(Transposed), noise(3, 2, 9, 14)
    expected = GradCAM()(model.inner, x.mT, TARGETS).mT
    torch.testing.assert_close(GradCAM()(model, x, TARGETS), expected)


def cam(model, x, mode):
    """The class activation map by hand: for a mean over positions and one linear layer."""
    A = model.features(x).detach()
    weighed = torch.einsum("nk,nk...->n...", model.fc.weight[TARGETS].detach(), A).relu() / A[0, 0].numel()
    return nn.functional.interpolate(weighed[:, None], size=x.shape[2:], mode=mode, align_corners=False)


@pytest.mark.parametrize(
    ("shape", "mode"), [((3, 2, 20), "linear"), ((3, 2, 9, 14), "bilinear"), ((3, 2, 7, 9, 6), "trilinear")]
)
def test_series_images_and_volumes(shape, mode):
    model, x = seeded(lambda: Pooling(len(shape) - 2)), noise(*shape)
    assert last_map(model, x) == "features"
    expected = cam(model, x, mode)
    assert expected.shape == (3, 1, *shape[2:])
    torch.testing.assert_close(GradCAM()(model, x, TARGETS), expected)
    guided = GuidedGradCAM()(model, x, TARGETS)
    assert guided.shape == shape
    torch.testing.assert_close(guided, expected * GuidedBackprop()(model, x, TARGETS))


@pytest.mark.parametrize("shape", [(3, 9, 14), (3, 6, 7, 8)])
def test_images_and_volumes_without_channels(shape):
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Pooling(len(shape) - 1, channels=1)

        def forward(self, x):
            return self.inner(x[:, None])

    model, x = seeded(Bare), noise(*shape)
    torch.testing.assert_close(GradCAM()(model, x, TARGETS), GradCAM()(model.inner, x[:, None], TARGETS)[:, 0])


def test_channels_last_inputs():
    model, x = seeded(lambda: Pooling(2)), noise(3, 2, 9, 14)
    last = Bound(model, preprocessing=lambda x: x.permute(0, 3, 1, 2))
    expected = GradCAM()(model, x, TARGETS).movedim(1, -1)
    torch.testing.assert_close(GradCAM()(last, x.permute(0, 2, 3, 1), TARGETS), expected)


@pytest.mark.parametrize("way", ["linear", "lstm", "time first", "encoder", "attention", "convolution"])
def test_sequences_of_embedded_tokens(way):
    model, x = seeded(lambda: Sequences(way, 6)), noise(3, 7, 6)
    with torch.no_grad():
        A = model.read(x).relu()
        A = A.transpose(0, 1) if way == "time first" else A
        weights = model.fc.weight[TARGETS][:, None] / 7
    maps = GradCAM(layer="last")(model, x, TARGETS)
    assert maps.shape == (3, 7, 1)
    torch.testing.assert_close(maps, (weights * A).sum(2, keepdim=True).relu())


def test_a_map_of_as_many_channels_as_labels_is_a_map():
    model, x = seeded(lambda: Pooling(2, width=4)), noise(3, 2, 9, 9)
    assert last_map(model, x) == "features"
    classes = seeded(
        lambda: nn.Sequential(nn.Conv2d(2, 5, 3), nn.Conv2d(5, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )
    assert last_map(classes, x) == "0"


def test_the_relu_that_leaves_nothing_says_so():
    model, x = seeded(lambda: Pooling(2)), noise(3, 2, 9, 9)
    with torch.no_grad():
        model.fc.weight[0] = -model.fc.weight[0].abs()
        model.fc.weight[1] = model.fc.weight[1].abs()
    for method in (GradCAM(), GuidedGradCAM()):
        found = method.explain(model, x, torch.tensor([0, 1, 0]))
        assert found.diagnostics["all-zero"].tolist() == [1, 0, 1]
        assert (found.maps == 0).flatten(1).all(1).tolist() == [True, False, True]


# What is asked.


def opaque():
    """A network part of which is scripted, and rearranges what it gives."""

    class Rearranging(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.permute(0, 2, 3, 1).contiguous()

    return nn.Sequential(nn.Conv2d(2, 5, 3), torch.jit.script(Rearranging()), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_where_nothing_tells_the_layout_is_asked():
    model, x = opaque().double().eval(), noise(3, 2, 9, 14)
    with torch.no_grad():
        model(x)
    with pytest.raises(InputError, match=r"'2' gives \(3, 7, 12, 5\), and nothing .* tells; say it with layout='chann"):
        GradCAM(layer="2")(model, x, TARGETS)
    expected = reference.grad_cam(
        lambda x: model[:3](x).permute(0, 3, 1, 2), lambda A: model[3:](A.permute(0, 2, 3, 1)), x, TARGETS
    )
    torch.testing.assert_close(GradCAM(layer="2", layout="channels-last")(model, x, TARGETS), expected)
    with pytest.raises(UnknownNameError, match="name of a layout, but got 'last'"):
        GradCAM(layer="2", layout="last")
    with pytest.raises(InputError, match="name of the layer whose layout is given"):
        GradCAM(layout="channels-last")
    with pytest.raises(InputError, match="which is none with layout='channels-first'"):
        GradCAM(layer="4", layout="channels-first")(model, x, TARGETS)


# What a Bound reduces.


@pytest.mark.parametrize("reduction", ["mean", "sum", "max"])
def test_bound_reduces_the_positions_of_a_layer(reduction):
    def reduced(h):  # (N, positions, K)
        return {"mean": h.mean, "sum": h.sum, "max": h.amax}[reduction](1).detach()

    x = noise(3, 2, 9, 13)
    tokens = seeded(Tokens)
    patches = tokens.before(tokens.tokens(x))[:, 1:-2]
    torch.testing.assert_close(forward(Bound(tokens, layer="before", reduction=reduction), x), reduced(patches))
    windows = seeded(Windows)
    last = windows.norm(windows.patches(x).permute(0, 2, 3, 1)).flatten(1, 2)
    torch.testing.assert_close(forward(Bound(windows, layer="norm", reduction=reduction), x), reduced(last))
    first = windows.patches(x).flatten(2).mT
    torch.testing.assert_close(forward(Bound(windows, layer="patches", reduction=reduction), x), reduced(first))
    time = seeded(lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU()))
    sequence = noise(3, 7, 6)
    torch.testing.assert_close(forward(Bound(time, layer="1", reduction=reduction), sequence), reduced(time(sequence)))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_bound_asks_where_nothing_tells():
    model, x = opaque().double().eval(), noise(3, 2, 9, 14)
    with pytest.raises(InputError, match=r"layer '2' gives \(3, 7, 12, 5\), and nothing .* layout='channels-first'"):
        forward(Bound(model, layer="2"), x)
    expected = model[:3](x).mean((1, 2))
    torch.testing.assert_close(forward(Bound(model, layer="2", layout="channels-last"), x), expected)
    with pytest.raises(InputError, match="layout to be channels-first or channels-last, but got 'nhwc'"):
        Bound(model, layer="2", layout="nhwc")


# Other ways to the outputs.


class Backbones(nn.Module):
    """Two networks side by side, whose features are joined."""

    def __init__(self):
        super().__init__()
        self.left, self.right = Pooling(2).features, Pooling(2).features
        self.fc = nn.Linear(10, 4)

    def forward(self, x):
        return self.fc(torch.cat([self.left(x).mean((2, 3)), 0.01 * self.right(x).mean((2, 3))], 1))


def test_maps_on_other_ways_are_named():
    model, x = seeded(Backbones), noise(3, 2, 9, 9)
    with pytest.warns(HeatproofWarning, match="beside 'right', which is shown, the outputs depend on maps of 'left'"):
        found = GradCAM()(model, x, TARGETS)
    torch.testing.assert_close(found, GradCAM(layer="right")(model, x, TARGETS))  # and no warning: it was chosen


def test_where_a_skip_connection_leads_around_the_last_map_the_one_before_both_is_shown():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.fc = nn.Conv2d(2, 5, 3), nn.Conv2d(5, 5, 3, padding=1), nn.Linear(5, 4)

        def forward(self, x):
            h = self.first(x).relu()
            return self.fc((h + self.second(h)).relu().mean((2, 3)))

    assert last_map(seeded(Residual), noise(3, 2, 9, 9)) == "first"


def test_a_class_token_past_the_last_attention_is_no_map_beside():
    assert seen(seeded(Tokens), noise(3, 2, 9, 13)).beside == ()


# Scripts, and networks that run a layer again.


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, noise(3, 2, 9, 9))])
@pytest.mark.parametrize("layer", [None, "features"])
def test_scripted_networks_are_refused(make, layer):
    model = make(seeded(lambda: Pooling(2)))
    with pytest.raises(InputError, match=r"can be seen, but 'the model' is a TorchScript module, .* the Python"):
        GradCAM(layer=layer)(model, noise(3, 2, 9, 9), TARGETS)


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Pooling(2)

    def forward(self, x):
        return self.net(x) - self.net(x.flip(3))


def test_siamese_networks_are_told_to_explain_one_of_their_inputs():
    model, x = seeded(Siamese), noise(3, 2, 9, 9)
    with pytest.raises(InputError, match=r"'net.*' and others run 2 times .* several inputs \(siamese\) explain one"):
        GradCAM()(model, x, TARGETS)
    with pytest.raises(
        InputError, match=r"'net.features' to run once, but it ran 2 times, and no layer around .*siamese"
    ):
        GradCAM(layer="net.features")(model, x, TARGETS)


def test_bottlenecks_refuse_layers_with_channels_last():
    model, x = seeded(Windows).float(), noise(3, 2, 10, 6).float()
    with pytest.raises(InputError, match=r"but 'norm' gives .*, 5, 3, 6\), whose dimensions \(1, 2\) are positions"):
        PerSampleBottleneck(layer="norm").fit(model, [x])
    with pytest.raises(InputError, match=r"'norm' gives .* name a layer that keeps channels first"):
        ReadoutBottleneck(layer="patches", readouts=("norm",)).fit(model, [(x, TARGETS)])
