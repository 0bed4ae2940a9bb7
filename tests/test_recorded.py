"""A method of one network, recorded and replayed: the same bits, and never those of another network."""

import ctypes

import pytest
import torch
from torch import nn

import heatproof as hp
from heatproof.errors import InputError, OperationError
from heatproof.methods import LRP, DeepLIFT, Explanation, Gradient, GradientXInput, Method, SmoothGrad
from heatproof.models import Bound
from heatproof.state import same_bits

Y = torch.tensor([0, 3, 1, 2])


def images(seed, count=4):
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


class Net(nn.Module):
    """Convolution, batch norm, pooling, a skip and dense layers; `scale` is a setting of its own."""

    def __init__(self, norm=True):
        super().__init__()
        self.scale = 1.0
        self.first, self.norm, self.relu = (
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6) if norm else nn.Identity(),
            nn.ReLU(),
        )
        self.second, self.pool, self.flat = nn.Conv2d(6, 6, 3, padding=1), nn.MaxPool2d(4), nn.Flatten()
        self.head = nn.Linear(6 * 16, 4)

    def forward(self, x):
        x = self.relu(self.norm(self.first(x)))
        x = x + torch.relu(self.second(x))
        return self.scale * self.head(self.flat(self.pool(x)))


def network(**fields):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net(**fields).eval()


def same(one: Explanation, other: Explanation):
    pairs = [(one.maps, other.maps), *((one.diagnostics[k], v) for k, v in other.diagnostics.items())]
    return one.diagnostics.keys() == other.diagnostics.keys() and all(same_bits(a, b) for a, b in pairs)


def plain_chain():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(64, 4)]
        return nn.Sequential(*layers).eval()


SHORT = {
    "integrated-gradients": {"steps": 4}, "smoothgrad": {"samples": 3}, "vargrad": {"samples": 3},
    "meaningful-perturbation": {"steps": 3}, "occlusion": {"window": 8},
    "iba": {"layer": "0", "steps": 2, "samples": 2}, "iba-readout": {"layer": "0", "readouts": ("0",)},
}  # fmt: skip


def short(name):
    if name.startswith("integrated-gradients-"):
        around = SmoothGrad if name.endswith("smoothgrad") else hp.methods.VarGrad
        return around(hp.methods.IntegratedGradients(steps=2), samples=2)
    return hp.methods.get(name, **SHORT.get(name, {}))


@pytest.mark.parametrize("name", hp.methods.names())
def test_every_method_is_the_same_to_the_bit(name):
    model, method = plain_chain(), short(name)
    if hasattr(method, "fit"):
        method = method.fit(model, [(images(9, 16), torch.arange(16) % 4)])
    fast = hp.Recorded(method, model)
    for seed in range(3):
        x, y = images(seed), Y.roll(seed)
        assert same(fast.explain(x, y), method.explain(model, x, y))


MEAN = DeepLIFT(baseline=hp.baselines.Mean(layout="channels-first"))


@pytest.mark.parametrize("method", [LRP(), LRP(composite="epsilon-gamma-box"), DeepLIFT(), MEAN, Gradient()])
def test_branches_norms_and_sizes_of_batches(method):
    model = network()
    fast = hp.Recorded(method, model)
    for count in (4, 1, 3, 4):
        x = images(count, count)
        assert same(fast.explain(x, Y[:count]), method.explain(model, x, Y[:count]))
    assert same(fast.explain(images(5), 2), method.explain(model, images(5), 2))
    assert same_bits(fast(images(5), [1, 1, 2, 0]), method(model, images(5), [1, 1, 2, 0]))


def test_a_replay_runs_nothing_of_the_network():
    model = network()
    fast = hp.Recorded(LRP(), model)
    fast(images(0), Y)
    calls = []
    code = Net.forward

    def counted(self, x):
        calls.append(1)
        return code(self, x)

    Net.forward = counted
    try:
        fast(images(1), Y)
    finally:
        Net.forward = code
    assert not calls


def change_in_place(model):
    with torch.no_grad():
        model.head.weight.mul_(-1)


def change_statistics(model):
    model.norm.running_mean.add_(0.5)


def change_tensor(model):
    model.first.weight.data = model.first.weight.data.flip(0).clone()


def change_module(model):
    model.relu = nn.Tanh().eval()


def change_setting(model):
    model.scale = -2.0


def change_inside(model):
    model.pool.kernel_size = 2
    model.pool.stride, model.pool.dilation = 4, 2


def change_state(model):
    model.load_state_dict(
        {name: value + 0.1 for name, value in model.state_dict().items() if value.is_floating_point()}, strict=False
    )


def change_dtype(model):
    model.double()


CHANGES = [
    change_in_place,
    change_statistics,
    change_tensor,
    change_module,
    change_setting,
    change_inside,
    change_state,
    change_dtype,
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("method", [GradientXInput(), LRP()])
def test_a_changed_network_is_recorded_anew(change, method):
    model = network()
    fast = hp.Recorded(method, model)
    before = fast(images(0), Y)
    change(model)
    x = images(0).to(model.head.weight.dtype)
    if isinstance(method, LRP) and change is change_module:
        pass  # tanh has rules as well
    after = fast.explain(x, Y)
    assert same(after, method.explain(model, x, Y))
    assert not same_bits(after.maps, before)


def test_side_inputs_are_part_of_what_may_change():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 3)

        def forward(self, x, other):
            return self.a(x * other)

    given = torch.ones(3, 4)
    bound = Bound(Two().eval(), given={"other": given})
    fast, x = hp.Recorded(GradientXInput(), bound), torch.randn(3, 4)
    first = fast(x, 0)
    bound.given["other"].mul_(2)
    assert same_bits(fast(x, 0), GradientXInput()(bound, x, 0))
    assert same_bits(fast(x, 0), 2 * first)


def test_it_refuses_what_the_method_refuses():
    fast = hp.Recorded(LRP(), network())
    x = images(0)
    for _ in range(2):  # before there is a recording, and after
        bad = x.clone()
        bad[1, 0, 0, 0] = torch.nan
        with pytest.raises(InputError, match=r"Expected finite inputs, but samples \[1\]"):
            fast(bad, Y)
        with pytest.raises(InputError, match="Expected targets between 0 and 3, the model's last output, but got 4"):
            fast(x, [0, 1, 2, 4])
        with pytest.raises(InputError, match="Expected targets of 0 or more"):
            fast(x, [0, 1, 2, -1])
        with pytest.raises(InputError, match="Expected inputs like the model's parameters"):
            fast(x.double(), Y)
        with pytest.raises(InputError, match="Expected targets"):
            fast(x, None)
        with pytest.raises(InputError, match="Expected full precision"), torch.autocast("cpu", torch.bfloat16):
            fast(x, Y)
        fast(x, Y)
    fast.model.train()
    with pytest.raises(InputError, match="eval mode"):
        fast(x, Y)


class OverFirst:
    """The sample over its first number."""

    def __call__(self, inputs):
        return inputs / inputs[:, :1, :1, :1]


def test_what_is_said_by_values_is_said_of_these_values():
    """A recording is of inputs that nothing was to be said of."""
    model, x = network(), images(1)
    method = hp.methods.IntegratedGradients(steps=3, baseline=OverFirst())
    fast = hp.Recorded(method, model)
    assert same(fast.explain(images(0), Y), method.explain(model, images(0), Y))
    x[2, 0, 0, 0] = 0.0
    for call in (method.explain, fast.explain):
        with pytest.raises(InputError, match="Expected a finite baseline"):
            call(*((model,) if call == method.explain else ()), x, Y)
    assert same(fast.explain(images(2), Y), method.explain(model, images(2), Y))


@pytest.mark.parametrize(
    "put", [lambda m, f: m.first.register_forward_hook(f), lambda m, f: m.register_forward_pre_hook(f)]
)
def test_hooks_would_not_be_called(put):
    model = network()
    fast = hp.Recorded(Gradient(), model)
    fast(images(0), Y)
    handle = put(model, lambda *_: None)
    with pytest.raises(OperationError, match="Expected a model without hooks, which would not be called in a replay"):
        fast(images(0), Y)
    handle.remove()
    assert same_bits(fast(images(1), Y), Gradient()(model, images(1), Y))


class Deciding(Net):
    def forward(self, x):
        rows = x.detach().flatten(1).sum(1)
        return (
            super().forward(x) * torch.stack([row.sign() if float(row) > 0 else -row.sign() for row in rows])[:, None]
        )


class Counting(Net):
    def forward(self, x):
        self.register_buffer("calls", getattr(self, "calls", torch.zeros(())) + 1)
        return super().forward(x)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Deciding, "what aten._local_scalar_dense.default gives depends on values"),
        (Counting, "keeps nothing between calls"),
    ],
)
def test_networks_whose_calls_are_more_than_operations(kind, why):
    fast = hp.Recorded(Gradient(), kind().eval())
    for _ in range(2):
        with pytest.raises(OperationError, match=why):
            fast(images(0), Y)


class ReadsPastTorch(Method):
    def _explain(self, model, inputs, targets):
        size = ctypes.c_float.from_address(inputs.untyped_storage().data_ptr()).value
        return Explanation(inputs * size)


class Draws(Method):
    def _explain(self, model, inputs, targets):
        noise = torch.empty_like(inputs)
        for place in range(len(noise)):
            noise[place] = torch.rand(())
        return Explanation(noise)


def test_a_method_that_decides_where_nobody_sees_it_is_found_out():
    fast = hp.Recorded(ReadsPastTorch(), nn.Linear(4, 2).eval())
    with pytest.raises(
        OperationError, match="the maps that ReadsPastTorch gives for other inputs are not those of its"
    ):
        fast(torch.rand(2, 4) + 0.5, 0)


def test_draws_without_a_seed_are_refused():
    with pytest.raises(OperationError, match="draws random numbers"):
        hp.Recorded(Draws(), nn.Linear(4, 2).eval())(torch.rand(2, 4), 0)


def test_results_are_the_callers_own():
    model = network()
    fast = hp.Recorded(GradientXInput(), model)
    x = images(0)
    first = fast(x, Y)
    kept = first.clone()
    fast(images(1), Y)
    assert same_bits(first, kept)
    first.zero_()
    assert same_bits(fast(x, Y), kept)
    assert not first.requires_grad


def test_few_shapes_are_kept():
    fast = hp.Recorded(Gradient(), network())
    for count in range(1, 12):
        fast(images(0, count), 0)
    assert len(fast._recordings) == 8
    assert same_bits(fast(images(0, 1), 0), Gradient()(fast.model, images(0, 1), 0))


def test_only_methods_and_labels():
    with pytest.raises(InputError, match=r"Expected a method of heatproof.methods, but got function"):
        hp.Recorded(lambda model, x, y: x, network())
    with pytest.raises(InputError, match="Expected labels, but got Label"):
        hp.Recorded(Gradient(), network())(images(0), hp.targets.Label("predicted"))
