"""Every way that an operation could slip past the rules: seen and right, or an error that names it."""

import contextlib
import gc

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

from heatproof.errors import InputError, OperationError
from heatproof.methods.backward import Gradient
from heatproof.methods.base import Method
from heatproof.methods.deeplift import DeepLIFT
from heatproof.methods.guided import GuidedBackprop
from heatproof.methods.lrp import LRP
from heatproof.propagation import operations, register

METHODS = [LRP(composite="epsilon"), DeepLIFT(), GuidedBackprop()]
X = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 1])


class Net(nn.Module):
    """linear → the step under test → linear."""

    def __init__(self, step):
        super().__init__()
        stream = torch.Generator().manual_seed(1)
        self.first, self.inner, self.last = nn.Linear(4, 4), Inner(step), nn.Linear(4, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=stream))
        self.eval()

    def forward(self, x):
        return self.last(F.relu(self.inner(self.first(x))))


class Inner(nn.Module):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def forward(self, h):
        return self.step(h)


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return g * s * (1 + x * (1 - s))


class Opaque(torch.autograd.Function):
    """A Function whose forward pass leaves torch, so that no call inside it is seen."""

    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(x.detach().numpy() ** 2)

    @staticmethod
    def backward(ctx, g):
        return g


def lost_by_no_grad(h):
    with torch.no_grad():
        gate = torch.sigmoid(h)
    return h * gate


def lost_by_inference_mode(h):
    with torch.inference_mode():
        return torch.sigmoid(h)


LOST = {
    "no_grad": (lost_by_no_grad, "result of sigmoid in module 'inner' \\(Inner\\) has lost its path"),
    "detach": (
        lambda h: h / h.detach().norm(dim=1, keepdim=True),
        "detach in module 'inner' \\(Inner\\) cuts the path",
    ),
    "data": (lambda h: h * h.data, "data in module 'inner' \\(Inner\\) cuts the path"),
    "numpy": (lambda h: h + torch.from_numpy(h.numpy(force=True)), "numpy in module 'inner' \\(Inner\\) cuts the path"),
    "tolist": (lambda h: h + torch.tensor(h.tolist()), "tolist in module 'inner' \\(Inner\\) cuts the path"),
    "item": (lambda h: h + 0 * h.sum().item(), "item in module 'inner' \\(Inner\\) cuts the path"),
    "float": (lambda h: h + 0 * float(h[0, 0]), "__float__ in module 'inner' \\(Inner\\) cuts the path"),
    "inference_mode": (lost_by_inference_mode, "sigmoid in module 'inner' \\(Inner\\) runs in torch.inference_mode"),
    "half": (lambda h: h.half().float(), "half in module 'inner' \\(Inner\\) makes torch.float16.*call .float\\(\\)"),
    "bfloat16": (lambda h: h.to(torch.bfloat16).float(), "makes torch.bfloat16"),
    "custom function": (Swish.apply, "sigmoid in module 'inner' \\(Inner\\) has lost its path.*autograd.Function"),
    "opaque function": (Opaque.apply, "detach in module 'inner' \\(Inner\\) cuts the path"),
    "unknown operation": (
        torch.special.airy_ai,
        "module 'inner' \\(Inner\\) calls airy_ai.*propagation.register",
    ),
    "checkpoint": (lambda h: checkpoint(F.relu, h, use_reentrant=False), "'inner' \\(Inner\\) runs under activation"),
    "active dropout": (lambda h: F.dropout(h, 0.5), "deterministic model, but dropout is active"),
    "batch statistics": (
        lambda h: F.batch_norm(h, None, None, training=True),
        "batch_norm in module 'inner'.*mixes them",
    ),
    "quantized operation": (
        lambda h: torch.quantize_per_tensor(h, 0.1, 0, torch.qint8).dequantize(),
        "module 'inner' \\(Inner\\) calls quantize_per_tensor",
    ),
}


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("case", LOST)
def test_a_lost_path_is_an_error_that_names_operation_and_module(case, method):
    step, message = LOST[case]
    with pytest.raises(OperationError, match=message):
        method(Net(step), X, TARGETS)


def test_reentrant_checkpoints_are_refused():
    with pytest.raises(OperationError, match=r"lost its path|checkpoint"):
        LRP()(Net(lambda h: checkpoint(F.relu, h, use_reentrant=True)), X, TARGETS)


@pytest.mark.parametrize(
    "make", [torch.jit.script, lambda m: torch.jit.trace(m, torch.rand(2, 4))], ids=["script", "trace"]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_modules_are_refused_by_name(make):
    net = Net(nn.Identity())
    net.inner = make(nn.ReLU().eval())
    with pytest.raises(InputError, match=r"'?inner'? is a TorchScript module"):
        LRP()(net, X, TARGETS)


def in_script(h: torch.Tensor) -> torch.Tensor:
    return torch.relu(h) * torch.sigmoid(h)


@pytest.mark.parametrize("factor", [False, True], ids=["alone", "as a factor"])
@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_function_is_found_in_the_graph(method, factor):
    scripted = torch.jit.script(in_script)

    def step(h):
        return h * scripted(h) if factor else scripted(h)

    # The mode sees nothing of it: only the graph shows that somebody computed here.
    with pytest.raises((OperationError, InputError), match=r"which no intercepted operation made|no path leads back"):
        method(Net(step), X, TARGETS)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_and_parallel_models_are_unwrapped_or_refused():
    net = Net(torch.tanh)
    plain = LRP()(net, X, TARGETS)
    assert torch.equal(LRP()(torch.compile(net).eval(), X, TARGETS), plain)
    assert torch.equal(LRP()(nn.DataParallel(net).eval(), X, TARGETS), plain)
    inside = Net(torch.tanh)
    inside.inner = torch.compile(inside.inner).eval()
    with pytest.raises(InputError, match=r"inner'? is a compiled module"):
        LRP()(inside, X, TARGETS)
    in_place = Net(torch.tanh)
    in_place.inner.compile()
    with pytest.raises(InputError, match=r"inner'? is compiled in place"):
        LRP()(in_place, X, TARGETS)
    parallel = Net(torch.tanh)
    parallel.inner = nn.DataParallel(parallel.inner).eval()
    with pytest.raises(InputError, match=r"inner'? is a DataParallel module"):
        LRP()(parallel, X, TARGETS)


class Calling(TorchFunctionMode):
    def __torch_function__(self, function, kinds, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


def test_another_mode_outside_is_refused():
    with Calling(), pytest.raises(InputError, match="no other TorchFunctionMode outside, but Calling is active"):
        LRP()(Net(torch.tanh), X, TARGETS)


class Doubling(TorchFunctionMode):
    """A mode that is part of the model: it changes values."""

    def __torch_function__(self, function, kinds, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        return out * 2 if function is torch.tanh else out


class Hiding(TorchFunctionMode):
    """A mode that makes its calls where no other mode can see them."""

    def __torch_function__(self, function, kinds, args=(), kwargs=None):
        with torch._C.DisableTorchFunction():
            return function(*args, **(kwargs or {}))


def within(mode, step):
    def inside(h):
        with mode:
            return step(h)

    return inside


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_mode_inside_the_model_is_part_of_it(method):
    # It stands above the engine, which gets every call that it makes.
    plain, doubled = method(Net(torch.tanh), X, TARGETS), method(Net(lambda h: torch.tanh(h) * 2), X, TARGETS)
    assert torch.equal(method(Net(within(Calling(), torch.tanh)), X, TARGETS), plain)
    assert torch.equal(method(Net(within(torch.device("cpu"), torch.tanh)), X, TARGETS), plain)
    assert torch.equal(method(Net(within(Doubling(), torch.tanh)), X, TARGETS), doubled)


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("beside", [False, True], ids=["the only path", "beside another"])
def test_a_mode_inside_that_hides_its_calls_is_found(method, beside):
    hidden = within(Hiding(), torch.tanh)
    step = (lambda h: h + hidden(h)) if beside else hidden
    with pytest.raises((OperationError, InputError), match=r"which no intercepted operation made|no path leads back"):
        method(Net(step), X, TARGETS)


@pytest.mark.parametrize("fails", [False, True], ids=["then returns", "then raises"])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_mode_that_the_model_enters_and_does_not_leave_is_taken_off(method, fails):
    def step(h):
        Calling().__enter__()
        if fails:
            raise RuntimeError("the model's own")
        return torch.tanh(h)

    with pytest.raises((OperationError, RuntimeError), match=r"but Calling was still active|the model's own"):
        method(Net(step), X, TARGETS)
    assert _get_current_function_mode_stack() == []


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_inference_mode_around_the_call_is_refused(method):
    net = Net(torch.tanh)
    with torch.inference_mode(), pytest.raises(InputError, match=r"torch.inference_mode is active; leave it"):
        method(net, X, TARGETS)


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_function_runs_as_it_was_written(method):
    compiled = torch.compile(lambda h: torch.tanh(h), backend="eager")
    assert torch.equal(method(Net(lambda h: compiled(h)), X, TARGETS), method(Net(torch.tanh), X, TARGETS))


INSIDE = {
    "vmap": lambda h: torch.vmap(torch.tanh)(h),
    "jacrev": lambda h: torch.func.jacrev(lambda t: t.tanh().sum())(h),
    "jvp": lambda h: torch.func.jvp(torch.tanh, (h,), (h * 0,))[0],
    "grad": lambda h: torch.autograd.grad(h.square().sum(), h, create_graph=True)[0],
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in jvp
@pytest.mark.parametrize("name", INSIDE)
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_transforms_inside_the_model_are_refused(method, name):
    with pytest.raises((OperationError, InputError), match=r"vmap, torch.func|module 'inner' \(Inner\) calls"):
        method(Net(INSIDE[name]), X, TARGETS)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_functional_calls_dropout_in_eval_mode_and_tensor_subclasses_make_no_difference(method):
    plain = method(Net(torch.tanh), X, TARGETS)
    tanh, dropout = nn.Tanh().eval(), nn.Dropout(0.5).eval()
    assert torch.equal(method(Net(lambda h: torch.func.functional_call(tanh, {}, (h,))), X, TARGETS), plain)
    assert torch.equal(method(Net(lambda h: torch.tanh(dropout(h))), X, TARGETS), plain)
    assert torch.equal(method(Net(torch.tanh), nn.Parameter(X), TARGETS), plain)


@pytest.mark.parametrize("composite", ["epsilon", "epsilon-plus", "alpha1-beta0"])
def test_a_write_into_a_view_is_the_same_as_the_calls_that_it_stands_for(composite):
    def written(h):
        out = torch.zeros_like(h)
        out[:, :2] = torch.tanh(h[:, :2])
        out[:, 2:].add_(h[:, 2:])
        return out

    def joined(h):
        return torch.cat([torch.tanh(h[:, :2]), h[:, 2:]], 1)

    method = LRP(composite=composite)
    torch.testing.assert_close(method(Net(written), X, TARGETS), method(Net(joined), X, TARGETS))


@pytest.mark.filterwarnings("ignore")
def test_quantized_modules_and_half_precision_are_refused():
    if not torch.backends.quantized.supported_engines:
        pytest.skip("this torch has no quantized kernels")
    quantized = torch.ao.quantization.quantize_dynamic(Net(torch.tanh), {nn.Linear}).eval()
    with pytest.raises(InputError, match="quantized"):
        LRP()(quantized, X, TARGETS)
    with pytest.raises(InputError, match=r"\.float\(\)"):
        LRP()(Net(torch.tanh).half(), X, TARGETS)


def test_a_default_device_outside_is_fine():
    plain = LRP()(Net(torch.tanh), X, TARGETS)
    with torch.device("cpu"):
        assert torch.equal(LRP()(Net(torch.tanh), X, TARGETS), plain)


def test_autocast_outside_is_refused():
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(InputError, match="autocast is active"):
        LRP()(Net(torch.tanh), X, TARGETS)


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize(
    "step",
    [torch.ops.aten.sigmoid, torch.ops.aten.sigmoid.default, torch.special.expit, torch.Tensor.sigmoid, F.sigmoid],
    ids=["aten", "aten-overload", "special", "method", "functional"],
)
def test_other_names_of_an_operation_get_its_rule(method, step):
    torch.testing.assert_close(method(Net(step), X, TARGETS), method(Net(torch.sigmoid), X, TARGETS), rtol=0, atol=0)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_an_exported_program_gets_the_same_attributions(method):
    net = Net(torch.tanh)
    exported = torch.export.export(net, (X,)).module()

    # An exported program has no eval mode; a module around it has.
    class Around(nn.Module):
        def forward(self, x):
            return exported(x)

    around = Around().eval()
    torch.testing.assert_close(method(around, X, TARGETS), method(net, X, TARGETS))


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_paths_that_are_meant_to_be_constant_can_be_allowed(method):
    def gated(h):
        return h * torch.sigmoid(h).detach()

    allowed = type(method)(**{**vars(method), "allow_detached": True})
    _, pull = allowed.linearize(Net(gated), X)
    maps = pull(torch.eye(3).expand(2, 3, 3).transpose(0, 1).contiguous())
    assert torch.isfinite(maps).all()
    assert maps.abs().max() > 0


@pytest.mark.parametrize("function", [Swish, torch.special.airy_ai])
def test_a_registered_rule_replaces_a_functions_own_derivative(function):
    step = function.apply if function is Swish else function
    own = function.__dict__.get("apply") if function is Swish else None
    register(function, "nonlinearity")
    try:
        lrp, lift = LRP(composite="epsilon"), DeepLIFT()
        net = Net(lambda h: function.apply(h) if function is Swish else step(h))
        outputs, _ = lrp.linearize(net, X)
        assert torch.equal(outputs, net(X))
        explained = lift.explain(net, X, TARGETS)
        assert explained.diagnostics["completeness-gap"].abs().max() < 1e-5 * explained.maps.abs().sum()
        if function is Swish:
            torch.testing.assert_close(lrp(net, X, TARGETS), lrp(Net(F.silu), X, TARGETS))
            assert function.__dict__.get("apply") is own
    finally:
        operations._registered.clear()
        operations.identify.cache_clear()


def test_operations_of_a_users_hook_get_rules_too():
    net, plain = Net(nn.Identity()), Net(lambda h: torch.tanh(h))
    handle = net.inner.register_forward_hook(lambda module, given, out: torch.tanh(out))
    torch.testing.assert_close(DeepLIFT()(net, X, TARGETS), DeepLIFT()(plain, X, TARGETS))
    handle.remove()


@pytest.mark.parametrize("kind", ["add", "relu"])
def test_a_convolution_that_was_written_into_is_not_folded_into_the_batch_norm(kind):
    # conv → a write in place → batch norm: the convolution no longer made the batch norm's input.
    class Written(nn.Module):
        def __init__(self, in_place):
            super().__init__()
            self.conv, self.norm, self.in_place = nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), in_place

        def forward(self, x):
            h = self.conv(x)
            if kind == "add":
                h = h.add_(0.7) if self.in_place else h + 0.7
            else:
                h = h.relu_() if self.in_place else h.relu()
            return self.norm(h).flatten(1)

    torch.manual_seed(0)
    one, other = Written(True).double().eval(), Written(False).double().eval()
    for norm in (one.norm, other.norm):
        norm.running_mean.fill_(0.3), norm.running_var.fill_(2.0), norm.bias.data.fill_(0.4)
    other.load_state_dict(one.state_dict())
    x, targets = torch.randn(2, 1, 3, 3, dtype=torch.float64), torch.tensor([0, 5])
    for composite in ("epsilon", "epsilon-plus"):
        method = LRP(composite=composite)
        torch.testing.assert_close(method(one, x, targets), method(other, x, targets), rtol=1e-12, atol=1e-14)
        assert torch.equal(method.linearize(one, x)[0], one(x))


def test_guided_backprop_refuses_a_network_without_relus():
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)).eval()
    with pytest.raises(InputError, match="no relu was called: the result would be the plain gradient; use Gradient"):
        GuidedBackprop()(net, X, TARGETS)


def test_a_composite_whose_first_rule_never_applies_is_refused():
    net = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3)).eval()
    with pytest.raises(OperationError, match="linear operation on the explained input for the rule Flat"):
        LRP(composite="epsilon-plus-flat")(net, X, TARGETS)


def test_numbers_made_from_a_choice_are_a_relus():
    net = Net(lambda h: h * (h > 0).float())
    torch.testing.assert_close(DeepLIFT()(net, X, TARGETS), DeepLIFT()(Net(F.relu), X, TARGETS))
    torch.testing.assert_close(LRP()(net, X, TARGETS), LRP()(Net(F.relu), X, TARGETS))


def test_a_choice_by_the_input_has_the_whole_difference():
    net = Net(lambda h: torch.where(h > 0, h, 2 * h))
    bent = Net(lambda h: 2 * h - F.relu(h))
    torch.testing.assert_close(DeepLIFT()(net, X, TARGETS), DeepLIFT()(bent, X, TARGETS))
    assert torch.isfinite(LRP()(net, X, TARGETS)).all()


class Rounding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.div(self.linear(x), 0.3, rounding_mode="floor")


class RandomLeak(Rounding):
    def forward(self, x: Tensor) -> Tensor:
        return F.rrelu(self.linear(x), training=True)


class DropoutOff(Rounding):
    def forward(self, x: Tensor) -> Tensor:
        return torch.dropout(self.linear(x), p=0.5, train=False)


class ViewBeforeReLU(Rounding):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.linear(x)
        view = hidden[:, :1]
        hidden.relu_()
        return torch.cat([view, hidden[:, 1:]], 1)


EVERY = [LRP(composite="epsilon"), DeepLIFT(), GuidedBackprop()]


@pytest.mark.parametrize("method", EVERY, ids=["lrp", "deeplift", "guided"])
@pytest.mark.parametrize(("network", "message"), [(Rounding, "it rounds"), (RandomLeak, "rrelu is active")])
def test_what_rounds_or_draws_is_refused(network: type[nn.Module], message: str, method: Method) -> None:
    torch.manual_seed(0)
    with pytest.raises(OperationError, match=message):
        method(network().eval(), torch.randn(2, 3), torch.tensor([0, 1]))


@pytest.mark.parametrize("network", [DropoutOff, ViewBeforeReLU])
def test_what_is_switched_off_or_written_through_a_view_is_complete(network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    net, x = network().eval().double(), torch.randn(2, 3, dtype=torch.float64)
    gap = DeepLIFT().explain(net, x, torch.tensor([0, 1])).diagnostics["completeness-gap"]
    assert gap.abs().max() < 1e-12


WRITTEN = {
    "gate": lambda h: torch.relu(h).mul_(torch.sigmoid(h)),
    "constant": lambda h: torch.relu(h).mul_(2.0),
    "sum": lambda h: torch.relu(h).sub_(torch.sigmoid(h)),
    "nonlinearity": lambda h: torch.relu(h).tanh_(),
}


@pytest.mark.parametrize("method", [Gradient(), LRP(composite="epsilon"), LRP(), GuidedBackprop()], ids=str)
@pytest.mark.parametrize("name", WRITTEN)
def test_a_write_into_what_the_derivative_needs_is_refused(method, name):
    with pytest.raises(OperationError, match=r"writes into one of shape \[2, 4\] afterwards.*write `h = h \* gate`"):
        method(Net(WRITTEN[name]), X, TARGETS)


class Overwritten(nn.Module):
    def __init__(self, in_place):
        super().__init__()
        torch.manual_seed(0)
        self.in_place, self.conv, self.gate, self.head = in_place, nn.Conv2d(1, 4, 2), nn.Linear(4, 4), nn.Linear(4, 3)
        self.eval()

    def forward(self, x):
        h = self.conv(x)
        gate = torch.sigmoid(self.gate(h.mean((2, 3))))[:, :, None, None]
        if self.in_place:
            h *= gate
        else:
            h = h * gate
        return self.head(F.relu(h).mean((2, 3)))


@pytest.mark.parametrize("method", [Gradient(), LRP(composite="epsilon"), LRP(), DeepLIFT(), GuidedBackprop()], ids=str)
def test_a_product_in_place_is_the_product(method):
    x = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        method(Overwritten(True), x, TARGETS), method(Overwritten(False), x, TARGETS), rtol=0, atol=0
    )


def test_what_a_refused_model_was_amid_does_not_outlast_the_refusal():
    gc.disable()
    try:
        with contextlib.suppress(OperationError):
            LRP(composite="epsilon")(Net(LOST["checkpoint"][0]), X, TARGETS)
        assert torch._C._autograd._top_saved_tensors_default_hooks(False) is None
        assert DeepLIFT()(Net(F.relu), X, TARGETS).isfinite().all()
    finally:
        gc.enable()
