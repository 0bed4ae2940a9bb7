"""The value of the plain operation, the derivative of a surrogate: the one place that joins them.

A surrogate is a differentiable function of an operation's inputs whose ordinary derivative is the rule. It is joined
eagerly (its graph is built during the forward pass) or lazily (only the inputs and the value are kept, and the
surrogate is evaluated when a pull comes back). Lazy saves memory; from the third pull on a lazy node keeps its graph,
because by then the eager way is cheaper.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from heatproof.propagation.terms import Ledger, Share, Term

PULLS_BEFORE_KEEPING = 2


Surrogate = Callable[..., Sequence[Term | Share]]  # (value without graph, *inputs) -> surrogate


class Kept:
    """A value that a backward pass needs, without keeping alive the graph that it stands in.

    The network may write into it afterwards (`F.relu(h, inplace=True)`): whoever intercepts the write calls `secure`
    first, or `follow` then. A write that nobody saw is noticed by the version, and the value is computed again.

    `rectified`: ReLUs alone read the value. Where they are closed nothing comes back, and a rule may see 0 there, too.
    """

    def __init__(self, value: Tensor, again: Callable[[], Tensor]) -> None:
        self._value, self._version, self._again = value.detach(), value._version, again
        self.rectified, self._followed = True, False

    def secure(self) -> None:
        """Copy the value, before somebody writes into it."""
        if self._value._version == self._version:
            self._value = self._value.clone()
            self._version = self._value._version

    def read(self, by: str) -> None:
        """Called with the name of an operation that reads the value, or what a ReLU has written into it."""
        self.rectified = self.rectified and (self._followed or by == "relu")

    def follow(self) -> None:
        """Take for the value what a ReLU has written into it."""
        self._version, self._followed = self._value._version, True

    def get(self) -> Tensor:
        """The value as it was."""
        return self._value if self._value._version == self._version else self._again()


class Held:
    """A factor that is held, made when it is asked for first; until then what it is made of is."""

    def __init__(self, make: Callable[[], Tensor]) -> None:
        self._made: Tensor | Callable[[], Tensor] = make

    def get(self) -> Tensor:
        """The factor."""
        if not isinstance(self._made, Tensor):
            self._made = self._made()
        return self._made


class Graft(torch.autograd.Function):
    """Forward: a ready value. Backward: into the surrogate `s`, unchanged."""

    @staticmethod
    def forward(ctx: Any, value: list[Tensor], s: Tensor) -> Tensor:
        return value.pop()  # in a list, so that it is no input: a returned input could not be written into

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        return None, grads[0]


class Scaled(torch.autograd.Function):
    """Forward: a ready value; none says that `x` has been overwritten with it. Backward: times a held factor."""

    @staticmethod
    def forward(ctx: Any, held: tuple[list[Tensor], Tensor | float | Held], x: Tensor) -> Tensor:
        value, ctx.factor = held
        if value:
            return value.pop()
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        factor = ctx.factor.get() if isinstance(ctx.factor, Held) else ctx.factor
        return None, grads[0] * factor


class Guarded(torch.autograd.Function):
    """Forward: a ready value. Backward: times a held factor that may be infinite; nothing stays nothing."""

    @staticmethod
    def forward(ctx: Any, value: list[Tensor], x: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return value.pop()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, None]:
        (factor,) = ctx.saved_tensors
        return None, torch.where(grads[0] == 0, 0.0, grads[0] * factor), None


class Loss(NamedTuple):
    """Where a node writes down what it loses; `ordered` says that the rows of its value are the samples."""

    ledger: Ledger
    ordered: bool

    def write_down(self, arriving: Tensor, lost: Tensor) -> None:
        """`lost` is what is lost of each unit that arrives; its memory is taken."""
        self.ledger.add(lost.mul_(arriving), self.ordered)


class Lazy(torch.autograd.Function):
    """Forward: a ready value. Backward: through the surrogate, evaluated there."""

    @staticmethod
    def forward(
        ctx: Any, held: tuple[list[Tensor], Kept, Surrogate, Loss | None], *inputs: Tensor
    ) -> Tensor:  # one argument for all that has no derivative: torch looks at each
        value, ctx.kept, ctx.surrogate, ctx.loss = held
        ctx.pulls, ctx.graph = 0, None
        ctx.save_for_backward(*inputs)
        return value.pop()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        ctx.pulls += 1
        keep = ctx.pulls > PULLS_BEFORE_KEEPING
        accounted = ctx.loss is not None and ctx.loss.ledger.open
        if ctx.graph is None or accounted:
            inputs, unsettled = _evaluate(ctx)
            lose = partial(ctx.loss.write_down, grads[0]) if accounted else None
            ctx.graph = inputs, [term.settled(reuse=not keep, lose=lose) for term in unsettled]
        inputs, terms = ctx.graph
        if not keep:
            ctx.graph = None
        arriving = [grads[0] * term.factor if keep else term.factor.mul_(grads[0]) for term in terms]
        pulled = torch.autograd.grad([term.part for term in terms], inputs, arriving, retain_graph=keep)
        return None, *pulled


def _evaluate(ctx: Any) -> tuple[list[Tensor], Sequence[Term | Share]]:
    inputs = [tensor.detach().requires_grad_() for tensor in ctx.saved_tensors]
    with torch.enable_grad():
        return inputs, ctx.surrogate(ctx.kept.get(), *inputs)


def graft(value: Tensor, s: Tensor) -> Tensor:
    """`value`, whose derivative is that of `s` (eager); `value` must not be used elsewhere."""
    if s.shape != value.shape:
        raise RuntimeError(f"Expected a surrogate of the value's shape {tuple(value.shape)}, but got {tuple(s.shape)}.")
    grafted: Tensor = Graft.apply([value.detach()], s)  # type: ignore[no-untyped-call]
    return grafted


def scale(value: Tensor | None, x: Tensor, factor: Tensor | float | Held) -> Tensor:
    """`value`, whose derivative is that of `x * factor`, without computing that product.

    None: the value has been written into the memory of `x`, which comes back (one node, where a copy would have two).
    """
    if value is not None and x.shape != value.shape:
        x = x.expand_as(value)
    ready = [] if value is None else [value.detach()]
    scaled: Tensor = Scaled.apply((ready, factor), x)  # type: ignore[no-untyped-call]
    return scaled


def weigh(x: Tensor, factor: Tensor) -> Tensor:
    """x · factor, with a held factor that may be infinite where nothing comes back (a value that no mask chose)."""
    if bool(factor.sum().isfinite()):
        return x * factor
    product = x.detach() * factor
    guarded: Tensor = Guarded.apply([product], x.expand_as(product), factor)  # type: ignore[no-untyped-call]
    return guarded


def postpone(
    value: Tensor, kept: Kept, surrogate: Surrogate, inputs: Sequence[Tensor], loss: Loss | None = None
) -> Tensor:
    """`value`, whose derivative is that of the terms of `surrogate(value, *inputs)` (lazy)."""
    # Detached: a view, as a linear layer gives on sequences, could not be written into afterwards.
    out: Tensor = Lazy.apply(([value.detach()], kept, surrogate, loss), *inputs)  # type: ignore[no-untyped-call]
    return out
