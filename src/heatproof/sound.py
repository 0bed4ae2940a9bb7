"""Derivatives of torch's own that are wrong for some cotangents, not by rounding, and how they are made right."""

from typing import Any, TypeVar

from torch import Tensor

from heatproof.propagation.trees import tensors_in

T = TypeVar("T")
_SEEN = "heatproof"  # among what torch keeps of a node for its users


def derived(outputs: T) -> T:
    """The outputs, in whose graph batch norms of one sample are handed cotangents without gaps or permuted strides.

    torch's own derivative (2.12, on a CPU) of a batch norm in eval mode is wrong for one sample whose cotangent comes
    back through a transposition, as in LeViT and XCiT; so is that of an instance norm, which is to torch a batch norm
    of one sample. The graph itself tells which pass has some: what a model calls may hang on its inputs.

    Cost: a look at each node of the graph, a fifteenth of what a tiny convolutional network takes forward.
    """
    todo: list[Any] = [one.grad_fn for one in tensors_in(outputs) if one.grad_fn is not None]
    seen = set(todo)
    for node in todo:  # which grows meanwhile
        if "BatchNorm" in type(node).__name__ and _SEEN not in node.metadata:
            node.metadata[_SEEN] = True  # a graph may be kept, and be looked at again
            node.register_prehook(_dense)
        for earlier, _ in node.next_functions:
            if earlier is not None and earlier not in seen:
                seen.add(earlier)
                todo.append(earlier)
    return outputs


def _dense(cotangents: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """Those of a batch of one sample as they lie in memory of their own; others as they are."""
    return tuple(one.contiguous() if one is not None and len(one) == 1 else one for one in cotangents)
