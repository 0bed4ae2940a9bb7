"""The contract of attribution methods, clause by clause."""

import pickle
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import fields, is_dataclass

import torch
from torch import Tensor, nn

from heatproof.errors import MapsError
from heatproof.methods.base import Attribution, Linearizable, Method, one_hot, scores, total
from heatproof.methods.fitted import FittedMethod, learners, with_learners
from heatproof.models import forward
from heatproof.testing.case import ROUNDING, Case, distance_of, forward_width
from heatproof.testing.doors import refuses, refuses_bad_inputs, refuses_bad_targets, refuses_training_mode
from heatproof.testing.maps import (
    bound_models,
    finite,
    in_place_networks,
    kind,
    permutation,
    repeatable,
    shape,
    single_sample,
)
from heatproof.testing.networks import ContractNet, linear_model
from heatproof.testing.snapshots import Before, ContractError, leaf_calls, raising, same_bits

SUM = 1e-4  # relative to the largest promised sum of a label


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
    diagnostics, linearization and refusals. A method that has to be fitted is fitted first: on 24 images and labels, or
    on the inputs and targets given. Cost: about 30 calls.

    Raises: ContractError, whose `clause` names the first clause that is broken.
    """
    own_model, own_data = model is None, inputs is None
    if model is None:
        model = ContractNet()
    if inputs is None:
        inputs = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    if targets is None:
        targets = torch.arange(len(inputs), device=inputs.device) * 2 % forward_width(model, inputs)
    method = _fitted(method, model, inputs, targets, own_data=own_data)
    # The first call counts: a method may spoil a model once and find it spoilt from then on.
    before = Before(model)
    try:
        maps = method(model, inputs.clone(), targets.clone())
    except MapsError as error:
        raise ContractError("shape", str(error)) from None
    case = Case(method, model, inputs, targets, maps, own_model, tuple(before.changes()))
    for clause, check in CLAUSES.items():
        for fault in check(case):
            raise ContractError(clause, fault)


def _fitted(method: Attribution, model: nn.Module, inputs: Tensor, targets: Tensor, *, own_data: bool) -> Attribution:
    """The method with everything fitted that it is made of; nothing may change on the way."""
    unfitted = [one for one in learners(method) if one.fitted is None]
    if not unfitted:
        return method
    if own_data:
        inputs = torch.randn(24, *inputs.shape[1:], generator=torch.Generator().manual_seed(1)).to(inputs)
        targets = torch.arange(24, device=inputs.device) % forward_width(model, inputs)
    before = Before(model)

    def fit(one: FittedMethod) -> FittedMethod:
        if not refuses(lambda: one(model, inputs, targets)):
            raise ContractError("fitted", "expected InputError from a recipe that was not fitted, but none came.")
        return one.fit(model, [(inputs, targets)])

    found = with_learners(method, lambda one: one if one.fitted is not None else fit(one))
    for change in before.changes():
        raise ContractError("fitted", f"expected a fit to leave everything as it was, but {change}.")
    return found


def _fits(case: Case) -> Iterator[str]:
    """Fitted methods refuse a network that they were not fitted on, and do on a changed one what they declare."""
    if not learners(case.method):
        return
    other = deepcopy(case.model)
    with torch.no_grad():
        next(other.parameters()).mul_(1.5)
    if not refuses(lambda: case.method(other, case.inputs, case.targets)):
        yield "expected InputError for a network that it was not fitted on, but none came."
    for one in learners(case.method):
        changed = one.on_changed(other, [(case.inputs, case.targets)])
        if (changed is None) != (one.on_changed_model == "exclude"):
            yield f"expected on_changed to {one.on_changed_model}, as declared, but it gave {changed!r}."
        elif changed is not None:
            reused = one.fitted is not None and changed.fitted == one.fitted.moved_to(other)
            if reused != (one.on_changed_model == "reuse"):
                yield f"expected on_changed to {one.on_changed_model}, as declared, but the value is another."
        if not one.on_changed_because:
            yield "expected `on_changed_because` to say why in words, but it is empty."


def _untouched(case: Case) -> Iterator[str]:
    for change in case.changes:
        yield f"expected the model and the process as they were, but {change}."


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
        with raising(case.model, case.inputs, whole * calls + calls // 2):
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


def _promised_sums(case: Case) -> Iterator[str]:
    method = case.method
    if not isinstance(method, Method):
        return
    with torch.no_grad():
        outputs = forward(case.model, case.inputs)
        promised = method.promised_sums(case.model, case.inputs, outputs)
    if promised is None:
        return
    if promised.shape != outputs.shape or promised.requires_grad:
        yield f"expected promised sums {tuple(outputs.shape)}, detached, but got {tuple(promised.shape)}."
        return
    said = method.explain(case.model, case.inputs.clone(), case.targets).diagnostics
    gap = total(case.maps) - scores(promised, case.targets)
    for name in ("completeness-gap", "conservation-gap"):
        if name in said and distance_of(said[name] + scores(promised, case.targets), total(case.maps)) > ROUNDING:
            yield f"expected {name!r} to be the sum less the promised, {gap.tolist()}, but got {said[name].tolist()}."
    linear = linear_model(case.inputs)
    with torch.no_grad():
        outputs = forward(linear, case.inputs)
        promised = method.promised_sums(linear, case.inputs, outputs)
    if promised is None:
        yield "expected promised sums of every model or of none, but got none of a linear one."
        return
    for label in range(outputs.shape[1]):
        sums = total(method(linear, case.inputs.clone(), torch.full_like(case.targets, label)))
        if distance_of(sums, promised[:, label]) > SUM:
            yield (
                f"expected attributions of a linear model without biases to sum to {promised[:, label].tolist()}, as "
                f"promised, but they sum to {sums.tolist()}."
            )


def _linearization(case: Case) -> Iterator[str]:
    method = case.method
    if not isinstance(method, Linearizable):
        return
    if not method.linearizable:
        if not refuses(lambda: method.linearize(case.model, case.inputs)):
            yield "expected linearize to raise InputError where `linearizable` is False."
        return
    before = Before(case.model)
    outputs, pull = method.linearize(case.model, case.inputs.clone())
    with torch.no_grad():
        plain = forward(case.model, case.inputs)
    if distance_of(outputs, plain) > ROUNDING or outputs.requires_grad:
        yield "expected linearize's outputs to be the model's on the inputs, detached, but they are not."
        return
    picked = one_hot(case.targets, outputs)
    if distance_of(pull(picked), case.maps) > ROUNDING:
        yield "expected pull of a one-hot cotangent to equal the call, but they differ."
    stream = torch.Generator().manual_seed(5)
    mixes = torch.randn(2, *outputs.shape, generator=stream, dtype=torch.float64).to(outputs)
    both, singles = pull(mixes), [pull(mix) for mix in mixes]
    if both.shape != (2, *case.maps.shape) or distance_of(both, torch.stack(singles)) > ROUNDING:
        yield "expected pull of (K, N, C) to stack the pulls of its K cotangents, but they differ."
    additive = distance_of(pull(mixes[0] + mixes[1]), singles[0] + singles[1]) <= 1e-6
    if additive != method.linear:
        word = "is" if additive else "is not"
        yield f"expected `linear` to tell whether pull is additive: it says {method.linear}, but pull {word}."
    for change in before.changes():
        yield f"expected linearize and pull to leave everything as it was, but {change}."


def _classes(recipe: object) -> dict[str, object]:
    """The classes that the repr of a recipe names."""
    names: dict[str, object] = {type(recipe).__name__: type(recipe)}
    if is_dataclass(recipe):
        for field in fields(recipe):
            names |= _classes(getattr(recipe, field.name))
    return names


CLAUSES: dict[str, Callable[[Case], Iterator[str]]] = {
    "untouched": _untouched,
    "shape": shape,
    "dtype-and-device": kind,
    "finite": finite,
    "inputs-untouched": _inputs_untouched,
    "repeatable": repeatable,
    "single-sample": single_sample,
    "permutation": permutation,
    "recipe": _recipe,
    "diagnostics": _diagnostics,
    "linearization": _linearization,
    "fitted": _fits,
    "promised-sums": _promised_sums,
    "refuses-training-mode": refuses_training_mode,
    "refuses-bad-inputs": refuses_bad_inputs,
    "refuses-bad-targets": refuses_bad_targets,
    "in-place-networks": in_place_networks,
    "bound-models": bound_models,
    "untouched-on-error": _untouched_on_error,
}
