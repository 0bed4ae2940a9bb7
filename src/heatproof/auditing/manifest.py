"""What a run says of itself: its manifest, and the pictures of the samples that it shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from torch import Tensor

import heatproof
from heatproof.auditing import environment
from heatproof.auditing.knowledge import Knowledge
from heatproof.auditing.plan import Plan
from heatproof.auditing.summaries import summary_ids
from heatproof.errors import InputError, StoreError
from heatproof.fingerprint import probe, same_outputs
from heatproof.recipes import describe, digest
from heatproof.rows import SCHEMA


@dataclass(frozen=True, kw_only=True)
class About:
    """What a reader wants to know of model and data beyond their numbers."""

    model: str = ""
    data: str = ""
    title: str = ""
    classes: Sequence[str] | None = None
    display: Tensor | None = None
    tokens: Sequence[Sequence[str]] | None = None
    skipped: Sequence[tuple[str, str]] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)

    def check(self, samples: int) -> None:
        """Refuse pictures and texts that are not one a sample."""
        for what, shown in (("picture to display", self.display), ("list of tokens", self.tokens)):
            if shown is not None and len(shown) != samples:
                raise InputError(f"Expected one {what} a sample ({samples}), but got {len(shown)}.")


def manifest_of(
    plan: Plan, about: About, threads: int, predicted: Tensor, outputs: Tensor, known: Knowledge
) -> dict[str, Any]:
    """The manifest of a run that begins: what is audited, with what, and nothing finished yet."""
    likely = plan.meaning.probability
    probabilities = outputs if likely is None else likely(outputs)
    inputs = plan.samples.inputs
    rows = zip(plan.samples.ids, plan.samples.targets.tolist(), predicted.tolist(), probabilities, strict=True)
    return {
        "schema": SCHEMA,
        "heatproof": heatproof.__version__,
        "title": about.title,
        "created": now(),
        "finished": None,
        "status": "running",
        "spec": dict(about.spec),
        "model": {
            "name": about.model,
            "fingerprint": plan.model_fingerprint,
            "parameters": sum(p.numel() for p in plan.model.parameters()),
            "outputs": plan.outputs,
            "meaning": plan.meaning.describe(),
            "probe": probe(plan.model, inputs),
        },
        "knowledge": known.describe(),
        "data": {
            "name": about.data,
            "fingerprint": plan.data_fingerprint,
            "shape": list(inputs.shape[1:]),
            "features": describe(plan.features),
            "grid": list(plan.study.grid),
            "classes": _names(plan, about),
            "skipped": [list(pair) for pair in about.skipped],
            "tokens": None
            if about.tokens is None
            else {
                name: list(tokens)
                for name, tokens in zip(plan.samples.ids, about.tokens, strict=True)
                if name in plan.shown
            },
            "samples": [
                {
                    "id": name,
                    "target": target,
                    "predicted": best,
                    "probability": None if likely is None else float(p[best]),
                    "target_probability": None if likely is None else float(p[target]),
                }
                for name, target, best, p in rows
            ],
        },
        "training_data": None
        if plan.training is None
        else {
            "name": plan.training.name,
            "fingerprint": plan.training.fingerprint,
            "samples": len(plan.training),
            "skipped": [list(pair) for pair in plan.training.skipped],
        },
        **plan.describe(),
        "earlier": [],  # the environments of earlier starts that differ from this one's
        "environment": environment.describe(inputs.device, inputs.dtype, threads, plan.batch),
        "shown": [name for name in plan.samples.ids if name in plan.shown],
        "cells": sorted([*plan.cells, *summary_ids(plan).values()]),
        "estimate": {},
        "failures": [],
        "costs": {},
        "unusable": {},  # maps that hold NaN or infinity, by method, of those that `costs` counts
    }


def _names(plan: Plan, about: About) -> list[str] | None:
    """The names of the outputs. One of which nobody says what it is gets no label's name."""
    given = None if about.classes is None else list(about.classes)
    if plan.meaning.kind in ("score", "scalars") and (given is None or len(given) != plan.outputs):
        return ["the output"] if plan.outputs == 1 else [f"output {k}" for k in range(plan.outputs)]
    if plan.meaning.kind == "score" or (given is not None and len(given) < plan.outputs):
        return None if plan.outputs > 1 else ["the output"]
    return given


def carried_over(before: Mapping[str, Any] | None, plan: Plan, threads: int) -> dict[str, Any]:
    """What carries over from an earlier start of the same run.

    Raises: StoreError if the folder belongs to another audit.
    """
    if before is None:
        return {}
    ours = {"model": plan.model_fingerprint, "data": plan.data_fingerprint, "features": describe(plan.features)}
    theirs = {
        "model": before["model"]["fingerprint"],
        "data": before["data"]["fingerprint"],
        "features": before["data"]["features"],
    }
    different = [name for name in ours if ours[name] != theirs[name]]
    if different:
        raise StoreError(
            f"Expected the folder of this audit, but the one given belongs to another: "
            f"{' and '.join(different)} differ. Choose another folder."
        )
    inputs = plan.samples.inputs
    if not same_outputs(before["model"]["probe"], probe(plan.model, inputs)):
        raise StoreError(
            "Expected the model to give the outputs that it gave when this run began, but it does not: its weights are "
            "the same and its arithmetic is not. Choose another folder."
        )
    past, present = before["environment"], environment.describe(inputs.device, inputs.dtype, threads, plan.batch)
    if past["device"].split(":")[0] != present["device"].split(":")[0]:
        raise StoreError(
            f"Expected the kind of device that this run began on ({past['device']}), but got {present['device']}; "
            "the rows' bits depend on it. Choose another folder."
        )
    earlier = [*before["earlier"], *([past] if past != present else [])]
    # What another recipe under the same label has cost says nothing of this one.
    past_recipes = {entry["label"]: digest(entry["recipe"]) for entry in before["methods"]}
    anew = {m.label for m in plan.methods if past_recipes.get(m.label) not in (None, digest(describe(m.recipe)))}
    return {
        "created": before["created"],
        "costs": {label: cost for label, cost in before["costs"].items() if label not in anew},
        "unusable": {label: count for label, count in before.get("unusable", {}).items() if label not in anew},
        "earlier": earlier,
    }


def pictures(plan: Plan, about: About) -> dict[str, Any]:
    """The inputs of the samples shown, and how the data set would show them, as arrays by name."""
    shown = [(i, name) for i, name in enumerate(plan.samples.ids) if name in plan.shown]
    arrays = {name: plan.samples.inputs[i].float().cpu().numpy() for i, name in shown}
    if about.display is not None:
        arrays |= {f"display:{name}": about.display[i].cpu().numpy() for i, name in shown}
    return arrays


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
