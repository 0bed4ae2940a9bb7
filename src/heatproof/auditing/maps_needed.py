"""Which maps have to be made for rows that are missing."""

from collections import defaultdict
from collections.abc import Collection, Iterable

from heatproof.auditing.entries import NamedMethod, Question
from heatproof.auditing.plan import Plan


def methods_needed(
    plan: Plan, missing: Iterable[Question], lost: Collection[tuple[str, str]] = ()
) -> dict[str, list[NamedMethod]]:
    """The methods to run in each condition: those with missing rows there, or later ones that look back to it.

    Without those that are `lost` (label and condition): what they need there could not be learned or prepared.
    """
    asked = {(one.check, one.state, label) for one in missing for label in (one.method, one.other)}
    needed: dict[str, set[str]] = defaultdict(set)
    for check in plan.checks:
        kept_so_far: list[str] = []
        for condition in plan.conditions:
            for state in condition.states_of(check):
                labels = {m.label for m in plan.methods if (check.label, state.name, m.label) in asked}
                for identity in (condition.id, *kept_so_far):
                    needed[identity] |= labels
                if state.kept:
                    kept_so_far.append(condition.id)
    return {
        c.id: [m for m in plan.methods if m.label in needed[c.id] and (m.label, c.id) not in lost]
        for c in plan.conditions
    }
