"""The contract of attribution methods, clause by clause."""

import pickle
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, fields, is_dataclass

import torch
from torch import Tensor, nn

from heatproof.errors import InputError
from heatproof.methods.base import Attribution, Linearizable, Method, one_hot
from heatproof.models import Bound, forward, select
from heatproof.testing.networks import ContractNet, rectified
from heatproof.testing.snapshots import (
    Before,
    ContractError,
    leaf_calls,
    other_random_state,
    raising,
    same_bits,
)

# Relative to each map's largest magnitude, in float64: the promise between batches of different sizes, and rounding.
BATCH, ROUNDING = 1e-5, 1e-9


@dataclass(frozen=True)
class Case:
    """A method with what it is tried on, and its maps there."""

    method: Attribution
    model: nn.Module
    inputs: Tensor
    targets: Tensor
    maps: Tensor
    own_model: bool
    changes: tuple[str, ...]

    @property
    def uses_model(self) -> bool:
        return not isinstance(self.method, Method) or self.method.uses_model


def check_method(
    method: Attribution,
    *,
    model: nn.Module | None = None,
    inputs: Tensor | None = None,
    targets: Tensor | None = None,
) -> None:
    """Hold a method to every clause of the contract; `CLAUSES` lists them.

    Without a model it is tried on `ContractNet` with three images (3, 3, 16, 16); with one, give inputs and targets
    too, in float64. A plain callable (model, inputs, targets) → attributions is held to what needs no `Method`: not to
    diagnostics, linearization and refusals. Cost: about 30 calls.

    Raises: ContractError, whose `clause` names the first clause that is broken.
    """
    own_model = model is None
    if model is None:
        model = ContractNet()
    if inputs is None:
        inputs = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    if targets is None:
        targets = torch.arange(len(inputs), device=inputs.device) * 2 % forward_width(model, inputs)
    # The first call counts: a method may spoil a model once and find it spoilt from then on.
    before = Before(model)
    maps = method(model, inputs.clone(), targets.clone())
    case = Case(method, model, inputs, targets, maps, own_model, tuple(before.changes()))
    for clause, check in CLAUSES.items():
        for fault in check(case):
            raise ContractError(clause, fault)


def forward_width(model: nn.Module, inputs: Tensor) -> int:
    """The number of outputs of `model`."""
    with torch.no_grad():
        return forward(model, inputs).shape[1]


def _untouched(case: Case) -> Iterator[str]:
    for change in case.changes:
        yield f"expected the model and the process as they were, but {change}."


def _shape(case: Case) -> Iterator[str]:
    shape, inputs = tuple(case.maps.shape), tuple(case.inputs.shape)
    fits = len(shape) == len(inputs) and shape[0] == inputs[0]
    if not fits or any(one not in (1, other) for one, other in zip(shape, inputs, strict=True)):
        yield f"expected attributions that broadcast to the inputs {inputs}, but got {shape}."
        return
    for dim in range(1, len(shape)):
        if shape[dim] > 1 and case.maps.stride(dim) == 0:
            yield f"expected size 1 in dimension {dim}, which is not resolved, but its values are repeated."


def _kind(case: Case) -> Iterator[str]:
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


def _finite(case: Case) -> Iterator[str]:
    if not bool(torch.isfinite(case.maps).all()):
        yield "expected finite attributions, but some are NaN or infinite."


def _inputs_untouched(case: Case) -> Iterator[str]:
    inputs, targets = case.inputs.clone().requires_grad_(), case.targets.clone()
    case.method(case.model, inputs, targets)
    if not same_bits(inputs, case.inputs) or not same_bits(targets, case.targets):
        yield "expected inputs and targets as they were, but their values changed."
    if not inputs.requires_grad or inputs.grad is not None:
        yield "expected requires_grad and .grad of the inputs as they were, but they changed."


def _untouched_on_error(case: Case) -> Iterator[str]:
    """A network that raises in its first, second and third pass; later passes a method may never make."""
    if not case.uses_model:
        return
    calls = leaf_calls(case.model, case.inputs)
    for whole in range(3):
        with raising(case.model, whole * calls + calls // 2):
            before = Before(case.model)
            try:
                case.method(case.model, case.inputs.clone(), case.targets)
            except Exception:  # a method may wrap the network's error in its own
                pass
            else:
                if whole == 0:
                    yield "expected the network's error to reach the caller, but none came."
            for change in before.changes():
                yield f"expected everything as it was after the network raised in pass {whole + 1}, but {change}."


def _repeatable(case: Case) -> Iterator[str]:
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


def _single_sample(case: Case) -> Iterator[str]:
    for index in range(len(case.inputs)):
        rows = torch.tensor([index], device=case.inputs.device)
        alone = case.method(select(case.model, rows), case.inputs[rows], case.targets[rows])
        if (distance := _distance(alone, case.maps[rows])) > BATCH:
            yield f"expected sample {index} alone as in its batch, but they differ by {distance:.1e} of the maximum."


def _permutation(case: Case) -> Iterator[str]:
    rows = torch.arange(len(case.inputs), device=case.inputs.device).roll(1)
    moved = case.method(select(case.model, rows), case.inputs[rows], case.targets[rows])
    if (distance := _distance(moved, case.maps[rows])) > BATCH:
        yield f"expected a permuted batch to give permuted maps, but they differ by {distance:.1e} of the maximum."


def _recipe(case: Case) -> Iterator[str]:
    method = case.method
    if isinstance(method, Method) and not is_dataclass(method):
        yield "expected a frozen dataclass of hyper-parameters; decorate it with @dataclass(frozen=True, kw_only=True)."
    try:
        copy = pickle.loads(pickle.dumps(method))
    except Exception as error:
        yield f"expected a method that pickles, to reach workers, but got {type(error).__name__}: {error}"
        return
    if not is_dataclass(method):
        return
    if copy != method or hash(copy) != hash(method):
        yield "expected a pickled copy to be equal and to hash equal, but it is not."
    text = repr(method)
    if " at 0x" in text or any(field.repr and f"{field.name}=" not in text for field in fields(method)):
        yield f"expected a repr that tells the recipe, but got {text}."
    try:
        evaluated = eval(text, {"__builtins__": {}}, _classes(method))
    except (NameError, SyntaxError):
        return  # a fitted value is told by its digest
    if evaluated != method:
        yield f"expected repr to evaluate to an equal method, but got {evaluated!r} from {text}."


def _diagnostics(case: Case) -> Iterator[str]:
    if not isinstance(case.method, Method):
        return
    explanation = case.method.explain(case.model, case.inputs.clone(), case.targets)
    if not same_bits(explanation.maps, case.maps):
        yield "expected explain(…).maps to equal the call, but they differ."
    for name, value in explanation.diagnostics.items():
        if not isinstance(value, Tensor) or value.shape != case.inputs.shape[:1] or value.requires_grad:
            yield f"expected diagnostic {name!r} to be a detached tensor ({len(case.inputs)},), but got {value!r}."


def _linearization(case: Case) -> Iterator[str]:
    method = case.method
    if not isinstance(method, Linearizable):
        return
    if not method.linearizable:
        if not _refuses(lambda: method.linearize(case.model, case.inputs)):
            yield "expected linearize to raise InputError where `linearizable` is False."
        return
    before = Before(case.model)
    outputs, pull = method.linearize(case.model, case.inputs.clone())
    with torch.no_grad():
        plain = forward(case.model, case.inputs)
    if _distance(outputs, plain) > ROUNDING or outputs.requires_grad:
        yield "expected linearize's outputs to be the model's on the inputs, detached, but they are not."
        return
    picked = one_hot(case.targets, outputs)
    if _distance(pull(picked), case.maps) > ROUNDING:
        yield "expected pull of a one-hot cotangent to equal the call, but they differ."
    stream = torch.Generator().manual_seed(5)
    mixes = torch.randn(2, *outputs.shape, generator=stream, dtype=torch.float64).to(outputs)
    both, singles = pull(mixes), [pull(mix) for mix in mixes]
    if both.shape != (2, *case.maps.shape) or _distance(both, torch.stack(singles)) > ROUNDING:
        yield "expected pull of (K, N, C) to stack the pulls of its K cotangents, but they differ."
    additive = _distance(pull(mixes[0] + mixes[1]), singles[0] + singles[1]) <= 1e-6
    if additive != method.linear:
        word = "is" if additive else "is not"
        yield f"expected `linear` to tell whether pull is additive: it says {method.linear}, but pull {word}."
    for change in before.changes():
        yield f"expected linearize and pull to leave everything as it was, but {change}."


def _refuses_training_mode(case: Case) -> Iterator[str]:
    for whole in (True, False):
        model = deepcopy(case.model)
        (model if whole else list(model.modules())[-1]).training = True
        if not _refused(case, model, case.inputs, case.targets):
            yield "expected InputError for a model, or one submodule, in training mode, but none came."


def _refuses_bad_inputs(case: Case) -> Iterator[str]:
    for value in (torch.nan, torch.inf):
        inputs = case.inputs.clone()
        inputs[0].view(-1)[0] = value
        if not _refused(case, case.model, inputs, case.targets):
            yield f"expected InputError for inputs that hold {value}, but none came."
    if not _refused(case, case.model, case.inputs.to(torch.int64), case.targets):
        yield "expected InputError for integer inputs, but none came."


def _refuses_bad_targets(case: Case) -> Iterator[str]:
    wrong = {
        "of a float dtype": case.targets.to(case.inputs.dtype),
        "of shape (N, 1)": case.targets[:, None],
        "one too few": case.targets[1:],
        "below 0": case.targets - 1 - case.targets.max(),
    }
    if case.uses_model:
        wrong["beyond the last output"] = case.targets + forward_width(case.model, case.inputs)
    for what, targets in wrong.items():
        if not _refused(case, case.model, case.inputs, targets):
            yield f"expected InputError for targets {what}, but none came."


def _in_place_networks(case: Case) -> Iterator[str]:
    if not case.uses_model or isinstance(case.model, Bound):
        return
    plain = case.method(rectified(case.model, inplace=False), case.inputs.clone(), case.targets)
    inputs = case.inputs.clone()
    changed = case.method(rectified(case.model, inplace=True), inputs, case.targets)
    if not same_bits(inputs, case.inputs):
        yield "expected inputs as they were although the network changes its input in place, but they changed."
    if (distance := _distance(changed, plain)) > ROUNDING:
        yield (
            "expected the same maps of a network with in-place ReLUs, the first on its input, as of one without, "
            f"but they differ by {distance:.1e} of the maximum."
        )


def _bound_models(case: Case) -> Iterator[str]:
    if not case.own_model or not case.uses_model:
        return
    gain = torch.linspace(0.5, 1.5, len(case.inputs), dtype=case.inputs.dtype)
    together = case.method(Bound(case.model, given={"gain": gain}), case.inputs.clone(), case.targets)
    for index in range(len(gain)):
        rows = slice(index, index + 1)
        alone = case.method(Bound(case.model, given={"gain": gain[rows]}), case.inputs[rows], case.targets[rows])
        if (distance := _distance(alone, together[rows])) > BATCH:
            yield (
                f"expected sample {index} of a Bound model to be explained with its own row of `given`, but its map "
                f"differs by {distance:.1e} of the maximum; evaluate with heatproof.models.forward(model, x, rows)."
            )


def _refused(case: Case, model: nn.Module, inputs: Tensor, targets: Tensor) -> bool:
    return not isinstance(case.method, Method) or _refuses(lambda: case.method(model, inputs, targets))


def _refuses(call: Callable[[], object]) -> bool:
    try:
        call()
    except InputError:
        return True
    except Exception:  # an error, but not one that says what to do
        return False
    return False


def _distance(one: Tensor, other: Tensor) -> float:
    """The largest difference, relative to the largest magnitude; infinite between different shapes."""
    if one.shape != other.shape:
        return torch.inf
    scale = other.abs().amax().clamp_min(torch.finfo(other.dtype).tiny)
    distance = float(((one - other).abs() / scale).amax())
    return torch.inf if distance != distance else distance


def _classes(recipe: object) -> dict[str, object]:
    """The classes that the repr of a recipe names."""
    names: dict[str, object] = {type(recipe).__name__: type(recipe)}
    if is_dataclass(recipe):
        for field in fields(recipe):
            names |= _classes(getattr(recipe, field.name))
    return names


CLAUSES: dict[str, Callable[[Case], Iterator[str]]] = {
    "untouched": _untouched,
    "shape": _shape,
    "dtype-and-device": _kind,
    "finite": _finite,
    "inputs-untouched": _inputs_untouched,
    "repeatable": _repeatable,
    "single-sample": _single_sample,
    "permutation": _permutation,
    "recipe": _recipe,
    "diagnostics": _diagnostics,
    "linearization": _linearization,
    "refuses-training-mode": _refuses_training_mode,
    "refuses-bad-inputs": _refuses_bad_inputs,
    "refuses-bad-targets": _refuses_bad_targets,
    "in-place-networks": _in_place_networks,
    "bound-models": _bound_models,
    "untouched-on-error": _untouched_on_error,
}
