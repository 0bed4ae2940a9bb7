"""Clauses about the maps: their shape and type, and what they may depend on."""

from collections.abc import Iterator
from copy import deepcopy

import torch

from heatproof.models import Bound, select
from heatproof.testing.case import BATCH, ROUNDING, Case, distance_of
from heatproof.testing.networks import rectified
from heatproof.testing.snapshots import other_random_state, same_bits


def shape(case: Case) -> Iterator[str]:
    """Maps broadcast to the inputs; what is not resolved has size 1."""
    sizes, inputs = tuple(case.maps.shape), tuple(case.inputs.shape)
    fits = len(sizes) == len(inputs) and sizes[0] == inputs[0]
    if not fits or any(one not in (1, other) for one, other in zip(sizes, inputs, strict=True)):
        yield f"expected attributions that broadcast to the inputs {inputs}, but got {sizes}."
        return
    for dim in range(1, len(sizes)):
        if sizes[dim] > 1 and case.maps.stride(dim) == 0:
            yield f"expected size 1 in dimension {dim}, which is not resolved, but its values are repeated."


def kind(case: Case) -> Iterator[str]:
    """Maps are detached, of the inputs' dtype and on their device."""
    if case.maps.dtype != case.inputs.dtype or case.maps.device != case.inputs.device:
        yield (
            f"expected attributions of {case.inputs.dtype} on {case.inputs.device}, "
            f"but got {case.maps.dtype} on {case.maps.device}."
        )
    if case.maps.requires_grad:
        yield "expected detached attributions, but they require a gradient."
    single = case.inputs.float()
    if (got := case.method(deepcopy(case.model).float(), single, case.targets).dtype) != torch.float32:
        yield f"expected attributions of torch.float32 for such inputs and model, but got {got}."


def finite(case: Case) -> Iterator[str]:
    """Maps are finite."""
    if not bool(torch.isfinite(case.maps).all()):
        yield "expected finite attributions, but some are NaN or infinite."


def repeatable(case: Case) -> Iterator[str]:
    """The same recipe gives the same bits, whatever the global state."""
    with other_random_state(11):
        again = case.method(case.model, case.inputs.clone(), case.targets)
    if not same_bits(again, case.maps):
        yield (
            "expected the same attributions again, bit for bit, whatever the global random state, but they differ; "
            "draw with heatproof.draws from a field `seed`."
        )
    with torch.no_grad():
        quiet = case.method(case.model, case.inputs.clone(), case.targets)
    if not same_bits(quiet, case.maps):
        yield "expected the same attributions under torch.no_grad(), but they differ."


def single_sample(case: Case) -> Iterator[str]:
    """A sample alone is explained as in its batch."""
    for index in range(len(case.inputs)):
        rows = torch.tensor([index], device=case.inputs.device)
        alone = case.method(select(case.model, rows), case.inputs[rows], case.targets[rows])
        if (distance := distance_of(alone, case.maps[rows])) > BATCH:
            yield f"expected sample {index} alone as in its batch, but they differ by {distance:.1e} of the maximum."


def permutation(case: Case) -> Iterator[str]:
    """A permuted batch gives permuted maps."""
    rows = torch.arange(len(case.inputs), device=case.inputs.device).roll(1)
    moved = case.method(select(case.model, rows), case.inputs[rows], case.targets[rows])
    if (distance := distance_of(moved, case.maps[rows])) > BATCH:
        yield f"expected a permuted batch to give permuted maps, but they differ by {distance:.1e} of the maximum."


def in_place_networks(case: Case) -> Iterator[str]:
    """Networks that change tensors in place, their input too, are explained as others."""
    if not case.uses_model or isinstance(case.model, Bound):
        return
    plain = case.method(rectified(case.model, inplace=False), case.inputs.clone(), case.targets)
    inputs = case.inputs.clone()
    changed = case.method(rectified(case.model, inplace=True), inputs, case.targets)
    if not same_bits(inputs, case.inputs):
        yield "expected inputs as they were although the network changes its input in place, but they changed."
    if (distance := distance_of(changed, plain)) > ROUNDING:
        yield (
            "expected the same maps of a network with in-place ReLUs, the first on its input, as of one without, "
            f"but they differ by {distance:.1e} of the maximum."
        )


def bound_models(case: Case) -> Iterator[str]:
    """Every sample is explained with its own side inputs."""
    if not case.own_model or not case.uses_model:
        return
    gain = torch.linspace(0.5, 1.5, len(case.inputs), dtype=case.inputs.dtype)
    together = case.method(Bound(case.model, given={"gain": gain}), case.inputs.clone(), case.targets)
    for index in range(len(gain)):
        rows = slice(index, index + 1)
        alone = case.method(Bound(case.model, given={"gain": gain[rows]}), case.inputs[rows], case.targets[rows])
        if (distance := distance_of(alone, together[rows])) > BATCH:
            yield (
                f"expected sample {index} of a Bound model to be explained with its own row of `given`, but its map "
                f"differs by {distance:.1e} of the maximum; evaluate with heatproof.models.forward(model, x, rows)."
            )
