import importlib
import json
import pickle
import subprocess
import sys
from copy import deepcopy
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.fingerprint import model_fingerprint, network_fingerprint, probe, same_outputs


class Gated(nn.Module):
    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        return x * gate[:, None]


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.layer = nn.Linear(2, 2)
        nn.init.ones_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)
        self.register_buffer("hidden", torch.zeros(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x) * self.factor
        return out


class Subtract:
    def __init__(self, mean: float) -> None:
        self.mean = mean

    def __call__(self, x: Tensor) -> Tensor:
        return x - self.mean


def test_equal_models_have_one_fingerprint() -> None:
    assert model_fingerprint(Scaled(1.0)) == model_fingerprint(Scaled(1.0))


def test_weights_buffers_attributes_and_modes_of_use_count() -> None:
    plain = Scaled(1.0)
    other, hidden = Scaled(1.0), Scaled(1.0)
    with torch.no_grad():
        other.layer.bias[0] = 1e-30
    hidden.hidden += 1
    variants = [
        plain,
        other,
        hidden,
        Scaled(2.0),
        hp.Bound(Scaled(1.0)),
        hp.Bound(Scaled(1.0), layer="layer"),
        hp.Bound(Scaled(1.0), layer="layer", reduction="max"),
        hp.Bound(Scaled(1.0), preprocessing=Subtract(0.1)),
        hp.Bound(Scaled(1.0), preprocessing=Subtract(0.2)),
        hp.Bound(Scaled(1.0), preprocessing=partial(torch.nn.functional.pad, pad=(1, 1))),
    ]
    assert len({model_fingerprint(model) for model in variants}) == len(variants)


def test_an_object_that_preprocesses_is_known_by_its_state_not_its_address() -> None:
    one, other = (hp.Bound(Scaled(1.0), preprocessing=Subtract(0.1)) for _ in range(2))
    assert model_fingerprint(one) == model_fingerprint(other)


def test_outputs_are_compared_relative_to_their_size() -> None:
    assert not same_outputs([[1e-4, 2e-4]], [[5e-4, -3e-4]])
    assert same_outputs([[1e-4, 2e-4]], [[1e-4, 2.0001e-4]])
    assert same_outputs([[0.0, 0.0]], [[0.0, 0.0]])
    assert not same_outputs([[1.0, 2.0]], [[1.0]])


def defined(body: str, **names: object) -> type[nn.Module]:
    """A network written as in a file that is edited between two runs: its forward is `body`."""
    source = f"class Edited(nn.Module):\n    def forward(self, x):\n        {body}\n"
    space = {"nn": nn, "torch": torch, "__name__": "edited", **names}
    exec(compile(source, "edited.py", "exec"), space)
    found: type[nn.Module] = space["Edited"]  # type: ignore[assignment]  # made above
    return found


class TestCode:
    """The same weights under other code are another network."""

    def test_an_edited_forward(self) -> None:
        one, again, other = (defined(body)() for body in ("return x * 2", "return x * 2  # said", "return x * 3"))
        assert network_fingerprint(one) == network_fingerprint(again)
        assert network_fingerprint(one) != network_fingerprint(other)

    def test_an_edited_helper_or_constant_of_the_same_module(self) -> None:
        def helper(body: str) -> object:
            space: dict[str, object] = {"__name__": "edited"}
            exec(f"def helper(x):\n    return {body}\n", space)
            return space["helper"]

        variants = [
            defined("return helper(x) * GAIN", helper=helper(body), GAIN=gain)()
            for body, gain in (("x + 1", 1.0), ("x + 2", 1.0), ("x + 1", 2.0), ("x - 1", 1.0))
        ]
        assert len({network_fingerprint(net) for net in variants}) == 4

    def test_a_base_class_of_the_users(self) -> None:
        one, other = (type("Net", (defined(body),), {"__module__": "edited"})() for body in ("return x", "return -x"))
        assert network_fingerprint(one) != network_fingerprint(other)

    def test_settings_callables_overrides_hooks_and_plain_tensors_of_an_instance(self) -> None:
        def net(**changes: object) -> nn.Module:
            made = nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU(0.1))
            nn.init.ones_(made[0].weight), nn.init.zeros_(made[0].bias)
            for name, value in changes.items():
                setattr(made[1], name, value)
            return made

        hooked, other_hook = net(), net()
        hooked[0].register_forward_hook(lambda module, inputs, out: out + 1)
        other_hook[0].register_forward_hook(lambda module, inputs, out: out + 2)
        variants = [
            net(),
            net(negative_slope=0.2),
            net(activation=torch.relu),
            net(activation=torch.tanh),
            net(forward=lambda x: x * 2),
            net(forward=lambda x: x * 3),
            net(scale=torch.ones(2)),
            net(scale=torch.zeros(2)),
            net(scales=[torch.ones(2)]),
            net(options={"depth": 1}),
            net(options={"depth": 2}),
            hooked,
            other_hook,
        ]
        assert len({network_fingerprint(one) for one in variants}) == len(variants)
        assert network_fingerprint(net(device=torch.device("cpu"))) == network_fingerprint(net())
        private = [Scaled(1.0), Scaled(1.0)]
        private[1]._slope = 0.1  # type: ignore[assignment]  # as users do
        assert network_fingerprint(private[0]) != network_fingerprint(private[1])

    def test_what_preprocesses_belongs_to_what_is_fitted(self) -> None:
        def bound(number: float) -> nn.Module:
            return hp.Bound(Scaled(1.0), preprocessing=lambda x: x - number)

        one, line = hp.Bound(Scaled(1.0), preprocessing=lambda x: x / 2), lambda x: x / 3
        marks = [network_fingerprint(net) for net in (bound(0.1), bound(0.2), one)]
        marks += [network_fingerprint(hp.Bound(Scaled(1.0), preprocessing=line))]
        assert len(set(marks)) == 4
        assert network_fingerprint(bound(0.1)) == marks[0]

    def test_samples_do_not(self) -> None:
        given = [hp.Bound(Gated(), given={"gate": torch.full((2,), i)}) for i in range(2)]
        assert network_fingerprint(given[0]) == network_fingerprint(given[1])
        assert model_fingerprint(given[0]) != model_fingerprint(given[1])

    def test_what_a_forward_pass_counts_in_lists_does_not(self) -> None:
        calls: list[int] = []

        class Counting(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                calls.append(len(x))
                return x

        net = Counting()
        before = network_fingerprint(net)
        net(torch.ones(1, 2))
        assert network_fingerprint(net) == before

    def test_copies_pickles_and_other_processes_agree(self, tmp_path: Path) -> None:
        script = (
            "import torch, sys; sys.path.insert(0, sys.argv[1]); import written\n"
            "from heatproof.fingerprint import network_fingerprint as mark\n"
            "print(mark(written.net()), mark(written.overridden()))"
        )
        (tmp_path / "written.py").write_text(
            "import types, torch\nfrom torch import nn\nSHIFT = {'a', 'b', 'c', 'd'}\n"
            "def doubled(self, x):\n    return x * 2 if 'a' in {'a', 'b', 'c'} else x\n"
            "class Net(nn.Module):\n    names = frozenset('abcdef')\n"
            "    def forward(self, x):\n        return self.inner(x) + len(SHIFT)\n"
            "def net():\n    made = Net()\n    made.inner = nn.Linear(2, 2)\n    made.act = torch.relu\n"
            "    nn.init.ones_(made.inner.weight), nn.init.zeros_(made.inner.bias)\n"
            "    return made\ndef overridden():\n    made = net()\n"
            "    made.inner.forward = types.MethodType(doubled, made.inner)\n    return made\n"
        )
        run = [subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, check=True) for _ in "12"]
        sys.path.insert(0, str(tmp_path))
        try:
            written = importlib.import_module("written")
        finally:
            sys.path.remove(str(tmp_path))
        net, overridden = written.net(), written.overridden()
        marks = {network_fingerprint(one) for one in (net, deepcopy(net), pickle.loads(pickle.dumps(net)))}
        overrides = {network_fingerprint(one) for one in (overridden, deepcopy(overridden))}
        assert len(marks) == len(overrides) == 1
        assert {one.stdout.decode().strip() for one in run} == {" ".join([*marks, *overrides])}


def test_parametrized_networks_and_their_copies_agree() -> None:
    def net(dim: int) -> nn.Module:
        layer = nn.Linear(2, 2)
        nn.init.ones_(layer.weight), nn.init.zeros_(layer.bias)
        return nn.Sequential(nn.utils.parametrizations.weight_norm(layer, dim=dim))

    assert network_fingerprint(net(0)) == network_fingerprint(deepcopy(net(0))) == network_fingerprint(net(0))
    assert network_fingerprint(net(0)) != network_fingerprint(net(1))


def test_outputs_that_are_not_finite_are_the_same_only_where_both_are() -> None:
    model = nn.Module()
    model.forward = lambda x: torch.log(x)  # type: ignore[method-assign]  # as users do
    seen = probe(model, torch.tensor([[0.0, 1.0]]))
    assert seen == [["-inf", 0.0]]
    assert json.loads(json.dumps(seen, allow_nan=False)) == seen
    assert same_outputs(seen, seen)
    assert not same_outputs(seen, [[1.0, 0.0]])
