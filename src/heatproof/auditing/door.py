"""The door of an audit: a plan, after everything that can be refused has been refused."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor, nn

from heatproof import door
from heatproof.auditing.parts import NamedCheck, NamedMethod, Samples
from heatproof.auditing.plan import Plan
from heatproof.checks.base import Check
from heatproof.data.base import Dataset
from heatproof.errors import InputError, shown
from heatproof.features import FEATURES, Features
from heatproof.layouts.inputs import features_of
from heatproof.methods.base import Attribution
from heatproof.models import check_inputs, check_model, check_targets
from heatproof.outputs import Outputs, TwoSided, outputs_of


def make(
    model: nn.Module,
    samples: Samples,
    methods: Mapping[str, Attribution],
    checks: Mapping[str, tuple[str, Check]],
    *,
    features: Features | str | None,
    batch: int,
    training: Dataset | None = None,
    said: str | Outputs | None = None,
) -> Plan:
    """A plan, after everything that can be refused has been refused.

    Cost: one block and five rows forward, and two rows that are watched where the network tells what the dimensions of
    its inputs mean.
    """
    check_model(model)
    check_inputs(model, samples.inputs)
    check_targets(samples.inputs, samples.targets)
    _check_ids(samples)
    if not methods:
        raise InputError("Expected at least one method, but got none; see `heatproof methods`.")
    if not checks:
        raise InputError("Expected at least one check, but got none; see `heatproof checks`.")
    if isinstance(features, str):
        features = FEATURES.get(features)
    if isinstance(features, type) or (features is not None and not hasattr(features, "grid")):
        raise InputError(f"Expected features such as heatproof.features.Tiles(size=8), but got {shown(features)}.")
    settled = door.enter(model, samples.inputs[:batch])
    block = door.plain(samples.inputs[:batch])
    outputs = door.guarded(lambda: door.plain_outputs(model, block), model, block, settled).shape[1]
    meaning = outputs_of(said, outputs)
    if meaning.kind == "logit":
        model, outputs = TwoSided(model), 2
        door.vouch(model, settled)
    _check_meaning(meaning, samples.targets, methods)
    check_targets(samples.inputs, samples.targets, outputs)
    _check_training(training, samples.inputs, outputs)
    plan = Plan(
        model=model,
        samples=samples,
        methods=[NamedMethod(label, recipe) for label, recipe in methods.items()],
        checks=[NamedCheck(label, name, check) for label, (name, check) in checks.items()],
        features=features or features_of(model, samples.inputs),
        batch=batch,
        outputs=outputs,
        meaning=meaning,
        training=training,
    )
    plan.features.grid(samples.inputs.shape[1:])
    _check_names(plan)  # every check declares its states now, before anything expensive
    assert plan.passes  # and every method its cost
    return plan


def _check_meaning(meaning: Outputs, targets: Tensor, methods: Mapping[str, Attribution]) -> None:
    """Refuse what needs labels where the outputs are none."""
    if meaning.kind == "score" and bool((targets == 1).any()) and int(targets.min()) >= 0:
        raise InputError(
            "Expected targets 0, the model's one output, but got 1; say outputs='logit' where it is the logit of label "
            "1 against label 0, or leave out the targets where it is a number."
        )
    reading = [label for label, recipe in methods.items() if _reads_labels(recipe)]
    if reading and not meaning.exclusive:
        what = "the model has one output of unknown meaning" if meaning.kind == "score" else f"they are {meaning.kind}"
        raise InputError(
            f"Expected outputs of which one label is right for {', '.join(reading)}, as the labels' softmax "
            f"probabilities are read, but {what}; leave it out, or say outputs='logit' where the output is one."
        )


def _reads_labels(recipe: Any) -> bool:
    if getattr(recipe, "reads_labels", False):
        return True
    nested = fields(recipe) if is_dataclass(recipe) and not isinstance(recipe, type) else ()
    return any(_reads_labels(getattr(recipe, one.name)) for one in nested)


def _check_ids(samples: Samples) -> None:
    if len(samples.ids) != len(samples.inputs):
        raise InputError(f"Expected one id a sample ({len(samples.inputs)}), but got {len(samples.ids)}.")
    if samples.boxes is not None and len(samples.boxes) != len(samples.inputs):
        raise InputError(f"Expected a list of boxes a sample ({len(samples.inputs)}), but got {len(samples.boxes)}.")
    repeated = [name for name, times in Counter(samples.ids).items() if times > 1]
    if repeated:
        raise InputError(f"Expected every sample to have an id of its own, but {repeated[:5]} occur more than once.")


def _check_names(plan: Plan) -> None:
    """A state's name is what maps and failures are kept under: two states may not share it."""
    named: dict[str, tuple[str, str]] = {}
    for condition in plan.conditions:
        for check, state in condition.readers:
            first, identity = named.setdefault(state.name, (check.label, condition.id))
            if identity != condition.id:
                raise InputError(
                    f"Expected different states to have different names, but {first} and {check.label} both have one "
                    f"called {state.name!r}; give one of them other seeds, or run them as two audits."
                )


def _check_training(training: Dataset | None, inputs: Tensor, outputs: int) -> None:
    if training is None:
        return
    if training.inputs.shape[1:] != inputs.shape[1:]:
        raise InputError(
            f"Expected training data like the samples, {tuple(inputs.shape[1:])} each, but {training.name} has "
            f"{tuple(training.inputs.shape[1:])}; load both alike."
        )
    if not training.labelled:
        raise InputError(
            f"Expected training data with labels, but {training.name} has none; give it a subfolder a class, or a CSV "
            "file as `index`."
        )
    highest = int(training.targets.max())
    if highest >= max(outputs, 2):
        raise InputError(
            f"Expected training labels below the model's {outputs} outputs, but {training.name} has label {highest}."
        )
