"""How many calls of torch a layer costs: every one more is a pass over its activations, and a kernel on a GPU."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from heatproof.errors import InputError
from heatproof.methods.lrp import relevance
from heatproof.propagation.clamping import Clamping
from heatproof.propagation.composites import Composite
from heatproof.propagation.differences import Differences
from heatproof.propagation.mode import Engine
from heatproof.propagation.relevance import ratio
from heatproof.propagation.rules import AdaptiveBeta, AlphaBeta, Epsilon, Gamma, z_plus
from heatproof.propagation.secants import divided, relu_slope
from heatproof.propagation.stabilizers import Stabilizer
from heatproof.propagation.sums import damping

# Calls that compute nothing.
VIEWS = frozenset(["alias", "detach", "empty", "empty_like", "expand", "new_empty", "slice", "t", "unsqueeze", "view"])
X = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))


class Calls(TorchDispatchMode):
    """The names of all calls that compute something, in their order."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, kinds, args=(), kwargs=None):
        name = function._schema.name.removeprefix("aten::")
        if name not in VIEWS:
            self.names.append(name)
        return function(*args, **(kwargs or {}))


def counted(run):
    with Calls() as calls:
        result = run()
    return " ".join(calls.names), result


def of_lrp(rule, net, x, **layers):
    """The calls of the forward pass, and those of a pull, without the mask that stands first and last."""

    def explained():
        return relevance(net.eval(), x, Composite(convolution=rule, dense=rule, **layers))

    explained()  # what is asked of constants once is known
    forward, pull = counted(explained)
    cotangent = torch.ones_like(pull.outputs)
    back, _ = counted(lambda: pull(cotangent))
    return forward.removeprefix("ones_like mul clone "), back.removesuffix(" mul")


SIZE = "linalg_vector_norm div_ mul_ threshold_"  # ε times the mean magnitude
RULE = {
    "z+": (z_plus(), f"clamp mm {SIZE} add div mul_ mm"),
    "alpha-beta": (AlphaBeta(), f"clamp clamp mm mm {SIZE} add div mul_ {SIZE} sub div mul_ mul_ mul_ mm mm add"),
    "gamma": (
        Gamma(),
        "clamp mul_ add_ clamp mul_ add_ mm mm clamp mul add clamp clamp mul add clamp "
        f"{SIZE} add clamp add div {SIZE} add clamp sub div mul_ mul_ mm mm add",
    ),
}


def test_epsilon_of_a_linear_layer():
    assert of_lrp(Epsilon(), nn.Linear(5, 3), X) == (f"addmm sub {SIZE} abs add div_", "mul mm")
    assert of_lrp(Epsilon(), nn.Linear(5, 3, bias=False), X) == (f"mm {SIZE} abs add div_", "mul mm")
    assert of_lrp(Epsilon(stabilizer="absolute"), nn.Linear(5, 3), X) == ("addmm abs add div_", "mul mm")


@pytest.mark.parametrize("name", RULE)
def test_rules_of_a_layer_after_a_relu(name):
    rule, calls = RULE[name]
    net = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3))
    forward, back = of_lrp(rule, net, X, layers={"0": Epsilon(epsilon=0.0)})
    assert forward == "addmm new_ones relu addmm"
    assert back == f"{calls} threshold_backward mul mm"


def test_a_layer_that_a_batch_norm_goes_into_has_one_factor():
    # Scale and shift, the value, and the factor of both as one; of the convolution alone none is made.
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    forward, back = of_lrp(Epsilon(), net, IMAGES)
    assert forward == f"convolution add rsqrt mul mul sub native_batch_norm sub {SIZE} abs add div_ relu"
    assert back == "threshold_backward mul mul convolution_backward"


def test_a_relu_in_place_copies_no_value():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten())
    forward, _ = of_lrp(AdaptiveBeta(), net, IMAGES)
    assert forward == "convolution add rsqrt mul mul sub native_batch_norm relu_"


class Rectified(nn.Module):
    """A ReLU, spelled in one of three ways, of a value that others may read before or after."""

    def __init__(self, spelled, before, after):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(5, 4), nn.Linear(4, 3)
        self.relu = {"relu": F.relu, "relu_": F.relu_, "clamp": lambda h: h.clamp(min=0)}[spelled]
        self.before, self.after = before, after

    def forward(self, x):
        h = self.first(x)
        before = self.before(h)
        rectified = self.relu(h)
        return self.last(rectified * 2 + before + self.after(h if self.relu is not F.relu_ else rectified))


def nothing(h):
    return 0.0


READERS = [nothing, lambda h: 3 * h, lambda h: 3 * h.view(2, 2, 2).flatten(1), F.relu]


@pytest.mark.parametrize("rule", [Epsilon(), z_plus(), AlphaBeta(), AdaptiveBeta(), Gamma(), Gamma(bias="ignored")])
@pytest.mark.parametrize("before", READERS)
def test_a_relu_that_alone_reads_a_value_gets_what_another_would(rule, before):
    # The rule may then leave out what closed ReLUs hand back, and the value be overwritten. `clamp` is no such reader.
    rules = Composite(convolution=rule, dense=rule)

    def maps(spelled, after):
        return relevance(Rectified(spelled, before, after).eval(), X, rules)(torch.ones(2, 3))

    expected = maps("clamp", nothing)
    assert expected.any()
    assert torch.equal(maps("relu", nothing), expected)
    assert torch.equal(maps("relu_", nothing), expected)
    assert torch.equal(maps("relu_", F.relu), maps("clamp", F.relu))
    for after in READERS[1:]:
        assert torch.equal(maps("relu", after), maps("clamp", after))


def test_an_output_is_read_by_who_explains_it():
    class Net(nn.Module):
        def __init__(self, last):
            super().__init__()
            torch.manual_seed(0)
            self.layer, self.last = nn.Linear(5, 3), last

        def forward(self, x):
            h = self.layer(x)
            F.relu(h)
            return self.last(h)

    rules = Composite(convolution=Gamma(), dense=Gamma())
    maps = [relevance(Net(last).eval(), X, rules)(torch.ones(2, 3)) for last in (lambda h: 1 * h, lambda h: h)]
    assert torch.equal(*maps)


def test_gamma_before_a_relu_is_one_evaluation():
    net = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    _, back = of_lrp(Epsilon(), net, X, layers={"0": Gamma()})
    evaluated = "clamp mul_ add_ clamp mul_ add_ clamp clamp mm mm add_"  # of inputs of any sign
    shared = f"clamp mul add {SIZE} add clamp add div mul_ mm mm gt lerp"
    assert back == f"mul mm threshold_backward {evaluated} {shared}"


def test_what_nobody_gets_costs_four_calls_a_term():
    def calls(opened):
        net = nn.Sequential(nn.ReLU(), nn.Linear(5, 3)).eval()
        pull = relevance(net, X, Composite(convolution=AdaptiveBeta(), dense=z_plus()))
        if opened:
            pull.ledger.start()
        return counted(lambda: pull(torch.ones(2, 3)))[0].split()

    assert sorted(calls(True)) == sorted([*calls(False), "eq", "mul_", "mul_", "sum"])


def back_of(strategy, net, x):
    net.eval()
    x = x.clone().requires_grad_()
    forward, outputs = counted(lambda: Engine(net, strategy).run(x, net))
    cotangent = torch.ones_like(outputs)
    return forward, counted(lambda: torch.autograd.grad(outputs, x, cotangent))[0]


def test_guided_backpropagation_clamps_at_a_relu_and_scales_at_a_batch_norm():
    assert back_of(Clamping(masked=True), nn.ReLU(), X) == ("relu", "clamp threshold_backward")
    net = nn.Sequential(nn.BatchNorm1d(5), nn.ReLU())
    assert back_of(Clamping(masked=True), net, X) == (
        "native_batch_norm add rsqrt mul relu",
        "clamp threshold_backward mul",
    )


@pytest.mark.parametrize("in_place", [False, True])
def test_deeplift_of_a_relu(in_place):
    strategy = Differences(torch.zeros(1, 5).expand(2, 5), max_pool="complete", products="complete", rule="rescale")
    net = nn.Sequential(nn.Linear(5, 5), nn.ReLU(inplace=in_place))
    slope = "eq sub sign addcmul_ add_ div_"
    relu = f"clone relu_ sub relu_ {slope}" if in_place else f"relu sub relu {slope}"
    assert back_of(strategy, net, X) == (f"clone addmm addmm {relu}", "mul mm")


@pytest.mark.parametrize("rule", [Epsilon(), Gamma(), z_plus()])
@pytest.mark.parametrize("read", [lambda h: h, nn.functional.silu, lambda h: h + h.square()])
def test_a_constant_that_is_added_in_place_is_read_before(rule, read):
    # The factor of the layer alone is made of its own values, although it is not asked for.
    class Net(nn.Module):
        def __init__(self, in_place):
            super().__init__()
            torch.manual_seed(0)
            self.layer, self.shift, self.in_place = nn.Linear(5, 3), nn.Parameter(torch.randn(3)), in_place

        def forward(self, x):
            h = self.layer(x)
            if self.in_place:
                h += self.shift
                return read(h)
            return read(h + self.shift)

    rules = Composite(convolution=rule, dense=rule)
    maps = [relevance(Net(in_place).eval(), X, rules)(torch.ones(2, 3)) for in_place in (False, True)]
    assert torch.equal(*maps)


def test_a_layer_read_beside_its_batch_norm_keeps_its_own_factor():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = nn.Linear(5, 3, bias=False), nn.BatchNorm1d(3)

        def forward(self, x):
            h = self.layer(x)
            both = torch.cat([self.norm(h), h], 1)
            h.zero_()  # whose values are needed no more
            return both

    net = Net().double().eval()
    torch.nn.init.constant_(net.norm.bias, 0.3)
    x = X.double()
    maps = relevance(net, x, Composite(convolution=Epsilon(epsilon=0.5), dense=Epsilon(epsilon=0.5)))(
        torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]], dtype=torch.float64).expand(2, 6)
    )
    z = net.layer(x).detach()
    factor = z / (z + 0.5 * z.abs().mean(1, keepdim=True) * z.sign())
    torch.testing.assert_close(maps, x * (factor @ net.layer.weight.detach()), rtol=1e-12, atol=0)


def test_outputs_may_be_written_into_before_a_pull():
    net = nn.Linear(5, 3).eval()
    pulls = [relevance(net, X, Composite(convolution=Epsilon(), dense=Epsilon())) for _ in range(2)]
    pulls[0].outputs.detach().zero_()
    assert torch.equal(*(pull(torch.ones(2, 3)) for pull in pulls))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("epsilon", [1e-6, 0.25, 5.0, torch.tensor([[1e-30], [1e-6], [2.0]])], ids=str)
def test_the_damping_is_the_quotient_with_signs_to_the_bit(dtype, epsilon):
    tiny = torch.finfo(dtype).tiny
    z = torch.cat([torch.randn(200, dtype=dtype) * 10.0 ** torch.randint(-30, 30, (200,)), torch.zeros(1, dtype=dtype)])
    z = torch.cat([z, torch.tensor([-0.0, tiny, -tiny / 2, torch.inf, -torch.inf, torch.nan], dtype=dtype)]).expand(
        3, -1
    )
    epsilon = epsilon.to(dtype) if isinstance(epsilon, torch.Tensor) else epsilon
    quotient = z / torch.where(z >= 0, z + epsilon, z - epsilon)
    ours = damping(z, epsilon)
    assert ours.dtype == dtype
    assert torch.equal(ours.nan_to_num(2.0), quotient.nan_to_num(2.0))
    assert torch.equal(ours.isnan(), quotient.isnan())  # at NaN, and at ∞/∞
    assert not ours.nan_to_num(0.0).signbit().any()  # at −0, too


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_stabilizer_does_not_vanish(dtype):
    tiny = torch.finfo(dtype).tiny
    total = torch.tensor([[0.0, -0.0], [tiny, -tiny], [3.0, -1.0], [torch.nan, 1.0]], dtype=dtype)
    size = Stabilizer(1e-9, (-1,)).of(total)
    expected = torch.tensor([1e-9, 1e-9, 2e-9, torch.nan], dtype=dtype)[:, None]
    if dtype == torch.float64:  # which has numbers below the smallest normal one
        expected[1] = tiny * 1e-9 or 1e-9
    torch.testing.assert_close(size, expected, equal_nan=True, rtol=1e-6, atol=0)
    own = Stabilizer(0.5, ()).of(total[:3])
    assert torch.equal(own[[0, 2]], torch.tensor([[0.5, 0.5], [1.5, 0.5]], dtype=dtype))
    assert Stabilizer(0.5, None).of(total) == 0.5
    assert Stabilizer(0.0, (-1,)).of(total) == 0


@pytest.mark.parametrize("rule", [Epsilon, AlphaBeta, AdaptiveBeta, Gamma])
@pytest.mark.parametrize("epsilon", [-1e-6, float("nan")])
def test_an_epsilon_below_0_is_refused(rule, epsilon):
    with pytest.raises(InputError, match=rf"Expected epsilon to be at least 0, but got {epsilon}\."):
        rule(epsilon=epsilon)


def test_ratios_where_a_value_or_its_input_is_0():
    x = torch.tensor([2.0, -2.0, 0.0, -0.0, 0.0, -0.0, -3.0, torch.nan])
    y = torch.tensor([1.0, 1.0, 0.0, -0.0, 0.5, 0.5, 0.0, 1.0])
    found = ratio(y, x)
    expected = torch.tensor([0.5, -0.5, 0.0, 0.0, 1e9, 1e9, 0.0, torch.nan])
    torch.testing.assert_close(found, expected, equal_nan=True, rtol=0, atol=0)
    assert not found[[2, 3, 6]].signbit().any()
    change, difference = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([2.0, 0.0, 0.0])
    assert torch.equal(divided(change, difference, 0.25), torch.tensor([0.5, 0.25, 0.25]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slopes_of_a_relu_are_its_secants(dtype):
    x = torch.tensor([-2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 3.0], dtype=dtype)
    one, other = torch.meshgrid(x, x, indexing="ij")
    slope = relu_slope(one - other, F.relu(one), F.relu(other))
    difference = one - other
    secant = (F.relu(one) - F.relu(other)) / difference
    assert torch.equal(slope, torch.where(difference == 0, (one > 0).to(dtype), secant))
