"""An audit from beginning to end: plan, resume, compute, store."""

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from heatproof.auditing import environment
from heatproof.auditing.block import Finished
from heatproof.auditing.engines import local
from heatproof.auditing.manifest import About, carried_over, manifest_of, now, pictures
from heatproof.auditing.plan import Explainer, Plan, Samples, make
from heatproof.auditing.progress import Progress
from heatproof.auditing.store import Store, read_manifest, read_rows
from heatproof.auditing.summaries import summarize
from heatproof.checks import CHECKS, Boxes, Check
from heatproof.errors import AuditError, InputError, StoreError
from heatproof.features import Features
from heatproof.methods.backward import gradients
from heatproof.methods.base import METHODS, one_hot
from heatproof.models import check_inputs, check_model, check_targets, forward, rows_per_pass
from heatproof.recipes import digest


@dataclass(frozen=True)
class Run:
    """The folder of an audit."""

    path: Path
    _folder: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False, compare=False)

    def rows(self) -> pd.DataFrame:
        """Every row: check, method, setting, position, sample, metric, value, seed. NaN is a degenerate result."""
        return read_rows(self.path).drop(columns="cell")

    @property
    def manifest(self) -> dict[str, Any]:
        """What was audited, with what, and how it ended."""
        return read_manifest(self.path)

    def scorecard(self) -> pd.DataFrame:
        """What the rows say of each method, with 95 % bootstrap intervals."""
        from heatproof.auditing.scorecard import findings

        return findings(self.rows(), self.manifest)

    def report(self) -> Path:
        """Write `report.html` into the folder and return its path."""
        from heatproof.report import write

        return write(self.path)


def audit(
    model: nn.Module,
    images: Tensor,
    targets: Tensor | None = None,
    *,
    methods: Sequence[str | Explainer] | Mapping[str, str | Explainer],
    checks: Sequence[str | Check] | Mapping[str, str | Check],
    out: str | Path | None = None,
    ids: Sequence[str] | None = None,
    boxes: Sequence[Boxes] | None = None,
    features: Features | None = None,
    batch: int | None = None,
    threads: int | None = None,
    gallery: int = 6,
    max_errors: int = 10,
    about: About | None = None,
    progress: bool = True,
) -> Run:
    """Put attributions of `targets` for `images` to the test; what is finished in `out` already is not done again.

    Args:
        model: a network in eval mode, or a `Bound` one.
        images: inputs (N, …), float, as the network takes them.
        targets: the explained labels (N,), int64; the labels that the model predicts by default.
        methods: registered names, methods, or callables `(model, inputs, targets) -> attributions`; a mapping names
            their labels.
        checks: registered names or checks; a mapping names their labels.
        out: the run folder; a temporary one by default, which lives as long as the returned `Run`.
        ids: a unique name a sample; its position by default.
        boxes: for each sample the boxes (xmin, ymin, xmax, ymax) of its object, in pixels of `images`, pixel x inside
            where xmin <= x < xmax.
        features: what counts as one feature; pixels for images, tokens for sequences, columns for tables by default.
        batch: samples a pass; chosen by the samples' size by default, and kept when a run is resumed.
        threads: CPU threads; torch's own number by default, and kept when a run is resumed.
        gallery: how many samples' maps are kept for the report.
        max_errors: failures after which the audit stops; what is finished stays.

    Returns: a `Run`; `run.rows()` is the DataFrame of all rows, `run.report()` writes the page.

    Raises: InputError for input that cannot be audited, before anything expensive; StoreError if `out` belongs to
        another audit; AuditError after more than `max_errors` failures.
    """
    about = about or About(model=type(model).__name__, data=f"{len(images)} samples")
    check_model(model)
    check_inputs(model, images)
    chosen = _named(checks, CHECKS.get, CHECKS.name_of)
    recipes = {label: method for label, (_, method) in _named(methods, METHODS.get, METHODS.name_of).items()}
    folder = None
    if out is None:
        folder = tempfile.TemporaryDirectory(prefix="heatproof-")
        out = folder.name
    store = Store(Path(out))
    before = store.manifest()
    settings = _settings(before, batch, threads, images)
    with environment.pinned(settings["threads"]):
        predicted, probabilities = _predict(model, images, settings["batch"])
        explained = predicted if targets is None else targets
        check_targets(images, explained, probabilities.shape[1])
        names = tuple(str(i) for i in range(len(images))) if ids is None else tuple(ids)
        samples = Samples(inputs=images.detach(), targets=explained.to(images.device), ids=names, boxes=boxes)
        plan = make(model, samples, recipes, chosen, features=features, batch=settings["batch"])
        plan.shown = frozenset(before["shown"] if before else names[:gallery])
        manifest = {
            **manifest_of(plan, about, settings["threads"], predicted, probabilities),
            **carried_over(before, plan),
        }
        _compute(plan, store, manifest, about, max_errors=max_errors, show=progress)
    return Run(Path(out), folder)


def _compute(plan: Plan, store: Store, manifest: dict[str, Any], about: About, *, max_errors: int, show: bool) -> None:
    store.open()
    try:
        store.write_manifest(manifest)
        store.write_maps("inputs", pictures(plan, about))
        missing = plan.cells.keys() - store.finished_cells()
        seconds_a_pass = _seconds_a_pass(plan) if missing else 0.0
        with Progress(plan, missing, seconds_a_pass, show=show) as progress:
            manifest["estimate"] = progress.estimate

            def finish(done: Finished) -> None:
                if done.cells:  # maps first: rows on disk say that all of it is there
                    names = {json.dumps(list(key)): value.numpy() for key, value in done.maps.items()}
                    store.write_maps(_stem(done), names)
                    store.write_rows(_stem(done), done.rows, done.cells)
                _count(manifest, done)
                if len(manifest["failures"]) > max_errors:
                    raise AuditError(
                        f"Stopped after {len(manifest['failures'])} failures (at most {max_errors} are allowed); "
                        f"the last: {manifest['failures'][-1]['error']} What is finished is kept; run again to go on."
                    )

            try:
                local.run(plan, missing, finish, progress.computed)
                manifest["failures"] += summarize(plan, store)
            finally:
                manifest["finished"] = now()
                complete = plan.cells.keys() <= store.finished_cells()
                manifest["status"] = "complete" if complete else "incomplete"
                store.write_manifest(manifest)
    finally:
        store.close()


def _settings(
    before: Mapping[str, Any] | None, batch: int | None, threads: int | None, images: Tensor
) -> dict[str, int]:
    """Batch and threads: those of the run so far, if there is one, because its bits depend on them."""
    asked = {"batch": batch, "threads": threads}
    if before is None:
        default = min(len(images), rows_per_pass(images), 64)
        return {"batch": default if batch is None else batch, "threads": threads or torch.get_num_threads()}
    kept = {"batch": before["environment"]["compute_batch"], "threads": before["environment"]["threads"]}
    for name, value in asked.items():
        if value is not None and value != kept[name]:
            raise StoreError(
                f"Expected {name} = {kept[name]}, as this run began with, but got {value}; "
                "the rows' bits depend on it. Leave it out, or choose another folder."
            )
    return kept


def _named(
    entries: Any, get: Callable[[str], Any], name_of: Callable[[object], str | None]
) -> dict[str, tuple[str, Any]]:
    """Label → (registered name or the label, recipe)."""
    if isinstance(entries, str) or not isinstance(entries, Sequence | Mapping):
        raise InputError(f"Expected a list of names or recipes, or a mapping from labels to them, but got {entries!r}.")
    pairs = list(entries.items()) if isinstance(entries, Mapping) else [(None, entry) for entry in entries]
    found: dict[str, tuple[str, Any]] = {}
    for given, entry in pairs:
        recipe = get(entry) if isinstance(entry, str) else entry
        if not callable(recipe) and not isinstance(recipe, Check):
            raise InputError(f"Expected a registered name or a recipe, but got {entry!r}.")
        name = entry if isinstance(entry, str) else name_of(recipe)
        label = given or _label(recipe, name, get)
        if label in found:
            raise InputError(
                f"Expected every label once, but got {label!r} twice; give a mapping from labels to recipes."
            )
        found[label] = (name or label, recipe)
    return found


def _label(recipe: Any, name: str | None, get: Callable[[str], Any]) -> str:
    """The registered name for a recipe with its defaults, else the recipe itself as text."""
    if name is not None and get(name) == recipe:
        return name
    return getattr(recipe, "__name__", None) or repr(recipe)


def _predict(model: nn.Module, images: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """The label that the model predicts (N,), and all labels' probabilities (N, C) in float64, on the CPU."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(images), batch):
            rows = torch.arange(start, min(start + batch, len(images)))
            parts.append(forward(model, images[rows], rows).double().cpu())
    outputs = torch.cat(parts)
    if not bool(torch.isfinite(outputs).all()):
        raise InputError("Expected finite outputs, but the model gives NaN or infinity on some samples.")
    return outputs.argmax(1), outputs.softmax(1)


def _seconds_a_pass(plan: Plan) -> float:
    """How long one forward and backward pass of a block takes, after one to warm up."""
    rows = torch.arange(plan.batch)
    inputs, targets = plan.samples.inputs[rows], plan.samples.targets[rows]
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        outputs, pull = gradients(plan.model, inputs, rows)
        pull(one_hot(targets, outputs))
        seconds = time.perf_counter() - start
    return seconds


def _count(manifest: dict[str, Any], done: Finished) -> None:
    manifest["failures"] += done.failures
    for label, seconds in done.seconds.items():
        cost = manifest["costs"].setdefault(label, {"maps": 0, "seconds": 0.0})
        cost["maps"] += manifest["environment"]["compute_batch"]
        cost["seconds"] += seconds


def _stem(done: Finished) -> str:
    return f"{done.block:05d}-{done.condition.id[:12]}-{digest(sorted(done.cells))[:12]}"
