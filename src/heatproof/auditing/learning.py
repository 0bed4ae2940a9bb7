"""What the fitted methods of an audit learn: on the trained network, and again where it was changed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import nn

from heatproof.auditing.entries import Condition, NamedMethod
from heatproof.auditing.fits import Lessons, Read
from heatproof.auditing.maps_needed import methods_needed
from heatproof.auditing.plan import Missing, Plan, every, without
from heatproof.checks.base import TRAINED, State
from heatproof.data.binding import lacking
from heatproof.data.blocks import as_blocks
from heatproof.data.picking import first_of
from heatproof.errors import InputError
from heatproof.fingerprint import network_fingerprint
from heatproof.methods.base import Attribution
from heatproof.methods.fitted import Fitted, FittedMethod, learners, with_learners
from heatproof.rows import Role
from heatproof.runs.workers import Failure, failure


def changed(state: State) -> bool:
    """Whether the network in this state is another than the trained one, of which something else may be learned."""
    return state.kind != Role.CHANGED and dict(state.key) != dict(TRAINED.key)


def check(plan: Plan) -> None:
    """Refuse methods that cannot learn what they need.

    Raises: InputError without training data, for a model with side inputs, which training data have none of, or for a
        method that was fitted on another network.
    """
    anew = any(changed(condition.state) for condition in plan.conditions)
    for method in plan.methods:
        for one in learners(method.recipe):
            if one.fitted is not None and one.fitted.network != network_fingerprint(plan.model):
                raise InputError(
                    f"Expected {method.label} to be fitted on the model that is audited, but it was on another; fit it "
                    "again, or give it without a fit."
                )
        unfitted = any(one.fitted is None for one in learners(method.recipe))
        if not unfitted and not (anew and _refitted(method.recipe)):
            continue
        if plan.training is None:
            what = "which learns from data" if unfitted else "which learns anew where the network is randomized"
            raise InputError(
                f"Expected training data for {method.label}, {what}, but got none; give samples like those that the "
                "network was trained on: [training_data] in a spec, training_data=… in Python."
            )
        missing = lacking(plan.model, first_of(as_blocks(plan.training), 1))
        if missing:
            raise InputError(
                f"Expected training data for {method.label} that bring {', '.join(missing)}, which the network takes "
                "beside its input, but they do not; give them by name, as_blocks(data, given=…), or fit it yourself "
                "with recipe.fit(model, batches)."
            )


@dataclass(frozen=True)
class Learned:
    """What was made before the blocks: the methods by label, fitted on the trained network, and what is said of them.

    `lost` are the labels and conditions in which no maps can be made, as something that they need could not be.
    """

    methods: dict[str, Attribution] = field(default_factory=dict)
    told: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    lost: set[tuple[str, str]] = field(default_factory=set)


def ready(plan: Plan, learned: Learned, method: NamedMethod, state: State, model: nn.Module) -> tuple[NamedMethod, str]:
    """The method as it attributes in this state, and what was done to it there: refit, reuse, exclude, or nothing.

    One that is excluded is as on the trained network. What it learned there was learned before; see `learn`.
    """
    if not learners(method.recipe):
        return method, ""
    trained = learned.methods[method.label]
    if state.kind == Role.CHANGED:  # nothing happened that it should learn of
        return replace(method, recipe=with_learners(trained, lambda one: one.moved_to(model))), ""
    if not changed(state):
        return replace(method, recipe=trained), ""
    done = {one.on_changed_model for one in learners(trained)}
    if "exclude" in done:
        return replace(method, recipe=trained), "exclude"

    def again(one: FittedMethod) -> FittedMethod | None:
        if one.on_changed_model == "refit":
            return replace(one, fitted=_lessons(plan).refit(one, model, state.key))
        return one.on_changed(model, ())

    return replace(method, recipe=with_learners(trained, again)), "refit" if "refit" in done else "reuse"


def learn(
    plan: Plan, learned: Learned, missing: Missing, heard: Callable[[str, int], Read]
) -> tuple[dict[int, frozenset[str]], list[Failure]]:
    """Fit what misses rows, everywhere; gives what can be computed now, and the failures.

    What was learned on the trained network goes into `learned`. A fit is tried once; one that fails costs its methods
    the rows that need it. `heard` is told of each fit with the number of batches that it will read.
    """
    failures: list[Failure] = []
    lost: set[tuple[str, str]] = set()  # label and name of a state
    fits = _Fits(plan, heard)
    for method, condition in wanted(plan, missing, learned):
        if condition is not None and method.label not in learned.methods:
            continue  # what it should learn on the trained network has failed
        state = TRAINED if condition is None else condition.state
        try:
            if condition is None:
                made = with_learners(method.recipe, partial(fits.taught, method.label))
                learned.methods[method.label], learned.told[method.label] = made, _told(made)
            else:
                with state.open(plan.model):
                    for one in _refitted(learned.methods[method.label]):
                        fits.made(method.label, one, state.key)
        except Exception as error:  # one method's failure must not cost the others their rows
            everywhere = plan.conditions if condition is None else [condition]
            lost |= {(method.label, one.name) for place in everywhere for _, one in place.readers}
            learned.lost.update((method.label, place.id) for place in everywhere)
            failures.append(failure(error, method=method.label, state=state.name))
    unable = {
        key
        for key in every(missing)
        for one in plan.asked([key])
        if {(label, one.state) for label in (one.method, one.other)} & lost
    }
    return without(missing, unable), failures


def wanted(
    plan: Plan, missing: Missing, learned: Learned | None = None
) -> Iterator[tuple[NamedMethod, Condition | None]]:
    """The fits that missing rows ask for, by method: on the trained network (None), then in each state that refits."""
    needed = methods_needed(plan, plan.asked(every(missing)), () if learned is None else learned.lost)
    for method in plan.methods:
        here = [condition for condition in plan.conditions if method in needed[condition.id]]
        if here and learners(method.recipe):
            yield method, None
            if _refitted(method.recipe):
                yield from ((method, condition) for condition in here if changed(condition.state))


def cost(plan: Plan, missing: Missing) -> float:
    """Forward and backward passes of one sample that the fits take which are not kept already, for estimates."""
    passes: dict[str, float] = {}  # by the name of the fit: methods may share it
    for method, condition in wanted(plan, missing):
        state = None if condition is None else condition.state.key
        fits = _refitted(method.recipe) if condition else [one for one in learners(method.recipe) if one.fitted is None]
        for one in fits:
            lessons = _lessons(plan)
            if not lessons.is_kept(one, state):
                passes[lessons.name(one, state)] = lessons.cost(one)
    return sum(passes.values())


@dataclass(frozen=True)
class _Fits:
    """The fits of an audit. What failed for one method is not tried again for another that shares it."""

    plan: Plan
    heard: Callable[[str, int], Read]
    failed: dict[str, Exception] = field(default_factory=dict)

    def taught(self, label: str, one: FittedMethod) -> FittedMethod:
        """The method with what it learns on the trained network, if it does not come fitted."""
        return one if one.fitted is not None else replace(one, fitted=self.made(label, one, None))

    def made(self, label: str, one: FittedMethod, state: Mapping[str, Any] | None) -> Fitted:
        """What it learns of the network as it is now, in this state."""
        lessons = _lessons(self.plan)
        name = lessons.name(one, state)
        if name in self.failed:
            raise self.failed[name]
        read = self.heard(label, lessons.reads(one))
        try:
            if state is None:
                return lessons.fit(one, self.plan.model, read=read)
            return lessons.refit(one, self.plan.model, state, read=read)
        except Exception as error:
            self.failed[name] = error
            raise


def _refitted(recipe: object) -> list[FittedMethod]:
    if any(one.on_changed_model == "exclude" for one in learners(recipe)):
        return []
    return [one for one in learners(recipe) if one.on_changed_model == "refit"]


def _told(recipe: object) -> list[dict[str, Any]]:
    """What each part of a method has learned, for the run to say."""
    fitted = [one.fitted for one in learners(recipe)]
    return [{"digest": one.digest, "facts": dict(one.facts)} for one in fitted if one is not None]


def _lessons(plan: Plan) -> Lessons:
    assert plan.training is not None  # or the plan would have been refused
    return Lessons(fingerprint=plan.model_fingerprint, data=plan.training, like=plan.example.inputs)
