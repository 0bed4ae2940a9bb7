"""What states need before anything is computed in them, such as a network trained anew."""

from collections.abc import Collection
from typing import Any

from heatproof.auditing.plan import Plan


def prepare(plan: Plan, missing: Collection[str]) -> tuple[set[str], list[dict[str, Any]]]:
    """Prepare every state that misses rows; gives the cells that can be computed now, and the failures.

    A state that cannot be prepared costs the checks that want it their rows in it, and nothing else.
    """
    wanted = {(cell.check, cell.state) for key, cell in plan.cells.items() if key in missing}
    failed: set[tuple[str, str]] = set()
    failures: list[dict[str, Any]] = []
    for condition in plan.conditions:
        readers = [(check.label, state) for check, state in condition.readers if (check.label, state.name) in wanted]
        if not readers:
            continue
        try:
            readers[0][1].prepare()
        except Exception as error:  # one check's failure must not cost the others their rows
            said = f"{type(error).__name__}: {error}"
            for label, state in readers:
                failed.add((label, state.name))
                failures.append(
                    {"method": "", "check": label, "state": state.name, "samples": [], "error": said, "count": 1}
                )
    possible = {key for key in missing if (plan.cells[key].check, plan.cells[key].state) not in failed}
    return possible, failures
