"""The course of an audit: plan, claim the folder, learn, compute, say what needs all blocks."""

import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from heatproof import allocator, artifacts, fast, signals
from heatproof.arithmetic import pinned
from heatproof.auditing import learning, lines
from heatproof.auditing.asked import Asked
from heatproof.auditing.engines import local, on_ray, processes, shared
from heatproof.auditing.knowledge import Knowledge, known_of
from heatproof.auditing.learning import Learned
from heatproof.auditing.manifest import About, check_same_run, pictures, question_of, same
from heatproof.auditing.passes import seconds_a_pass
from heatproof.auditing.plan import Missing, Plan
from heatproof.auditing.planning import make
from heatproof.auditing.preparation import announce, prepare
from heatproof.auditing.progress import Progress
from heatproof.auditing.samples import Looked, Samples, Source, Tensors, taken
from heatproof.auditing.settings import settings_of, some
from heatproof.auditing.summaries import sum_up, summarize
from heatproof.auditing.trials import entered, trials, warn
from heatproof.auditing.ways import Way
from heatproof.auditing.worker import Worker, at_work, check_same, missing_of, write_samples
from heatproof.errors import HeatproofWarning, StoreError, TornError
from heatproof.intact import intact
from heatproof.runs import leases
from heatproof.runs.blocks import SUMMARY
from heatproof.runs.manifest import is_complete
from heatproof.runs.prepared import Prepared
from heatproof.runs.store import Store

MENDED = 20_000  # files that a start looks into for damage; of more it takes their names for what they hold
LOOKED_AT = 1024  # samples whose predictions are looked at before anything is computed
Question = dict[str, Any]


def conduct(
    model: nn.Module, source: Source, asked: Asked, way: Way, run: Path, about: About, *, progress: bool
) -> None:
    """Everything from the plan to the last block, as far as this process has a part in it."""
    store = Store(run)
    store.check()
    with _ends_in_order():
        while not _conducted(model, source, asked, way, store, about, show=progress):
            pass  # another process began the run a moment ago: what it settled holds for this one, too


def _conducted(
    model: nn.Module, source: Source, asked: Asked, way: Way, store: Store, about: About, *, show: bool
) -> bool:
    try:
        before = store.question()
    except TornError:  # what was asked is asked anew, and rows that answer it stay
        before = None
    settings = settings_of(before, asked, model, source, way)
    with allocator.kept(), intact(model), pinned(settings.threads, some(model, source, 4)[1].inputs.dtype):
        count = len(before["shown"]) if before else asked.gallery
        shown = taken(model, source.read(0, min(count, len(source))), 0)[1]
        plan = planned(model, source, asked, settings.batch, shown.ids)
        first = {} if before else _first_blocks(plan, show=show)
        known = Knowledge(**before["knowledge"]) if before else _known(plan, first)
        for said in filter(None, (about.read, known.sentence)):
            lines.console(show=show).print(said, highlight=False, markup=False, soft_wrap=True)
        tried = trials(plan)
        warn(tried)
        question = question_of(
            plan, about, settings=settings, shown=shown, known=known,
            states=entered(plan.describe()["states"], tried), believable=asked.believable,
        )  # fmt: skip
        if before:
            check_same_run(before, question, mixed=asked.mixed)
            if not asked.mixed:  # which may round the samples' embeddings otherwise
                check_same(store.samples(), plan.first, plan.example)  # no other finished block is read again
        store.open()
        holder = leases.fresh()
        with _claimed(store, way, holder):
            if not way.shared:
                _mend(store)
            begun = _ask_together if way.shared else _ask
            if not begun(store, question, before):
                return False
            store.write_inputs(pictures(shown))
            for block, samples in first.items():
                write_samples(store, block, samples)
            handing = Prepared(store.files, holder) if way.shared or way.actors is not None else None
            with (
                artifacts.handed_on(handing),
                fast.opened(plan.fast, plan.model),
                at_work(
                    plan,
                    Learned(),
                    store,
                    holder,
                    store.samples(),
                    explained={block: one for block, one in first.items() if isinstance(one, Samples)},
                    max_errors=asked.max_errors,
                    threads=settings.threads,
                ) as worker,
            ):
                computed = _compute(worker, way, show=show, mixed=asked.mixed)
            complete = handing is None or is_complete(question, store.finished())
            if (computed or store.summed_up() is None) and (complete or not way.shared):
                sum_up(store, question, LOOKED_AT)
            if handing is not None and complete:
                handing.clear()
    return True


def planned(model: nn.Module, source: Source, asked: Asked, batch: int, shown: Sequence[str] = ()) -> Plan:
    """The plan of an audit, after everything that can be refused has been refused."""
    plan = make(
        model, source, asked.methods, asked.checks,
        features=asked.features, batch=batch, training=asked.training, said=asked.outputs, shown=shown,
        fast=asked.fast, shrinks=asked.shrink_on_oom,
    )  # fmt: skip
    learning.check(plan)
    return plan


@contextmanager
def _ends_in_order() -> Iterator[None]:
    """A scheduler's SIGTERM ends an audit as Ctrl-C does: what is done is put down, and leases are left."""

    def end(*_: Any) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    usual = signals.in_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not usual:  # somebody else has plans for it, or cannot have any
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _claimed(store: Store, way: Way, holder: str) -> Iterator[None]:
    """Alone with the run, or one of those that share it.

    Raises: StoreError where somebody else is alone with it, or computes the same share.
    """
    if not way.shared:
        with leases.alone(store.files, leases.RUN, holder):
            leases.wait_for(store.files, *(name for name in leases.held(store.files) if name != leases.RUN))
            store.sweep()
            yield
        return
    leases.wait_for(store.files, leases.RUN)
    name = f"worker-{holder}" if way.shard is None else f"shard-{way.shard[0] + 1}-of-{way.shard[1]}"
    with leases.alone(store.files, name, holder):
        yield


def _first_blocks(plan: Plan, *, show: bool) -> dict[int, Samples | Looked]:
    """What the model predicts of the first blocks: so what cannot be explained is refused at the door.

    Of samples that lie in memory, where the network is, all of it is kept for when their turn comes.
    """
    blocks = plan.blocks[: max(1, LOOKED_AT // plan.batch)]
    found: dict[int, Samples | Looked] = {}
    for block in lines.following(blocks, "predictions", show=show):
        samples = plan.example if block == plan.first else plan.read(block)
        if samples is not None:
            there = isinstance(plan.source, Tensors) and plan.source.inputs.device == samples.inputs.device
            found[block] = samples if there else Looked(samples.digest, samples.rows)
    return found


def _known(plan: Plan, first: Mapping[int, Samples | Looked]) -> Knowledge:
    """How often the network is right on the samples that were looked at."""
    rows = [row for samples in first.values() for row in samples.rows]
    values = torch.tensor([row["output"] for row in rows], dtype=torch.float64)
    labels: Tensor | None = None
    for name, dtype in (("label", torch.int64), ("number", torch.float64)):
        if all(row[name] is not None for row in rows):
            labels = torch.tensor([row[name] for row in rows], dtype=dtype)
    return known_of(plan.meaning, plan.outputs, torch.tensor([row["predicted"] for row in rows]), values, labels)


def _ask(store: Store, question: Question, before: Mapping[str, Any] | None) -> bool:
    """Write down what is asked; rows of what was asked before and is not now are moved aside."""
    asked = frozenset(question["questions"]) | frozenset(question["summaries"].values())
    if store.question() != before:
        return False
    if before is None:
        return store.ask(question)
    question["created"] = before["created"]
    # What lies in rows/ is at every moment among what is asked: first it is moved, then the question changes.
    store.set_aside(asked)
    if not same(before, question):
        store.ask(question, anew=True)
    store.bring_back(asked)
    return True


def _mend(store: Store) -> None:
    """Take away what was damaged since it was written, so that it is computed again, and say so."""
    if torn := store.mend(MENDED):
        more = f" and {len(torn) - 3} more" if len(torn) > 3 else ""
        warnings.warn(
            f"Expected {store.files} as it was written, but {', '.join(torn[:3])}{more} changed since: a "
            "disk or a copy has damaged them. What they held is computed again.",
            HeatproofWarning,
            stacklevel=6,
        )


def _ask_together(store: Store, question: Question, before: Mapping[str, Any] | None) -> bool:
    """The same of a run that others may be writing to: what it asks is not changed.

    Raises: StoreError where it asks something else.
    """
    if before is None:
        return store.ask(question)
    if not same(before, question):
        raise StoreError(
            f"Expected an audit that asks what {store.files} was begun with, as other processes may be writing to it, "
            "but its methods, checks or settings are others; run it once alone (without a shard or take) to change "
            "them, or choose another folder."
        )
    return True


def _compute(worker: Worker, way: Way, *, show: bool, mixed: bool) -> bool:
    """Everything that misses rows: what must be learned or trained first, the blocks, what is said of all of them.

    Gives whether anything was missing.
    """
    plan, store, log = worker.plan, worker.store, worker.log
    missing: Missing = missing_of(plan, store)
    if not missing and frozenset(plan.summaries.values()) <= store.finished_of(SUMMARY):
        log.said["estimate"] = Progress(plan, missing, 0.0, show=False).estimate
        return False  # a run that is complete is not read again
    if way.shard is not None:
        place, count = way.shard
        missing = {block: ids for block, ids in missing.items() if block % count == place}
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
        if way.actors is not None and missing:
            on_ray.run(worker, missing, progress.computed, way.actors, mixed=mixed)
        elif way.devices and missing:
            processes.run(worker, missing, progress.computed, way.devices)
        elif way.take:
            shared.run(worker, missing, progress.computed)
        else:
            local.run(worker, missing, progress.computed)
        if not way.shared or not missing_of(plan, store):
            log.fail(summarize({check.label: check.recipe for check in plan.checks}, plan.summaries, store))
    return True
