"""The contract of checks, clause by clause."""

from collections.abc import Callable, Iterator, Mapping

import torch

from heatproof.checks.base import Check
from heatproof.methods import Gradient, GradientXInput, Random
from heatproof.testing import declared, rows
from heatproof.testing.check_case import CheckCase, labelled
from heatproof.testing.networks import ContractNet
from heatproof.testing.playing import play, stage
from heatproof.testing.snapshots import Before, ContractError, same_bits


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
    training = labelled((3, 16, 16), labels=5)
    on = stage(ContractNet(), inputs, torch.tensor([0, 2, 4]), methods, boxes=boxes, training=training)
    before, kept = Before(on.model), (on.inputs.clone(), on.targets.clone())
    _hold(CheckCase(check, on, {}, ()), DECLARATIONS)
    try:
        found = play(check, on)
    except ValueError as error:
        raise ContractError("rows", f"expected every row once, but {error}.") from error
    changes = list(before.changes())
    for name, was in zip(("inputs", "targets"), kept, strict=True):
        if not same_bits(getattr(on, name), was):
            changes.append(f"{name} changed")
    _hold(CheckCase(check, on, found, tuple(changes)), RESULTS)


def _hold(case: CheckCase, clauses: Mapping[str, Callable[[CheckCase], Iterator[str]]]) -> None:
    for clause, find in clauses.items():
        for fault in find(case):
            raise ContractError(clause, fault)


DECLARATIONS: dict[str, Callable[[CheckCase], Iterator[str]]] = {
    "recipe": declared.recipe,
    "metrics": declared.metrics,
    "states": declared.states,
}
RESULTS: dict[str, Callable[[CheckCase], Iterator[str]]] = {
    "untouched": declared.untouched,
    "no-attribution": declared.no_attribution,
    "rows": rows.as_declared,
    "repeatable": rows.repeatable,
    "method-order": rows.method_order,
    "permutation": rows.permutation,
    "single-sample": rows.single_sample,
    "filled-block": rows.filled_block,
    "other-data": rows.other_data,
    "passes": declared.passes,
}
CHECK_CLAUSES = {**DECLARATIONS, **RESULTS}
