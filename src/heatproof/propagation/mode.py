"""The engine: every call that touches the explained input passes here and gets its method's derivative."""

import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from heatproof.by_tensor import ByTensor
from heatproof.compiled import uncompiled
from heatproof.errors import InputError, OperationError
from heatproof.hooks import register_held
from heatproof.propagation import addends
from heatproof.propagation.attention import attention, gated
from heatproof.propagation.calls import Call, is_number
from heatproof.propagation.decompositions import BODIES, body_of
from heatproof.propagation.moving import Moving
from heatproof.propagation.nodes import graft
from heatproof.propagation.normalization import refuse_randomness
from heatproof.propagation.operations import Operation, identify, key, registered
from heatproof.propagation.proofs import (
    HALF,
    check_made,
    check_unbroken,
    check_visible,
    modes_left_above,
    nodes_between,
    set_aside,
    unseen,
    where,
)
from heatproof.propagation.reasons import REMEDIES, reason, refuse_underivable
from heatproof.propagation.recurrent import DECOMPOSED
from heatproof.propagation.respelled import BY_PLACE, RESPELLED
from heatproof.propagation.strategy import Strategy
from heatproof.propagation.trees import flattened, tensors_in
from heatproof.propagation.unsupported import UnsupportedCallError
from heatproof.propagation.written import Written, on_single_values
from heatproof.undo import undone

# What these say of a tensor does not depend on its values, and modules ask it before every call.
_ABOUT = frozenset(
    (
        Tensor.dim, Tensor.ndimension, Tensor.size, Tensor.stride, Tensor.numel, Tensor.nelement, Tensor.__len__,
        Tensor.is_floating_point, Tensor.is_complex, torch.is_floating_point, torch.is_complex, torch.numel,
        Tensor.is_contiguous, Tensor.element_size, Tensor.get_device,
        *(getattr(Tensor, name).__get__ for name in ("shape", "ndim", "dtype", "device", "layout", "is_cuda")),
    )
)  # fmt: skip


class Engine(TorchFunctionMode):
    """Runs a model with every value as it is and every derivative as the strategy wants it.

    Raises: InputError for a model or surroundings that cannot be intercepted; OperationError, naming operation and
    module, for an operation without a rule or a path that is lost.
    """

    def __init__(self, model: nn.Module, strategy: Strategy, *, allow_detached: bool = False) -> None:
        super().__init__()
        self.model, self.strategy, self.allow_detached = model, strategy, allow_detached
        self._marks: ByTensor[bool] = ByTensor()
        self._made: set[Any] = set()  # the nodes at which tensors stand that depend on the input
        self._aside: set[Any] = set()
        self._moving = Moving()
        self._written = Written()
        self._resting: set[Any] = set()  # the nodes of parts that do not depend on the input

    def run(self, x: Tensor, evaluate: Callable[[Tensor], Tensor]) -> Tensor:
        """The outputs of `evaluate(x)`, with the strategy's derivative towards what `x` was made from."""
        check_visible(self.model)
        self._mark(x)
        self._made.update(nodes_between(x.grad_fn))
        self.strategy.begin(x)
        own = _intercepting(self, functions) if (functions := _functions_with_rules()) else nullcontext()
        with torch.enable_grad(), uncompiled(), own, self:
            try:
                outputs = evaluate(x)
            finally:
                left = modes_left_above(self)  # or leaving would take theirs off, and this one would stay for ever
        if left:
            raise OperationError(
                f"Expected the model to leave every TorchFunctionMode that it enters, but {left} was still active when "
                "it returned; enter it in a with statement."
            )
        if outputs not in self._marks:
            raise InputError(
                "Expected outputs that depend on the inputs, but no path leads back from them; look for no_grad, "
                "detach, NumPy, vmap, torch.func or a tensor subclass inside the model."
            )
        check_made(outputs, self._made, self._aside)
        self._made.clear()
        self._aside.clear()
        self._resting.clear()
        return outputs

    def __torch_function__(
        self, function: Callable[..., Any], kinds: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in _ABOUT:
            return function(*args, **kwargs)
        if function is Tensor.register_hook:
            return register_held(args, kwargs, where(self.model))
        flat = flattened(args, kwargs)
        for leaf in flat[0]:
            if isinstance(leaf, Tensor) and self.depends(leaf):
                break
        else:
            return self._beside(function, args, kwargs)
        call = Call(function, identify(key(function)), args, kwargs, self.depends, flat, leaf)
        if not call.inputs and not call.choices:  # the input gives it a shape, or a type, and nothing else
            return function(*args, **kwargs)
        return self.intercept(call)

    def _beside(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call without the input, as it is; seen, where it writes into a part of what depends on the input."""
        if self._resting:
            call = Call(function, identify(key(function)), args, kwargs, self._moving.rests)
            if call.in_place and call.inputs and call.inputs[0] is call.target:
                return self.intercept(call)
        return function(*args, **kwargs)

    def depends(self, tensor: Tensor) -> bool:
        """Whether the tensor was computed from the explained input, or is a view of one that this was written into."""
        if self._moving.any and self._rests(tensor):
            return False
        if tensor in self._marks:
            return True
        return tensor._is_view() and tensor._base in self._marks and tensor.grad_fn is not None

    def _rests(self, tensor: Tensor) -> bool:
        """Whether the tensor is a part of one computed from the input, and itself does not depend on it."""
        rests = self._moving.rests(tensor)
        if rests:
            self._resting.add(tensor.grad_fn)
        return rests

    def intercept(self, call: Call) -> Any:
        """The result of a call that depends on the explained input."""
        if torch.is_inference_mode_enabled():
            raise OperationError(
                f"Expected a derivative through every step, but {call.name} in {where(self.model)} runs in "
                "torch.inference_mode; remove it from the model."
            )
        if call.kind == "iterate":
            with self:
                return iter(call.args[0].unbind(0))
        if call.kind in ("", "independent", "leak") or not call.inputs:
            try:
                return self._without_rule(call)
            except UnsupportedCallError as why:
                raise self._no_rule(call, str(why)) from None
        for tensor in call.inputs:
            if not self.allow_detached and (not tensor.requires_grad or tensor.dtype in HALF):
                check_unbroken(tensor, call.name, self.model)
            if (node := tensor.grad_fn) is not None and node not in self._made:
                check_made(tensor, self._made, self._aside)
        if call.kind == "respelled":
            return self._respelled(call)
        if torch._C._autograd._top_saved_tensors_default_hooks(False) is not None:
            raise OperationError(
                f"Expected a model that keeps its activations, but {where(self.model)} runs under activation "
                "checkpointing, whose second forward pass no rule would see; switch it off."
            )
        for constant in call.constants:  # what parameters alone made; a scripted call of the input looks the same
            node = constant.grad_fn
            if node is not None and node not in self._aside:
                if any(earlier in self._made for earlier in nodes_between(node, self._aside, self._resting)):
                    raise unseen(node.name())
                self._aside.add(node)
        plain = _is_plain(call)
        try:
            if not plain:
                refuse_underivable(call)
                refuse_randomness(call)
            moves = self._moving.foresee(call, self.depends)
            way = self._written.way(call) if on_single_values(call) else None
            body = None if plain else _body(call, self.strategy)
            activation = None
            if way is not None and body is None:
                activation = self._written.nonlinearity(call, way, named=self.strategy.own_derivatives)
            if activation is not None:
                result = self.strategy.handle(activation)
            elif body is None:
                result = self._in_place(call) if call.in_place else self.strategy.handle(call)
            else:
                result = self._opened(call, body)
        except UnsupportedCallError as why:
            raise self._no_rule(call, str(why)) from None
        if body is None and moves is not None:
            self._moving.follow(call, result, moves)
        result = self._checked(call, result)
        if call.in_place and (body is not None or activation is not None):
            with self:
                result = call.target.copy_(result)
        if way is not None:
            self._written.keep(result, way)
        return result

    def _without_rule(self, call: Call) -> Any:
        floating = call.args and isinstance(call.args[0], Tensor) and is_number(call.args[0])
        copied = call.kind == "independent" and call.beside  # `p.new_tensor(h)`
        cut = copied or (call.kind == "leak" and floating)
        if cut and not self.allow_detached:
            raise OperationError(
                f"Expected a derivative through every step, but {call.name} in {where(self.model)} cuts the path to "
                "the input. Remove it, or pass allow_detached=True if the model means that path to be constant."
            )
        if call.in_place and not call.inputs and floating and not self.strategy.holds_choices:
            # By a mask or an index that depends on the input, into numbers that do not.
            if not self.strategy.moves(call):
                return call.execute()
            with torch.enable_grad():
                return self._checked(call, self._in_place(call))
        self.strategy.foresee(call)
        way = self._written.way(call) if on_single_values(call) else None
        result = call.function(*call.args, **call.kwargs)
        self._written.keep(result, way)
        made = tensors_in(result)
        numbers = [leaf for leaf in made if is_number(leaf)]
        if any(leaf.is_quantized for leaf in made) or (call.kind == "" and call.inputs and numbers):
            raise self._no_rule(call, "")
        if numbers and not call.inputs and call.kind != "independent" and not self.strategy.holds_choices:
            if not self.strategy.moves(call):
                return result
            with torch.enable_grad():  # a mask is made under no_grad, too
                return self._checked(call, self.strategy.handle(call))
        if call.kind == "independent":
            return result
        if call.in_place and isinstance(call.target, Tensor):
            made.append(call.target)
        for leaf in made:  # comparisons and indices depend on the input, too; numbers made from them have no derivative
            if not is_number(leaf):
                self._mark(leaf)
        self.strategy.note(call, result)
        return result

    def _no_rule(self, call: Call, why: str) -> OperationError:
        why = why or reason(call.name)
        advice = (
            "Tell what it is with heatproof.propagation.register(function, kind or the same in known operations), or "
            "choose another method."
            if not call.choices or self.strategy.holds_choices
            else "Choose a baseline at which it chooses alike, or another method."
        )
        return OperationError(
            f"Expected operations that {self.strategy.label} has rules for, but {where(self.model)} calls "
            f"{call.name}{f' ({why})' if why else ''}. {REMEDIES.get(why, advice)}"
        )

    def _in_place(self, call: Call) -> Any:
        target = call.target
        self.strategy.before_write(call)
        new = self.strategy.handle(call)
        if new is not target:
            target.copy_(new)
        self.strategy.after_write(target, new)
        return target

    def _respelled(self, call: Call) -> Any:
        """Run as the calls that it is in other words; what it returns besides has no derivative to hand on."""
        body, first = RESPELLED[call.name]
        with self:
            made = body(*call.args, **call.kwargs) if call.name in BY_PLACE else body(**call.bind())
        if not first:
            return made
        with torch.no_grad():
            rest = call.execute()[1:]
        for tensor in rest:
            if isinstance(tensor, Tensor) and is_number(tensor):
                self._mark(tensor)
        return (made, *rest)

    def _opened(self, call: Call, body: Callable[..., Any]) -> Any:
        """Run as operations that have rules; the plain call's value stands on top, so that no bit changes."""
        if call.name in BODIES and call.choices and not self.strategy.holds_choices and self.strategy.moves(call):
            raise UnsupportedCallError("it chooses by a mask or an index that is another one at the baseline")
        # With a graph, and one tensor where the call had one: torch takes other kernels, with other last bits, where no
        # gradient is asked for, or where query, key and value are not the same tensor.
        leaves = {id(tensor): tensor.detach().requires_grad_() for tensor in call.inputs}
        plain = call.run(*[leaves[id(tensor)] for tensor in call.inputs])
        with self:
            opened = body(*call.args, **{name: value for name, value in call.kwargs.items() if name != "out"})
        decomposed = tensors_in(opened)
        values = [leaf.detach() for leaf in tensors_in(plain)]
        outputs = [graft(v, d.view_as(v)) if d.requires_grad else v for v, d in zip(values, decomposed, strict=True)]
        self.strategy.grafted(call, outputs, decomposed)
        for output, part in zip(outputs, decomposed, strict=True):
            self._moving.hand_over(part, output)
            self._written.hand_over(part, output)
        fresh = iter(outputs)
        return tree_map_only(Tensor, lambda _: next(fresh), plain)

    def _checked(self, call: Call, result: Any) -> Any:
        for leaf in tensors_in(result):
            if leaf.is_floating_point() or leaf.is_complex():
                if self.allow_detached and not leaf.requires_grad:
                    continue
                if not leaf.requires_grad or leaf.dtype in HALF:
                    check_unbroken(leaf, call.name, self.model)
                self._made.add(leaf.grad_fn)
                if self._moving.any and self._rests(leaf):
                    continue
            elif call.name in ("_pack_padded_sequence", "_pad_packed_sequence"):
                continue  # lengths, not places that the input chose
            self._marks[leaf] = True
        # `buffer[:, :2].copy_(h)`: the whole depends on h.
        if call.in_place and (base := call.target._base) is not None:
            self._mark(base)
            self._made.add(base.grad_fn)
        return result

    def _mark(self, tensor: Tensor) -> None:
        self._marks[tensor] = True


_OWN: dict[str, Callable[..., Any]] = {"scaled_dot_product_attention": attention, "glu": gated, **DECOMPOSED}


_TOLD = frozenset(("rounding_mode", "out"))  # by which a call is one that is refused


def _is_plain(call: Call) -> bool:
    """Whether a call is known, at little cost, to be neither refused nor opened; most are."""
    if not call.operation.simple or len(call.inputs) != 1 or call.complex or call.inputs[0] is not call.target:
        return False
    if call.constants and call.kind == "nonlinearity":
        return False
    return not call.kwargs or _TOLD.isdisjoint(call.kwargs)


def _never(*_: Any) -> bool:
    return False


def _body(call: Call, strategy: Strategy) -> Callable[..., Any] | None:
    """What a composite call consists of: for a Python function its own code, run with the interception left on.

    None for a call whose kind has a rule.
    """
    if call.operation.body is not None:
        return call.operation.body
    if strategy.own_derivatives:
        if call.name in BODIES:
            return None
    elif (body := body_of(call) or addends.opened(call)) is not None:
        return body
    if call.kind not in ("open", "attention", "recurrent"):
        return None
    if call.name in _OWN:
        return _OWN[call.name]
    if not isinstance(call.function, types.FunctionType):
        raise OperationError(f"Expected a Python function behind {call.name}, but got {type(call.function).__name__}.")
    # The function's own check would hand it to the mode again, for ever.
    scope = dict.fromkeys(("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"), _never)
    code = call.function
    opened = types.FunctionType(
        code.__code__, {**code.__globals__, **scope}, code.__name__, code.__defaults__, code.__closure__
    )
    opened.__kwdefaults__ = code.__kwdefaults__
    return opened


def _functions_with_rules() -> dict[type[torch.autograd.Function], Operation]:
    """The `torch.autograd.Function` classes that somebody registered."""
    return {
        function: operation
        for function, operation in registered().items()
        if isinstance(function, type) and issubclass(function, torch.autograd.Function)
    }


@contextmanager
def _intercepting(engine: Engine, functions: dict[type[torch.autograd.Function], Operation]) -> Iterator[None]:
    """`torch.autograd.Function` classes are not intercepted: these are, in here."""
    with ExitStack() as all_of_them:
        for function, operation in functions.items():
            own, new = function.__dict__.get("apply"), _intercepted(engine, function, operation)
            put = undone(partial(_put_back, function, own), partial(setattr, function, "apply", new))
            all_of_them.enter_context(put)
        yield


def _intercepted(engine: Engine, function: type[torch.autograd.Function], operation: Operation) -> Any:
    apply = function.apply

    def intercepted(*args: Any) -> Any:
        call = Call(apply, operation, args, {}, engine.depends)
        if not call.inputs:
            return apply(*args)  # type: ignore[no-untyped-call]
        with set_aside(engine):
            return engine.intercept(call)

    return staticmethod(intercepted)


def _put_back(function: Any, own: Any) -> None:
    if own is not None:
        function.apply = own
    elif "apply" in vars(function):
        del function.apply
