"""The value of the plain operation, the derivative of a surrogate: the one place that joins them.

A surrogate is a differentiable function of an operation's inputs whose ordinary derivative is the rule. It is joined
eagerly (its graph is built during the forward pass) or lazily (only the inputs and the value are kept, and the
surrogate is evaluated when a pull comes back). Lazy saves memory; from the third pull on a lazy node keeps its graph,
because by then the eager way is cheaper.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

PULLS_BEFORE_KEEPING = 2


class Term(NamedTuple):
    """A term of a surrogate: a part with a graph, times a factor that is held."""

    part: Tensor
    factor: Tensor


Surrogate = Callable[..., list[Term]]  # (value without graph, *inputs) -> surrogate


class Kept:
    """A value that a backward pass needs, without keeping alive the graph that it stands in.

    The network may write into it afterwards (`F.relu(h, inplace=True)`): whoever intercepts the write calls `secure`
    first. A write that nobody saw is noticed by the version, and the value is computed again.
    """

    def __init__(self, value: Tensor, again: Callable[[], Tensor]) -> None:
        self._value, self._version, self._again = value.detach(), value._version, again

    def secure(self) -> None:
        """Copy the value, before somebody writes into it."""
        if self._value._version == self._version:
            self._value = self._value.clone()
            self._version = self._value._version

    def get(self) -> Tensor:
        """The value as it was."""
        return self._value if self._value._version == self._version else self._again()


class Graft(torch.autograd.Function):
    """Forward: a ready value. Backward: into the surrogate `s`, unchanged."""

    @staticmethod
    def forward(ctx: Any, value: list[Tensor], s: Tensor) -> Tensor:
        return value.pop()  # in a list, so that it is no input: a returned input could not be written into

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        return None, grads[0]


class Lazy(torch.autograd.Function):
    """Forward: a ready value. Backward: through the surrogate, evaluated there."""

    @staticmethod
    def forward(ctx: Any, value: list[Tensor], kept: Kept, surrogate: Surrogate, *inputs: Tensor) -> Tensor:
        ctx.kept, ctx.surrogate, ctx.pulls, ctx.graph = kept, surrogate, 0, None
        ctx.save_for_backward(*inputs)
        return value.pop()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        ctx.pulls += 1
        inputs, terms = ctx.graph or _evaluate(ctx)
        keep = ctx.pulls > PULLS_BEFORE_KEEPING
        ctx.graph = (inputs, terms) if keep else None
        arriving = [grads[0] * term.factor for term in terms]
        pulled = torch.autograd.grad([term.part for term in terms], inputs, arriving, retain_graph=keep)
        return None, None, None, *pulled


def _evaluate(ctx: Any) -> tuple[list[Tensor], list[Term]]:
    inputs = [tensor.detach().requires_grad_() for tensor in ctx.saved_tensors]
    with torch.enable_grad():
        return inputs, ctx.surrogate(ctx.kept.get(), *inputs)


def graft(value: Tensor, s: Tensor) -> Tensor:
    """`value`, whose derivative is that of `s` (eager); `value` must not be used elsewhere."""
    if s.shape != value.shape:
        raise RuntimeError(f"Expected a surrogate of the value's shape {tuple(value.shape)}, but got {tuple(s.shape)}.")
    grafted: Tensor = Graft.apply([value.detach()], s)  # type: ignore[no-untyped-call]
    return grafted


def postpone(value: Tensor, kept: Kept, surrogate: Surrogate, inputs: Sequence[Tensor]) -> Tensor:
    """`value`, whose derivative is that of the terms of `surrogate(value, *inputs)` (lazy)."""
    out: Tensor = Lazy.apply([value], kept, surrogate, *inputs)  # type: ignore[no-untyped-call]
    return out
