"""A network's operations, watched as they run: facts about every tensor that is computed from the input."""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from heatproof.by_tensor import writes
from heatproof.layouts.facts import Fact, known
from heatproof.layouts.operations import Step, described, opaque
from heatproof.layouts.told import Told
from heatproof.propagation.operations import identify, key
from heatproof.propagation.respelled import BY_PLACE, RESPELLED
from heatproof.propagation.schemas import bound
from heatproof.propagation.trees import tensors_in


class Watch(TorchFunctionMode):
    """Keeps, for every tensor that a call makes from the input, what is known of it.

    Tensors are held weakly and by identity. A write into a tensor replaces what is known of it; of other views of the
    same memory what was known stays.
    """

    def __init__(self, inputs: Tensor, fact: Fact) -> None:
        super().__init__()
        self.told = Told(inputs.dim())
        self._facts = WeakIdKeyDictionary()
        self._facts[inputs] = fact

    def get(self, tensor: object) -> Fact | None:
        """What is known of a tensor; None where it was not computed from the input."""
        fact: Fact | None = self._facts.get(tensor) if isinstance(tensor, Tensor) else None  # type: ignore[no-untyped-call]
        return fact

    def lost(self, arguments: Any, output: Tensor) -> None:
        """A tensor that was made from `arguments` where nobody could watch."""
        operands = [fact for leaf in tree_leaves(arguments) if (fact := self.get(leaf)) is not None]
        if operands and self.get(output) is None:
            with torch.inference_mode(False), torch.enable_grad():
                self._facts[output] = opaque(operands, output)

    def __torch_function__(
        self, function: Any, kinds: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        leaves = tensors_in((args, kwargs))
        if all(self.get(leaf) is None for leaf in leaves):
            return function(*args, **kwargs)
        operation = identify(key(function))
        if operation.kind == "iterate":
            with self:
                return iter(args[0].unbind(0))
        versions = {id(leaf): writes(leaf) for leaf in leaves}
        result = function(*args, **kwargs)
        made = args[0] if result is None and args else result
        if operation.kind == "independent" or not tensors_in(made):
            return result
        kind = operation.kind or ("foreign" if "::" in operation.name else "")
        with torch.inference_mode(False), torch.enable_grad():
            step = Step(operation.name, kind, function, args, kwargs, made, self.get)
            if isinstance(made, Tensor) and operation.in_place and isinstance(base := made._base, Tensor):
                self._written(base, step)
            for tensor, fact in self._said(operation.name, step) or described(step, self.told):
                if self.get(tensor) is None or versions.get(id(tensor)) != writes(tensor):  # not handed on as it is
                    self._facts[tensor] = fact
        return result

    def _said(self, name: str, step: Step) -> list[tuple[Tensor, Fact]] | None:
        """What is known of the results of a call that is another one in other words, as decompositions have it."""
        respelled = RESPELLED.get(name)
        if respelled is None or name in BY_PLACE:
            return None
        with torch.no_grad(), self:
            same = respelled.body(**bound(step.function, name, step.args, step.kwargs))
        fact = self.get(same)
        outputs = tensors_in(step.result)
        if fact is None or not outputs:
            return None
        return [(outputs[0], fact), *((output, opaque(step.operands, output)) for output in outputs[1:])]

    def _written(self, base: Tensor, step: Step) -> None:
        """What a write into a view made its base depend on, without saying where."""
        before = self.get(base)
        made = (
            opaque([fact for leaf in step.tensors[1:] if (fact := self.get(leaf)) is not None], base)
            if any(self.get(leaf) is not None for leaf in step.tensors[1:])
            else None
        )
        if before is not None and made is not None:
            self._facts[base] = known(before.flow + made.flow, before.places)
        elif made is not None:
            self._facts[base] = made
