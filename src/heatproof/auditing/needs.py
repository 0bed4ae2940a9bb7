"""Which maps have to be made for rows that are missing."""

from collections import defaultdict
from collections.abc import Iterable

from heatproof.auditing.parts import Cell, NamedMethod
from heatproof.auditing.plan import Plan


def methods_needed(plan: Plan, missing: Iterable[Cell]) -> dict[str, list[NamedMethod]]:
    """The methods to run in each condition: those with missing cells there, or later ones that look back to it.

    Without those that could not learn there what they need, and without conditions that could not be prepared.
    """
    cells = {(cell.check, cell.state, label) for cell in missing for label in (cell.method, cell.other)}
    needed: dict[str, set[str]] = defaultdict(set)
    for check in plan.checks:
        kept_so_far: list[str] = []
        for condition in plan.conditions:
            for state in condition.states_of(check):
                labels = {m.label for m in plan.methods if (check.label, state.name, m.label) in cells}
                for identity in (condition.id, *kept_so_far):
                    needed[identity] |= labels
                if state.kept:
                    kept_so_far.append(condition.id)
    return {
        c.id: [m for m in plan.methods if m.label in needed[c.id] and (m.label, c.id) not in plan.lost]
        for c in plan.conditions
    }
