"""Masks and indices that the input chose, as numbers that change from the baseline to the input.

A comparison is a step: as a number its mask m is 0 or 1, and where it differs at the baseline, Δm/Δd is its average
slope over the difference d of what it compares (Δd is not 0 there). So masks become ordinary factors. Logic on them is
arithmetic, and `where(m, a, b)` is m·a + (1 − m)·b, whose change is

    Δ = ½(m + m̄) Δa + (1 − ½(m + m̄)) Δb + Δm · ½[(a − b) + (ā − b̄)],

each value's change and the switch's averaged over the order in which they happen. Where all three are functions of one
tensor, it gets the whole change: h·(h > 0) is a ReLU.

An index that `argmax`, `sort` or `topk` found moves from ī to i because h_i − h_ī changes its sign: that difference
carries what moving the index does. Where no difference can carry a switch (an order in which other elements overtook
both, a mask that some other operation made), the call is refused, with how many places differ.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from heatproof.propagation.calls import Call, is_number
from heatproof.propagation.facts import Facts
from heatproof.propagation.nodes import graft, scale
from heatproof.propagation.references import References
from heatproof.propagation.secants import NoSecantError
from heatproof.propagation.selections import filled, selected, unless_zero
from heatproof.propagation.trees import tensors_in


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


COMPARISONS = _names(
    """gt ge lt le eq ne greater greater_equal less less_equal not_equal logical_and logical_or logical_xor and or xor
    bitwise_and bitwise_or bitwise_xor logical_not bitwise_not isnan isinf isfinite signbit"""
)
CONVERSIONS = _names("to type type_as float double long int short bool byte _to_copy")
ARITHMETIC = _names("add sub rsub mul div rdiv neg")
INTEGER = ARITHMETIC | _names("floor_divide floordiv remainder mod clamp")
JOINS = _names("cat concat concatenate stack hstack vstack")
TOTALS = _names("sum cumsum")
EXTREMES = _names("argmax argmin argsort")
SELECTIONS = _names("gather take_along_dim index_select __getitem__ embedding")
FILLS = _names("where masked_fill __setitem__")
DECISIONS = _names(
    "bool __int__ __index__ __float__ item tolist numpy __array__ equal allclose is_nonzero len numel size"
)
INSIDE = _names("where masked_fill masked_select gather index_select take_along_dim")  # these look at two tensors


class Switches:
    """What is known of masks and indices."""

    def __init__(self, references: References) -> None:
        self._reference = references
        self._known: Facts[bool] = Facts()
        self._numbers: Facts[Tensor] = Facts()
        self._foreseen: Any = None

    def note(self, call: Call, result: Any) -> None:
        """Remember what masks, indices and decisions a call made, and what they are at the baseline."""
        made = tensors_in(result)
        if call.in_place:
            made = [call.target]
        if any(is_number(leaf) for leaf in made) or (not call.in_place and not self._all_known(call)):
            return
        if not made:
            if call.name in DECISIONS and not (call.kind == "leak" and call.inputs):
                self._check_decision(call, result)
            return
        references = self._foreseen if call.in_place else self._at_baseline(call)
        if references is None:
            return
        bars = tensors_in(references)
        for place, (tensor, bar) in enumerate(zip(made, bars, strict=True)):
            number = None
            if tensor.shape == bar.shape and not torch.equal(tensor, bar):
                with torch.enable_grad():
                    number = self._number(call, tensor, bar, place)
            self.keep(tensor, bar, number)

    def foresee(self, call: Call) -> None:
        """What a write into a mask or an index makes of it at the baseline: afterwards nobody can tell."""
        self._foreseen = self._at_baseline(call) if call.in_place and self._all_known(call) else None

    def _at_baseline(self, call: Call) -> Any:
        try:
            with torch.no_grad():
                return call.at(self._reference)
        except (RuntimeError, IndexError):  # places that are not there at the baseline
            return None

    def keep(self, tensor: Tensor, bar: Tensor, number: Tensor | None) -> None:
        """Remember a mask or an index, its reference, and the number that it is where they differ."""
        self._reference.remember(tensor, bar)
        self._known[tensor] = True
        if number is not None:
            self._reference.remember(number, bar.double())
            self._numbers[tensor] = number

    def number(self, choice: Tensor) -> Tensor | None:
        """The number that a mask or an index is, where it differs at the baseline and something carries that."""
        return self._numbers.get(choice)

    def moved(self, call: Call) -> bool:
        """Whether a mask or an index of the call is another one at the baseline."""
        if not self._all_known(call):
            raise NoSecantError("it chooses by a mask or an index whose value at the baseline is not known")
        return any(_differ(t, self._reference(t)) for t in call.choices)

    def arithmetic(self, call: Call) -> Call | None:
        """The call on numbers in place of masks and counts; None for one that is no arithmetic."""
        if call.name not in ARITHMETIC:
            return None
        dtype = next((t.dtype for t in call.inputs + call.constants), torch.get_default_dtype())
        stand_ins = {}
        for choice in call.choices:
            number = self._required(call, choice).to(dtype)
            self._reference.remember(number, self._reference(choice).to(dtype))
            stand_ins[id(choice)] = number
        floats = [*call.inputs, *stand_ins.values()]
        return call.replaced(lambda t: stand_ins.get(id(t), t), lambda t: any(t is each for each in floats))

    def surrogate(self, call: Call, value: Tensor, bar: Tensor) -> Tensor:
        """The surrogate of a call that chooses otherwise at the baseline."""
        if call.name in CONVERSIONS and len(call.choices) == 1 and not call.inputs:
            return self._required(call, call.choices[0]).to(value.dtype)
        if call.name in FILLS:
            return filled(call, value, bar, lambda t: self._required(call, t), self._reference)
        if call.name in SELECTIONS and len(call.choices) == 1:
            index, bar = call.choices[0], self._reference(call.choices[0])
            if index.dtype == torch.bool or index.shape != bar.shape:
                raise NoSecantError(self._counted(call))
            return selected(call, lambda t: self._required(call, t), self._reference)
        raise NoSecantError(f"{self._counted(call)}, and its change has no rule")

    # -- what carries a switch ------------------------------------------------------------------------------------

    def _number(self, call: Call, tensor: Tensor, bar: Tensor, place: int) -> Tensor | None:
        """A mask or index, the result number `place` of a call, as float64 with a derivative.

        None, or NaN in single places, where nothing differentiable carries its change.
        """
        if call.name in EXTREMES:
            given = call.bind()
            dim = given.get("dim", -1 if call.name == "argsort" else None)
            if dim is None or not call.inputs:
                return None
            return self.ranked(call.inputs[0], tensor, bar, dim, bool(given.get("keepdim")))
        marked = [*call.inputs, *call.choices]
        operands = [t.double() if t.is_floating_point() else self._numbers.get(t) for t in marked]
        moving = [t for t in operands if t is not None]
        if call.in_place or len(moving) != len([t for t in marked if _differ(t, self._reference(t))]):
            return None
        bars = [
            self._reference(t).double() for t in marked if t.is_floating_point() or self._numbers.get(t) is not None
        ]
        if call.name in COMPARISONS | INTEGER | CONVERSIONS and len(moving) == 1:
            return _stepped(tensor, bar, moving[0], bars[0])
        if call.name in COMPARISONS and len(moving) == 2:
            return _compared(call.name, tensor, bar, moving, bars)
        stand_ins = {id(t): n for t, n in zip(marked, operands, strict=True) if n is not None}
        if call.name in JOINS | TOTALS or (call.kind == "structural" and call.name not in INSIDE):
            made = call.at(lambda t: stand_ins.get(id(t), t.double() if call.name in JOINS else t))
            part: Tensor = tensors_in(made)[place]
            return part
        if call.name in ("any", "all") and len(moving) == 1:
            given = call.bind()
            dims = given.get("dim", tuple(range(marked[0].dim())))
            held, back = (t.sum(dims, keepdim=bool(given.get("keepdim", False))) for t in (moving[0], bars[0]))
            return _stepped(tensor, bar, held, back)
        if call.name == "one_hot":
            (index,), (before,) = moving, bars
            rate = (tensor.double() - bar) / unless_zero(index.detach() - before)[..., None]
            return scale(tensor.double(), index[..., None].expand_as(rate), rate)
        return None

    def ranked(self, h: Tensor, index: Tensor, bar: Tensor, dim: int, keepdim: bool = True) -> Tensor | None:
        """An index along `dim` that an order of h decided, carried by h_i − h_ī; None where that did not decide it."""
        if index.dim() < h.dim() and not keepdim:
            index, bar = index.unsqueeze(dim), bar.unsqueeze(dim)
        else:
            keepdim = True
        with torch.enable_grad():
            d = (h.gather(dim, index) - h.gather(dim, bar)).double()
        before = self._reference(h)
        d_bar = (before.gather(dim, index) - before.gather(dim, bar)).double()
        with torch.enable_grad():
            # Unless the two changed places others did, and their difference tells nothing.
            d = torch.where(d.detach() * d_bar > 0, torch.nan, d)
            number = _stepped(index, bar, d, d_bar)
            return number if number is None or keepdim else number.squeeze(dim)

    def _all_known(self, call: Call) -> bool:
        return all(self._known.get(t) for t in call.choices)

    def _required(self, call: Call, choice: Tensor) -> Tensor:
        number = self._numbers.get(choice)
        if number is None and not _differ(choice, self._reference(choice)):
            return choice.double()
        if number is None or bool(number.isnan().any()):
            raise NoSecantError(f"{self._counted(call)}, and no difference of two values decides it")
        return number

    def _counted(self, call: Call) -> str:
        pairs = [(t, self._reference(t)) for t in call.choices]
        if any(t.shape != bar.shape for t, bar in pairs):
            return "it chooses another number of places at the baseline"
        places, all_of_them = sum(int((t != bar).sum()) for t, bar in pairs), sum(t.numel() for t, _ in pairs)
        return f"it chooses otherwise at the baseline in {places} of {all_of_them} places"

    def _check_decision(self, call: Call, result: Any) -> None:
        with torch.no_grad():
            before = call.at(self._reference)
        if not np.array_equal(np.asarray(result), np.asarray(before)):
            raise NoSecantError("a value that the input chose leaves the tensors, and is another one at the baseline")


def _differ(t: Tensor, bar: Tensor) -> bool:
    return t.shape != bar.shape or not torch.equal(t, bar)


def _stepped(tensor: Tensor, bar: Tensor, x: Tensor, x_bar: Tensor) -> Tensor | None:
    """A function of x alone, element by element, by its average slope; NaN where x does not move it finitely."""
    change, difference = tensor.double() - bar.double(), x.detach() - x_bar
    if torch.broadcast_tensors(change, difference)[0].shape != change.shape:  # type: ignore[no-untyped-call]
        return None
    slope = torch.where(change == 0, 0.0, change / difference)
    carried = (change == 0) | (torch.isfinite(slope) & (slope != 0))
    return scale(torch.where(carried, tensor.double(), torch.nan), x.expand_as(slope), torch.where(carried, slope, 0.0))


def _compared(name: str, tensor: Tensor, bar: Tensor, moving: list[Tensor], bars: list[Tensor]) -> Tensor | None:
    """A comparison of two tensors, by their difference; logic of two masks, as arithmetic."""
    (a, b), (a_bar, b_bar) = moving, bars
    logic = name.removeprefix("logical_").removeprefix("bitwise_")
    if logic not in ("and", "or", "xor"):
        return _stepped(tensor, bar, a - b, a_bar - b_bar)
    both = a * (b.detach() + b_bar) / 2 + b * (a.detach() + a_bar) / 2
    s = {"and": both, "or": a + b - both, "xor": a + b - 2 * both}[logic]
    return graft(torch.where(s.isnan(), torch.nan, tensor.double()), s)
