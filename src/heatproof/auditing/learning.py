"""What the fitted methods of an audit learn: on the trained network, and again where it was changed.

Each fit is made once under a lock and kept in the cache folder, named by everything that decides it, so that a resumed
run, another audit and every worker read the same bits, and no run keeps the fits of all states in memory.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from heatproof import artifacts, draws
from heatproof.auditing.plan import Condition, NamedMethod, Plan
from heatproof.checks.base import TRAINED, State
from heatproof.data.base import Dataset
from heatproof.errors import InputError
from heatproof.methods.base import METHODS
from heatproof.methods.fitted import Fitted, FittedMethod, learners, network_fingerprint, with_learners
from heatproof.models import Bound
from heatproof.recipes import describe, digest

Read = Callable[[], None]  # hears of every batch that a fit reads


@dataclass(frozen=True)
class Batches:
    """Labelled batches of training data, in one order drawn once: data sets are often sorted by label."""

    data: Dataset
    size: int
    like: Tensor
    read: Read

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.data), generator=draws.generator("fit", len(self.data)))
        for rows in torch.split(order, self.size):
            yield self.data.inputs[rows].to(self.like), self.data.targets[rows].to(self.like.device)
            self.read()


def changed(state: State) -> bool:
    """Whether the network in this state is another than the trained one."""
    return dict(state.key) != dict(TRAINED.key)


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
        if isinstance(plan.model, Bound) and plan.model.given:
            raise InputError(
                f"Expected a model without `given` for {method.label}, which learns from data, but training data bring "
                f"no {', '.join(plan.model.given)}; fit it yourself with recipe.fit(model, batches)."
            )


def recall(manifest: dict[str, Any], before: Mapping[str, Any] | None) -> None:
    """What methods have learned by an earlier start of the same run, for those that have nothing left to compute."""
    if before is None or before.get("training_data") != manifest["training_data"]:
        return
    known = {(entry["label"], digest(entry["recipe"])): entry.get("learns", []) for entry in before["methods"]}
    for entry in manifest["methods"]:
        entry["learns"] = known.get((entry["label"], digest(entry["recipe"])), entry["learns"])


def ready(plan: Plan, method: NamedMethod, state: State, model: nn.Module) -> tuple[NamedMethod, str]:
    """The method as it attributes in this state, and what was done to it there: refit, reuse, exclude, or nothing.

    One that is excluded is as on the trained network. What it learned there is in the plan already; see `learn`.
    """
    if not learners(method.recipe):
        return method, ""
    trained = plan.learned[method.label]
    if not changed(state):
        return replace(method, recipe=trained), ""
    done = {one.on_changed_model for one in learners(trained)}
    if "exclude" in done:
        return replace(method, recipe=trained), "exclude"

    def again(one: FittedMethod) -> FittedMethod | None:
        if one.on_changed_model == "refit":
            return replace(one, fitted=_kept(plan, one, state, model, _unheard))
        return one.on_changed(model, ())

    return replace(method, recipe=with_learners(trained, again)), "refit" if "refit" in done else "reuse"


def learn(
    plan: Plan,
    missing: Collection[str],
    entries: Collection[dict[str, Any]],
    heard: Callable[[str, int], Read],
) -> tuple[set[str], list[dict[str, Any]]]:
    """Fit what misses rows, everywhere; gives the cells that can be computed now, and the failures.

    What was learned on the trained network goes into the plan, and what there is to say of it into the methods'
    `entries` of the manifest. A fit that fails costs its method the rows that need it. `heard` is told of each fit with
    the number of batches that it will read.
    """
    failures: list[dict[str, Any]] = []
    lost: set[tuple[str, str]] = set()  # label and name of a state
    for method, condition in lessons(plan, missing):
        if condition is not None and method.label not in plan.learned:
            continue  # what it should learn on the trained network has failed
        state = TRAINED if condition is None else condition.state
        try:
            if condition is None:
                learned = with_learners(method.recipe, partial(_taught, plan, method.label, heard))
                plan.learned[method.label] = learned
                _enter(entries, method.label, learned)
            else:
                with state.open(plan.model):
                    for one in _refitted(plan.learned[method.label]):
                        _kept(plan, one, state, plan.model, heard(method.label, _reads(plan, one)))
        except Exception as error:  # one method's failure must not cost the others their rows
            names = [state.name] if condition is None else [state.name for _, state in condition.readers]
            everywhere = [s.name for c in plan.conditions for _, s in c.readers] if condition is None else names
            lost |= {(method.label, name) for name in everywhere}
            said = f"{type(error).__name__}: {error}"
            failures.append(
                {"method": method.label, "check": "", "state": state.name, "samples": [], "error": said, "count": 1}
            )
    possible = {
        key
        for key in missing
        if not {(label, plan.cells[key].state) for label in (plan.cells[key].method, plan.cells[key].other)} & lost
    }
    return possible, failures


def lessons(plan: Plan, missing: Collection[str]) -> Iterator[tuple[NamedMethod, Condition | None]]:
    """The fits that missing rows ask for, by method: on the trained network (None), then in each state that refits."""
    cells = [plan.cells[key] for key in missing]
    wanted = {(label, cell.check, cell.state) for cell in cells for label in (cell.method, cell.other)}
    for method in plan.methods:
        if learners(method.recipe) and method.label in {label for label, _, _ in wanted}:
            yield method, None
            for condition in plan.conditions:
                asked = any((method.label, check.label, state.name) in wanted for check, state in condition.readers)
                if asked and changed(condition.state) and _refitted(method.recipe):
                    yield method, condition


def cost(plan: Plan, missing: Collection[str]) -> float:
    """Forward and backward passes of one sample that the fits take which are not kept already, for estimates."""
    total = 0.0
    for method, condition in lessons(plan, missing):
        state = TRAINED if condition is None else condition.state
        fits = _refitted(method.recipe) if condition else [one for one in learners(method.recipe) if one.fitted is None]
        new = [one for one in fits if not (artifacts.folder() / _name(plan, one, state)).exists()]
        total += sum(one.fit_cost * len(_training(plan)) for one in new)
    return total


def _refitted(recipe: object) -> list[FittedMethod]:
    if any(one.on_changed_model == "exclude" for one in learners(recipe)):
        return []
    return [one for one in learners(recipe) if one.on_changed_model == "refit"]


def _taught(plan: Plan, label: str, heard: Callable[[str, int], Read], one: FittedMethod) -> FittedMethod:
    if one.fitted is not None:
        return one
    return replace(one, fitted=_kept(plan, one, TRAINED, plan.model, heard(label, _reads(plan, one))))


def _reads(plan: Plan, one: FittedMethod) -> int:
    return one.fit_reads * -(-len(_training(plan)) // one.fit_batch)


def _enter(entries: Collection[dict[str, Any]], label: str, recipe: object) -> None:
    """What each part of the method has learned, into what the manifest says of it."""
    (entry,) = (entry for entry in entries if entry["label"] == label)
    for said, one in zip(entry["learns"], learners(recipe), strict=True):
        assert one.fitted is not None
        said["digest"], said["facts"] = one.fitted.digest, dict(one.fitted.facts)


def _kept(plan: Plan, one: FittedMethod, state: State, model: nn.Module, read: Read) -> Fitted:
    """What the method learns in this state: from the cache folder, or learned and kept there."""
    name = _name(plan, one, state)
    checkpoint = artifacts.folder() / f"{Path(name).stem}.checkpoint.safetensors"
    data = Batches(_training(plan), one.fit_batch, plan.samples.inputs, read)

    def make() -> Fitted:
        if _loaded(checkpoint) is None:
            checkpoint.unlink(missing_ok=True)
        fitted = one.on_changed(model, data) if changed(state) else one.fit(model, data, checkpoint=checkpoint)
        assert fitted is not None  # an excluded method does not come here
        assert fitted.fitted is not None
        return fitted.fitted

    found = artifacts.kept(name, read=_loaded, make=make, write=Fitted.save)
    checkpoint.unlink(missing_ok=True)
    return found


def _loaded(path: Path) -> Fitted | None:
    try:
        return Fitted.load(path)
    except InputError:
        return None


def _name(plan: Plan, one: FittedMethod, state: State) -> str:
    """The file of a fit, named by everything that decides its bits but the processor."""
    parts = {
        "recipe": describe(replace(one, fitted=None)),
        "model": plan.model_fingerprint,
        "state": dict(state.key),
        "data": _training(plan).fingerprint,
        "dtype": str(plan.samples.inputs.dtype),
        "device": plan.samples.inputs.device.type,
        "batch": one.fit_batch,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    return f"{METHODS.name_of(one) or type(one).__name__.lower()}-{digest(parts)[:16]}.safetensors"


def _training(plan: Plan) -> Dataset:
    assert plan.training is not None  # or the plan would have been refused
    return plan.training


def _unheard() -> None:
    """Nobody is told."""
