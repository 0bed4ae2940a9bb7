"""Surrogates of operations that choose among values: maxima, order, pooling by maxima.

Each picks for every output one index i whose own change is at least the output's, of the same sign: x_i gets
Δout/(x_i − x̄_i), so that slopes lie in [0, 1], the sum rule holds, and windows may overlap.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from heatproof.propagation.calls import Call
from heatproof.propagation.secants import NoSecantError, divided
from heatproof.propagation.shared import row, shared

NEXT_TO = 1e-6
OF_TWO = frozenset(("maximum", "minimum", "max", "min", "fmax", "fmin"))
OF_MANY = frozenset(("topk", "sort", "max", "min", "amax", "amin"))


def max_pool(call: Call, bars: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The pooled values, where they stand, and the surrogate: x_i with i = argmax x where max x ≥ max x̄, else argmax x̄.

    Values and places that are returned are the call's own.
    """
    dims = int(call.name[-2])
    function: Callable[..., Any] = getattr(F, call.name)
    (x,), (bar,) = call.inputs, bars
    given = {k: v for k, v in call.bind().items() if k not in ("input", "return_indices")}
    if not given.get("stride", True):  # ATen's way to say: as large as the kernel
        del given["stride"]

    def indexed(t: Tensor) -> tuple[Tensor, Tensor]:
        return function(t, **given, return_indices=True)  # type: ignore[no-any-return]

    def place(of: Tensor, beside: Tensor) -> Tensor:
        # Of values that are next to equal, as at a baseline of one color, that with the largest of the other tensor:
        # their order in the window and their rounding mean nothing. Any place gives the same sum.
        return indexed(of + NEXT_TO * beside)[1]

    top, index = indexed(x.detach())
    top_bar = indexed(row(bar) if shared(bar) else bar)[0]
    chosen = torch.where(top >= top_bar, place(x.detach(), bar), place(bar, x.detach())).flatten(-dims)
    s = _picked(x, bar, top - top_bar, lambda t: t.flatten(-dims).gather(-1, chosen).view_as(top))
    return top, index, s


def choice(call: Call, bars: list[Tensor]) -> Tensor:
    """The larger or smaller of two tensors, by their joint change; or the k-th largest or smallest along dimensions."""
    if call.name in OF_TWO and len(call.inputs) == 2:
        return _of_two(call, bars)
    if call.name in OF_TWO and (len(call.inputs), len(call.constants)) == (1, 1):
        return _beside_a_constant(call, bars)
    if len(call.inputs) == 1 and len(call.constants) == 0 and call.name in OF_MANY:
        return _of_many(call, bars)
    raise NoSecantError("only maxima, minima, topk and sort have a rule")


def _beside_a_constant(call: Call, bars: list[Tensor]) -> Tensor:
    """Where the two meet the slope is 1 as far as the constant is not taken: that of a ReLU for max(x, 0)."""
    (a,), (bar,), (constant,) = call.inputs, bars, call.constants
    value, value_bar = call.run(a.detach()), call.run(bar)
    slope = ((value == a) & (a != constant)).to(value)
    return a * divided(value - value_bar, (a.detach() - bar) + torch.zeros_like(value), slope)


def _of_two(call: Call, bars: list[Tensor]) -> Tensor:
    (a, b), (a_bar, b_bar) = call.inputs, bars
    f = [[call.run(p, q) for q in (b.detach(), b_bar)] for p in (a.detach(), a_bar)]
    zero = torch.zeros_like(f[0][0])
    m_a = divided((f[0][0] - f[1][0] + f[0][1] - f[1][1]) / 2, (a.detach() - a_bar) + zero, 0.5)
    m_b = divided((f[0][0] - f[0][1] + f[1][0] - f[1][1]) / 2, (b.detach() - b_bar) + zero, 0.5)
    return a * m_a + b * m_b


def _of_many(call: Call, bars: list[Tensor]) -> Tensor:
    given = call.bind()
    (x,), (bar,) = call.inputs, bars
    if call.name == "topk" and not given.get("sorted", True):
        raise NoSecantError("its values come in no order")
    ordered = call.name in ("topk", "sort")
    dim = given.get("dim", -1 if ordered else ())
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    if not dims:
        raise NoSecantError("it chooses among the samples of the batch; give it a dimension")
    descending = {"topk": given.get("largest", True), "sort": given.get("descending", False)}
    sign = 1.0 if descending.get(call.name, "max" in call.name) else -1.0
    places = tuple(range(-len(dims), 0))
    rows, bar_rows = (t.movedim(dims, places).flatten(-len(dims)) for t in (x, bar))
    s = ranked(rows, bar_rows, given.get("k", rows.shape[-1] if ordered else 1), sign)
    if ordered:
        return s.movedim(-1, dims[0])
    kept = [1 if d in {other % x.dim() for other in dims} else size for d, size in enumerate(x.shape)]
    return s.view(kept) if given.get("keepdim", False) else s[..., 0]


def ranked(x: Tensor, bar: Tensor, count: int, sign: float) -> Tensor:
    """The largest `count` of sign · x along the last dimension, in descending order, times sign.

    Where the k-th largest rises, some index among the k largest of x is not larger than the k-th at the baseline: only
    k − 1 are. Its own change is at least as large. Where it falls, x and x̄ change places. The k-th itself is preferred.
    """
    now, then = sign * x.detach(), sign * bar
    (top, index), (top_bar, index_bar) = (t.topk(count, -1) for t in (now, then))
    chosen = torch.where(
        top >= top_bar, _witness(index, then.expand_as(now), top_bar), _witness(index_bar.expand_as(index), now, top)
    )
    return _picked(x, bar.expand_as(x), sign * (top - top_bar), lambda t: t.gather(-1, chosen))


def _witness(order: Tensor, values: Tensor, bound: Tensor) -> Tensor:
    """For each rank the index at it, if its value is within the bound; else the index of the least value so far."""
    own = values.gather(-1, order)
    return torch.where(own <= bound, order, order.gather(-1, own.cummin(-1).indices))


def _picked(x: Tensor, bar: Tensor, change: Tensor, pick: Callable[[Tensor], Tensor]) -> Tensor:
    chosen = pick(x)
    difference = chosen.detach() - pick(bar)
    return chosen * divided(change, difference, 1.0)
