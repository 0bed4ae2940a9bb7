"""The contract of checks, clause by clause."""

import json
import math
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from heatproof.checks.base import Check, Study
from heatproof.data.base import Dataset
from heatproof.errors import HeatproofError
from heatproof.features import default_features
from heatproof.methods import Gradient, GradientXInput, Random
from heatproof.recipes import describe
from heatproof.testing.networks import ContractNet
from heatproof.testing.playing import Row, Stage, asked, play, stage
from heatproof.testing.snapshots import Before, ContractError, other_random_state, same_bits

BATCH = 1e-6  # absolute, in float64: a sample alone or elsewhere in a batch
ROUNDING = 1e-9  # beyond a metric's declared range


def check_check(check: Check) -> None:
    """Hold a check to every clause of the contract; `CHECK_CLAUSES` lists them.

    It is played on `ContractNet` with three images (3, 3, 16, 16), twenty more to learn from and three methods, the way
    an audit calls it.
    Cost: about ten audits of that size.

    Raises: ContractError, whose `clause` names the first clause that is broken.
    """
    inputs = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    methods = {"gradient-x-input": GradientXInput(), "gradient": Gradient(), "random": Random()}
    boxes = [[(0.0, 0.0, 4.0, 5.0)], [(8.0, 2.0, 13.0, 9.0)], []]
    training = _labelled((3, 16, 16), labels=5)
    on = stage(ContractNet(), inputs, torch.tensor([0, 2, 4]), methods, boxes=boxes, training=training)
    before, kept = Before(on.model), (on.inputs.clone(), on.targets.clone())
    _hold(CheckCase(check, on, {}, ()), DECLARATIONS)
    try:
        rows = play(check, on)
    except ValueError as error:
        raise ContractError("rows", f"expected every row once, but {error}.") from error
    changes = list(before.changes())
    for name, was in zip(("inputs", "targets"), kept, strict=True):
        if not same_bits(getattr(on, name), was):
            changes.append(f"{name} changed")
    _hold(CheckCase(check, on, rows, tuple(changes)), RESULTS)


@dataclass(frozen=True)
class CheckCase:
    """A check with what it is played on, its rows there, and what it changed."""

    check: Check
    on: Stage
    rows: dict[Row, Tensor]
    changes: tuple[str, ...]


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


def _hold(case: CheckCase, clauses: Mapping[str, Callable[[CheckCase], Iterator[str]]]) -> None:
    for clause, find in clauses.items():
        for fault in find(case):
            raise ContractError(clause, fault)


def _recipe(case: CheckCase) -> Iterator[str]:
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


def _no_attribution(case: CheckCase) -> Iterator[str]:
    try:
        play(case.check, case.on, watch=partial(_watching, case.on.model))
    except _AttributionError as error:
        yield str(error)


def _passes(case: CheckCase) -> Iterator[str]:
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

        handle = case.on.model.register_forward_hook(forth)
        try:
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


def _untouched(case: CheckCase) -> Iterator[str]:
    for change in case.changes:
        yield f"expected the model, its inputs and the process as they were, but {change}."


def _metrics(case: CheckCase) -> Iterator[str]:
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


def _states(case: CheckCase) -> Iterator[str]:
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


def _rows(case: CheckCase) -> Iterator[str]:
    declared = {metric.name: metric for metric in case.check.metrics(case.on.study())}
    if not case.rows:
        yield "expected rows, but got none."
    for row, values in case.rows.items():
        if values.shape != (case.on.counted,):
            yield f"expected one value a sample, ({case.on.counted},), but got {tuple(values.shape)} for {row}."
            return
        metric = declared.get(row.metric)
        if metric is None:
            yield f"expected rows of the declared metrics {sorted(declared)}, but got {row.metric!r}."
            continue
        known = values[~values.isnan()]
        low = -math.inf if metric.low is None else metric.low - ROUNDING
        high = math.inf if metric.high is None else metric.high + ROUNDING
        if bool(((known < low) | (known > high) | known.isinf()).any()):
            yield f"expected {row.metric!r} between {metric.low} and {metric.high} or NaN, but got {values.tolist()}."


def _repeatable(case: CheckCase) -> Iterator[str]:
    with other_random_state(11):
        again = play(case.check, case.on)
    yield from _differences(again, case.rows, "played again", "whatever the global random state", exact=True)


def _method_order(case: CheckCase) -> Iterator[str]:
    reverse = Stage(**{**vars(case.on), "methods": case.on.methods[::-1]})
    again = play(case.check, reverse)
    yield from _differences(again, case.rows, "with methods in another order", "in any order of methods", exact=True)


def _permutation(case: CheckCase) -> Iterator[str]:
    order = [2, 0, 1]
    moved = {row: values[order] for row, values in case.rows.items()}
    yield from _differences(play(case.check, case.on.rows(order)), moved, "permuted", "in any order of samples")


def _single_sample(case: CheckCase) -> Iterator[str]:
    for index in range(case.on.counted):
        alone = {row: values[index : index + 1] for row, values in case.rows.items()}
        yield from _differences(play(case.check, case.on.rows([index])), alone, f"sample {index} alone", "in any batch")


def _filled_block(case: CheckCase) -> Iterator[str]:
    filled = Stage(**{**vars(case.on.rows([0, 1, 0, 1])), "counted": 2})
    first = {row: values[:2] for row, values in case.rows.items()}
    yield from _differences(play(case.check, filled), first, "in a filled block", "whatever fills a block")


def _other_data(case: CheckCase) -> Iterator[str]:
    for name, shape in (("a table", (9,)), ("sequences", (5, 4))):
        flat = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 3)).double().eval()
        stream = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in flat.parameters():
                parameter.normal_(generator=stream)
        inputs = torch.randn(3, *shape, generator=stream, dtype=torch.float64)
        on = Stage(
            **{
                **vars(case.on),
                "model": flat,
                "inputs": inputs,
                "targets": torch.tensor([0, 1, 2]),
                "features": default_features(shape),
                "training": _labelled(shape, labels=3),
            }
        )
        study = on.study()
        try:
            _declare(case.check, study)
            for state in case.check.states(study):
                state.prepare()
        except HeatproofError:  # refused, or a network that cannot learn what it is given
            continue
        except Exception as error:
            yield f"expected rows or an InputError on {name}, but got {type(error).__name__}: {error}"
            continue
        try:
            rows = play(case.check, on)
        except Exception as error:
            yield f"expected {name} to be refused before anything has run, or rows, but got {error!r}."
            continue
        yield from _rows(CheckCase(case.check, on, rows, ()))


def _labelled(shape: tuple[int, ...], *, labels: int) -> Dataset:
    """Twenty samples of noise to learn from, each label as often as the others, as far as it goes."""
    inputs = torch.randn(20, *shape, generator=torch.Generator().manual_seed(8))
    names = tuple(str(i) for i in range(20))
    return Dataset(name="noise", inputs=inputs, targets=torch.arange(20) % labels, ids=names)


def _declare(check: Check, study: Study) -> None:
    check.metrics(study)
    check.notes(study)
    check.states(study)


def _differences(
    rows: dict[Row, Tensor], expected: dict[Row, Tensor], how: str, when: str, *, exact: bool = False
) -> Iterator[str]:
    if rows.keys() != expected.keys():
        odd = sorted(rows.keys() ^ expected.keys())[0]
        yield f"expected the same rows {when}, but {odd} is there only once ({how})."
        return
    for row, values in expected.items():
        close = torch.allclose(rows[row], values, rtol=0, atol=0 if exact else BATCH, equal_nan=True)
        if not close:
            yield f"expected the same values {when}, but {row} is {rows[row].tolist()} {how}, not {values.tolist()}."
            return


DECLARATIONS: dict[str, Callable[[CheckCase], Iterator[str]]] = {
    "recipe": _recipe,
    "metrics": _metrics,
    "states": _states,
}
RESULTS: dict[str, Callable[[CheckCase], Iterator[str]]] = {
    "untouched": _untouched,
    "no-attribution": _no_attribution,
    "rows": _rows,
    "repeatable": _repeatable,
    "method-order": _method_order,
    "permutation": _permutation,
    "single-sample": _single_sample,
    "filled-block": _filled_block,
    "other-data": _other_data,
    "passes": _passes,
}
CHECK_CLAUSES = {**DECLARATIONS, **RESULTS}
