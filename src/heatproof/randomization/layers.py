"""The layers of a network: which weights a run of it uses, and in which order, found by running it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from heatproof.errors import InputError
from heatproof.models import Bound, check_inputs, check_model, forward
from heatproof.places import Place
from heatproof.propagation.independence import blame
from heatproof.randomization.memory import quiet
from heatproof.randomization.norms import Role
from heatproof.randomization.owned import ROOT, Owned, joined, owned_by, unreachable
from heatproof.randomization.watching import Seen, Watch
from heatproof.undo import hooked

__all__ = ["ROOT", "Layer", "Pair", "Usage", "Weight", "usage"]

Way = Literal["drawn", "permuted", "singular"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Weight:
    """One tensor of a layer: a parameter, or a buffer or attribute that serves as one.

    `name` is its name within the layer; `role` says what it is to a batch norm, None elsewhere. `way` says how it gets
    another value: as the initializer draws it; `permuted` within itself, where no initializer has a meaning (integers,
    their scale, a mask); or as a `singular` vector of the matrix that it belongs to. `bias` is what is added, one
    number a channel; `fan_in` how many numbers a product sums, where the shape does not tell; `density` the share of it
    that its mask lets through.

    >>> [(weight.name, weight.bias) for weight in hp.randomization.Cascading.seen(net, images).layers[0].weights]
    [('weight', False), ('bias', True)]
    """

    name: str
    tensor: Tensor
    role: Role | None = None
    way: Way = "drawn"
    bias: bool = False
    fan_in: int | None = None
    density: float = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A module that directly owns weights that the network uses, with the first and the last time it uses one.

    A parametrized module owns its originals: `conv.parametrizations.weight.original0` belongs to layer `conv`. A module
    without a `forward` whose weights several operations use (a ParameterDict, the initializers of a converted graph) is
    only the place where they are kept: those of each operation are a layer, called by the first of them.

    >>> [layer.name for layer in hp.randomization.Cascading.seen(net, images).layers]
    ['0', '3']
    """

    name: str
    module: nn.Module
    weights: tuple[Weight, ...]
    first: int
    last: int


class Pair(NamedTuple):
    """The two vectors between which a spectral norm holds its matrix."""

    left: Tensor
    right: Tensor


class Usage(NamedTuple):
    """The layers that a run used, in the order of their first use.

    `unused` names parameters that it did not use; `fixed` what decides the outputs and belongs to no layer, so that no
    randomization draws it; `hidden` describes weights that no module holds.
    """

    layers: tuple[Layer, ...]
    unused: tuple[str, ...]
    fixed: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()


def usage(model: nn.Module, inputs: Tensor) -> Usage:
    """Run `model` once on `inputs` (N, …) and see what each operation receives, and where it meets the input's values.

    Operations are watched, not modules, so bare parameters, attention projections, functional calls, reused modules,
    parametrizations and weights made by arithmetic are found. Tied parameters are one, named where they are registered
    first. In a Bound, what runs inside `at` or after `layer` is no part of the explained function, and its parameters
    are not used.

    A buffer, or a tensor that a module keeps as an attribute, is a weight where a linear map or a norm takes it, or
    what was computed from it, beside the input, or where it is added to what one of those gave, one number a channel.
    Any other one that decides outputs (a position code, a mask on attention, a mean to subtract) is a constant of the
    architecture as far as can be told; it is `fixed`.

    Cost: one forward pass; another with a graph, and a backward pass, if some parameter seems to be unused.

    Raises: InputError if the model is in training mode, scripted or compiled, or uses no parameter, or if a parameter
    that no operation was seen to receive has a gradient all the same.
    """
    check_model(model)
    check_inputs(model, inputs)
    owned = list(owned_by(model))
    given = list(model.given.values()) if isinstance(model, Bound) else []
    if isinstance(model, Bound):
        model.look(inputs)
    watch = Watch([entry.tensor for entry in owned], inputs, given)
    try:
        with quiet(inputs), torch.no_grad(), watch, _pauses(model, watch):
            forward(model, inputs)
    except Exception as error:  # the model's own, most likely
        blame(model, inputs, error)
        raise
    unused = [entry for i, entry in enumerate(owned) if entry.trainable and i not in watch.seen]
    _refuse_hidden(model, inputs, unused)
    weights = _weights(owned, watch)
    members: dict[str, list[int]] = {}
    shelves, places = _shelves(owned, weights, watch), dict[tuple[str, int], str]()
    for i in sorted(weights, key=lambda i: (watch.seen[i].first, i)):
        name = owned[i].layer
        if name in shelves:
            name = places.setdefault((name, watch.seen[i].call), joined(name, owned[i].name))
        members.setdefault(name, []).append(i)
    if not members:
        raise InputError(
            f"Expected a model that uses parameters, but {type(model).__name__} uses none on these inputs."
        )
    layers = tuple(
        Layer(
            name=name,
            module=owned[indices[0]].module,
            weights=tuple(weights[i] for i in sorted(indices)),
            first=min(watch.seen[i].first for i in indices),
            last=max(watch.seen[i].last for i in indices),
        )
        for name, indices in members.items()
    )
    fixed = [i for i, seen in watch.seen.items() if seen.met and i not in weights]
    return Usage(
        layers,
        tuple(joined(entry.layer, entry.name) for entry in unused),
        tuple(joined(owned[i].layer, owned[i].name) for i in sorted(fixed)),
        (*unreachable(model), *dict.fromkeys(watch.strangers)),
        tuple(Pair(owned[one.left].tensor, owned[one.right].tensor) for one in watch.singular),
    )


def _shelves(owned: Sequence[Owned], weights: Iterable[int], watch: Watch) -> set[str]:
    """Modules without parts that compute nothing and only hold weights, which several operations elsewhere use."""
    calls: dict[str, set[int]] = {}
    for i in weights:
        module = owned[i].module
        if type(module).forward is nn.Module.forward and not module._modules:
            calls.setdefault(owned[i].layer, set()).add(watch.seen[i].call)
    return {layer for layer, used in calls.items() if len(used) > 1}


def _weights(owned: Sequence[Owned], watch: Watch) -> dict[int, Weight]:
    """The weights among what was seen, by index."""
    masks = {i for i, seen in watch.seen.items() if seen.weight and _is_mask(owned, i, seen)}
    whole = {i for i in watch.seen if _is_whole(owned[i].tensor)}
    singular = {i for pair in watch.singular for i in pair}
    found = {}
    for i, seen in watch.seen.items():
        entry = owned[i]
        # A frozen batch norm keeps its scale in a buffer and computes by itself: its buffers' names tell.
        role = watch.roles.get(i, entry.role)
        real = entry.tensor.is_floating_point() or entry.tensor.is_complex()
        if not (role is not None or seen.weight or (real and (entry.trainable or seen.bias))):
            continue
        if _is_expanded(entry.tensor):
            continue  # one number that stands for many cannot be written as many
        scales_integers = bool(seen.beside & (whole - masks))
        way: Way = "drawn"
        if i in singular:
            way = "singular"
        elif not real or i in masks or scales_integers or (not entry.trainable and seen.weight and not seen.plain):
            way = "permuted"
        if role is None and way == "permuted" and entry.tensor.numel() < 2:
            continue  # one number has no other order
        density = 1.0
        for mask in seen.beside & masks if i not in masks else ():
            if owned[mask].tensor.numel() == entry.tensor.numel():
                density *= float(owned[mask].tensor.double().mean())
        found[i] = Weight(
            name=entry.name,
            tensor=entry.tensor,
            role=role,
            way="drawn" if role is not None else way,
            bias=seen.bias and not seen.weight,
            fan_in=seen.fan_in if seen.plain else None,
            density=density or 1.0,
        )
    return found


def _is_expanded(tensor: Tensor) -> bool:
    return any(step == 0 and size > 1 for size, step in zip(tensor.shape, tensor.stride(), strict=True))


def _is_whole(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex())


def _is_mask(owned: Sequence[Owned], index: int, seen: Seen) -> bool:
    """Whether a tensor of zeros and ones, which nobody trains, goes into the same weights as one of its size."""
    tensor = owned[index].tensor
    if tensor.is_complex() or tensor.requires_grad:
        return False
    if not any(owned[other].tensor.numel() == tensor.numel() for other in seen.beside):
        return False
    values = tensor.double()  # which has a comparison, whatever the tensor's own dtype
    return bool(((values == 0) | (values == 1)).all())


@contextmanager
def _pauses(model: nn.Module, watch: Watch) -> Iterator[None]:
    """Look away while a Bound computes what it throws away."""

    def pause(*_: object) -> None:
        watch.paused = True

    def resume(*_: object) -> None:
        watch.paused = False

    runs: Counter[object] = Counter()

    def in_run(of: Place, do: Callable[[], None]) -> Callable[..., None]:
        def hook(*_: object) -> None:
            runs[hook] += 1
            if runs[hook] == (of.run or 1):
                do()

        return hook

    if not isinstance(model, Bound):
        yield
        return
    replaced, read = model.places
    # A Bound may run its network more than once.
    before = {"before": True}
    hooks: list[tuple[nn.Module, Callable[..., Any], dict[str, Any]]] = []
    hooks.append((model.net, lambda *_: runs.clear(), {**before, "prepend": True}))
    for one in replaced:
        if not one.items and one.argument is None:  # of several results, or arguments, the others are used
            module = model.net.get_submodule(one.module)
            hooks.append((module, in_run(one, pause), before))
            hooks.append((module, in_run(one, resume), {}))
    if read is not None:
        side = {} if read.argument is None else before
        hooks.append((model.net.get_submodule(read.module), in_run(read, pause), side))
        hooks.append((model.net, resume, {**before, "prepend": True}))
    with hooked(*hooks):
        yield


def _refuse_hidden(model: nn.Module, inputs: Tensor, unused: list[Owned]) -> None:
    """Refuse a parameter that no operation was seen to receive, but that the output has a gradient for."""
    suspects = [entry for entry in unused if entry.tensor.requires_grad]
    if not suspects:
        return
    with quiet(inputs), torch.inference_mode(False), torch.enable_grad():
        outputs = forward(model, inputs)
        if not outputs.requires_grad:
            return
        gradients = torch.autograd.grad(outputs.sum(), [entry.tensor for entry in suspects], allow_unused=True)
    hidden = [joined(entry.layer, entry.name) for entry, g in zip(suspects, gradients, strict=True) if g is not None]
    if hidden:
        raise InputError(
            f"Expected every parameter to reach a torch operation in Python, but {', '.join(hidden[:5])} changed the "
            "output inside an operation that hides it (TorchScript, a custom kernel); use a version in plain PyTorch."
        )
