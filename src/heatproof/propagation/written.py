"""Activations written out in arithmetic: x·σ(x), x·clamp(x + 3, 0, 6)/6, ½x·(1 + erf(x/√2)), as in exported networks.

Step by step a rule takes such a product for one of two computed tensors, and a constant in a sum for a bias. So of each
tensor it is remembered of which earlier ones it is a function, value by value, with no constants but single numbers. A
product or quotient of two tensors that are both functions of one is a nonlinearity of that one; and a step that ends in
what torch has a name for (tried at a few numbers) is that. The value stays the call's own.
"""

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from heatproof.propagation.calls import Call, is_number
from heatproof.propagation.facts import Facts
from heatproof.propagation.operations import Operation

NAMED: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "hardsigmoid": F.hardsigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "elu": F.elu,
    "selu": F.selu,
    "logsigmoid": F.logsigmoid,
    "hardswish": F.hardswish,
}
PROBES = (-9.3, -3.1, -2.2, -1.0, -0.3, 0.0, 0.4, 1.1, 2.7, 3.3, 6.1, 8.0)
PRODUCTS = frozenset(("mul", "div", "rdiv"))
STEPS = PRODUCTS | {"add", "sub", "rsub", "neg", "positive", "where", "masked_fill", "maximum", "minimum", "clone"}
COMPARISONS = frozenset(("gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal"))
ON_VALUES = STEPS | COMPARISONS
LONGEST = 16  # of the ways back; an activation takes ten steps at most


class Step:
    """How a tensor was made, value by value, of others; holds no tensor. None for one that something else made."""

    def __init__(self, call: Call | None = None, made_of: Sequence["Step"] = ()) -> None:
        self.made_of = list(made_of)
        self._run = None if call is None else call.skeleton()

    def of(self, root: "Step", x: Tensor) -> Tensor:
        """The tensor where `root`'s is x."""
        values = {root: x}

        def value(step: Step) -> Tensor:
            if step not in values:
                assert step._run is not None
                values[step] = step._run([value(each) for each in step.made_of])
            return values[step]

        return value(self)


class Way(NamedTuple):
    """A tensor's step, and the earlier tensors of each of which alone it is a function, the nearest first."""

    step: Step
    line: list[tuple[Step, Tensor]]


class Composed:
    """A step as a function of one earlier tensor."""

    def __init__(self, step: Step, root: Step) -> None:
        self._step, self._root = step, root

    def __call__(self, x: Tensor) -> Tensor:
        return self._step.of(self._root, x)

    def name(self, like: Tensor) -> str:
        """The activation that torch has of it, by its values at a few numbers; "" for none."""
        probes = torch.tensor(PROBES, dtype=like.dtype, device=like.device)
        try:
            values = self(probes)
        except (RuntimeError, TypeError):  # it is of one shape alone
            return ""
        alike = (name for name, known in NAMED.items() if torch.allclose(values, known(probes), 1e-5, 1e-5))
        return next(alike, "")


class Written:
    """The steps of the tensors that an activation may have been written out in."""

    def __init__(self) -> None:
        self._ways: Facts[Way] = Facts()

    def way(self, call: Call) -> Way | None:
        """What the call `on_single_values` does, asked before it writes; None where tensors differ in shape."""
        if len(call.inputs) == 1 and not (call.choices or call.constants or call.complex):
            return self._of_one(call, call.inputs[0])
        tensors = [*call.inputs, *call.choices]
        beside = [t for t in call.tensors if not _among(t, tensors)]
        if any(t.numel() != 1 for t in beside) or any(t.shape != tensors[0].shape or t.is_complex() for t in tensors):
            return None
        ways = [self._way_to(tensor) for tensor in tensors]
        lines = [[(way.step, tensor), *way.line] for way, tensor in zip(ways, tensors, strict=True)]
        shared = set.intersection(*({step for step, _ in line} for line in lines))
        return Way(Step(call, [way.step for way in ways]), [at for at in lines[0] if at[0] in shared][:LONGEST])

    def _of_one(self, call: Call, tensor: Tensor) -> Way | None:
        if any(t is not tensor and t.numel() != 1 for t in call.tensors):  # a mask that does not depend on the input
            return None
        known = self._way_to(tensor)
        return Way(Step(call, [known.step]), [(known.step, tensor), *known.line[: LONGEST - 1]])

    def _way_to(self, tensor: Tensor) -> Way:
        known = self._ways.get(tensor)
        if known is None:
            known = self._ways[tensor] = Way(Step(), [])
        return known

    def nonlinearity(self, call: Call, way: Way, *, named: bool) -> Call | None:
        """The activation that the call ends, as a call on the tensor that it is one of; None for a step on the way.

        `named`: only one that torch has a name for (a ReLU inside any other has a rule of its own).
        """
        if call.kind == "":
            return None
        product = call.name in PRODUCTS and len(call.inputs) == 2 and not named
        for root, x in way.line:
            if way.step.made_of == [root] or not is_number(x) or not self._is(x, root):
                continue  # the call is one already; a mask; written into since
            composed = Composed(way.step, root)
            name = composed.name(x)
            if len(way.step.made_of) == 1 and name == Composed(way.step.made_of[0], root).name(x):
                name = ""  # a step that changes nothing, after it: `relu(sigmoid(x))`
            if name or product:
                operation = Operation(name or "activation", "nonlinearity", False)
                return Call(composed, operation, (x,), {}, partial(operator.is_, x))
        return None

    def _is(self, tensor: Tensor, step: Step) -> bool:
        way = self._ways.get(tensor)
        return way is not None and way.step is step

    def keep(self, result: Any, way: Way | None) -> None:
        """Remember how a result was made; of one that was written in place, without holding it."""
        if way is not None and isinstance(result, Tensor):
            self._ways[result] = Way(way.step, [at for at in way.line if at[1] is not result])

    def hand_over(self, known: Tensor, other: Tensor) -> None:
        """What is known of one tensor holds for another, which has got its value."""
        self._ways.hand_over(known, other)


def on_single_values(call: Call) -> bool:
    """Whether a call may be a step of an activation that is written out."""
    return call.kind == "nonlinearity" or call.name in ON_VALUES


def _among(tensor: Tensor, tensors: list[Tensor]) -> bool:
    return any(tensor is each for each in tensors)
