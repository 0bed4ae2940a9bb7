"""From what a caller asks to a plan: everything that can be refused is refused here."""

import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from heatproof import door
from heatproof.auditing.columns import features_told
from heatproof.auditing.entries import NamedCheck, NamedMethod
from heatproof.auditing.plan import Plan
from heatproof.auditing.samples import Portion, Source, Tensors, explained, taken
from heatproof.baselines import PerSample
from heatproof.checks.base import Check
from heatproof.data.base import Dataset
from heatproof.data.binding import lacking, met
from heatproof.data.blocks import Blocks, as_blocks
from heatproof.data.overlay import DatasetBlocks
from heatproof.data.picking import first_of
from heatproof.errors import InputError
from heatproof.errors import shown as shown_as
from heatproof.fast import check as check_fast
from heatproof.features import FEATURES, Features
from heatproof.methods.base import Attribution, parts_of
from heatproof.methods.given import Given
from heatproof.models import check_inputs, check_model, check_targets
from heatproof.outputs import Outputs, TwoSided, outputs_of

FIRST = 64  # samples of the training data that are looked at


def make(
    model: nn.Module,
    source: Source,
    methods: Mapping[str, Attribution],
    checks: Mapping[str, tuple[str, Check]],
    *,
    features: Features | str | None,
    batch: int,
    training: Dataset | Blocks | None = None,
    said: str | Outputs | None = None,
    shown: Collection[str] = (),
    fast: tuple[str, ...] = (),
    shrinks: bool = False,
) -> Plan:
    """A plan, after everything that can be refused has been refused.

    Cost: one block and five rows forward, another forward pass of the block for what is explained of it, and two rows
    that are watched where the network tells what the dimensions of its inputs mean. No other block is read.
    """
    check_model(model)
    number, first = _first(source, batch)
    bound, first = taken(model, first, number * batch)
    check_inputs(bound, first.inputs)
    _check_ids(first.ids)
    if not methods:
        raise InputError("Expected at least one method, but got none; see `heatproof methods`.")
    if not checks:
        raise InputError("Expected at least one check, but got none; see `heatproof checks`.")
    if isinstance(features, str):
        features = FEATURES.get(features)
    if isinstance(features, type) or (features is not None and not hasattr(features, "grid")):
        raise InputError(f"Expected features such as heatproof.features.Tiles(size=8), but got {shown_as(features)}.")
    settled = door.enter(bound, first.inputs)
    block = door.plain(first.inputs)
    start = time.perf_counter()
    outputs = door.guarded(lambda: door.plain_outputs(bound, block), bound, block, settled).shape[1]
    seconds = time.perf_counter() - start
    meaning = outputs_of(said, outputs, two_sided=isinstance(model, TwoSided))
    if meaning.kind == "logit" and not isinstance(model, TwoSided):
        model, outputs = TwoSided(model), 2
        door.vouch(model, settled)
    given = source.targets if isinstance(source, Tensors) else first.targets
    if given is not None:
        _check_score(meaning, given)
        check_targets(source.inputs if isinstance(source, Tensors) else first.inputs, given, outputs)
    _check_meaning(meaning, methods)
    _check_given_maps(methods, source)
    _check_training(training, model, first.inputs, outputs)
    check_fast(fast, bound, block)
    plan = Plan(
        model=model,
        source=source,
        example=explained(first, model, number * batch, batch, meaning),
        first=number,
        methods=tuple(NamedMethod(label, recipe) for label, recipe in methods.items()),
        checks=tuple(NamedCheck(label, name, check) for label, (name, check) in checks.items()),
        features=features or features_told(bound, first),
        batch=batch,
        outputs=outputs,
        meaning=meaning,
        training=training,
        shown=frozenset(shown),
        fast=fast,
        seconds=seconds,
        shrinks=shrinks,
    )
    plan.features.grid(first.inputs.shape[1:])
    _check_names(plan)  # every check declares its states now, before anything expensive
    assert plan.passes  # and every method its cost
    _check_explainable(source, first, meaning, outputs)
    return plan


def _first(source: Source, batch: int) -> tuple[int, Portion]:
    """The first block with a sample that can be used, among the first sixteen, and its number."""
    skipped: list[tuple[str, str]] = []
    for number in range(min(16, -(-len(source) // batch))):
        portion = source.read(number * batch, min((number + 1) * batch, len(source)))
        if portion.ids:
            return number, portion
        skipped += portion.skipped
    told = f": {skipped[0][0]}, {skipped[0][1]}" if skipped else ""
    raise InputError(f"Expected samples that can be used, but none of the first {16 * batch} can{told}.")


def check_tensors(model: nn.Module, source: Tensors) -> None:
    """Refuse samples in memory that are not one of everything a sample.

    Raises: InputError.
    """
    check_inputs(model, source.inputs)
    if source.targets is not None:
        check_targets(source.inputs, source.targets)
    if source.ids is not None:
        if len(source.ids) != len(source):
            raise InputError(f"Expected one id a sample ({len(source)}), but got {len(source.ids)}.")
        _check_ids(source.ids)
    if source.boxes is not None and len(source.boxes) != len(source):
        raise InputError(f"Expected a list of boxes a sample ({len(source)}), but got {len(source.boxes)}.")


def _check_score(meaning: Outputs, targets: Tensor) -> None:
    """Refuse to explain label 1 of a model with one output."""
    if meaning.kind == "score" and bool((targets == 1).any()) and int(targets.min()) >= 0:
        raise InputError(
            "Expected targets 0, the model's one output, but got 1; say outputs='logit' where it is the logit of label "
            "1 against label 0, or leave out the targets where it is a number."
        )


def check_labels(labels: Tensor | None, count: int) -> None:
    """Refuse true labels that are not one a sample."""
    usual = labels is None or labels.is_floating_point() or labels.dtype == torch.int64
    if labels is not None and (labels.shape != (count,) or not usual):
        got = f"{tuple(labels.shape)} of {labels.dtype}"
        raise InputError(f"Expected labels ({count},) of torch.int64, or float numbers, but got {got}.")


def _check_explainable(source: Source, first: Portion, meaning: Outputs, outputs: int) -> None:
    """Refuse true labels that do not fit the outputs, and outputs of which none is predicted without targets."""
    labels = source.labels if isinstance(source, Tensors) else first.labels
    if labels is not None and meaning.exclusive and (labels.is_floating_point() or bool((labels < 0).any())):
        got = str(labels.dtype) if labels.is_floating_point() else f"{int(labels.min())}"
        raise InputError(
            f"Expected labels of torch.int64 from 0 on, as one of the model's outputs is right, but got {got}; say "
            "outputs='scalars' where they are numbers."
        )
    if first.targets is None and meaning.kind == "scalars" and outputs > 1:
        raise InputError(
            f"Expected targets, the output of each sample that is explained, as none of {outputs} numbers is "
            "predicted like a label, but got none."
        )


def _check_meaning(meaning: Outputs, methods: Mapping[str, Attribution]) -> None:
    """Refuse what needs labels where the outputs are none."""
    reading = [label for label, recipe in methods.items() if _reads_labels(recipe)]
    if reading and not meaning.exclusive:
        what = "the model has one output of unknown meaning" if meaning.kind == "score" else f"they are {meaning.kind}"
        raise InputError(
            f"Expected outputs of which one label is right for {', '.join(reading)}, as the labels' softmax "
            f"probabilities are read, but {what}; leave it out, or say outputs='logit' where the output is one."
        )


def _check_given_maps(methods: Mapping[str, Attribution], source: Source) -> None:
    """Refuse maps that are given of other samples, and methods that would need one of a sample that was changed."""
    for label, recipe in methods.items():
        if any(isinstance(one, PerSample) for one in parts_of(recipe)):
            raise InputError(
                f"Expected a baseline that is a function of the sample, but {label} has one of each row of a call, and "
                "an audit goes block by block; make it a callable `(inputs) -> baselines`, such as a dataclass."
            )
        if not isinstance(recipe, Given) and any(isinstance(one, Given) for one in parts_of(recipe)):
            raise InputError(
                f"Expected maps that are given to stand by themselves, but {label} is made of some: of a sample that "
                "it changes there is none. Leave it out, or give its own maps."
            )
        if isinstance(recipe, Given) and isinstance(source, Tensors):
            recipe.of(source.names).check()


def _reads_labels(recipe: Any) -> bool:
    if getattr(recipe, "reads_labels", False):
        return True
    nested = fields(recipe) if is_dataclass(recipe) and not isinstance(recipe, type) else ()
    return any(_reads_labels(getattr(recipe, one.name)) for one in nested)


def _check_ids(ids: Collection[str]) -> None:
    repeated = [name for name, times in Counter(ids).items() if times > 1]
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


def _check_training(training: Dataset | Blocks | None, model: nn.Module, inputs: Tensor, outputs: int) -> None:
    """Refuse training data that are not like the samples, by the first of them, or without labels."""
    if training is None:
        return
    blocks = as_blocks(training)
    first = first_of(blocks, FIRST)
    if not len(first):
        raise InputError(f"Expected training data, but of {training.name} none of the first {FIRST} can be used.")
    shape = inputs.shape[1:] if lacking(model, first) else met(model, first).inputs.shape[1:]  # `learning` says it
    if shape != inputs.shape[1:]:
        raise InputError(
            f"Expected training data like the samples, {tuple(inputs.shape[1:])} each, but {training.name} has "
            f"{tuple(shape)}; load both alike."
        )
    if not first.labelled:
        raise InputError(
            f"Expected training data with labels, but {training.name} has none; give it a subfolder a class, or a CSV "
            "file as `index`."
        )
    highest = int((blocks.targets if isinstance(blocks, DatasetBlocks) else first.targets).max())
    if highest >= max(outputs, 2):
        raise InputError(
            f"Expected training labels below the model's {outputs} outputs, but {training.name} has label {highest}."
        )
