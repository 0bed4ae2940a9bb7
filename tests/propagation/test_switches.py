"""DeepLIFT through masks and indices that the input chose: complete, and refused where nothing carries them."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from test_secants import Apply, multipliers, pair

from heatproof.errors import OperationError
from heatproof.methods.deeplift import DeepLIFT


def _written(h):
    h = h.clone()
    h[h < 0] = 0
    return h


def _multiplied(h):
    h = h.clone()
    return h.mul_(h > 0)


def _filled(h):
    mask = torch.zeros_like(h)
    mask[h > 0] = 1.0
    return h * mask


def _kept(h):
    keep = torch.zeros_like(h, dtype=torch.bool)
    keep |= h > 0
    keep[:, :1] = h[:, :1] > 0
    return h * keep


def _under_no_grad(h):
    with torch.no_grad():
        mask = (h > 0).to(h.dtype)
    return h * mask


RELU = {
    "where": lambda h: torch.where(h > 0, h, 0.0),
    "where with tensors": lambda h: torch.where(h > 0, h, torch.zeros_like(h)),
    "Tensor.where": lambda h: h.where(h > 0, torch.tensor(0.0, dtype=h.dtype)),
    "times a mask": lambda h: h * (h > 0),
    "mask times": lambda h: (h > 0) * h,
    "times a float mask": lambda h: h * (h > 0).double(),
    "times a converted mask": lambda h: h * torch.gt(h, 0).to(h.dtype),
    "times type_as": lambda h: h * (h > 0).type_as(h),
    "masked_fill": lambda h: h.masked_fill(h < 0, 0.0),
    "masked_fill in place": lambda h: h.clone().masked_fill_(h < 0, 0.0),
    "not": lambda h: h * ~(h <= 0),
    "logical_not": lambda h: h * torch.logical_not(h.le(0)),
    "and": lambda h: h * ((h > 0) & (h > -1)),
    "or": lambda h: h * ((h > 0) | (h > 1)),
    "xor": lambda h: h * ((h > 0) ^ (h > 100)),
    "a mask rearranged": lambda h: h * (h.unsqueeze(2) > 0).squeeze(2).T.T.view_as(h),
    "a mask made of parts": lambda h: h * torch.cat([h[:, :2] > 0, h[:, 2:] > 0], 1),
    "divided": lambda h: h / (1e9 * (h <= 0) + 1) * (h > 0),
    "written": _written,
    "multiplied in place": _multiplied,
    "a mask of numbers": _filled,
    "under no_grad": _under_no_grad,
    "against zeros": lambda h: h * (h > torch.zeros_like(h)),
    "twice": lambda h: torch.where(h > 0, torch.where(h > 0, h, -h), 0.0),
}


@pytest.mark.parametrize("name", RELU)
@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_every_spelling_of_a_relu_is_a_relu(name, seed):
    x, bar = pair(seed)
    expected = multipliers(F.relu, x, bar)
    torch.testing.assert_close(multipliers(RELU[name], x, bar), expected, rtol=1e-6, atol=1e-8)


def _bent(h):
    return torch.where(h > 0, h, torch.expm1(h.clamp(max=0)))


ELEMENTWISE = {
    "leaky": (lambda h: torch.where(h >= 0, h, 0.1 * h), lambda h: F.leaky_relu(h, 0.1)),
    "elu": (lambda h: torch.where(h > 0, h, torch.expm1(h)), F.elu),
    "relu6": (lambda h: h * ((h > 0) & (h < 6)) + 6.0 * (h >= 6), F.relu6),
    "hard sigmoid": (lambda h: torch.where(h < -3, 0.0, torch.where(h > 3, 1.0, h / 6 + 0.5)), F.hardsigmoid),
    "absolute": (lambda h: h * torch.where(h > 0, 1.0, -1.0), torch.abs),
    "root": (lambda h: torch.where(h > 0, torch.sqrt(h), 0.0), lambda h: h.clamp(min=0).sqrt()),
    "inverse": (lambda h: torch.where(h > 0.5, 1 / h, 2.0), lambda h: 1 / h.clamp(min=0.5)),
    "overflow": (lambda h: torch.where(h > 0, torch.log1p(h), torch.exp(1000 * h) - 1), None),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1.0, 5.0]), zero=st.booleans())
def test_a_function_written_with_a_mask_has_its_average_slope(name, seed, scale, zero):
    x, bar = pair(seed, scale)
    bar = torch.zeros_like(bar) if zero else bar
    written, plain = ELEMENTWISE[name]
    slopes = multipliers(written, x, bar)
    change = (written(x[None]) - written(bar[None]))[0]
    torch.testing.assert_close(slopes, torch.diag(change / (x - bar)), rtol=1e-6, atol=1e-8)
    if plain is not None:
        torch.testing.assert_close(written(x), plain(x))


MAXIMA = {
    "gather": lambda h: h.gather(1, h.argmax(1, keepdim=True)),
    "gather by max": lambda h: h.gather(1, h.max(1, keepdim=True).indices),
    "gather by max, squeezed": lambda h: h.gather(1, h.max(1).indices[:, None]),
    "take_along_dim": lambda h: torch.take_along_dim(h, h.argmax(-1).unsqueeze(-1), -1),
    "by topk": lambda h: h.gather(1, h.topk(1, 1).indices),
    "by sort": lambda h: h.gather(1, h.sort(1, descending=True)[1][:, :1]),
    "by argsort": lambda h: h.gather(1, h.argsort(1)[:, -1:]),
    "index": lambda h: h[torch.arange(len(h)), h.argmax(1)][:, None],
    "one hot": lambda h: (h * F.one_hot(h.argmax(1), h.shape[1])).sum(1, keepdim=True),
    "equality": lambda h: (h * (torch.arange(h.shape[1]) == h.argmax(1, keepdim=True))).sum(1, keepdim=True),
    "minimum": lambda h: -(-h).gather(1, (-h).argmin(1, keepdim=True)),
}


@pytest.mark.parametrize("name", MAXIMA)
@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), zero=st.booleans())
def test_every_spelling_of_a_maximum_is_complete_and_bounded(name, seed, zero):
    x, bar = pair(seed)
    bar = torch.zeros_like(bar) if zero else bar
    m = multipliers(MAXIMA[name], x, bar)[0]
    torch.testing.assert_close((m * (x - bar)).sum(), x.max() - bar.max(), rtol=1e-9, atol=1e-12)
    assert bool(((m >= -1e-12) & (m <= 1 + 1e-12)).all())
    torch.testing.assert_close(m.sum(), torch.ones((), dtype=torch.float64))


def test_a_maximum_by_its_index_by_hand():
    # From (1, 0) to (2, 5): d = h₂ − h₁ goes from −1 to 3. J = ½ (3 − 1) = 1 moves with d by 1/4 a unit:
    # slopes ½ − ¼ and ½ + ¼, and ¼ · 1 + ¾ · 5 = 4 = 5 − 1.
    x, bar = torch.tensor([2.0, 5.0], dtype=torch.float64), torch.tensor([1.0, 0.0], dtype=torch.float64)
    expected = torch.tensor([[0.25, 0.75]], dtype=torch.float64)
    torch.testing.assert_close(multipliers(MAXIMA["gather"], x, bar), expected)


def test_a_switch_between_two_tensors_by_hand():
    # c from −1 to 3 switches from b = 2 (5 at the input) to a = 7 (1 at the baseline): Δ = 7 − 2, of which ½·(7 − 1)
    # goes to a, ½·(5 − 2) to b and ½·[(7 − 5) + (1 − 2)] = ½ to c.
    x = torch.tensor([[7.0, 5.0, 3.0]], dtype=torch.float64)
    bar = torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)
    m = multipliers(lambda t: torch.where(t[:, 2:] > 0, t[:, :1], t[:, 1:2]), x[0], bar)
    torch.testing.assert_close(m * (x - bar), torch.tensor([[3.0, 1.5, 0.5]], dtype=torch.float64))


def test_a_choice_that_is_the_same_at_the_baseline_is_constant():
    x, bar = torch.tensor([3.0, 1.0, 2.0]).double(), torch.tensor([1.0, -1.0, 0.0]).double()
    m = multipliers(lambda h: h[:, h.argmax(1)] * 2 + h[h > -9].view(1, 3).sum() * 0, x, bar)
    torch.testing.assert_close(m, torch.tensor([[2.0, 0.0, 0.0]]).double())


def _decides(h):
    return h if bool((h > 0).all()) else 2 * h


def _writes_a_count(h):
    return h * (h > 0).sum().item()


REFUSED = {
    "other places": (
        lambda h: h[h > 0].view(1, -1).sum(1, keepdim=True),
        r"__getitem__ .it chooses otherwise at the baseli",
    ),
    "another number of places": (
        lambda h: h[:, torch.nonzero(h[0] > 0)[:, 0]].sum(1, keepdim=True),
        r"__getitem__ .it chooses another number of places at the baseline",
    ),
    "an order that others decided": (
        lambda h: torch.tensor([[1.0, 2.0, 4.0]]).double().gather(1, h.argsort(1)),
        r"gather .it chooses otherwise at the baseline in 3 of 3 places, and no difference of two values decides it",
    ),
    "infinite": (lambda h: h.masked_fill(h < 0, -math.inf).softmax(1), r"masked_fill .2 of its 3 values are infinite"),
    "a decision": (_decides, r"calls bool .a value that the input chose leaves the tensors, and is another one"),
    "a count": (_writes_a_count, r"calls item .a value that the input chose leaves the tensors, and is another one"),
    "a scatter": (
        lambda h: h.scatter(1, h.argmax(1, keepdim=True), 0.0),
        r"scatter .it chooses otherwise .* in 1 of 1 places",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_nothing_carries_is_refused_with_how_many_places_differ(name):
    function, message = REFUSED[name]
    x, bar = torch.tensor([3.0, 1.0, 2.0]).double(), torch.tensor([-1.0, -1.5, 3.0]).double()
    if name == "an order that others decided":
        x, bar = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([1.0, 2.0, 0.0]).double()
    with pytest.raises(OperationError, match=message):
        multipliers(function, x, bar)


def test_a_mask_written_by_an_index_is_known_at_the_baseline():
    def kept(h):
        keep = torch.zeros(1, 3, dtype=torch.bool)
        keep[:, h.argmax(1)] = True
        return h * keep

    x = torch.tensor([3.0, 1.0, 2.0]).double()
    m = multipliers(kept, x, torch.tensor([2.0, 1.0, 0.0]).double())
    torch.testing.assert_close(m, torch.diag(torch.tensor([1.0, 0.0, 0.0]).double()))
    with pytest.raises(OperationError, match=r"calls mul .it chooses otherwise at the baseline in 2 of 3 places"):
        multipliers(kept, x, torch.tensor([1.0, 2.0, 0.0]).double())


def test_an_iterated_index_depends_on_the_input():
    def walk(h):
        return torch.stack([h[:, i] for i in h[0].topk(2).indices], 1)

    x = torch.tensor([3.0, 1.0, 2.0]).double()
    m = multipliers(walk, x, torch.tensor([2.0, 0.0, 1.0]).double())
    torch.testing.assert_close(m, torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).double())
    bar = torch.tensor([0.0, -1.0, 2.0]).double()  # the two change their order
    m = multipliers(walk, x, bar)
    torch.testing.assert_close(m @ (x - bar), torch.tensor([3.0 - 2.0, 2.0 - 0.0]).double())
    assert bool(((m >= 0) & (m <= 1)).all())


def test_in_a_network_and_a_batch():
    torch.manual_seed(0)
    first, last = torch.nn.Linear(4, 6), torch.nn.Linear(6, 3)

    class Net(Apply):
        def __init__(self):
            super().__init__(None)
            self.first, self.last = first, last

        def forward(self, x):
            h = self.first(x)
            h = torch.where(h > 0, h, 0.1 * h)
            return self.last(h * (h > h.mean(1, keepdim=True)))

    model, x = Net().double().eval(), torch.randn(5, 4, dtype=torch.float64)
    explained = DeepLIFT().explain(model, x, torch.tensor([0, 1, 2, 0, 1]))
    said = explained.diagnostics
    assert bool((said["completeness-gap"].abs() <= 1e-8 * (said["score"] - said["baseline-score"]).abs()).all())
    alone = torch.cat([DeepLIFT()(model, x[i : i + 1], torch.tensor([i % 3])) for i in range(5)])
    torch.testing.assert_close(explained.maps, alone)
