"""Two proofs that no operation slipped past the rules, and the refusal of models that would make them blind.

Dependence: every tensor computed from the explained input is marked as it is made; a marked floating tensor without a
graph is a path that is lost. Graph: what an intercepted call reads, and the outputs, stand at nodes of the autograd
graph that intercepted calls left. Neither alone is enough: the graph does not tell of a path that is missing, the marks
do not of a call that was never intercepted.
"""

import sys
from collections.abc import Container
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import _pop_mode
from torch.utils._device import DeviceContext

from heatproof import modes
from heatproof.errors import InputError, OperationError
from heatproof.hooks import any_backward_hooks, left_on, with_backward_hooks
from heatproof.modules import modules_of
from heatproof.undo import Undoing

HALF = (torch.float16, torch.bfloat16)
LEAF = "torch::autograd::AccumulateGrad"
# Nodes that autograd makes by itself when a view's base was written into.
REPLAYED = (
    "AsStrided",
    "CopySlices",
    "View",
    "Select",
    "Slice",
    "Transpose",
    "Permute",
    "Unsqueeze",
    "Expand",
    "Alias",
)


def where(model: nn.Module) -> str:
    """The innermost module of `model` whose code is running now, in words."""
    names = {id(module): name for name, module in model.named_modules()}
    frame = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and id(owner) in names:
            name = names[id(owner)]
            return f"module {name!r} ({type(owner).__name__})" if name else f"the model itself ({type(owner).__name__})"
        frame = frame.f_back  # type: ignore[assignment]
    return f"the model itself ({type(model).__name__})"


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside `torch.compile` and `nn.DataParallel`, which would hide its calls from the engine."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def is_quantized(module: nn.Module) -> bool:
    """Whether a module is one of torch's quantized kinds."""
    return "quantized" in type(module).__module__.split(".")


@lru_cache(maxsize=4096)
def _of_hidden_kind(kind: type) -> bool:
    """Whether modules of this class hide their calls."""
    return issubclass(kind, torch.jit.ScriptModule | nn.DataParallel) or "quantized" in kind.__module__.split(".")


def _hides(module: nn.Module) -> bool:
    own = module.__dict__
    compiled = (
        own.get("_compiled_call_impl") is not None or "_orig_mod" in own or "_orig_mod" in own.get("_modules", ())
    )
    kind: Any = type(module)
    return compiled or _of_hidden_kind(kind)


def check_visible(model: nn.Module) -> None:
    """Refuse a model whose calls the engine could not see, and surroundings that would see the rules' own calls."""
    modules = modules_of(model)
    for name, module in model.named_modules() if any(map(_hides, modules)) else ():
        what = None
        if isinstance(module, torch.jit.ScriptModule):
            what = "a TorchScript module, whose operations nobody can intercept; use the Python module it was made from"
        elif isinstance(getattr(module, "_orig_mod", None), nn.Module):
            what = "a compiled module; use the module it was made from (its ._orig_mod)"
        elif getattr(module, "_compiled_call_impl", None) is not None:
            what = "compiled in place; build the model without .compile()"
        elif isinstance(module, nn.DataParallel):
            what = "a DataParallel module, whose threads nobody can intercept; use its .module"
        elif is_quantized(module):
            what = "quantized, and rules need real weights; use the float model"
        if what is not None:
            raise InputError(f"Expected a model of plain modules, but {name or 'the model'!r} is {what}.")
    if any_backward_hooks(modules) and (hooked := with_backward_hooks(model)):
        raise left_on(hooked)
    outer = [mode for mode in modes.entered() if not isinstance(mode, DeviceContext | modes.Passive)]
    if outer:
        raise InputError(
            f"Expected no other TorchFunctionMode outside, but {type(outer[-1]).__name__} is active and would see the "
            "rules' own calls; leave it before explaining."
        )
    if torch.is_inference_mode_enabled():
        raise InputError("Expected derivatives to be possible, but torch.inference_mode is active; leave it.")
    if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        raise InputError(
            "Expected full precision, but autocast is active: rules overflow in half precision; leave the autocast."
        )


def modes_left_above(mode: object) -> str:
    """Take off the function modes that were entered after `mode` and never left; their names, "" for none."""
    names = []
    while (top := modes.entered()[-1]) is not mode:
        names.append(type(top).__name__)
        _pop_mode()  # type: ignore[no-untyped-call]
    return ", ".join(names)


class set_aside(Undoing):  # noqa: N801  # reads like contextlib's own
    """Run without `mode` and the function modes above it, as torch does while a mode handles a call."""

    def __init__(self, mode: object) -> None:
        self._stack = modes.entered()
        self._below = self._stack[: next(place for place, one in enumerate(self._stack) if one is mode)]

    def _change(self) -> None:
        modes.become(self._below)

    def _undo(self) -> None:
        modes.become(self._stack)


def check_unbroken(tensor: Tensor, name: str, model: nn.Module) -> None:
    """Refuse a floating tensor computed from the input by `name` through which no derivative can come back."""
    if tensor.dtype in HALF:
        raise OperationError(
            f"Expected full precision, but {name} in {where(model)} makes {tensor.dtype}: rules overflow in half "
            "precision; call .float() on the model."
        )
    if not tensor.requires_grad:
        raise OperationError(
            f"Expected a derivative through every step, but the result of {name} in {where(model)} has lost its path "
            "to the input: it was computed under no_grad or inside a custom torch.autograd.Function. Remove the "
            "no_grad, register a rule for the Function (heatproof.propagation.register), or pass allow_detached=True "
            "if the model means that path to be constant."
        )


def nodes_between(output: Any, *stops: Container[Any]) -> list[Any]:
    """The autograd nodes from `output` back to the nodes in `stops`, without those."""
    todo, seen = [output], dict[Any, None]()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        for stop in stops:
            if node in stop:
                break
        else:
            if node.name() != LEAF:
                seen[node] = None
                todo += [following for following, _ in node.next_functions]
    return list(seen)


def check_made(tensor: Tensor, made: set[Any], aside: set[Any]) -> None:
    """Refuse a tensor that depends on the input and stands at a node that is not among those in `made`.

    Nor at one that autograd itself put on top of these; `made` takes it. `aside` is what parameters alone made.
    """
    node = tensor.grad_fn
    if node is None or node in made:
        return
    between = nodes_between(node, made, aside)
    strangers = [name for one in between if not (name := one.name()).startswith(REPLAYED)]
    if strangers:
        raise unseen(strangers[-1])
    made.update(between)


def unseen(node: str) -> OperationError:
    """The error for an autograd node that depends on the input and that no intercepted call made."""
    return OperationError(
        f"Expected every step of the model to be seen, but a tensor's graph holds {node}, which no intercepted "
        "operation made: it comes from a scripted or compiled function, a custom torch.autograd.Function (register a "
        "rule for it: heatproof.propagation.register), or activation checkpointing (switch it off)."
    )
