"""What a network's code reaches: whatever is put in its place is noticed, and equal numbers are the same."""

import functools
from argparse import Namespace
from collections import deque
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from heatproof.seen import Seen

SCALE = 1.0
SETTINGS = {"inside": {"list": [1.0]}}


@dataclass
class Settings:
    scale: float = 1.0


class Slotted:
    __slots__ = ("scale",)

    def __init__(self):
        self.scale = 1.0


class Alone:
    __slots__ = "scale"

    def __init__(self):
        self.scale = 1.0


class Shared:
    scale = 1.0


class Other(nn.Linear):
    pass


def scale():
    return SCALE * SETTINGS["inside"]["list"][0] * Shared.scale


class Net(nn.Module):
    factor = 1.0

    def __init__(self):
        super().__init__()
        self.head, self.listed, self.settings, self.space = nn.Linear(2, 2), [Settings()], Settings(), SimpleNamespace()
        self.tupled, self.slotted, self.queue, self.flags = (Settings(),), Slotted(), deque([1]), {"relu": True}
        self.arguments, self.alone = Namespace(scale=1.0), Alone()
        self.part, self.hidden = functools.partial(print, Settings()), [nn.Linear(2, 2)]
        self.count, closed = 1000.5, 1.0

        def put(value):
            nonlocal closed
            closed = value

        self.put, self.read = put, lambda: closed

    def forward(self, x):
        return self.head(x) * scale() * self.factor * self.read()


def rename(net):
    net.flags["tanh"] = net.flags.pop("relu")


def write(net):
    with torch.no_grad():
        net.hidden[0].weight.mul_(2)


def swap(net):
    net.head.__class__ = Other


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda net: setattr(net.settings, "scale", 2.0), "'scale' of Settings"),
        (lambda net: setattr(net.listed[0], "scale", 2.0), "'scale' of Settings"),
        (lambda net: setattr(net.tupled[0], "scale", 2.0), "'scale' of Settings"),
        (lambda net: setattr(net.part.args[0], "scale", 2.0), "'scale' of Settings"),
        (lambda net: setattr(net.slotted, "scale", 2.0), "'scale' of Slotted"),
        (lambda net: setattr(net.space, "scale", 2.0), "what is in SimpleNamespace"),
        (lambda net: setattr(net.arguments, "scale", 2.0), "'scale' of Namespace"),
        (lambda net: setattr(net.alone, "scale", 2.0), "'scale' of Alone"),
        (lambda net: net.queue.append(2), "what is in a deque"),
        (rename, "what is in a dict"),
        (lambda net: net.put(2.0), "what is in a closure"),
        (lambda net: setattr(net, "count", 1001.5), "'count' of Net"),
        (lambda net: net.head.register_buffer("more", torch.ones(1)), "what is in Linear"),
        (write, "a tensor (2, 2)"),
        (swap, "the class of a module"),
    ],
)
def test_what_is_put_in_place_of_something_is_noticed(change, said):
    net = Net()
    seen = Seen(net)
    assert seen.changed() is None
    change(net)
    assert seen.changed() == said


def test_global_names_and_classes(monkeypatch):
    for change, said in (
        (lambda: monkeypatch.setitem(globals(), "SCALE", 2.0), "'SCALE' of the globals"),
        (lambda: monkeypatch.setitem(SETTINGS["inside"], "list", [2.0]), "'list' of a dict"),
        (lambda: monkeypatch.setattr(Shared, "scale", 2.0), "'scale' of class Shared"),
        (lambda: monkeypatch.setattr(Net, "factor", 2.0), "'factor' of class Net"),
        (lambda: monkeypatch.setattr(nn.Linear, "forward", lambda *_: None), "'forward' of class Linear"),
    ):
        seen = Seen(Net())
        change()
        assert seen.changed() == said
        monkeypatch.undo()


def test_equal_numbers_are_the_same():
    net = Net()
    seen = Seen(net)
    net.count = float("1000.5")
    assert seen.changed() is None
    net.count = 1001
    assert seen.changed() == "'count' of Net"


def test_a_tensor_is_looked_at_where_other_numbers_are_equal():
    net = Net()
    seen = Seen(net)
    net.count, net.head.weight.data = float("1000.5"), torch.zeros(2, 2)
    assert seen.changed() == "a tensor (2, 2)"


def test_what_becomes_no_number_has_changed():
    net = Net()
    seen = Seen(net)
    net.count = float("nan")
    assert seen.changed() == "'count' of Net"
    seen = Seen(net)
    net.count = float("nan") * 1
    assert seen.changed() is None


def test_memory_that_is_given_back_is_nobody_elses():
    net = Net()
    seen = Seen(net)
    places = set()
    for _ in range(50):
        net.head.weight.data = torch.zeros(2, 2)
        places.add(net.head.weight.data_ptr())
        assert seen.changed() == "a tensor (2, 2)"


def test_of_what_is_installed_no_code_is_walked_through():
    import torchvision

    net = torchvision.models.resnet18()
    assert len(Seen(net)._places) < 5 * len([*net.modules()])  # four a module, and their classes
