"""A method of one network, recorded and replayed: the same bits, and never those of another network."""

import copy
import ctypes
import gc
import pickle
import sys
import threading
import warnings
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import heatproof as hp
from heatproof import sharing
from heatproof.errors import HeatproofError, HeatproofWarning, InputError, OperationError
from heatproof.methods import LRP, DeepLIFT, Explanation, Gradient, GradientXInput, Method, SmoothGrad
from heatproof.models import Bound
from heatproof.refusals import half_meant
from heatproof.state import same_bits

Y = torch.tensor([0, 3, 1, 2])
ROWS = torch.rand(4, 6, generator=torch.Generator().manual_seed(0)) + 0.1


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
    called = []
    sys.setprofile(lambda frame, event, _: called.append(frame.f_code) if event == "call" else None)
    try:
        fast(images(1), Y)
    finally:
        sys.setprofile(None)
    assert called
    assert Net.forward.__code__ not in called
    assert nn.Conv2d.forward.__code__ not in called


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


def change_class(model):
    type(model.relu).forward = lambda _, x: torch.tanh(x)


def change_memory(model):
    model.half().float()  # which may well lie where the old weights lay
    model.first.weight.data = -2 * model.first.weight.data


CHANGES = [
    change_in_place,
    change_statistics,
    change_tensor,
    change_module,
    change_setting,
    change_inside,
    change_state,
    change_dtype,
    change_class,
    change_memory,
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("method", [GradientXInput(), LRP()])
def test_a_changed_network_is_recorded_anew(change, method, monkeypatch):
    model = network()
    fast = hp.Recorded(method, model)
    before = fast(images(0), Y)
    monkeypatch.setattr(nn.ReLU, "forward", nn.ReLU.forward)
    change(model)
    x = images(0).to(model.head.weight.dtype)
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


class Keeping(nn.Linear):
    """A count, a list that grows, or no more than a size."""

    def __init__(self, what):
        super().__init__(6, 3)
        self.what, self.calls, self.told, self.size = what, 0, [], None

    def forward(self, x):
        self.calls += self.what == "calls"
        if self.what == "told":
            self.told.append(1)
        self.size = x.shape[1:], [*x.shape]
        return super().forward(x)


@pytest.mark.parametrize(("what", "said"), [("calls", "every call changes 'calls' of Keeping"), ("told", "in a list")])
def test_networks_that_count_their_calls(what, said):
    with pytest.raises(OperationError, match=said):
        hp.Recorded(Gradient(), Keeping(what).eval())(ROWS, 0)
    model = Keeping("sizes").eval()
    fast = hp.Recorded(Gradient(), model)
    fast(ROWS, 0)
    model(ROWS)
    assert same_bits(fast(ROWS, 0), Gradient()(model, ROWS, 0))


def test_a_network_that_is_another_at_every_call_is_said_to_be():
    model = Keeping("nothing").eval()
    fast = hp.Recorded(Gradient(), model)
    fast(ROWS, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(2):
            model.what = str(number)
            fast(ROWS, 0)
    model.what = "2"
    with pytest.warns(HeatproofWarning, match="3 times in a row Keeping was recorded anew .* as 'what' of Keeping"):
        fast(ROWS, 0)


class CachesOfOneSize(nn.Linear):
    """Positions of the last size, made anew for another."""

    def __init__(self):
        super().__init__(6, 3)
        self.size = 0

    def forward(self, x):
        self.size = x.shape[-2]
        return super().forward(x).sum(1)


def test_a_network_that_a_call_of_another_shape_changes_is_recorded_anew_and_said_to_be():
    model = CachesOfOneSize().eval()
    fast = hp.Recorded(Gradient(), model)
    rows = {size: ROWS[:, None].repeat(1, size, 1) for size in (2, 3)}
    for size in (2, 3, 2):
        assert same_bits(fast(rows[size], 0), Gradient()(model, rows[size], 0))
    with pytest.warns(HeatproofWarning, match="3 times in a row"):
        fast(rows[3], 0)


class By(nn.Module):
    """A network that does something by values."""

    def __init__(self, way):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.head, self.way = nn.Linear(6, 3), way

    def forward(self, x):
        return self.way(self.head, x)


OTHERS = [ROWS.flip(0), -ROWS, torch.zeros_like(ROWS), 100 * ROWS, ROWS - 0.5]


@pytest.mark.parametrize(
    "way",
    [
        lambda head, x: head(torch.zeros_like(x).index_put((x > 0.5,), torch.tensor(1.0)) * x),
        lambda head, x: head(torch.zeros_like(x).index_put((x > 0,), torch.ones(24)) * x),  # only of 24 numbers
        lambda head, x: head(x)[:, torch.tensor([True, True, False])],
        lambda head, x: head(x) * torch.arange(3.0)[x[:, :1].detach().long()],  # only of numbers up to 2
        lambda head, x: head(torch.stack([torch.zeros(6).masked_scatter(row > 0.5, row) for row in x])),
        lambda head, x: torch.func.vmap(lambda row: head(row))(x),
    ],
)
@pytest.mark.parametrize("method", [Gradient(), GradientXInput()])
def test_operations_by_values_are_run_anew(way, method):
    """And what an operation does not take is refused as the method refuses it."""
    model = By(way).eval()
    fast = hp.Recorded(method, model)
    fast(ROWS, 0)
    for x in OTHERS:
        try:
            expected = method(model, x, 0)
        except InputError as error:
            with pytest.raises(type(error), match="it raised"):
                fast(x, 0)
        else:
            assert same_bits(fast(x, 0), expected)


def in_a_thread(head, x):
    found = []
    other = threading.Thread(target=lambda: found.append((2 * x.detach()).clamp(0, 0.1)[:, :1]))
    other.start()
    other.join()
    return head(x) * found[0]


def packed(head, x):
    lengths = (x.detach() != 0).sum(1).clamp(min=1)
    rows = nn.utils.rnn.pack_padded_sequence(x[:, :, None], lengths, batch_first=True, enforce_sorted=False)
    return head(nn.utils.rnn.pad_packed_sequence(rows, batch_first=True, total_length=6)[0][:, :, 0])


@pytest.mark.parametrize(
    ("way", "why"),
    [
        (lambda head, x: head(x) * (2 if "-" in repr(x.detach()) else 1), "__repr__ reads values"),
        (
            lambda head, x: (
                head(x) * torch.stack([row.tensor_split((row > 0.5).sum()[None])[0].sum() for row in x])[:, None]
            ),
            "tensor_split cuts by values",
        ),
        (packed, "_pack_padded_sequence cuts by values"),
        (
            lambda head, x: head(x) * torch.bernoulli((x[:, :1] > 0.5).float(), generator=torch.Generator()),
            "bernoulli.default draws by values",
        ),
        (in_a_thread, "for other inputs are not those of its recording"),
    ],
)
def test_what_decides_by_values_where_no_operation_tells_is_refused(way, why):
    with pytest.raises(OperationError, match=why):
        hp.Recorded(Gradient(), By(way).eval())(ROWS, 0)


class Weights(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 36).reshape(6, 6))

    def forward(self, x):
        return torch.tanh(x @ self.weight)


def test_inputs_may_be_weights():
    model = Weights().eval()
    fast = hp.Recorded(Gradient(), model)
    for x in (model.weight.detach(), ROWS.repeat(2, 1)[:6]):
        assert same_bits(fast(x, 0), Gradient()(model, x, 0))


WIDE = torch.rand(9, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "layout",
    [
        lambda x: x[:1, :6].expand(4, 6),
        lambda x: x[:4, ::2],
        lambda x: x[:6, :4].t(),
        lambda x: x[0, :9].unfold(0, 6, 1),
        lambda x: torch.complex(x, x).conj().imag[:4, :6],
        lambda x: x[:4, :6].clone().requires_grad_(),
    ],
)
def test_inputs_that_lie_in_memory_in_other_ways(layout):
    model = Weights().eval()
    fast = hp.Recorded(GradientXInput(), model)
    for x in (layout(WIDE), layout(-2 * WIDE), layout(WIDE).detach().clone()):
        assert same_bits(fast(x, 1), GradientXInput()(model, x, 1))


@dataclass(frozen=True)
class Drawn(hp.methods.Method):
    """Plain values, that hang on a list outside."""

    around: list

    def _explain(self, model, inputs, targets):
        return Explanation(inputs * self.around[0])


def test_what_a_method_hangs_on_is_looked_at_as_well():
    method = Drawn([2.0])
    fast = hp.Recorded(method, Weights().eval())
    assert same_bits(fast(ROWS, 0), 2 * ROWS)
    method.around[0] = 3.0
    assert same_bits(fast(ROWS, 0), 3 * ROWS)


def test_explained_layers_inside_and_hooks_on_tensors():
    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(5, 6), nn.Linear(6, 3)

        def forward(self, ids):
            return self.head(torch.tanh(self.table(ids)).sum(1))

    ids = torch.tensor([[0, 1, 4], [2, 2, 3]])
    model = Text().eval()
    bound = Bound(model, at="table", given={"ids": ids})
    for method in (Gradient(), LRP()):
        fast = hp.Recorded(method, bound)
        for x in (bound.inputs(), -bound.inputs()):
            assert same(fast.explain(x, 1), method.explain(bound, x, 1))

    def looks(head, x):
        out = head(x)
        if out.requires_grad:
            out.register_hook(lambda gradient: None)
        return out

    for method in (Gradient(), LRP()):
        with pytest.raises(OperationError, match="without hooks"):
            hp.Recorded(method, By(looks).eval())(ROWS, 0)


class Doubling(TorchDispatchMode):
    def __torch_dispatch__(self, function, kinds, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        return 2 * found if function is torch.ops.aten.tanh.default else found


def test_surroundings():
    model = Weights().eval()
    fast = hp.Recorded(Gradient(), model)
    plain = fast(ROWS, 0)
    with Doubling():
        assert same_bits(fast(ROWS, 0), Gradient()(model, ROWS, 0))
    with torch.inference_mode(), pytest.raises(HeatproofError):
        Gradient()(model, ROWS, 0)
    with torch.inference_mode(), pytest.raises(HeatproofError):
        fast(ROWS, 0)
    occlusion = hp.methods.get("occlusion", window=2)
    hidden = hp.Recorded(occlusion, model)
    with torch.inference_mode():
        assert same_bits(hidden(ROWS, 0), occlusion(model, ROWS, 0))
    assert not hidden(ROWS, 0).is_inference()
    with half_meant(), torch.autocast("cpu", torch.bfloat16):
        half = fast(ROWS, 0)
        assert same_bits(half, Gradient()(model, ROWS, 0))
    assert same_bits(fast(ROWS, 0), plain)
    with sharing.shared(model, ROWS, Y, [Gradient(), hp.methods.Saliency(), Gradient()]):
        Gradient()(model, ROWS, Y)
        other = hp.Recorded(Gradient(), model)
        assert same_bits(other(ROWS, Y), Gradient()(model, ROWS, Y))
        assert same_bits(other(-ROWS, Y), Gradient()(model, -ROWS, Y))


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_scripted_network_keeps_what_nobody_sees():
    with pytest.raises(OperationError, match="a part of it is a TorchScript module"):
        hp.Recorded(Gradient(), nn.Sequential(torch.jit.script(nn.Linear(6, 3))).eval())(ROWS, 0)


def test_what_a_rule_refuses_by_values_is_refused_of_these_values():
    method = hp.methods.get("deep-taylor", low=-5.0, high=5.0)
    model = plain_chain()
    fast = hp.Recorded(method, model)
    assert same(fast.explain(images(0), Y), method.explain(model, images(0), Y))
    with pytest.raises(InputError, match="inside the box"):
        method(model, 9 * images(0), Y)
    with pytest.raises(InputError, match="inside the box"):
        fast(9 * images(0), Y)


def test_copies_record_anew():
    fast = hp.Recorded(Gradient(), Weights().eval())
    expected = fast(ROWS, 0)
    for other in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert same_bits(other(ROWS, 0), expected)
        assert other.model is not fast.model
        assert fast(ROWS, 0).equal(expected)


def test_nothing_of_the_way_is_kept():
    model, method = network(), hp.methods.IntegratedGradients(steps=4)
    method(model, images(0), Y)  # what it prepares
    gc.collect()
    before = {id(one) for one in gc.get_objects() if issubclass(type(one), torch.Tensor)}
    fast = hp.Recorded(method, model)
    fast(images(0), Y)
    gc.collect()
    new = {one.untyped_storage().data_ptr(): one for one in gc.get_objects()
           if issubclass(type(one), torch.Tensor) and id(one) not in before}  # fmt: skip
    own = {one.untyped_storage().data_ptr() for one in (*model.parameters(), *model.buffers())}
    sizes = sorted(one.untyped_storage().nbytes() for place, one in new.items() if place not in own)
    assert sum(sizes) <= 1000, sizes  # numbers


def test_threads_take_turns():
    model = network()
    fast, found = hp.Recorded(LRP(), model), {}

    def work(seed):
        found[seed] = [fast(images(seed, count), 1) for count in (1, 2, 1)]

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for seed, maps in found.items():
        for count, one in zip((1, 2, 1), maps, strict=True):
            assert same_bits(one, LRP()(model, images(seed, count), 1))
    assert len(found) == 4


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


def test_maps_alone_are_the_same():
    model, method = network(), hp.methods.IntegratedGradients(steps=3)
    fast = hp.Recorded(method, model)
    for seed in range(3):
        x = images(seed)
        assert same_bits(fast(x, Y), method(model, x, Y))
        assert same(fast.explain(x, Y), method.explain(model, x, Y))


def test_labels_of_a_head_that_has_grown():
    model = network()
    fast = hp.Recorded(GradientXInput(), model)
    fast(images(0), Y)
    with torch.no_grad():
        model.head.weight = nn.Parameter(torch.cat([model.head.weight, -model.head.weight]))
        model.head.bias = nn.Parameter(torch.cat([model.head.bias, model.head.bias]))
    assert same_bits(fast(images(0), Y + 4), GradientXInput()(model, images(0), Y + 4))


def test_new_and_old_words_for_precision():
    model = network()
    fast = hp.Recorded(Gradient(), model)
    before = torch.backends.cuda.matmul.fp32_precision
    try:
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        assert same_bits(fast(images(0), Y), Gradient()(model, images(0), Y))
    finally:
        torch.backends.cuda.matmul.fp32_precision = before


def test_only_methods_and_labels():
    with pytest.raises(InputError, match=r"Expected a method of heatproof.methods, but got function"):
        hp.Recorded(lambda model, x, y: x, network())
    with pytest.raises(InputError, match="Expected labels, but got Label"):
        hp.Recorded(Gradient(), network())(images(0), hp.targets.Label("predicted"))
