"""One call of an operation: its marked tensors, and how to run it again with others in their place."""

import inspect
from collections.abc import Callable, Sequence
from copy import copy
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from heatproof.propagation.operations import Operation
from heatproof.propagation.schemas import bound
from heatproof.propagation.trees import Spec, flattened, rebuilt

# Only the first tensor gives values to these; of any other they take shape, dtype or device.
LIKE = frozenset(("expand_as", "reshape_as", "view_as", "type_as", "to"))


class Call:
    """A call `function(*args, **kwargs)` of `operation`.

    `inputs` are the floating and complex tensors among its arguments that depend on the explained input, in order of
    appearance (one that appears twice stands there twice). `constants` are its other ones; `choices` are the masks and
    indices that depend on the explained input. `target` is its first tensor, what a call in place writes into; `known`
    is one that depends on the input, as somebody found already.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        operation: Operation,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        marked: Callable[[Tensor], bool],
        flat: tuple[list[Any], Spec] | None = None,
        known: Tensor | None = None,
    ) -> None:
        self.function, self.operation = function, operation
        self.name, self.kind = operation.name, operation.kind
        self.args, self.kwargs = args, kwargs
        self._leaves, self._spec = flat or flattened(args, kwargs)
        self._places, self._others = list[int](), list[int]()
        self.inputs, self.constants, self.choices = list[Tensor](), list[Tensor](), list[Tensor]()
        self._bound: dict[str, Any] | None = None
        self.complex = False  # whether any of its numbers are
        first = None
        for i, leaf in enumerate(self._leaves):
            if not isinstance(leaf, Tensor):
                continue
            if first is None:
                first = i
            elif operation.name in LIKE:
                break
            number = leaf.is_floating_point()
            if not number and leaf.is_complex():
                number = self.complex = True
            if not number:
                if leaf is known or marked(leaf):
                    self.choices.append(leaf)
            elif leaf is known or marked(leaf):
                self._places.append(i)
                self.inputs.append(leaf)
            else:
                self._others.append(i)
                self.constants.append(leaf)
        self._target = first or 0
        self.target: Any = self._leaves[self._target] if self._leaves else None
        self.in_place = operation.in_place or _asks_in_place(function, args, kwargs)

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors among the arguments."""
        return [leaf for leaf in self._leaves if isinstance(leaf, Tensor)]

    @property
    def beside(self) -> list[Tensor]:
        """The inputs other than the first tensor of the call."""
        return [self._leaves[i] for i in self._places if i != self._target]

    def released(self) -> "Call":
        """The call without its own inputs, to `run` on others: a backward pass may hold it.

        A call in place writes into an input; held with it, its result would hold itself, and memory would leak.
        """
        bare = copy(self)
        bare._leaves = [None if i in self._places else leaf for i, leaf in enumerate(self._leaves)]
        bare.args, bare.kwargs, bare.inputs, bare.target, bare._bound = (), {}, [], None, None
        return bare

    def skeleton(self) -> Callable[[Sequence[Tensor]], Any]:
        """The call as a function of its inputs and choices, in that order, holding none of them; it writes nothing."""
        chosen = {id(choice) for choice in self.choices}
        at = [i for i, leaf in enumerate(self._leaves) if id(leaf) in chosen] if chosen else []
        places = [*self._places, *at]
        leaves: list[Any] = [None if i in places else leaf for i, leaf in enumerate(self._leaves)]
        function, spec, target, in_place = self.function, self._spec, self._target, self.in_place

        def run(tensors: Sequence[Tensor]) -> Any:
            filled = list(leaves)
            for place, tensor in zip(places, tensors, strict=True):
                filled[place] = tensor
            if in_place:
                filled[target] = filled[target].clone()
            args, kwargs = rebuilt(filled, spec)
            return Call._result(function(*args, **kwargs), args)

        return run

    def position(self, tensor: Tensor) -> int:
        """Which leaf of the arguments `tensor` is; -1 for none."""
        return next((i for i, leaf in enumerate(self._leaves) if leaf is tensor), -1)

    def execute(self) -> Any:
        """The call itself, writes included."""
        result = self.function(*self.args, **self.kwargs)
        return self.args[0] if result is None else result  # as `_result`

    def run(self, *inputs: Tensor, constants: Sequence[Tensor] | None = None, **kwargs: Any) -> Any:
        """The call with `inputs` in place of its own, without writing into anything."""
        return self._run(inputs, constants, clone=self.in_place, **kwargs)

    def at(self, stand_in: Callable[[Tensor], Tensor]) -> Any:
        """The call with another tensor for each of its tensors, masks and indices too, writing into nothing."""
        leaves = [stand_in(leaf) if isinstance(leaf, Tensor) else leaf for leaf in self._leaves]
        if self.in_place:
            leaves[self._target] = leaves[self._target].clone()
        args, kwargs = rebuilt(leaves, self._spec)
        return self._result(self.function(*args, **kwargs), args)

    def replaced(self, stand_in: Callable[[Tensor], Tensor], marked: Callable[[Tensor], bool]) -> "Call":
        """The call of the same operation on other tensors, of which `marked` depend on the input."""
        leaves = [stand_in(leaf) if isinstance(leaf, Tensor) else leaf for leaf in self._leaves]
        args, kwargs = rebuilt(leaves, self._spec)
        return Call(self.function, self.operation, args, kwargs, marked)

    def write(self, *inputs: Tensor) -> Any:
        """The call with `inputs` in place of its own, writing into the first of its arguments."""
        return self._run(inputs, clone=False)

    def value(self) -> Tensor:
        """The plain value, without graph, in memory of its own."""
        with (
            torch.no_grad()
        ):  # the very tensors: torch's matmul folds, with other last bits, where a weight has a gradient
            value: Tensor = self.run(*self.inputs) if self.in_place else self.execute()
        return value

    def bind(self) -> dict[str, Any]:
        """The arguments by name, as the called function's own signature orders them; those left out are not there."""
        if self._bound is None:
            self._bound = bound(self.function, self.name, self.args, self.kwargs)
        return dict(self._bound)

    def _run(
        self, inputs: Sequence[Tensor], constants: Sequence[Tensor] | None = None, *, clone: bool, **kwargs: Any
    ) -> Any:
        leaves = list(self._leaves)
        for place, tensor in zip(self._places, inputs, strict=True):
            leaves[place] = tensor
        for place, tensor in zip(self._others, constants or self.constants, strict=True):
            leaves[place] = tensor
        if clone:
            leaves[self._target] = leaves[self._target].clone()
        args, own = rebuilt(leaves, self._spec)
        return self._result(self.function(*args, **(own | kwargs)), args)

    @staticmethod
    def _result(result: Any, args: Sequence[Any]) -> Any:
        # An assignment to an index returns nothing: what it wrote into is its result.
        return args[0] if result is None else result


def is_number(tensor: Tensor) -> bool:
    """Whether a tensor may have a derivative: real and complex numbers, not masks and indices."""
    return tensor.is_floating_point() or tensor.is_complex()


def _asks_in_place(function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    if "inplace" in kwargs:
        return bool(kwargs["inplace"])
    place = _place_of_inplace(function) if type(function) is FunctionType else None
    return place is not None and place < len(args) and bool(args[place])


@cache
def _place_of_inplace(function: Callable[..., Any]) -> int | None:
    names = list(inspect.signature(function, follow_wrapped=False).parameters)
    return names.index("inplace") if "inplace" in names else None
