"""An audit from beginning to end: plan, resume, compute, store."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from rich.console import Console
from torch import Tensor, nn

from heatproof.arithmetic import pinned
from heatproof.auditing import failures, learning
from heatproof.auditing.block import Finished
from heatproof.auditing.door import make
from heatproof.auditing.engines import local
from heatproof.auditing.knowledge import knowledge
from heatproof.auditing.manifest import About, carried_over, manifest_of, now, pictures
from heatproof.auditing.named import named
from heatproof.auditing.parts import Samples
from heatproof.auditing.passes import check_explained, predict, seconds_a_pass
from heatproof.auditing.plan import Plan
from heatproof.auditing.preparation import announce, prepare
from heatproof.auditing.progress import Progress
from heatproof.auditing.store import Store, read, read_manifest, read_rows
from heatproof.auditing.summaries import summarize
from heatproof.auditing.trials import entered, trials, warn
from heatproof.checks import CHECKS, Boxes, Check
from heatproof.data.base import Dataset
from heatproof.errors import AuditError, InputError, StoreError
from heatproof.features import Features
from heatproof.methods.base import METHODS, Attribution, Method
from heatproof.models import check_inputs, check_model, rows_per_pass
from heatproof.outputs import Outputs
from heatproof.reading.verdicts import needed
from heatproof.recipes import digest

MOST_ROWS = 64  # samples a block at most: more would only make progress coarse

if TYPE_CHECKING:
    from heatproof.reading import Verdicts


@dataclass(frozen=True)
class Run:
    """The folder of an audit."""

    path: Path
    _folder: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False, compare=False)

    def rows(self) -> pd.DataFrame:
        """Every row: check, method, setting, role, stage, position, sample, metric, value, seed. NaN is degenerate."""
        return read_rows(self.path).drop(columns="cell")

    @property
    def manifest(self) -> dict[str, Any]:
        """What was audited, with what, and how it ended."""
        return read_manifest(self.path)

    def verdicts(self) -> pd.DataFrame:
        """One verdict a method and question, "believable" the last of each method.

        Columns: method, question, answer ("yes", "no", "unknown", or "" where a number is shown and not judged), word,
        mean with its 95 % interval low and high, over n samples (missing have no value), margin, why.
        """
        return self._read.table

    def findings(self) -> pd.DataFrame:
        """What each check says of each method: the verdicts' columns, with check, setting and metric."""
        return self._read.frame

    def headline(self) -> str:
        """One sentence: which heatmaps pass every test that was run."""
        return self._read.headline

    @property
    def _read(self) -> "Verdicts":
        from heatproof.reading import Verdicts

        return read(self.path, Verdicts.of)

    def report(self) -> Path:
        """Write `report.html` into the folder and return its path."""
        from heatproof.report import write

        return write(self.path)


def audit(
    model: nn.Module,
    images: Tensor,
    targets: Tensor | None = None,
    *,
    methods: Sequence[str | Attribution] | Mapping[str, str | Attribution],
    checks: Sequence[str | Check] | Mapping[str, str | Check],
    out: str | Path | None = None,
    ids: Sequence[str] | None = None,
    boxes: Sequence[Boxes] | None = None,
    labels: Tensor | None = None,
    outputs: str | Outputs | None = None,
    training_data: Dataset | None = None,
    features: Features | str | None = None,
    batch: int | None = None,
    threads: int | None = None,
    believable: Sequence[str] = (),
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
        labels: the true labels (N,), int64, to say how often the network is right, or float numbers that its output
            should be; the `targets` by default. A network that is not surely better than guessing gets no good word.
        outputs: what the model's outputs are: `labels` (one is right, softmax), `logit` (one output, label 1 against
            label 0: both can be explained, and targets are 0 or 1), `multi-label` (a sigmoid each), `scalars` (numbers;
            `hp.outputs.Outputs("scalars", unit="°C")` names their unit). Several are labels by default, of one nothing
            is claimed: no probability, no label's name.
        training_data: labelled samples like those that the model was trained on, for what has to learn from data.
        features: what counts as one feature, a recipe or its name; by default pixels for images, tokens for sequences,
            columns for tables.
        batch: samples a pass; chosen by the samples' size by default, and kept when a run is resumed.
        threads: CPU threads; torch's own number by default, and kept when a run is resumed.
        believable: the questions that a believable map must pass, besides every other test that was run: `steady`,
            `depends` and `faithful` by default.
        gallery: how many samples' maps are kept for the report.
        max_errors: different failures after which the audit stops; what is finished stays.

    Returns: a `Run`; `run.rows()` is the DataFrame of all rows, `run.report()` writes the page. A `FailureWarning`
        names what failed meanwhile, if anything did: its rows are missing or NaN.

    Raises: InputError for input that cannot be audited, before anything expensive; StoreError if `out` belongs to
        another audit; AuditError after more than `max_errors` failures.
    """
    check_model(model)
    check_inputs(model, images)
    images = images.detach().contiguous()  # the bits of a result depend on the memory layout
    about = about or About(model=type(model).__name__, data=f"{len(images)} samples")
    _check_settings(batch=batch, threads=threads, gallery=gallery, max_errors=max_errors)
    chosen = named(checks, CHECKS, Check)
    recipes = {label: method for label, (_, method) in named(methods, METHODS, Method).items()}
    names = tuple(str(i) for i in range(len(images))) if ids is None else tuple(str(name) for name in ids)
    folder = tempfile.TemporaryDirectory(prefix="heatproof-") if out is None else None
    store = Store(Path(folder.name if folder else out or ""))
    store.check()
    before = store.manifest()
    settings = _settings(before, batch, threads, images)
    with pinned(settings["threads"]):
        given = images.new_zeros(len(images), dtype=torch.int64) if targets is None else targets
        samples = Samples(inputs=images, targets=given, ids=names, boxes=boxes)
        plan = make(
            model, samples, recipes, chosen,
            features=features, batch=settings["batch"], training=training_data, said=outputs,
        )  # fmt: skip
        _check_labels(labels, targets, plan)
        learning.check(plan)
        about.check(len(images))
        plan.shown = frozenset(before["shown"] if before else names[:gallery])
        predicted, values = predict(plan.model, images, settings["batch"], show=progress)
        explained = (predicted if targets is None else targets).to(images.device)
        check_explained(values, explained, names)
        plan.samples = replace(samples, targets=explained)
        known = knowledge(plan.meaning, values, explained, targets if labels is None else labels)
        Console(stderr=True, quiet=not progress).print(known.sentence, highlight=False, markup=False, soft_wrap=True)
        manifest = {
            **manifest_of(plan, about, settings["threads"], predicted, values, known),
            **carried_over(before, plan, settings["threads"]),
        }
        manifest["believable"] = list(needed(believable))
        tried = trials(plan)
        warn(tried)
        manifest["states"] = entered(manifest["states"], tried)
        learning.recall(manifest, before)
        _compute(plan, store, manifest, about, before, max_errors=max_errors, show=progress)
    failures.warn(manifest)
    return Run(store.run, folder)


def _check_labels(labels: Tensor | None, targets: Tensor | None, plan: Plan) -> None:
    """Refuse labels that are not one a sample, and outputs of which none is predicted without targets."""
    count = len(plan.samples.ids)
    usual = labels is None or labels.is_floating_point() or labels.dtype == torch.int64
    if labels is not None and (labels.shape != (count,) or not usual):
        got = f"{tuple(labels.shape)} of {labels.dtype}"
        raise InputError(f"Expected labels ({count},) of torch.int64, or float numbers, but got {got}.")
    if labels is not None and plan.meaning.exclusive and (labels.is_floating_point() or bool((labels < 0).any())):
        got = str(labels.dtype) if labels.is_floating_point() else f"{int(labels.min())}"
        raise InputError(
            f"Expected labels of torch.int64 from 0 on, as one of the model's outputs is right, but got {got}; say "
            "outputs='scalars' where they are numbers."
        )
    if targets is None and plan.meaning.kind == "scalars" and plan.outputs > 1:
        raise InputError(
            f"Expected targets, the output of each sample that is explained, as none of {plan.outputs} numbers is "
            "predicted like a label, but got none."
        )


def _compute(
    plan: Plan,
    store: Store,
    manifest: dict[str, Any],
    about: About,
    before: Mapping[str, Any] | None,
    *,
    max_errors: int,
    show: bool,
) -> None:
    store.open()
    try:
        if store.manifest() != before:
            raise StoreError(
                f"Expected {store.run} as it was a moment ago, but another process wrote to it; run again."
            )
        if before is not None and store.has_others(manifest["cells"]):
            # What is in `rows` is at every moment among the manifest's cells, and a run that lacks some is not done.
            store.write_manifest({**before, "status": "running"})
            store.set_aside(manifest["cells"])
        store.write_manifest(manifest)
        store.bring_back(plan.cells)
        store.write_maps("inputs", pictures(plan, about))
        unfinished = plan.cells.keys() - store.finished_cells()
        seconds = seconds_a_pass(plan) if unfinished else 0.0
        ahead = announce(plan, unfinished, seconds, show=show)
        missing, manifest["failures"] = prepare(plan, unfinished)
        with Progress(plan, missing, seconds, show=show) as progress:
            manifest["estimate"] = {**progress.estimate, **ahead}

            def finish(done: Finished) -> None:
                if done.cells:  # maps first: rows on disk say that all of it is there
                    names = {json.dumps(list(key)): value.numpy() for key, value in done.maps.items()}
                    store.write_maps(_stem(done), names, _by_method(plan, done.cells))
                    store.write_rows(_stem(done), done.rows, done.cells)
                _count(manifest, done)
                if len(manifest["failures"]) > max_errors:
                    raise AuditError(
                        f"Stopped after {len(manifest['failures'])} different failures ({max_errors} are allowed); "
                        f"the last: {manifest['failures'][-1]['error']} What is finished is kept; run again to go on."
                    )

            try:
                possible, failed = learning.learn(plan, missing, manifest["methods"], progress.fitting)
                manifest["failures"] += failed
                local.run(plan, possible, finish, progress.computed)
                manifest["failures"] += summarize(plan, store)
            finally:
                manifest["finished"] = now()
                complete = plan.cells.keys() <= store.finished_cells()
                manifest["status"] = "complete" if complete else "incomplete"
                store.write_manifest(manifest)
    finally:
        store.close()


def _check_settings(**settings: int | None) -> None:
    lowest = {"batch": 1, "threads": 1, "gallery": 0, "max_errors": 0}
    for name, value in settings.items():
        if value is not None and (type(value) is not int or value < lowest[name]):
            raise InputError(f"Expected {name} to be a whole number from {lowest[name]} on, but got {value!r}.")


def _settings(
    before: Mapping[str, Any] | None, batch: int | None, threads: int | None, images: Tensor
) -> dict[str, int]:
    """Batch and threads: those of the run so far, if there is one, because its bits depend on them."""
    most = batch or min(rows_per_pass(images), MOST_ROWS)
    fresh = {"batch": min(most, len(images)), "threads": threads or torch.get_num_threads()}
    if before is None:
        return fresh
    kept = {"batch": before["environment"]["compute_batch"], "threads": before["environment"]["threads"]}
    for name, asked in (("batch", batch), ("threads", threads)):
        if asked is not None and fresh[name] != kept[name]:
            raise StoreError(
                f"Expected {name} = {kept[name]}, as this run began with, but got {asked}; "
                "the rows' bits depend on it. Leave it out, or choose another folder."
            )
    return kept


def _count(manifest: dict[str, Any], done: Finished) -> None:
    """Failures, alike ones together, and what each method has cost."""
    for failure in done.failures:
        kind = ("method", "check", "error")
        alike = next((f for f in manifest["failures"] if all(f[name] == failure[name] for name in kind)), None)
        if alike is None:
            manifest["failures"].append({**failure, "count": 1})
        else:
            alike["count"] += 1
            alike["samples"] += [name for name in failure["samples"] if name not in alike["samples"]]
    for label, number in done.unusable.items():
        manifest["unusable"][label] = manifest["unusable"].get(label, 0) + number
    for label, seconds in done.seconds.items():
        cost = manifest["costs"].setdefault(label, {"maps": 0, "seconds": 0.0})
        cost["maps"] += manifest["environment"]["compute_batch"]
        cost["seconds"] += seconds


def _by_method(plan: Plan, cells: Sequence[str]) -> dict[str, list[str]]:
    """Cells by the labels of the methods that they are about."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        for label in {plan.cells[cell].method, plan.cells[cell].other} - {""}:
            found.setdefault(label, []).append(cell)
    return found


def _stem(done: Finished) -> str:
    return f"{done.block:05d}-{done.condition.id[:12]}-{digest(sorted(done.cells))[:12]}"
