"""DeepLIFT as a strategy of the engine: every tensor goes with the reference it has at the baseline."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from heatproof.propagation import choices, multilinear, normalization, norms, quotients, secants, softmax
from heatproof.propagation.calls import Call, is_number
from heatproof.propagation.decompositions import is_linear
from heatproof.propagation.facts import Facts
from heatproof.propagation.linear import Linear, linear_of
from heatproof.propagation.nodes import Kept, graft, postpone, scale, weigh
from heatproof.propagation.references import References
from heatproof.propagation.shared import SharingEndsError, row, shared, treats_rows_alike
from heatproof.propagation.strategy import Strategy
from heatproof.propagation.switches import Switches
from heatproof.propagation.terms import Term
from heatproof.propagation.trees import tensors_in
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
POLES = frozenset(("log", "log2", "log10", "log1p", "atanh", "exp", "reciprocal", "rsqrt", "div", "rdiv", "pow"))
BLIND = frozenset(("structural", "sum", "map", "write"))  # what they do does not depend on values


class Differences(Strategy):
    """DeepLIFT. The derivative times x − x̄ is the contribution to S(x) − S(x̄).

    Each call runs a second time on the references of its tensors, so that shapes, views and writes follow the input's.
    Linear operations keep their derivative; a nonlinearity's is (f(x) − f(x̄))/(x − x̄), f′ where the two
    meet; everything else has a secant that is complete (`heatproof.propagation.secants`), or, as in Ancona et al.
    2018, the plain gradient.

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
        self.reference = References()
        self.pole = ""  # the first operation that is infinite at one end alone
        self._made: Facts[tuple[Linear, Tensor]] = Facts()
        self._divisors: Facts[bool] = Facts()
        self._switches = Switches(self.reference)

    def begin(self, x: Tensor) -> None:
        self.reference.remember(x, _copied(self._reference.detach()))

    # -- the engine's protocol ------------------------------------------------------------------------------------

    def foresee(self, call: Call) -> None:
        self._switches.foresee(call)

    def note(self, call: Call, result: Any) -> None:
        try:
            self._switches.note(call, result)
        except secants.NoSecantError as reason:
            raise UnsupportedCallError(str(reason)) from None

    def moves(self, call: Call) -> bool:
        try:
            return self._switches.moved(call)
        except secants.NoSecantError as reason:
            raise UnsupportedCallError(str(reason)) from None

    def handle(self, call: Call) -> Any:
        if call.in_place:
            self.reference.adopt(call.target)
        if call.choices and self.moves(call):
            return self._switched(call)
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
        if call.name in POLES and not self.pole and _infinite(result) != _infinite(reference):
            self.pole = call.name
        if divides and isinstance(result, Tensor):
            self._divisors[result] = True
        if isinstance(result, Tensor) and result is call.target and call.in_place:
            self._pending = reference
        else:
            self._pair(result, reference)
            self._keep_places(call, result, reference)
        return result

    def _switched(self, call: Call) -> Any:
        """A call whose masks or indices are others at the baseline."""
        try:
            numbers = self._switches.arithmetic(call)
            if numbers is not None:
                return self.handle(numbers)
            with torch.no_grad():
                value, reference = call.run(*call.inputs), call.at(self.reference)
            s = self._switches.surrogate(call, value, reference)
        except secants.NoSecantError as reason:
            raise UnsupportedCallError(str(reason)) from None
        if call.in_place and call.target in self.reference:
            bar = self.reference.stored(call.target)
            if shared(bar):
                raise SharingEndsError
            reference = bar.copy_(reference)
        result = graft(value, s)
        self._pair(result, reference)
        return result

    def _keep_places(self, call: Call, result: Any, reference: Any) -> None:
        """Where the values of a maximum, a sorting or a pooling stand."""
        if isinstance(result, Tensor):
            if not is_number(result):
                self.note(call, result)
            return
        for index, bar in zip(tensors_in(result), tensors_in(reference), strict=True):
            if is_number(index):
                continue
            number = None
            if call.kind == "choice" and len(call.inputs) == 1 and not torch.equal(index, bar):
                dim = call.bind().get("dim", -1)
                if isinstance(dim, int):
                    x = call.inputs[0]
                    number = self._switches.ranked(x, index, bar, dim, keepdim=index.dim() == x.dim())
            self._switches.keep(index, bar, number)

    def _referred(self, call: Call, bars: list[Tensor]) -> Any:
        """The call on the references; in place where the call is, so that views of the reference see it."""
        written = call.in_place and call.target in self.reference
        if written and all(call.target is not tensor for tensor in call.inputs):  # a constant's view, now adopted
            return self.reference.stored(call.target).copy_(call.run(*bars))
        if treats_rows_alike(call, bars) and not call.choices:
            rows = [row(bar) for bar in bars]
            one = call.write(*rows) if written else call.run(*rows)
            samples = bars[0].shape[0]
            if isinstance(one, Tensor):
                return one.expand(samples, *one.shape[1:])
            return tree_map_only(Tensor, lambda t: t.expand(samples, *t.shape[1:]), one)
        if written and shared(self.reference.stored(call.target)):
            raise SharingEndsError
        if call.name in ("view", "view_as") and any(map(shared, bars)):
            try:
                return call.run(*bars)
            except RuntimeError:  # expanded rows lie nowhere one behind the other, as a view over samples needs them
                raise SharingEndsError from None
        return call.write(*bars) if written else call.run(*bars)

    def after_write(self, target: Tensor, new: Tensor) -> None:
        reference = self._pending if new is target else self.reference(new)
        if target in self.reference:  # its reference was written into, as the target was
            reference = self.reference.stored(target)
        self.reference.remember(target, reference)

    def grafted(self, call: Call, outputs: list[Tensor], decomposed: list[Tensor]) -> None:
        with torch.no_grad():
            references = call.at(self.reference)
        self._pair(outputs, references)
        for place, part, bar in zip(outputs, decomposed, tensors_in(references), strict=True):
            if not is_number(place):
                self._switches.keep(place, bar, self._switches.number(part))

    def _pair(self, result: Any, reference: Any) -> None:
        for tensor, bar in zip(tensors_in(result), tensors_in(reference), strict=True):
            if is_number(tensor):
                self.reference.remember(tensor, bar)

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
                out, made = normalization.rescaled(call), self._made.get(call.inputs[0])
                if made is not None and (folded := made[0].scaled(*normalization.batch_norm_of(call))) is not None:
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
        slopes = secants.slope(call, x.detach(), bar, value, reference)
        if bool(slopes.sum().isfinite()):
            return scale(value, x, slopes)
        return graft(value, weigh(x, slopes))


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


def _infinite(result: Any) -> bool:
    return isinstance(result, Tensor) and not bool(result.sum().isfinite()) and bool(result.isinf().any())
