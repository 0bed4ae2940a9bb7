"""Which run of a submodule, and which of its results: named, or refused with what there is to name."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from heatproof.errors import InputError, UnknownNameError
from heatproof.methods import LRP, Gradient, IntegratedGradients
from heatproof.models import Bound, forward
from heatproof.randomization.layers import usage


class Pair(nn.Module):
    """S = ⟨a, e(p)⟩ + ⟨b, e(q)⟩² for two inputs by one embedding."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.emb, self.a, self.b = nn.Embedding(7, 3), nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
        self.eval()

    def forward(self, p, q):
        return self.a(self.emb(p)) + self.b(self.emb(q)) ** 2


P, Q, LABELS = torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6]), torch.tensor([0, 1, 0])


@pytest.mark.parametrize("method", [Gradient(), IntegratedGradients(steps=2)], ids=str)
def test_one_run_of_a_shared_embedding_is_replaced_and_no_other(method):
    net = Pair()
    first = Bound(net, at="emb#1", given={"p": P, "q": Q})
    second = Bound(net, at="emb#2", given={"p": P, "q": Q})
    assert torch.equal(first.inputs(), net.emb(P))
    assert torch.equal(second.inputs(), net.emb(Q))
    assert torch.equal(forward(first, first.inputs()), net(P, Q))
    assert torch.equal(forward(second, second.inputs()), net(P, Q))
    a, b = net.a.weight[LABELS].detach(), net.b.weight[LABELS].detach()
    e, f = first.inputs(), second.inputs()
    slope = 2 * (b * f).sum(1, keepdim=True) * b
    expected = (a, slope) if isinstance(method, Gradient) else (a * e, slope / 2 * f)  # a square's mean slope is half
    torch.testing.assert_close(method(first, e, LABELS), expected[0])
    torch.testing.assert_close(method(second, f, LABELS), expected[1])


def test_several_runs_without_a_number_are_refused():
    bound = Bound(Pair(), at="emb", given={"p": P, "q": Q})
    said = r"submodule 'emb' to run once, but it ran 2 times; say which run: 'emb#1' to 'emb#2'"
    with pytest.raises(InputError, match=said):
        bound.inputs()
    with pytest.raises(InputError, match=said):
        Gradient()(bound, torch.rand(3, 3), LABELS)
    with pytest.raises(InputError, match=r"'emb' to run 3 times or more, but it ran 2 times"):
        Bound(Pair(), at="emb#3", given={"p": P, "q": Q}).inputs()
    with pytest.raises(InputError, match=r"runs to be counted from 1, but got 'emb#0'; the first is emb#1"):
        Bound(Pair(), at="emb#0", given={"p": P, "q": Q})
    assert len(bound.net.emb._forward_hooks) == 0


def test_a_layer_that_runs_twice_is_explained_run_by_run():
    torch.manual_seed(0)
    shared = nn.Linear(3, 3)
    net, x = nn.Sequential(shared, nn.Tanh(), shared).eval(), torch.rand(2, 3)
    assert torch.equal(forward(Bound(net, layer="0#1"), x), shared(x))
    assert torch.equal(forward(Bound(net, layer="0#2"), x), net(x))
    torch.testing.assert_close(
        Gradient()(Bound(net, layer="0#1"), x, torch.tensor([0, 2])), shared.weight[[0, 2]].detach()
    )


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.lstm, self.head = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)
        self.eval()

    def forward(self, x):
        out, (h, _) = self.lstm(x)
        return self.head(out.mean(1)) + self.head(h[-1])


X = torch.rand(3, 5, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", [Gradient(), LRP(composite="epsilon")], ids=str)
def test_one_tensor_of_a_tuple(method):
    net = Recurrent()
    bound = Bound(net, at="lstm[0]", given={"x": X})
    out, (h, _) = net.lstm(X)
    assert torch.equal(bound.inputs(), out)
    assert torch.equal(forward(bound, out), net(X))
    found = method(bound, bound.inputs(), LABELS)
    weight = net.head.weight[LABELS][:, None].detach() / 5
    expected = weight.expand(3, 5, 4)
    if isinstance(method, Gradient):
        torch.testing.assert_close(found, expected)
    last = Bound(net, layer="lstm[0]", layout="channels-last")
    torch.testing.assert_close(forward(last, X), out.mean(1))
    with pytest.raises(InputError, match=r"which dimensions of 'lstm\[0\]' \(3, 5, 4\) are positions; say it"):
        forward(Bound(net, layer="lstm[0]"), X)
    explained = Bound(net, layer="lstm[1][0]", layout="channels-last")
    assert torch.equal(Bound(net, at="lstm[1][0]", given={"x": X}).inputs(), h)
    with pytest.raises(InputError, match=r"logits \(N, C\) with N = 3"):  # (layers, N, K) has its samples elsewhere
        forward(explained, X)


class Named(NamedTuple):
    hidden: Tensor
    other: Tensor


class Results(nn.Module):
    """Passes a tensor through a submodule that returns it in a container."""

    def __init__(self, wrap, unwrap):
        super().__init__()
        self.inner, self.unwrap = Wrap(wrap), unwrap
        self.eval()

    def forward(self, x):
        return self.unwrap(self.inner(x))


class Wrap(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(x)


@pytest.mark.parametrize(
    ("wrap", "unwrap", "item"),
    [
        (lambda x: (x, 2 * x), lambda out: out[0] * 3 + out[1], "[0]"),
        (lambda x: [2 * x, x], lambda out: out[1] * 3 + out[0], "[-1]"),
        (lambda x: {"h": x, "o": 2 * x}, lambda out: out["h"] * 3 + out["o"], "[h]"),
        (lambda x: Named(x, 2 * x), lambda out: out.hidden * 3 + out.other, "[hidden]"),
        (lambda x: ((x, x), 2 * x), lambda out: out[0][1] * 3 + out[1], "[0][1]"),
    ],
)
def test_items_of_every_container(wrap, unwrap, item):
    net, x = Results(wrap, unwrap), torch.rand(3, 2)
    bound = Bound(net, at=f"inner{item}", given={"x": x})
    assert torch.equal(bound.inputs(), x)
    torch.testing.assert_close(forward(bound, x + 1), 3 * (x + 1) + 2 * x)
    torch.testing.assert_close(forward(Bound(net, layer=f"inner{item}"), x), x)
    torch.testing.assert_close(Gradient()(bound, x, LABELS), 3 * nn.functional.one_hot(LABELS, 2).float())


def test_a_container_without_an_item_says_what_it_holds():
    with pytest.raises(InputError, match=r"to be a tensor, but it is a tuple with 0: \(3, 5, 4\), .*as 'lstm\[0\]'"):
        Bound(Recurrent(), at="lstm", given={"x": X}).inputs()
    with pytest.raises(InputError, match=r"'lstm' to be a tensor, but it is a tuple with 0: \(3, 5, 4\)"):
        Gradient()(Bound(Recurrent(), layer="lstm"), X, LABELS)
    with pytest.raises(InputError, match=r"item \[7\] in what 'lstm' returns, but it is a tuple with 0: \(3, 5, 4\)"):
        Bound(Recurrent(), at="lstm[7]", given={"x": X}).inputs()


def test_names_of_places():
    net = Pair()
    with pytest.raises(UnknownNameError, match="submodule of Pair, but got 'embb'; did you mean 'emb'"):
        Bound(net, at="embb")
    with pytest.raises(UnknownNameError, match=r"submodule of Pair, but got 'emb\[0'; did you mean 'emb'"):
        Bound(net, at="emb[0")
    with pytest.raises(InputError, match=r"submodule of Pair, but got a Linear itself; its name there is 'a'"):
        Bound(net, layer=net.a)
    with pytest.raises(InputError, match=r"but got a ReLU itself; it is none of the network's"):
        Bound(net, layer=nn.ReLU())
    with pytest.raises(InputError, match=r"the model to be a torch\.nn\.Module or a function, but got 3"):
        Bound(3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"at": "emb#1", "given": {"p": P, "r": Q}}, r"argument of Pair\.forward, but got 'r'; known are: p, q"),
        (
            {"at": "emb#1", "given": {"p": P}},
            r"argument of Pair\.forward that has no default, but 'q' is missing",
        ),
        ({"at": "emb#1"}, r"but 'p', 'q' are missing"),
        ({}, r"argument of Pair\.forward that has no default, but 'q' is missing"),
        (
            {"given": {"p": P, "q": Q}},
            r"without 'p' among `given`: it is the first argument of Pair\.forward",
        ),
        (
            {"given": {"q": [3]}},
            r"given\['q'\] to be a tensor with one row a sample, its name .*, but got \[3\] \(list\); what all",
        ),
    ],
)
def test_given_is_held_to_the_signature(arguments, said):
    with pytest.raises(InputError, match=said):
        Bound(Pair(), **arguments)


def test_other_counts_of_samples():
    bound = Bound(Pair(), at="emb#1", given={"p": P, "q": Q})
    said = r"as many inputs as given\['p'\] has rows, .*\(3\), but got 2 inputs; .*models\.select\(bound, torch"
    with pytest.raises(InputError, match=said):
        Gradient()(bound, bound.inputs()[:2], LABELS[:2])


def test_randomization_sees_what_the_explained_tensor_leaves_of_a_network():
    def layers(bound):
        return [layer.name for layer in usage(bound, bound.inputs()).layers]

    given = {"p": P, "q": Q}
    assert layers(Bound(Pair(), at="emb#1", given=given)) == ["a", "emb", "b"]  # its other run is a part of the network
    assert layers(Bound(Recurrent(), at="lstm[0]", given={"x": X})) == ["head", "lstm"]  # and so is its other result
    net = nn.Sequential(nn.Embedding(9, 3), nn.Linear(3, 3), nn.Linear(3, 2)).eval()
    assert layers(Bound(net, at="0", given={"input": P})) == ["1", "2"]
    assert layers(Bound(net, at="0#1", layer="1", given={"input": P})) == ["1"]
