"""DeepLIFT as a strategy of the engine: every tensor goes with the reference it has at the baseline."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

from heatproof.errors import OperationError
from heatproof.propagation import choices, multilinear, normalization, norms, quotients, secants, softmax
from heatproof.propagation.calls import Call, is_number
from heatproof.propagation.decompositions import is_linear
from heatproof.propagation.facts import Facts
from heatproof.propagation.linear import Linear, linear_of
from heatproof.propagation.nodes import Kept, graft, postpone, scale
from heatproof.propagation.shared import SharingEndsError, row, shared, treats_rows_alike
from heatproof.propagation.strategy import Strategy
from heatproof.propagation.terms import Term
from heatproof.propagation.unsupported import UnsupportedCallError

SECANTS: dict[str, Callable[[Call, list[Tensor]], Tensor]] = {
    "product": multilinear.product,
    "linear": multilinear.product,
    "convolution": multilinear.product,
    "prod": multilinear.many,
    "choice": choices.choice,
    "softmax": softmax.softmax,
    "logsumexp": softmax.logsumexp,
    "norm": norms.norm,
    "variance": secants.variance,
    "normalization": secants.normalized,
}
BLIND = frozenset(("structural", "sum", "map", "write"))  # what they do does not depend on values


class Differences(Strategy):
    """DeepLIFT. The derivative times x − x̄ is the contribution to S(x) − S(x̄).

    Each call runs a second time on the references of its tensors, so that shapes, views and writes follow the input's.
    Linear operations keep their derivative; a nonlinearity's is (f(x) − f(x̄))/(x − x̄), f′ where the two
    meet; everything else has a secant that is complete (`heatproof.propagation.secants`), or 003's plain gradient.

    Args:
        reference: the baseline, of the shape of the explained tensor; one row expanded to it is run as one row.
        max_pool, products: `complete` or `gradient`; products are meant to include softmax and normalizations.
        rule: `rescale` or `reveal-cancel`.
    """

    label: ClassVar[str] = "DeepLIFT"
    holds_choices: ClassVar[bool] = False

    def __init__(self, reference: Tensor, *, max_pool: str, products: str, rule: str) -> None:
        self._reference = reference
        self._max_pool, self._products, self._rule = max_pool, products, rule
        self._references = WeakIdKeyDictionary()
        self._made: Facts[tuple[Linear, Tensor]] = Facts()
        self._divisors: Facts[bool] = Facts()

    def begin(self, x: Tensor) -> None:
        self._remember(x, _copied(self._reference.detach()))

    def reference(self, tensor: Tensor) -> Tensor:
        """The tensor's value at the baseline; a tensor that does not depend on the input is its own reference."""
        if tensor not in self._references:
            return tensor.detach()
        reference, ahead = self._references[tensor]
        if tensor._version - reference._version != ahead:
            raise OperationError(
                "Expected every write into a tensor to be seen, but one changed behind DeepLIFT's back; "
                "look for writes through .data or NumPy inside the model."
            )
        return reference  # type: ignore[no-any-return]

    def _remember(self, tensor: Tensor, reference: Tensor) -> None:
        self._references[tensor] = (reference, tensor._version - reference._version)

    # -- the engine's protocol ------------------------------------------------------------------------------------

    def handle(self, call: Call) -> Any:
        if call.choices:
            raise UnsupportedCallError("it chooses by a mask or an index that depends on the input")
        if call.kind == "batch-norm":
            normalization.refuse_batch_statistics(call)  # before one row alone is normalized with its own statistics
        bars = [self.reference(tensor) for tensor in call.inputs]
        # The call may write into the reference; sums and rearrangements do not look at what it was.
        before = [_copied(bar) for bar in bars] if call.in_place and call.kind not in BLIND else bars
        with torch.no_grad():
            reference = self._referred(call, bars)
        divides = quotients.makes_divisors(call) or (
            quotients.keeps_divisors(call) and self._divisors.get(call.inputs[0]) is not None
        )
        result = self._differentiated(call, before, reference)
        if divides and isinstance(result, Tensor):
            self._divisors[result] = True
        if isinstance(result, Tensor) and result is call.target and call.in_place:
            self._pending = reference
        else:
            self._pair(result, reference)
        return result

    def _referred(self, call: Call, bars: list[Tensor]) -> Any:
        """The call on the references; in place where the call is, so that views of the reference see it."""
        written = call.in_place and call.target in self._references
        if treats_rows_alike(call, bars):
            rows = [row(bar) for bar in bars]
            result = call.write(*rows) if written else call.run(*rows)
            return tree_map_only(Tensor, lambda one: one.expand(len(bars[0]), *one.shape[1:]), result)
        if written and shared(self._references[call.target][0]):
            raise SharingEndsError
        return call.write(*bars) if written else call.run(*bars)

    def after_write(self, target: Tensor, new: Tensor) -> None:
        reference = self._pending if new is target else self.reference(new)
        if target in self._references:  # its reference was written into, as the target was
            reference = self._references[target][0]
        self._remember(target, reference)

    def grafted(self, call: Call, outputs: list[Tensor], decomposed: list[Tensor]) -> None:
        with torch.no_grad():
            bars = {id(tensor): self.reference(tensor) for tensor in call.inputs}
            references = call.run(*[bars[id(tensor)] for tensor in call.inputs])
        self._pair(outputs, references)

    def _pair(self, result: Any, reference: Any) -> None:
        tensors, bars = ([leaf for leaf in tree_leaves(t) if isinstance(leaf, Tensor)] for t in (result, reference))
        for tensor, bar in zip(tensors, bars, strict=True):
            if is_number(tensor):
                self._remember(tensor, bar)

    # -- one kind after the other ---------------------------------------------------------------------------------

    def _differentiated(self, call: Call, bars: list[Tensor], reference: Any) -> Any:
        match call.kind:
            case "structural" | "sum" | "write" | "linear" | "convolution" | "product" if len(call.inputs) == 1:
                if call.name == "rdiv" or (call.name == "div" and call.position(call.inputs[0]) == 1):
                    return graft(call.value(), quotients.reciprocal(call, bars[0]))
                out = call.execute()
                if self._rule == "reveal-cancel" and (linear := linear_of(call)) is not None:
                    self._made[out] = (linear, bars[0])
                return out
            case "structural" | "sum" | "write":
                return call.execute()
            case "map" if is_linear(call):
                return call.execute()
            case "batch-norm":
                (x,) = call.inputs
                gain, shift = normalization.batch_norm_of(call)
                out = scale(call.value(), x, normalization.along(gain, x))
                made = self._made.get(x)
                folded = None if made is None else made[0].scaled(gain, shift)
                if made is not None and folded is not None:
                    self._made[out] = (folded, made[1])
                return out
            case "nonlinearity":
                return self._nonlinearity(call, bars, reference)
            case "max-pool" if self._max_pool == "gradient":
                return call.execute()
            case "max-pool":
                value, index, s = choices.max_pool(call, bars)
                out = graft(value, s)
                return out if isinstance(reference, Tensor) else (out, index)
            case "product" | "prod" | "softmax" | "normalization" | "norm" | "variance" | "logsumexp" if (
                self._products == "gradient"
            ):
                return call.execute()
        secant: Callable[[Call, list[Tensor]], Tensor] | None = SECANTS.get(call.kind)
        if secant is None:
            raise UnsupportedCallError("")
        try:
            s = self._by_divisor(call, bars) if call.name == "mul" and len(bars) == 2 else secant(call, bars)
        except secants.NoSecantError as reason:
            raise UnsupportedCallError(str(reason)) from None
        with torch.no_grad():
            plain = call.run(*call.inputs)  # the values, and perhaps the indices that they stand at
        return tree_map_only(Tensor, lambda t: graft(t, s) if is_number(t) else t, plain)

    def _by_divisor(self, call: Call, bars: list[Tensor]) -> Tensor:
        """An elementwise product of two marked tensors; a quotient where one of them is one over something."""
        (a, b), (a_bar, b_bar) = call.inputs, bars
        divides = [self._divisors.get(t) is not None for t in (a, b)]
        if divides[0] == divides[1]:
            return quotients.product(call, bars)
        return quotients.divided_by(a, b, a_bar, b_bar) if divides[1] else quotients.divided_by(b, a, b_bar, a_bar)

    def _nonlinearity(self, call: Call, bars: list[Tensor], reference: Tensor) -> Tensor:
        if len(call.inputs) != 1:
            raise UnsupportedCallError("more than one of its arguments depends on the input")
        (x,), (bar,) = call.inputs, bars
        made = self._made.get(x) if self._rule == "reveal-cancel" else None
        if made is None and call.name == "relu":
            return _relu(call, x, bar, reference)
        value = call.value()
        if made is not None:
            linear, x_bar = made
            bare, x_bar = call.released(), _copied(x_bar.detach())
            nothing = value.new_empty(0)  # the surrogate does not look at the value
            kept = Kept(nothing, lambda: nothing)

            def surrogate(_: Tensor, operand: Tensor) -> list[Term]:
                return secants.reveal_cancel(bare, linear, operand, x_bar)

            return postpone(value, kept, surrogate, [linear.x])
        return scale(value, x, secants.slope(call, x.detach(), bar, value, reference))


def _relu(call: Call, x: Tensor, bar: Tensor, reference: Tensor) -> Tensor:
    """A ReLU; in place where the call is, since a copy and its derivative would cost as much as the ReLU itself."""
    held = x.detach()
    difference = held - bar
    if call.in_place and not x._is_view():
        # Through `data`, so that x is seen to change once, as its reference is: views of both stay current together.
        return scale(None, x, secants.relu_slope(difference, x.data.relu_(), reference))
    value = torch.relu(held)
    return scale(value, x, secants.relu_slope(difference, value, reference))


def _copied(tensor: Tensor) -> Tensor:
    return row(tensor).clone().expand_as(tensor) if shared(tensor) else tensor.clone()
