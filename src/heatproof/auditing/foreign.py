"""Methods that are not ours: any callable (model, inputs, targets) -> attributions, kept from doing harm."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from heatproof import draws
from heatproof.errors import InputError
from heatproof.methods.base import Attribution


def attribute(recipe: Attribution, model: nn.Module, inputs: Tensor, targets: Tensor, *key: draws.Key) -> Tensor:
    """What the callable attributes to copies of the inputs; model, gradients and global generator are as before.

    The global generator is seeded by `key` meanwhile, so that a callable that draws from it repeats itself.

    Raises: InputError for what does not broadcast to the inputs, and for a callable that changed the model (which is
        put back): no later map could be trusted.
    """
    with _unchanged(model), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(draws.generator(*key).initial_seed())
        maps = recipe(model, inputs.clone(), targets.clone())
    fits = isinstance(maps, Tensor) and maps.is_floating_point() and maps.dim() == inputs.dim()
    if not fits or any(ours not in (1, full) for ours, full in zip(maps.shape, inputs.shape, strict=True)):
        got = f"{maps.dtype} {tuple(maps.shape)}" if isinstance(maps, Tensor) else type(maps).__name__
        raise InputError(f"Expected floating attributions that broadcast to {tuple(inputs.shape)}, but got {got}.")
    return maps.detach()


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Whatever happens, the model's tensors and gradients are afterwards what they were."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    saved = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = None  # a backward pass adds to what it finds
    try:
        yield
    finally:
        changed = [name for name, tensor in tensors.items() if not _same(tensor, saved[name])]
        with torch.no_grad():
            for name in changed:
                tensors[name].copy_(saved[name])
        for name, parameter in model.named_parameters():
            parameter.grad = gradients.get(name)
    if changed:
        raise InputError(f"Expected a method that leaves the model as it is, but it changed {', '.join(changed[:3])}.")


def _same(one: Tensor, other: Tensor) -> bool:
    if torch.equal(one.detach(), other):
        return True
    return one.is_floating_point() and torch.equal(one.detach().nan_to_num(), other.nan_to_num())
