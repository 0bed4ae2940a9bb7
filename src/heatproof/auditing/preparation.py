"""What states need before anything is computed in them, such as a network trained anew."""

from heatproof.auditing import lines
from heatproof.auditing.entries import Condition
from heatproof.auditing.learning import Learned
from heatproof.auditing.lines import duration
from heatproof.auditing.plan import Missing, Plan, every, without
from heatproof.checks.base import State
from heatproof.runs.workers import Failure, failure


def announce(plan: Plan, missing: Missing, seconds_a_pass: float, *, show: bool) -> dict[str, float]:
    """Say how long the preparation takes at most, and give it for the run's estimate; nothing if it takes nothing.

    `seconds_a_pass` are those of a forward and a backward pass of a block.
    """
    passes = [condition.state.preparation() for condition, _ in _wanted(plan, missing)]
    seconds = sum(passes) / 3 / plan.batch * seconds_a_pass
    if not seconds:
        return {}
    count = sum(1 for number in passes if number)
    what = "1 network" if count == 1 else f"{count} networks"
    lines.console(show=show).print(f"{what} to train first, {duration(seconds)} at most.")
    return {"seconds of preparation at most": seconds}


def prepare(plan: Plan, learned: Learned, missing: Missing) -> tuple[dict[int, frozenset[str]], list[Failure]]:
    """Prepare every state that misses rows; gives what can be computed now, and the failures.

    A state that cannot be prepared costs the checks that want it their rows in it, and nothing else.
    """
    failed: set[tuple[str, str]] = set()
    failures: list[Failure] = []
    for condition, readers in _wanted(plan, missing):
        try:
            condition.state.prepare()
        except Exception as error:  # one check's failure must not cost the others their rows
            learned.lost.update((method.label, condition.id) for method in plan.methods)
            for label, state in readers:
                failed.add((label, state.name))
                failures.append(failure(error, check=label, state=state.name))
    asked = plan.questions
    return without(missing, {key for key in every(missing) if (asked[key].check, asked[key].state) in failed}), failures


def _wanted(plan: Plan, missing: Missing) -> list[tuple[Condition, list[tuple[str, State]]]]:
    """The conditions that miss rows, with the checks that miss them, each with its own name for it."""
    asked = {(one.check, one.state) for one in plan.asked(every(missing))}
    found = [
        (condition, [(check.label, state) for check, state in condition.readers if (check.label, state.name) in asked])
        for condition in plan.conditions
    ]
    return [(condition, readers) for condition, readers in found if readers]
