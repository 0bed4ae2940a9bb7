"""A network cut at a layer: the same logits, and only the part above is run."""

import pytest
import torch
from method_networks import cnn, images
from torch import nn
from torch.nn import functional as F

from heatproof.errors import InputError, UnknownNameError
from heatproof.methods.split import Split
from heatproof.models import Bound
from heatproof.testing.snapshots import Before


class Block(nn.Module):
    """Residual, with one ReLU used twice."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(x + self.second(self.relu(self.first(x))))


class Residual(nn.Module):
    """Functional operations, in-place ReLUs, reused modules, skip connections, and a second argument."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.lower, self.upper = nn.Sequential(Block(), Block()), nn.Sequential(Block(), Block())
        self.head = nn.Linear(4, 3)
        self.double().eval()

    def forward(self, x, gain=None):
        x = x if gain is None else x * gain[:, None, None, None]
        h = F.relu_(self.stem(2 * x - 1))
        h = self.upper(F.avg_pool2d(self.lower(h), 2))
        return self.head(h.mean((2, 3)))


def residual():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Residual()


def counted(model, call):
    """The result of a call, and the names of the leaf modules that computed in it."""
    names, handles = [], []
    for name, module in model.named_modules():
        if not list(module.children()):
            see = lambda _m, _i, out, name=name: names.append(name) if out.device.type != "meta" else None  # noqa: E731
            handles.append(module.register_forward_hook(see))
    result = call()
    for handle in handles:
        handle.remove()
    return result, names


LAYERS = [("lower", True), ("lower.1", True), ("upper.0", True), ("stem", True), ("upper.0.first", False)]


@pytest.mark.parametrize(("layer", "skips"), LAYERS)
def test_above_of_below_is_the_network(layer, skips):
    model, x = residual(), images()
    split = Split(model, layer)
    z = split.below(x)
    for _ in range(3):
        assert torch.equal(split.above(z.clone(), x), model(x))
    assert split.skips is skips


@pytest.mark.parametrize("layer", [layer for layer, _ in LAYERS])
def test_above_reads_the_replacement(layer):
    model, x = residual(), images()
    split = Split(model, layer)
    z = torch.randn_like(split.below(x))
    handle = model.get_submodule(layer).register_forward_hook(lambda *_: z.clone())
    expected = model(x)
    handle.remove()
    assert torch.equal(split.above(z.clone(), x), expected)


def test_below_stops_at_the_layer_and_above_starts_there():
    model, x = residual(), images()
    split = Split(model, "lower")
    z, below = counted(model, lambda: split.below(x))
    assert {name.split(".")[0] for name in below} == {"stem", "lower"}
    _, above = counted(model, lambda: split.above(z, x))
    assert {name.split(".")[0] for name in above} == {"upper", "head"}


def test_variants_of_samples():
    model, x = residual(), images()
    split = Split(model, "lower")
    rows = torch.tensor([0, 1, 2, 0, 1, 2])
    z = split.below(x)[rows]
    torch.testing.assert_close(split.above(z, x[rows], rows), model(x)[rows], rtol=1e-12, atol=1e-14)


def test_bound_arguments_follow_the_variants():
    net, x, gain = residual(), images(), torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    model = Bound(net, given={"gain": gain})
    split = Split(model, "lower")
    rows = torch.tensor([2, 0])
    z = split.below(x[rows], rows)
    assert torch.equal(split.above(z, x[rows], rows), net(x[rows], gain[rows]))


def test_gradients_reach_the_replacement_through_in_place_operations():
    model, x = cnn(), images()
    model[1].inplace = True
    split = Split(model, "0")
    z = split.below(x).requires_grad_()
    (gradient,) = torch.autograd.grad(split.above(z.clone(), x).sum(), z)
    y = model[0](x).detach().requires_grad_()
    (expected,) = torch.autograd.grad(model[2:](F.relu(y)).sum(), y)
    assert torch.equal(gradient, expected)


def test_another_path_through_the_network_is_followed():
    class Fickle(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(2, 2), nn.Linear(2, 2)
            self.layer, self.turn = nn.Identity(), 0

        def forward(self, x):
            self.turn += 1
            below = self.one if self.turn == 1 else self.two
            return self.layer(below(x))

    x = torch.randn(3, 2)
    model = Fickle()
    split = Split(model, "layer")
    z = split.below(x)
    assert torch.equal(split.above(z, x), z)


def test_everything_is_put_back():
    model, x = residual(), images()
    before = Before(model)
    split = Split(model, "lower.1")
    split.above(split.below(x), x)
    with pytest.raises(RuntimeError):
        split.above(torch.zeros(3, 7, 8, 8, dtype=torch.float64), x)
    with pytest.raises(RuntimeError):
        split.below(x.flatten(1))
    assert list(before.changes()) == []


def test_errors_name_the_layer():
    model, x = residual(), images()
    with pytest.raises(UnknownNameError, match="layer of Residual, but got 'lowr'; did you mean 'lower'"):
        Split(model, "lowr")
    twice = Split(model, "lower.0.relu")
    z = twice.below(x)
    with pytest.raises(InputError, match=r"layer 'lower.0.relu' to run once a pass"):
        twice.above(z, x)
    model.idle = nn.Linear(1, 1)
    with pytest.raises(InputError, match="layer 'idle' to run when the network is called"):
        Split(model, "idle").below(x)
    model.head = nn.LSTM(4, 3, batch_first=True).double().eval()
    with pytest.raises(InputError, match="layer 'head' to give a float tensor"):
        Split(model, "head").below(x)
