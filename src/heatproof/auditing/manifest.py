"""What a run asks, as its folder says it once, and the pictures of the samples that it shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

import heatproof
from heatproof import fast
from heatproof.auditing.columns import cells_told, columns_told
from heatproof.auditing.knowledge import Knowledge
from heatproof.auditing.plan import Plan
from heatproof.auditing.samples import Portion
from heatproof.auditing.settings import Settings
from heatproof.data.blocks import Blocks, as_blocks
from heatproof.data.overlay import DatasetBlocks
from heatproof.errors import InputError, StoreError
from heatproof.fingerprint import probe, same_outputs
from heatproof.models import with_given
from heatproof.recipes import describe
from heatproof.rows import SCHEMA
from heatproof.runs.workers import now


@dataclass(frozen=True, kw_only=True)
class About:
    """What a reader wants to know of model and data beyond their numbers."""

    model: str = ""
    data: str = ""
    title: str = ""
    target: Mapping[str, Any] = field(default_factory=dict)  # what is explained, where it is not a label as it is
    classes: Sequence[str] | None = None
    display: Tensor | None = None
    tokens: Sequence[Sequence[str]] | None = None
    columns: Sequence[str] | None = None  # names of a table's columns
    skipped: Sequence[tuple[str, str]] = ()
    read: str = ""  # what was read from the model about its data, in a sentence
    spec: Mapping[str, Any] = field(default_factory=dict)

    def check(self, samples: int) -> None:
        """Refuse pictures and texts that are not one a sample."""
        for what, shown in (("picture to display", self.display), ("list of tokens", self.tokens)):
            if shown is not None and len(shown) != samples:
                raise InputError(f"Expected one {what} a sample ({samples}), but got {len(shown)}.")


def question_of(
    plan: Plan,
    about: About,
    *,
    settings: Settings,
    shown: Portion,
    known: Knowledge,
    states: Sequence[Mapping[str, Any]],
    believable: Sequence[str],
) -> dict[str, Any]:
    """What is asked of which model and data. It holds nothing that grows with the samples, or that a worker finds."""
    inputs = plan.example.inputs
    return {
        "schema": SCHEMA,
        "heatproof": heatproof.__version__,
        "title": about.title,
        "created": now(),
        "spec": dict(about.spec),
        "model": {
            "name": about.model,
            "fingerprint": plan.model_fingerprint,
            "parameters": sum(p.numel() for p in plan.model.parameters()),
            "outputs": plan.outputs,
            "meaning": plan.meaning.describe(),
            "probe": probe(plan.bound(plan.first, plan.example), inputs[:2]),
        },
        "target": dict(about.target),
        "knowledge": known.describe(),
        "data": {
            "name": about.data,
            "fingerprint": plan.source.identity,
            "samples": len(plan.source),
            "shape": list(inputs.shape[1:]),
            "features": describe(plan.features),
            "grid": list(plan.study.grid),
            "classes": _names(plan, about),
            "read": about.read,
            **_seen_as(plan, about, shown),
            "skipped": [list(pair) for pair in (*about.skipped, *shown.skipped)],
            "tokens": None
            if shown.tokens is None
            else {name: list(tokens) for name, tokens in zip(shown.ids, shown.tokens, strict=True)},
        },
        "training_data": None
        if plan.training is None
        else {
            "name": plan.training.name,
            "fingerprint": as_blocks(plan.training).identity,
            "samples": len(plan.training),
            "skipped": [list(pair) for pair in _skipped(as_blocks(plan.training))],
        },
        **plan.describe(),
        "states": list(states),
        "settings": {
            "compute_batch": plan.batch,
            "threads": settings.threads,
            **({"rates": {str(size): rate for size, rate in settings.rates.items()}} if settings.rates else {}),
            "device": inputs.device.type,
            "dtype": str(inputs.dtype).removeprefix("torch."),
            "torch": torch.__version__,
            "heatproof": heatproof.__version__,
            **_fast(plan),
        },
        "shown": list(shown.ids),
        "believable": list(believable),
    }


def _fast(plan: Plan) -> dict[str, Any]:
    """How passes are made cheaper, and how far that is from float64, where it was asked for."""
    if not plan.fast:
        return {}
    first = plan.example
    found = fast.deviation(plan.fast, plan.bound(plan.first, first), first.inputs, first.targets)
    return {"fast": list(plan.fast), "fast_deviation": None if found is None else found._asdict()}


def _seen_as(plan: Plan, about: About, shown: Portion) -> dict[str, Any]:
    """What the features of a table are called, and what stands there; the leads, seconds and spacing of others."""
    model = plan.model if shown.sides is None else with_given(plan.model, shown.sides)
    columns, cells = about.columns, None
    if columns is None and shown.names is not None and shown.ids:
        columns = columns_told(model, shown, plan.features)
    if columns is not None:
        count = prod(plan.study.grid)
        if len(columns) != count:
            shape = tuple(plan.example.inputs.shape[1:])
            raise InputError(
                f"Expected as many `columns` as samples {shape} have features ({count}), but got {len(columns)}."
            )
        cells = cells_told(shown, columns)
    names = shown.names
    axes = None
    if names is not None and (names.leads or names.rate or names.spacing):
        axes = {"leads": list(names.leads), "rate": names.rate, "spacing": list(names.spacing), "unit": names.unit}
    return {"columns": None if columns is None else list(columns), "cells": cells, "axes": axes}


def _names(plan: Plan, about: About) -> list[str] | None:
    """The names of the outputs. One of which nobody says what it is gets no label's name."""
    given = None if about.classes is None else list(about.classes)
    if plan.meaning.kind in ("score", "scalars") and (given is None or len(given) != plan.outputs):
        return ["the output"] if plan.outputs == 1 else [f"output {k}" for k in range(plan.outputs)]
    if plan.meaning.kind == "score" or (given is not None and len(given) < plan.outputs):
        return None if plan.outputs > 1 else ["the output"]
    return given


OWN = ("created", "heatproof", "probe", "settings", "knowledge")  # what two starts of one audit may differ in


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two ask the same: nothing has to be written again."""
    return _plain(one) == _plain(other)


def _plain(question: Mapping[str, Any]) -> dict[str, Any]:
    parts = {name: value for name, value in question.items() if name not in OWN}
    return parts | {"model": {name: value for name, value in parts["model"].items() if name not in OWN}}


def check_same_run(before: Mapping[str, Any], question: Mapping[str, Any], *, mixed: bool) -> None:
    """Refuse a folder whose rows are of another model, other data, or another kind of device or version.

    Raises: StoreError.
    """
    ours, theirs = (
        {
            "model": one["model"]["fingerprint"],
            "data": (one["data"]["fingerprint"], one["data"]["samples"]),
            "features": one["data"]["features"],
        }
        for one in (question, before)
    )
    different = [name for name in ours if ours[name] != theirs[name]]
    if different:
        raise StoreError(
            f"Expected the folder of this audit, but the one given belongs to another: "
            f"{' and '.join(different)} differ. Choose another folder."
        )
    if not same_outputs(before["model"]["probe"], question["model"]["probe"]):
        raise StoreError(
            "Expected the model to give the outputs that it gave when this run began, but it does not: its weights are "
            "the same, and its arithmetic, or the first two samples, are not. Choose another folder."
        )
    for name, what in (("device", "kind of device"), ("torch", "version of torch"), ("heatproof", "heatproof")):
        past, present = before["settings"][name], question["settings"][name]
        if past != present and not mixed:
            raise StoreError(
                f"Expected the {what} that this run began with ({past}), but got {present}; the rows' bits depend on "
                "it. Choose another folder, or say mixed (--mixed) to go on all the same."
            )


def pictures(shown: Portion) -> dict[str, Any]:
    """Inputs of the samples shown, how the data set would show them, and their boxes or masks, as arrays by name."""
    arrays = {name: one.float().cpu().numpy() for name, one in zip(shown.ids, shown.inputs, strict=True)}
    if shown.display is not None:
        arrays |= {f"display:{name}": one.cpu().numpy() for name, one in zip(shown.ids, shown.display, strict=True)}
    if shown.boxes is not None:
        for name, boxes in zip(shown.ids, shown.boxes, strict=True):
            arrays[f"boxes:{name}"] = np.array([list(box) for box in boxes], dtype=np.float64).reshape(-1, 4)
    if shown.boxes is not None and shown.box_labels is not None:
        for name, labels in zip(shown.ids, shown.box_labels, strict=True):
            arrays[f"box-labels:{name}"] = np.array(labels, dtype=np.int64)
    if shown.masks is not None:
        arrays |= {f"mask:{name}": one.cpu().numpy() for name, one in zip(shown.ids, shown.masks, strict=True)}
    return arrays


def _skipped(blocks: Blocks) -> Sequence[tuple[str, str]]:
    """What of samples in memory was left out; of others nobody has looked."""
    return blocks.data.skipped if isinstance(blocks, DatasetBlocks) else ()
