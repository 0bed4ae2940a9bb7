"""Hooks that somebody left on a network: those that look change nothing, those that change a gradient are named."""

from threading import Thread

import pytest
import torch
from torch import nn

from heatproof import models
from heatproof.errors import InputError, ModelError
from heatproof.methods.backward import Gradient, GradientXInput
from heatproof.methods.base import METHODS
from heatproof.methods.bottleneck import PerSampleBottleneck
from heatproof.methods.cam import GradCAM
from heatproof.methods.deeplift import DeepLIFT
from heatproof.methods.guided import GuidedBackprop
from heatproof.methods.lrp import LRP

PLAIN = [Gradient(), GradientXInput(), GradCAM()]
RULES = [LRP(composite="epsilon"), DeepLIFT(), GuidedBackprop()]
X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 1])


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU())
        return nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)).eval()


def on_tensors(hook):
    def put(_module, _given, out):
        if out.requires_grad:
            out.register_hook(hook=hook)

    return lambda net: net[1].register_forward_hook(put)


def scaled_in_place(gradient):
    gradient.mul_(2)


LOOKING = {
    "keeps it": on_tensors([].append),
    "returns it": on_tensors(lambda gradient: gradient),
    "returns its equal": on_tensors(lambda gradient: gradient.clone()),
    "hands it on as another": on_tensors(lambda gradient: gradient.clamp(-1e9, 1e9)),
    "a module's old hook": lambda net: nn.Module.register_backward_hook(net[1], lambda *_: None),
}
CHANGING = {
    "zeros": on_tensors(torch.zeros_like),
    "in place": on_tensors(scaled_in_place),
}


@pytest.mark.filterwarnings("ignore:Using a non-full backward hook:FutureWarning")
@pytest.mark.parametrize("method", PLAIN + RULES, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("name", LOOKING)
def test_hooks_that_look_change_nothing(name, method):
    expected = method(network(), X, TARGETS)
    net = network()
    LOOKING[name](net)
    torch.testing.assert_close(method(net, X, TARGETS), expected, rtol=0, atol=0)


@pytest.mark.parametrize("method", PLAIN + RULES, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("name", CHANGING)
def test_a_tensor_hook_that_changes_a_gradient_is_named_with_its_module(name, method):
    net = network()
    handle = CHANGING[name](net)
    with pytest.raises(InputError, match=r"a tensor hook that was registered in module '1' .AdaptiveAvg"):
        method(net, X, TARGETS)
    handle.remove()
    torch.testing.assert_close(method(net, X, TARGETS), method(network(), X, TARGETS), rtol=0, atol=0)


@pytest.mark.parametrize(
    "name", [name for name in METHODS.names() if getattr(METHODS.get(name), "fitted", 0) is not None]
)
@pytest.mark.parametrize("kind", ["register_full_backward_hook", "register_full_backward_pre_hook"])
def test_a_modules_full_backward_hook_is_refused_alike_by_every_method(kind, name):
    method, net, seen = METHODS.get(name), network(), []
    if not method.uses_model:
        return
    for hook in (
        lambda *given: seen.append(given),
        lambda _, given, *__: tuple(g if g is None else 2 * g for g in given),
    ):
        handle = getattr(net[1], kind)(hook)
        with pytest.raises(
            InputError, match=r"without full backward hooks, but '1' \(AdaptiveAvgPool2d\) has some: .* remove"
        ):
            method(net, X, TARGETS)
        handle.remove()
    assert seen == []


@pytest.mark.parametrize("kind", ["register_full_backward_hook", "register_full_backward_pre_hook"])
@pytest.mark.parametrize("everywhere", [False, True])
def test_a_full_backward_hook_is_refused_also_after_a_call_without_one(kind, everywhere):
    net = network()
    GradCAM()(net, X, TARGETS)
    of_all = getattr(nn.modules.module, kind.replace("register", "register_module"))
    handle = of_all(lambda *_: None) if everywhere else getattr(net[1], kind)(lambda *_: None)
    try:
        with pytest.raises(InputError, match="without full backward hooks"):
            GradCAM()(net, X, TARGETS)
    finally:
        handle.remove()
    GradCAM()(net, X, TARGETS)


@pytest.mark.filterwarnings("ignore:Using a non-full backward hook:FutureWarning")
@pytest.mark.parametrize("method", RULES, ids=lambda m: type(m).__name__)
def test_a_modules_old_backward_hook_that_changes_a_gradient_is_named(method):
    net = network()
    nn.Module.register_backward_hook(net[1], lambda _module, given, _: tuple(g if g is None else 2 * g for g in given))
    with pytest.raises(InputError, match=r"a backward hook on module '1' \(AdaptiveAvgPool2d\) changes one"):
        method(net, X, TARGETS)


def test_a_hook_that_needs_a_graph_is_named_where_there_is_none():
    net = network()
    net[1].register_forward_hook(lambda _module, _given, out: out.register_hook(torch.zeros_like) and None)
    with pytest.raises(ModelError, match=r"in module '1' .*: cannot register a hook .* remove the hook"):
        GradCAM()(net, X, TARGETS)


@pytest.mark.filterwarnings("ignore:Using a non-full backward hook:FutureWarning")
def test_a_hook_stays_as_it_was_left():
    net = network()
    hook = lambda *_: None  # noqa: E731  # the very object is to come back
    nn.Module.register_backward_hook(net[1], hook)
    Gradient()(net, X, TARGETS)
    assert list(net[1]._backward_hooks.values()) == [hook]


def test_a_hook_that_replaces_nan_changes_the_gradient():
    """Where a root is taken of 0, the gradient is NaN: a zero in its place would be a plausible number."""

    class Rooted(nn.Module):
        def forward(self, x):
            h = 1 * x
            if h.requires_grad:
                h.register_hook(torch.nan_to_num)
            return (0 * h).sqrt()

    with pytest.raises(InputError, match=r"a tensor hook that was registered in .* changes one"):
        Gradient()(Rooted().eval(), torch.ones(2, 3), torch.tensor([0, 1]))


BLAMED = 1  # whether the model itself raises is asked after an error


class Switched(nn.Module):
    """Puts a hook on a tensor from the moment on that somebody asks for it: nothing about its modules changes."""

    def __init__(self):
        super().__init__()
        self.net, self.asked, self.runs = network(), False, 0

    def forward(self, x):
        h = self.net[0](x.mul_(2))  # as a model may do with what it is given
        self.runs += 1
        if self.asked and h.requires_grad:
            h.register_hook(torch.zeros_like)
        return self.net[1:](h)


@pytest.mark.parametrize("calls_before", [0, 1, 3])
def test_a_hook_that_a_model_puts_on_in_a_later_call_is_seen(calls_before):
    net, expected = Switched().eval(), 2 * Gradient()(network(), X, TARGETS)
    for _ in range(calls_before):
        torch.testing.assert_close(Gradient()(net, X / 2, TARGETS), expected, rtol=0, atol=0)
    net.asked = True
    with pytest.raises(InputError, match=r"a tensor hook that was registered in the model itself .Switched"):
        Gradient()(net, X / 2, TARGETS)
    net.asked = False
    torch.testing.assert_close(Gradient()(net, X / 2, TARGETS), expected, rtol=0, atol=0)


def test_only_a_pass_that_may_need_it_is_watched(monkeypatch):
    watched = []
    enter = models._HooksHeld.__enter__
    monkeypatch.setattr(
        models._HooksHeld, "__enter__", lambda self: (watched.append(type(self._model).__name__), enter(self))[1]
    )

    def watches(net, x, method=PLAIN[0]):
        watched.clear()
        for _ in range(3):
            method(net.eval(), x, TARGETS[: len(x)])
        return len(watched)

    norm = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Flatten())
    assert watches(network(), X) == watches(norm, X[:1]) == 1  # what a model does is seen once
    assert watches(network(), X, GradCAM()) == 1  # its own hooks are none of the model's
    hooked = network()
    on_tensors([].append)(hooked)
    assert watches(hooked, X) == 3
    asked = Switched()
    assert watches(asked, X) == 1
    asked.asked, asked.runs = True, 0
    with pytest.raises(InputError):
        Gradient()(asked, X, TARGETS)
    assert asked.runs == 2 + BLAMED  # unseen, and again
    with pytest.raises(InputError):
        Gradient()(asked, X, TARGETS)
    assert asked.runs == 2 + 1 + 2 * BLAMED


def meanwhile_hooked():
    """A network in whose passes another thread puts hooks on, from the moment on that the list holds something."""
    meanwhile = []

    class Meanwhile(nn.Module):
        def forward(self, h):
            if meanwhile:
                thread = Thread(target=lambda: torch.ones(1, requires_grad=True).register_hook(lambda gradient: None))
                thread.start()
                thread.join()
            return h

    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), Meanwhile(), nn.Flatten(), nn.Linear(144, 3)).eval(), meanwhile


def test_hooks_that_another_thread_puts_on_meanwhile_change_nothing():
    """Grad-CAM's layer would have run twice."""
    net, meanwhile = meanwhile_hooked()
    methods = (GradCAM(layer="0"), Gradient())
    expected = [method(net, X, TARGETS) for method in methods]
    meanwhile.append(1)
    for _ in range(2):
        for method, maps in zip(methods, expected, strict=True):
            assert torch.equal(method(net, X, TARGETS), maps)


def test_a_bottleneck_is_learned_alike_while_another_thread_puts_hooks_on():
    """Its layer is replaced for one pass, and was refused in the pass that was run again."""
    net, meanwhile = meanwhile_hooked()
    method = PerSampleBottleneck(layer="0", steps=3).fit(net, [(X, TARGETS)])
    expected = method(net, X, TARGETS)
    meanwhile.append(1)
    for _ in range(2):
        assert torch.equal(method(net, X, TARGETS), expected)
