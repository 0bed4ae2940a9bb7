"""An audit from beginning to end: plan, go on, compute, write."""

import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from heatproof import allocator
from heatproof.arithmetic import pinned
from heatproof.auditing import environment, learning
from heatproof.auditing.aiming import aimed, on_own_labels
from heatproof.auditing.engines import local
from heatproof.auditing.knowledge import Knowledge, known_of
from heatproof.auditing.learning import Learned
from heatproof.auditing.listing import named
from heatproof.auditing.manifest import About, check_same_run, pictures, question_of, same
from heatproof.auditing.passes import seconds_a_pass
from heatproof.auditing.plan import Missing, Plan
from heatproof.auditing.planning import check_tensors, make
from heatproof.auditing.preparation import announce, prepare
from heatproof.auditing.progress import Progress
from heatproof.auditing.samples import Samples, Tensors
from heatproof.auditing.summaries import know, summarize
from heatproof.auditing.trials import entered, trials, warn
from heatproof.auditing.worker import Worker, write_samples
from heatproof.checks import CHECKS, Boxes, Check
from heatproof.data.base import Dataset
from heatproof.data.base import Source as DataSource
from heatproof.data.blocks import Blocks, as_blocks
from heatproof.data.choosing import held
from heatproof.errors import BOUND, HeatproofWarning, InputError, StoreError, TornError, shown
from heatproof.features import Features
from heatproof.intact import intact
from heatproof.methods.base import METHODS, Attribution, Method, Targets
from heatproof.models import as_model, check_inputs, check_model, rows_per_pass
from heatproof.outputs import Outputs
from heatproof.paths import given_path
from heatproof.reading.verdicts import needed
from heatproof.runs import failures, leases, read, read_manifest, read_rows
from heatproof.runs.store import Store
from heatproof.runs.workers import Log

MOST_THREADS = 4096
MOST_ROWS = 64  # samples a block at most: more would only make progress coarse
LOOKED_AT = 1024  # samples whose predictions are looked at before anything is computed

if TYPE_CHECKING:
    from heatproof.reading import Verdicts
    from heatproof.report.plots import Plots


@dataclass(frozen=True)
class Run:
    """The folder of an audit."""

    path: Path
    _folder: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False, compare=False)

    def rows(self) -> pd.DataFrame:
        """Every row: check, method, setting, role, stage, position, sample, metric, value, seed. NaN is degenerate."""
        return read_rows(self.path).drop(columns="question")

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

    @property
    def plot(self) -> "Plots":
        """Its figures by matplotlib (the extra `plot`): `run.plot("depends")`; `run.plot.names` lists them."""
        from heatproof.report.plots import Plots

        return Plots(self.path)

    def _repr_html_(self) -> str:
        """What a notebook shows: the sentence, and the matrix of marks."""
        from heatproof.report.notebook import html

        return html(self.path)


def audit(
    model: nn.Module | Callable[..., Any],
    images: Tensor,
    targets: Targets | Callable[[Any], Tensor] | None = None,
    *,
    methods: Sequence[str | Attribution] | Mapping[str, str | Attribution],
    checks: Sequence[str | Check] | Mapping[str, str | Check],
    out: str | Path | None = None,
    ids: Sequence[str] | None = None,
    boxes: Sequence[Boxes] | None = None,
    labels: Tensor | np.ndarray | Sequence[int] | None = None,
    outputs: str | Outputs | None = None,
    training_data: Dataset | Blocks | DataSource | None = None,
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
        model: a network in eval mode, a `Bound` one, or a function.
        images: inputs (N, …), float, as the network takes them.
        targets: what is explained: labels (N,) in any integers, or one for all; a target of `heatproof.targets`, or a
            function of what the model returns; the labels that the model predicts by default.
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
        training_data: labelled samples like those that the model was trained on, for what has to learn from data: what
            `hp.data.as_blocks` takes. Of more than 2 GiB they are read batch by batch, each time anew.
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
    model = as_model(model)
    check_model(model)
    check_inputs(model, images)
    about = about or About(model=type(model).__name__, data=f"{len(images)} samples")
    _check_settings(batch=batch, threads=threads, gallery=gallery, max_errors=max_errors)
    about.check(len(images))
    source = Tensors(
        inputs=images.detach(),
        labels=labels,  # type: ignore[arg-type]  # a tensor from here on
        ids=None if ids is None else tuple(str(name) for name in ids),
        boxes=boxes,
        display=about.display,
        tokens=about.tokens,
    )
    aim = aimed(model, source, targets, outputs)
    model, source, outputs = aim.model, aim.source, aim.outputs
    about = replace(about, target=aim.target, classes=(aim.name,) if aim.name else about.classes)
    given = source.labels
    if given is None and not aim.target:
        source = replace(source, labels=source.targets)
    check_tensors(model, source)
    chosen = named(checks, CHECKS, Check)
    if aim.own:
        chosen = {label: (name, on_own_labels(check)) for label, (name, check) in chosen.items()}
    recipes = {label: method for label, (_, method) in named(methods, METHODS, Method).items()}
    folder = tempfile.TemporaryDirectory(prefix="heatproof-") if out is None else None
    path = given_path(folder.name if folder else out or "")
    store = Store(path)
    store.check()
    try:
        before = store.question()
    except TornError:  # what was asked is asked anew, and rows that answer it stay
        before = None
    settings = _settings(before, batch, threads, images)
    with allocator.kept(), intact(model), pinned(settings["threads"], images.dtype):
        shown = source.read(0, len(before["shown"]) if before else gallery)
        training = None if training_data is None else held(as_blocks(training_data))
        plan = make(
            model, source, recipes, chosen,
            features=features, batch=settings["batch"], training=training, said=outputs, shown=shown.ids,
        )  # fmt: skip
        _check_labels(given, source.targets, plan)
        learning.check(plan)
        first = {} if before else _first_blocks(plan, show=progress)
        known = Knowledge(**before["knowledge"]) if before else _known(plan, first)
        Console(stderr=True, quiet=not progress).print(known.sentence, highlight=False, markup=False, soft_wrap=True)
        tried = trials(plan)
        warn(tried)
        question = question_of(
            plan, about, threads=settings["threads"], shown=shown, known=known,
            states=entered(plan.describe()["states"], tried), believable=list(needed(believable)),
        )  # fmt: skip
        if before:
            check_same_run(before, question)
        store.open()
        holder = leases.fresh()
        with leases.alone(store.files, "run", holder):
            store.sweep()
            _mend(store)
            _ask(store, question, before)
            store.write_inputs(pictures(shown))
            for block, samples in first.items():
                write_samples(store, block, samples)
            log = Log(
                store, holder,
                environment.describe(images.device, images.dtype, settings["threads"], settings["batch"]),
            )  # fmt: skip
            log.said["recipes"] = plan.recipes
            worker = Worker(plan, Learned(), store, log, store.samples(), max_errors)
            try:
                _compute(worker, show=progress)
            finally:
                log.write(last=True)
            finish(store, question)
    found = Run(path, folder)
    failures.warn(found.manifest)
    return found


def missing_of(plan: Plan, store: Store) -> dict[int, frozenset[str]]:
    """What each block's files do not answer yet. Cost: one listing."""
    asked = frozenset(plan.questions)
    store.know(asked)
    done = store.finished()
    left = {answered: asked - answered for answered in {frozenset[str](), *done.values()}}
    missing = {block: left[done.get(block, frozenset())] for block in plan.blocks}
    return {block: ids for block, ids in missing.items() if ids}


def finish(store: Store, question: Mapping[str, Any]) -> None:
    """Say what needs every block's samples: how often the network is right, where not all were looked at before."""
    if question["data"]["samples"] > LOOKED_AT:
        store.sum_up({"knowledge": know(store, question)})


def _first_blocks(plan: Plan, *, show: bool) -> dict[int, Samples]:
    """The first blocks, with what the model predicts of them: so what cannot be explained is refused at the door."""
    blocks = plan.blocks[: max(1, LOOKED_AT // plan.batch)]
    told = track(blocks, description="predictions", console=Console(stderr=True), transient=True, disable=not show)
    return {block: plan.read(block) if block else plan.example for block in told}


def _known(plan: Plan, first: Mapping[int, Samples]) -> Knowledge:
    """How often the network is right on the samples that were looked at."""
    rows = [row for samples in first.values() for row in samples.rows]
    values = torch.tensor([row["output"] for row in rows], dtype=torch.float64)
    labels: Tensor | None = None
    for name, dtype in (("label", torch.int64), ("number", torch.float64)):
        if all(row[name] is not None for row in rows):
            labels = torch.tensor([row[name] for row in rows], dtype=dtype)
    return known_of(plan.meaning, plan.outputs, torch.tensor([row["predicted"] for row in rows]), values, labels)


def _ask(store: Store, question: dict[str, Any], before: Mapping[str, Any] | None) -> None:
    """Write down what is asked; rows of what was asked before and is not now are moved aside."""
    asked = frozenset(question["questions"]) | frozenset(question["summaries"].values())
    if store.question() != before:
        raise StoreError(f"Expected {store.files} as it was a moment ago, but another process wrote to it; run again.")
    if before is None:
        store.ask(question)
        return
    question["created"] = before["created"]
    # What lies in rows/ is at every moment among what is asked: first it is moved, then the question changes.
    store.set_aside(asked)
    if not same(before, question):
        store.ask(question, anew=True)
    store.bring_back(asked)


def _mend(store: Store) -> None:
    """Take away what was damaged since it was written, so that it is computed again, and say so."""
    if torn := store.mend():
        more = f" and {len(torn) - 3} more" if len(torn) > 3 else ""
        warnings.warn(
            f"Expected {store.files} as it was written, but {', '.join(torn[:3])}{more} changed since: a "
            "disk or a copy has damaged them. What they held is computed again.",
            HeatproofWarning,
            stacklevel=3,
        )


def _compute(worker: Worker, *, show: bool) -> None:
    """Everything that misses rows: what must be learned or trained first, the blocks, what is said of all of them."""
    plan, store, log = worker.plan, worker.store, worker.log
    missing: Missing = missing_of(plan, store)
    seconds = seconds_a_pass(plan) if missing else 0.0
    ahead = announce(plan, missing, seconds, show=show)
    with Progress(plan, missing, seconds, show=show) as progress:
        log.said["estimate"] = {**progress.estimate, **ahead}
        log.write(last=False)
        missing, failed = prepare(plan, worker.learned, missing)
        log.fail(failed)
        missing, failed = learning.learn(plan, worker.learned, missing, progress.fitting)
        log.fail(failed)
        log.said["learned"] = worker.learned.told
        local.run(worker, missing, progress.computed)
        log.fail(summarize(plan, store))


def _check_labels(labels: Tensor | None, targets: Tensor | None, plan: Plan) -> None:
    """Refuse labels that are not one a sample, and outputs of which none is predicted without targets."""
    count = len(plan.source)
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


def _check_settings(**settings: int | None) -> None:
    lowest = {"batch": 1, "threads": 1, "gallery": 0, "max_errors": 0}
    for name, value in settings.items():
        highest = MOST_THREADS if name == "threads" else BOUND
        if value is not None and (type(value) is not int or not lowest[name] <= value < highest):
            below = f", below {highest}" if type(value) is int and value >= highest else ""
            raise InputError(
                f"Expected {name} to be a whole number from {lowest[name]} on{below}, but got {shown(value)}."
            )


def _settings(
    before: Mapping[str, Any] | None, batch: int | None, threads: int | None, images: Tensor
) -> dict[str, int]:
    """Batch and threads: those of the run so far, if there is one, because its bits depend on them."""
    most = batch or min(rows_per_pass(images), MOST_ROWS)
    fresh = {"batch": min(most, len(images)), "threads": threads or torch.get_num_threads()}
    if before is None:
        return fresh
    kept = {"batch": before["settings"]["compute_batch"], "threads": before["settings"]["threads"]}
    for name, asked in (("batch", batch), ("threads", threads)):
        if asked is not None and fresh[name] != kept[name]:
            raise StoreError(
                f"Expected {name} = {kept[name]}, as this run began with, but got {asked}; "
                "the rows' bits depend on it. Leave it out, or choose another folder."
            )
    return kept
