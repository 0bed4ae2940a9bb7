"""Who computes blocks: each is read, computed and written here, by any engine, in any process."""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from heatproof.auditing import environment
from heatproof.auditing.block import Heard, run_block
from heatproof.auditing.gathering import Finished
from heatproof.auditing.learning import Learned
from heatproof.auditing.plan import Plan
from heatproof.auditing.samples import Looked, Portion, Samples
from heatproof.auditing.shrinking import Shrinking
from heatproof.errors import AuditError, StoreError
from heatproof.runs import blocks
from heatproof.runs.rows import current_maps
from heatproof.runs.store import MAPS, PARTIAL, ROWS, Store
from heatproof.runs.workers import Log, failure

PUT_DOWN = 5.0  # seconds of work on a block after which what is done of it is put down


def unheard(_: str, __: float) -> None:
    """Nobody is told."""


@dataclass
class Worker:
    """Computes blocks and writes what is finished.

    `known` are the digests of the samples of blocks that were begun before, whose files are there; `explained` blocks
    of which it is settled already what is explained. After more than
    `max_errors` different failures it stops. `ended` is asked after each state whether to put down what is done and
    end, for who cannot be interrupted.
    """

    plan: Plan
    learned: Learned
    store: Store
    log: Log
    known: Mapping[int, str] = field(default_factory=dict)
    max_errors: int = 10
    ended: Callable[[], bool] = lambda: False
    explained: Mapping[int, Samples] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shrinking = Shrinking(self.plan.shrinks)

    def compute(
        self, block: int, missing: Collection[str], heard: Heard = unheard, portion: Portion | Exception | None = None
    ) -> None:
        """The missing rows of a block, and the file of all of them; `portion` are its samples, if they were read.

        Raises: AuditError after too many failures; StoreError if the samples are others than before; SystemExit where
            it is to end.
        """
        try:
            samples = self._samples(block, portion)
        except StoreError:
            raise
        except Exception as error:  # one block's failure must not cost the others their rows
            self._fail([failure(error)], block)
            return
        if samples is None:  # nothing that could be used: nothing to answer
            self.store.write_rows(ROWS, block, blocks.digest_of(()), blocks.empty(), missing)
            return
        done = _Done(self.store, block, samples.digest[: blocks.DIGITS], missing)
        try:
            for finished in run_block(self.plan, block, samples, self.learned, done.left, heard, self.shrinking):
                done.add(finished)
                for label, seconds in finished.seconds.items():
                    self.log.cost(label, self.plan.batch, seconds)
                for label, number in finished.unusable.items():
                    self.log.unusable(label, number)
                self.log.said["shrunk"] = self.shrinking.told()
                self._fail(finished.failures, block)
                if self.ended():
                    raise SystemExit
                if time.monotonic() - done.since > PUT_DOWN:
                    done.put_down()
        except (AuditError, KeyboardInterrupt, SystemExit):
            done.put_down()
            raise
        done.finish()
        self.log.said["blocks"] += 1
        self.log.write()

    def _samples(self, block: int, portion: Portion | Exception | None) -> Samples | None:
        """The samples of a block; the run's files say what they are."""
        if isinstance(portion, Exception):
            raise portion
        if portion is None:
            portion = self.plan.source.read(*self.plan.range(block))
        self.log.skip(portion.skipped)
        settled = {self.plan.first: self.plan.example, **self.explained}
        samples = settled[block] if block in settled else self.plan.explained(block, portion)
        if samples is None:
            return None
        if block not in self.known:
            write_samples(self.store, block, samples)
        check_same(self.known, block, samples)
        return samples

    def _fail(self, failures: Collection[Any], block: int) -> None:
        if not failures:
            return
        self.log.fail(failures, block)
        if self.log.kinds > self.max_errors:
            raise too_many(self.log.kinds, self.max_errors, self.log.failures[-1]["error"])


@contextmanager
def at_work(
    plan: Plan,
    learned: Learned,
    store: Store,
    holder: str,
    known: Mapping[int, str],
    *,
    explained: Mapping[int, Samples] | None = None,
    max_errors: int,
    threads: int,
) -> Iterator[Worker]:
    """A worker whose log says what it runs on, and is written to its end however it ends."""
    inputs = plan.example.inputs
    log = Log(store, holder, environment.describe(inputs.device, inputs.dtype, threads, plan.batch))
    log.said["recipes"] = plan.recipes
    try:
        yield Worker(plan, learned, store, log, known, max_errors, explained=explained or {})
    finally:
        log.write(last=True)


def check_same(known: Mapping[int, str], block: int, samples: Samples) -> None:
    """Refuse samples that are not those that a block was begun with. Raises: StoreError."""
    if known.get(block, samples.digest[: blocks.DIGITS]) != samples.digest[: blocks.DIGITS]:
        raise StoreError(
            f"Expected the samples that block {block} had when it was begun ({samples.ids[0]!r} and on), but they, "
            "or what the model predicts of them, are others now. Choose another folder."
        )


def too_many(count: int, allowed: int, last: str) -> AuditError:
    """What ends an audit in which too much failed."""
    return AuditError(
        f"Stopped after {count} different failures ({allowed} are allowed); the last: {last} What is finished is kept; "
        "run again to go on."
    )


def missing_of(plan: Plan, store: Store) -> dict[int, frozenset[str]]:
    """What each block's files do not answer yet. Cost: one listing."""
    asked = frozenset(plan.questions)
    store.know(asked)
    done = store.finished()
    left = {answered: asked - answered for answered in {frozenset[str](), *done.values()}}
    missing = {block: left[done.get(block, frozenset())] for block in plan.blocks}
    return {block: ids for block, ids in missing.items() if ids}


def write_samples(store: Store, block: int, samples: Samples | Looked) -> None:
    """What is explained in a block, into its file."""
    table = pa.Table.from_pylist([dict(row) for row in samples.rows], schema=blocks.SAMPLE_SCHEMA)
    store.write_samples(block, samples.digest[: blocks.DIGITS], table)


class _Done:
    """What is done of a block: taken up where somebody left it, put down now and then, and written as one file."""

    def __init__(self, store: Store, block: int, samples: str, missing: Collection[str]) -> None:
        self.store, self.block, self.samples = store, block, samples
        self.tables: list[pa.Table] = []
        self.maps: dict[str, Any] = {}
        self.answered: dict[str, set[str]] = {}  # by method, the questions that its maps were made for
        self.questions: set[str] = set()
        self.new: list[Finished] = []
        for part in store.partial(block, samples):
            here = (store.questions(part) & set(missing)) - self.questions if part.kind == "parquet" else frozenset()
            if here:
                self.tables.append(blocks.only(store.table(part), here))
                self.questions |= here
            if part.kind == "safetensors":
                self._take_up(*store.maps(part), missing)
        self.left = frozenset(missing) - self.questions
        self.since = time.monotonic()

    def _take_up(self, maps: Mapping[str, Any], answered: Mapping[str, list[str]], missing: Collection[str]) -> None:
        current = current_maps(maps, answered, missing)
        self.maps |= {json.dumps(list(key)): values for key, values in current.items()}
        for method in {key[1] for key in current}:
            self.answered.setdefault(method, set()).update(answered[method])

    def add(self, finished: Finished) -> None:
        """What one more state gave."""
        self.new.append(finished)

    def put_down(self) -> None:
        """Keep what is new since the last time."""
        table, maps, answered, questions = self._new()
        if maps:
            self.store.write_maps(PARTIAL, self.block, self.samples, maps, answered)
        if questions:
            self.store.write_rows(PARTIAL, self.block, self.samples, table, questions)
        self._gather(table, maps, answered, questions)

    def finish(self) -> None:
        """The file of all that this block answers, and of the maps to be shown; partial ones go."""
        self._gather(*self._new())
        if self.maps:  # first: rows on the disk say that all of it is there
            self.store.write_maps(MAPS, self.block, self.samples, self.maps, self.answered)
        if self.questions:
            table = pa.concat_tables(self.tables)
            self.store.write_rows(ROWS, self.block, self.samples, table, self.questions)
        self.store.clear_partial(self.block)

    def _new(self) -> tuple[pa.Table, dict[str, Any], dict[str, set[str]], set[str]]:
        table = pa.concat_tables([one.rows.table() for one in self.new]) if self.new else blocks.empty()
        maps = {
            json.dumps(list(key)): value
            for one in self.new
            for key, value in one.maps.items()
            if one.about.get(key[1])  # a map that answers nothing here was made for another state to look back to
        }
        questions = {key for one in self.new for key in one.questions}
        answered: dict[str, set[str]] = {}
        for one in self.new:
            for method in {name[1] for name in one.maps} & one.about.keys():
                answered.setdefault(method, set()).update(one.about[method])
        self.new, self.since = [], time.monotonic()
        return table, maps, answered, questions

    def _gather(
        self, table: pa.Table, maps: dict[str, Any], answered: dict[str, set[str]], questions: set[str]
    ) -> None:
        self.tables.append(table)
        self.maps |= maps
        self.questions |= questions
        for method, named in answered.items():
            self.answered.setdefault(method, set()).update(named)
