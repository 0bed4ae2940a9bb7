"""A model whose samples depend on one another is refused, by the name of the operation that mixes them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from heatproof.auditing.run import audit
from heatproof.errors import OperationError
from heatproof.methods.backward import Gradient, Saliency
from heatproof.methods.base import METHODS
from heatproof.methods.deeplift import DeepLIFT
from heatproof.methods.lrp import LRP
from heatproof.methods.path import IntegratedGradients
from heatproof.models import Bound, select

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 1, 1, 0])
METHODS_OF_EVERY_KIND = [
    Gradient(),
    Saliency(),
    LRP(),
    DeepLIFT(),
    IntegratedGradients(steps=2),
    METHODS.get("smoothgrad"),
]


class Net(nn.Module):
    def __init__(self, step):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.inner, self.last = nn.Linear(6, 8), Inner(step), nn.Linear(8, 2)
        self.eval()

    def forward(self, x):
        return self.last(self.inner(F.relu(self.first(x))))


class Inner(nn.Module):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def forward(self, h):
        return self.step(h)


MIXING = {
    "amax": lambda h: h + h.amax(0),
    "max": lambda h: h + h.max(0).values,
    "mean": lambda h: h - h.mean(0),
    "sum": lambda h: h / h.sum(),
    "softmax": lambda h: h.softmax(0),
    "cumsum": lambda h: h.cumsum(0),
    "matmul": lambda h: (h @ h.T) @ h,
    "batch_norm": lambda h: F.batch_norm(h, None, None, training=True),
    "norm": lambda h: h / h.norm(),
}


ENCODING = torch.randn(50, 8, generator=torch.Generator().manual_seed(1))
PLACED = {
    "its number": lambda h: h * torch.arange(1, len(h) + 1)[:, None],
    "an encoding of positions, along the samples": lambda h: h + ENCODING[: len(h)],
    "noise of one seed": lambda h: h + torch.randn(h.shape, generator=torch.Generator().manual_seed(2)),
}


@pytest.mark.parametrize("method", METHODS_OF_EVERY_KIND, ids=str)
@pytest.mark.parametrize("name", PLACED)
def test_a_sample_that_depends_on_its_place_in_the_batch_is_refused(name, method):
    with pytest.raises(
        OperationError, match=r"Net gives others by the place of its row in the batch, .*\(batch_first\?\)"
    ):
        method(Net(PLACED[name]), X, TARGETS)


@pytest.mark.parametrize("step", [lambda h: h / len(h), lambda h: h if len(h) > 1 else -h], ids=["mean", "alone"])
def test_a_sample_that_depends_on_the_size_of_its_batch_is_refused(step):
    with pytest.raises(OperationError, match="Net gives others by the size of its batch"):
        Gradient()(Net(step), X, TARGETS)


@pytest.mark.parametrize("method", METHODS_OF_EVERY_KIND, ids=str)
@pytest.mark.parametrize("name", MIXING)
def test_a_step_that_mixes_samples_is_named(name, method):
    with pytest.raises(
        OperationError, match=rf"but {name} in module 'inner' \(Inner\) mixes them, .* other dimensions"
    ):
        method(Net(MIXING[name]), X, TARGETS)


@pytest.mark.parametrize("method", METHODS_OF_EVERY_KIND, ids=str)
def test_a_single_sample_is_no_way_around(method):
    with pytest.raises(OperationError, match=r"mean in module 'inner' \(Inner\) mixes them"):
        method(Net(MIXING["mean"]), X[:1], TARGETS[:1])


def test_a_batch_norm_module_without_running_statistics_is_refused():
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 2)).eval()
    with pytest.raises(OperationError, match=r"batch_norm in module '1' \(BatchNorm1d\) mixes them"):
        Gradient()(net, X, TARGETS)


def test_an_audit_refuses_it_before_anything_else(tmp_path):
    with pytest.raises(OperationError, match="softmax in module 'inner'"):
        audit(Net(MIXING["softmax"]), X, TARGETS, methods=["gradient"], checks=["completeness"], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


ALONE = {
    "softmax": lambda h: h.softmax(1),
    "sequence first": lambda h: h.view(len(h), 2, 4).transpose(0, 1).amax(0).repeat(1, 2),
    "same for all": lambda h: h + torch.arange(8.0).mean(0),
    "the batch's size": lambda h: h.sum(1, keepdim=True).expand(len(h), 8),
    "in place": lambda h: F.layer_norm(h, (8,)).mul_(2),
}


@pytest.mark.parametrize("name", ALONE)
def test_a_model_of_independent_samples_is_probed_once(name):
    passes = []
    net = Net(ALONE[name])
    net.register_forward_hook(lambda *_: passes.append(1))
    Gradient()(net, X, TARGETS)
    assert len(passes) == 4
    Gradient()(net, X, TARGETS)
    Saliency()(net, X[:1], TARGETS[:1])
    assert len(passes) == 6


def test_an_order_over_samples_is_refused_without_a_name():
    with pytest.raises(OperationError, match="but one of its operations mixes them"):
        Gradient()(Net(lambda h: h.sort(0).values), X, TARGETS)


def test_samples_that_do_not_differ_tell_nothing():
    net = Net(MIXING["mean"])
    Gradient()(net, torch.ones(3, 6), TARGETS[:3])
    with pytest.raises(OperationError, match="mixes them"):
        Gradient()(net, X, TARGETS)


def test_rows_of_a_bound_model_are_proven_by_it():
    class Gated(nn.Module):
        def forward(self, x, gate):
            passes.append(1)
            return x * gate

    passes: list[int] = []
    bound = Bound(Gated(), given={"gate": torch.rand(4, 6)}).eval()
    Gradient()(bound, X, TARGETS)
    made = len(passes)
    Gradient()(select(bound, torch.tensor([1, 1, 2])), X[:3], TARGETS[:3])
    assert len(passes) == made + 1


class Mixing(nn.Module):
    def forward(self, h):
        return h - h.mean(0, keepdim=True)


class Chain(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Identity()

    def forward(self, x):
        return self.last(self.norm(self.first(x)))


def hook_all(net):
    return nn.modules.module.register_module_forward_hook(lambda module, inputs, h: h - h.mean(0, keepdim=True))


def forget_statistics(net):
    net.norm.running_mean = net.norm.running_var = None


def put_on_a_forward(net):
    own, mixing = net.first.forward, Mixing()
    net.first.forward = lambda x: mixing(own(x))


def put_another_where_it_was(net):
    """Memory of a module that is gone is another's at once."""
    number, net.last = id(net.last), None
    several = [Mixing().eval() for _ in range(200)]
    net.last = next((one for one in several if id(one) == number), several[0])


@pytest.mark.parametrize("change", [hook_all, forget_statistics, put_on_a_forward, put_another_where_it_was])
def test_a_model_that_begins_to_mix_samples_is_probed_again(change):
    net, x = Chain().eval(), torch.randn(3, 4)
    Gradient()(net, x, 0)
    handle = change(net)
    try:
        with pytest.raises(OperationError, match="do not depend on the other samples"):
            Gradient()(net, x, 0)
    finally:
        if handle is not None:
            handle.remove()
