"""What states need before anything is computed in them, such as a network trained anew."""

from collections.abc import Collection
from typing import Any

from rich.console import Console

from heatproof.auditing.parts import Condition
from heatproof.auditing.plan import Plan
from heatproof.auditing.progress import duration
from heatproof.checks.base import State


def announce(plan: Plan, missing: Collection[str], seconds_a_pass: float, *, show: bool) -> dict[str, float]:
    """Say how long the preparation takes at most, and give it for the manifest's estimate; nothing if it takes nothing.

    `seconds_a_pass` are those of a forward and a backward pass of a block.
    """
    passes = [condition.state.preparation() for condition, _ in _wanted(plan, missing)]
    seconds = sum(passes) / 3 / plan.batch * seconds_a_pass
    if not seconds:
        return {}
    count = sum(1 for number in passes if number)
    what = "1 network" if count == 1 else f"{count} networks"
    Console(stderr=True, quiet=not show).print(f"{what} to train first, {duration(seconds)} at most.")
    return {"seconds of preparation at most": seconds}


def prepare(plan: Plan, missing: Collection[str]) -> tuple[set[str], list[dict[str, Any]]]:
    """Prepare every state that misses rows; gives the cells that can be computed now, and the failures.

    A state that cannot be prepared costs the checks that want it their rows in it, and nothing else.
    """
    failed: set[tuple[str, str]] = set()
    failures: list[dict[str, Any]] = []
    for condition, readers in _wanted(plan, missing):
        try:
            condition.state.prepare()
        except Exception as error:  # one check's failure must not cost the others their rows
            plan.lost |= {(method.label, condition.id) for method in plan.methods}
            said = f"{type(error).__name__}: {error}"
            for label, state in readers:
                failed.add((label, state.name))
                failures.append(
                    {"method": "", "check": label, "state": state.name, "samples": [], "error": said, "count": 1}
                )
    possible = {key for key in missing if (plan.cells[key].check, plan.cells[key].state) not in failed}
    return possible, failures


def _wanted(plan: Plan, missing: Collection[str]) -> list[tuple[Condition, list[tuple[str, State]]]]:
    """The conditions that miss rows, with the checks that miss them, each with its own name for it."""
    cells = {(cell.check, cell.state) for key, cell in plan.cells.items() if key in missing}
    every = [
        (condition, [(check.label, state) for check, state in condition.readers if (check.label, state.name) in cells])
        for condition in plan.conditions
    ]
    return [(condition, readers) for condition, readers in every if readers]
