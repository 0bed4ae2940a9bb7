"""The contract of checks: rows are what was declared, and the same in any batch, order and random state."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from heatproof.checks.base import Check, Study
from heatproof.errors import HeatproofError
from heatproof.features import default_features
from heatproof.testing.check_case import CheckCase, labelled
from heatproof.testing.playing import Row, Stage, play
from heatproof.testing.snapshots import other_random_state

BATCH = 1e-6  # absolute, in float64: a sample alone or elsewhere in a batch
ROUNDING = 1e-9  # beyond a metric's declared range


def as_declared(case: CheckCase) -> Iterator[str]:
    """One value a sample, of declared metrics, within their ranges."""
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


def repeatable(case: CheckCase) -> Iterator[str]:
    """The same values bit for bit, whatever the global random state."""
    with other_random_state(11):
        again = play(case.check, case.on)
    yield from _differences(again, case.rows, "played again", "whatever the global random state", exact=True)


def method_order(case: CheckCase) -> Iterator[str]:
    """The same values bit for bit in any order of methods."""
    reverse = Stage(**{**vars(case.on), "methods": case.on.methods[::-1]})
    again = play(case.check, reverse)
    yield from _differences(again, case.rows, "with methods in another order", "in any order of methods", exact=True)


def permutation(case: CheckCase) -> Iterator[str]:
    """The same values in any order of samples."""
    order = [2, 0, 1]
    moved = {row: values[order] for row, values in case.rows.items()}
    yield from _differences(play(case.check, case.on.rows(order)), moved, "permuted", "in any order of samples")


def single_sample(case: CheckCase) -> Iterator[str]:
    """The same values of a sample alone."""
    for index in range(case.on.counted):
        alone = {row: values[index : index + 1] for row, values in case.rows.items()}
        yield from _differences(play(case.check, case.on.rows([index])), alone, f"sample {index} alone", "in any batch")


def filled_block(case: CheckCase) -> Iterator[str]:
    """The same values in a block that is filled up."""
    filled = Stage(**{**vars(case.on.rows([0, 1, 0, 1])), "counted": 2})
    first = {row: values[:2] for row, values in case.rows.items()}
    yield from _differences(play(case.check, filled), first, "in a filled block", "whatever fills a block")


def other_data(case: CheckCase) -> Iterator[str]:
    """Rows or an InputError on tables and sequences."""
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
                "training": labelled(shape, labels=3),
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
        yield from as_declared(CheckCase(case.check, on, rows, ()))


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
