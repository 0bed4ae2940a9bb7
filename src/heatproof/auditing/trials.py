"""Random networks tried out on a few samples before an audit: a dead one, or one that is still trained, is said now."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from heatproof.auditing.plan import Plan
from heatproof.auditing.samples import taken
from heatproof.checks.base import State
from heatproof.errors import HeatproofWarning
from heatproof.models import forward
from heatproof.randomization.vitality import ROWS, Signs, examine

OTHER = "initializer='he'"
OTHER_THAN_HE = "another seed, batch_norm='re-estimate', or initializer='permutation'"


class Trial(NamedTuple):
    """What was found of a network that is random in every layer, and the states that draw theirs alike."""

    states: tuple[State, ...]
    signs: Signs
    remedy: str


def trials(plan: Plan) -> list[Trial]:
    """Try out each way to draw a whole network once: under its first seed.

    Cost: a forward pass of 4 rows, and for each such way a forward and a backward pass of 4 rows.
    """
    alike: dict[str, list[State]] = {}
    for condition in plan.conditions:
        for _, state in condition.readers:
            if state.complete and state.kind in ("randomized", "floor"):
                drawn = {name: value for name, value in state.key.items() if name not in ("seed", "against")}
                alike.setdefault(repr(drawn), []).append(state)
    if not alike:
        return []
    start = plan.range(plan.first)[0]
    model, portion = taken(plan.model, plan.source.read(start, min(start + ROWS, len(plan.source))), start)
    inputs = portion.inputs
    with torch.no_grad():
        trained = forward(model, inputs)
    targets = trained.argmax(1) if portion.targets is None else portion.targets.to(inputs.device)
    found = []
    for states in alike.values():
        try:
            with states[0].open(plan.model):
                signs = examine(model, inputs, targets, trained)
        except Exception:  # whatever it is, the state's own cells will record it as their failure
            continue
        remedy = OTHER_THAN_HE if states[0].key.get("initializer") == "He()" else OTHER
        found.append(Trial(tuple(states), signs, remedy))
    return found


def warn(found: Sequence[Trial]) -> None:
    """A warning for each random network that is dead or still trained, with what to do."""
    for trial in found:
        group = trial.states[0].group or trial.states[0].key["initializer"]
        if trial.signs.dead:
            said = (
                f"Expected a random network that answers to its inputs, but {group} leaves a dead one: "
                f"{trial.signs.dead}. Its maps say nothing; set {trial.remedy}."
            )
        elif trial.signs.trained:
            said = (
                f"Expected a fully random network that is unlike the trained one, but under {group} their outputs "
                f"correlate by {trial.signs.agreement:.2f}: something that decides them was not drawn"
                f"{_of(trial.states[0])}. It gets no verdict."
            )
        else:
            continue
        warnings.warn(said, HeatproofWarning, stacklevel=6)


def entered(states: Sequence[Mapping[str, Any]], found: Sequence[Trial]) -> list[dict[str, Any]]:
    """The manifest's states with what was found of them: `dead`, `remedy`, `agreement`; one that is still trained is
    not `complete`."""
    known = {state.name: trial for trial in found for state in trial.states}
    told = []
    for state in states:
        one = dict(state)
        if (trial := known.get(state["name"])) is not None:
            signs = trial.signs
            one |= {"dead": signs.dead, "remedy": trial.remedy if signs.dead else ""}
            one |= {"complete": one["complete"] and not signs.trained}
            one |= {"agreement": signs.agreement if signs.trained else None}
        told.append(one)
    return told


def _of(state: State) -> str:
    return f" (known and not drawn: {', '.join(state.fixed[:6])})" if state.fixed else ""
