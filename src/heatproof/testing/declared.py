"""The contract of checks: what a check says of itself before anything has run, and what it does with a network."""

import json
import math
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from heatproof.propagation.independence import check_independent
from heatproof.recipes import describe
from heatproof.testing.check_case import CheckCase
from heatproof.testing.playing import asked, play


def recipe(case: CheckCase) -> Iterator[str]:
    """A frozen dataclass that pickles, and whose repr tells it."""
    check = case.check
    if not is_dataclass(check):
        yield "expected a frozen dataclass of settings, but it is none."
        return
    parameters = vars(type(check)).get("__dataclass_params__")  # those of the class itself, not of its base
    if parameters is None or not parameters.frozen:
        yield "expected a frozen dataclass of settings; decorate with @dataclass(frozen=True, kw_only=True)."
        return
    try:
        copy = pickle.loads(pickle.dumps(check))
    except Exception as error:
        yield f"expected a check that pickles, to reach workers, but got {type(error).__name__}: {error}"
        return
    if copy != check or hash(copy) != hash(check) or describe(copy) != describe(check):
        yield "expected a pickled copy to be equal, to hash equal and to be described alike, but it is not."
    text = repr(check)
    if " at 0x" in text or any(field.repr and f"{field.name}=" not in text for field in fields(check)):
        yield f"expected a repr that tells the recipe, but got {text}."


def metrics(case: CheckCase) -> Iterator[str]:
    """Metrics with names, texts and ranges, the same of the same study."""
    study = case.on.study()
    declared = case.check.metrics(study)
    names = [metric.name for metric in declared]
    if not names or len(set(names)) < len(names):
        yield f"expected one or more metrics with different names, but got {names}."
    if declared != case.check.metrics(study):
        yield "expected the same metrics of the same study, but they differ."
    for metric in declared:
        low = -math.inf if metric.low is None else metric.low
        high = math.inf if metric.high is None else metric.high
        if not metric.name or not metric.text or low >= high:
            yield f"expected a name, a text and low < high for every metric, but got {metric}."
        for name in ("chance", "ideal"):
            value = getattr(metric, name)
            if value is not None and not low <= value <= high:
                yield f"expected `{name}` of {metric.name!r} between {low} and {high}, but got {value}."


def states(case: CheckCase) -> Iterator[str]:
    """States with different names, the trained one first, the same of the same study."""
    study = case.on.study()
    states, again = case.check.states(study), case.check.states(study)
    if not states:
        yield "expected one or more states, but got none."
        return
    names = [state.name for state in states]
    if len(set(names)) < len(names):
        yield f"expected states with different names, but got {names}."
    for one, other in zip(states, again, strict=False):
        if one.describe() != other.describe() or dict(one.key) != dict(other.key):
            yield f"expected the same states of the same study, but {one.name!r} differs."
        try:
            json.dumps([dict(one.key), one.describe()])
        except TypeError as error:
            yield f"expected the key of state {one.name!r} to be plain data, but {error}."
    if len(states) != len(again):
        yield f"expected the same states of the same study, but got {len(states)} and then {len(again)}."
    if states[0].kind != "trained":
        yield f"expected the trained model as the first state, but got {states[0].name!r} of kind {states[0].kind!r}."


def untouched(case: CheckCase) -> Iterator[str]:
    """The model, its inputs and the process are as they were."""
    for change in case.changes:
        yield f"expected the model, its inputs and the process as they were, but {change}."


def no_attribution(case: CheckCase) -> Iterator[str]:
    """A check runs the model without gradients: attributions are given to it."""
    try:
        play(case.check, case.on, watch=partial(_watching, case.on.model))
    except _AttributionError as error:
        yield str(error)


def passes(case: CheckCase) -> Iterator[str]:
    """`passes` counts the passes that the check makes."""
    counted = 0.0

    @contextmanager
    def counting() -> Iterator[None]:
        def back(gradient: Tensor) -> None:
            nonlocal counted
            counted += 2 * len(gradient)

        def forth(_module: nn.Module, _arguments: Any, outputs: Tensor) -> None:
            nonlocal counted
            counted += len(outputs)
            if outputs.requires_grad:
                outputs.register_hook(back)  # type: ignore[no-untyped-call]

        nonlocal counted
        handle = case.on.model.register_forward_hook(forth)
        before = counted
        try:
            check_independent(case.on.model, case.on.inputs)  # what is settled once a model is no pass of the check's
            counted = before
            yield
        finally:
            handle.remove()

    play(case.check, case.on, watch=counting)
    study = case.on.study()
    said = [
        case.check.passes(study, state, method)
        for state in case.check.states(study)
        for method in (None, *case.on.methods)
    ]
    if abs(sum(said) * len(case.on.inputs) - counted) > 0.01 * counted:
        yield (
            f"expected `passes` to count the check's own passes, {counted / len(case.on.inputs):g} a sample in all "
            f"states and for all methods, a backward pass as two, but it says {sum(said):g}."
        )


class _AttributionError(Exception):
    """A check ran the model so that it could be differentiated."""


@contextmanager
def _watching(model: nn.Module) -> Iterator[None]:
    """Passes through `model` that could be differentiated are refused."""

    def refuse(_module: nn.Module, _arguments: Any) -> None:
        if torch.is_grad_enabled() and not asked():
            raise _AttributionError(
                "expected a check to run the model under torch.no_grad(), but it ran it with gradients; "
                "attributions are given to checks, never computed by them; those of other labels come from "
                "block.linearize(method)."
            )

    handle = model.register_forward_pre_hook(refuse)
    try:
        yield
    finally:
        handle.remove()
