"""Processes on this machine, one a device if devices are named: each is handed block after block.

A process that dies is replaced, and what it was at is handed to another; a block at which three have died is recorded
as failed, and the audit goes on. Every process reads and writes its blocks itself; this one only tells which.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch

from heatproof import allocator
from heatproof.arithmetic import pinned
from heatproof.auditing import environment
from heatproof.auditing.block import Heard
from heatproof.auditing.learning import Learned
from heatproof.auditing.plan import Missing, Plan
from heatproof.auditing.worker import Worker, too_many
from heatproof.errors import AuditError, HeatproofError, InputError
from heatproof.runs import leases
from heatproof.runs.files import Files
from heatproof.runs.store import Store
from heatproof.runs.workers import Log, failure

DEATHS = 3  # of processes at one block, after which it counts as failed
READY, HEARD, DONE, REFUSED = "ready", "heard", "done", "refused"


@dataclass(frozen=True)
class Task:
    """What a process needs to know once."""

    plan: Plan
    learned: Learned
    files: Files
    known: dict[int, str]
    max_errors: int
    threads: int


@dataclass
class Place:
    """A device, and the process that is at it now."""

    device: str
    process: SpawnProcess | None = None
    pipe: Any = None
    block: int | None = None  # that it is at
    ready: bool = False
    starts: list[bool] = field(default_factory=list)  # whether each process so far got ready


def run(worker: Worker, missing: Missing, heard: Heard, devices: Sequence[str]) -> None:
    """Compute the missing rows in a process for each of `devices`, "" for the one that the model is on.

    Raises: AuditError after too many failures, or where processes die before they have begun; InputError for what
        cannot be sent to another process.
    """
    for device in devices:
        _check_device(device)
    task = Task(
        worker.plan, worker.learned, worker.store.files, dict(worker.known), worker.max_errors, torch.get_num_threads()
    )
    with tempfile.TemporaryDirectory(prefix="heatproof-") as folder:
        file = Path(folder) / "task.pickle"
        try:
            file.write_bytes(pickle.dumps(task))
        except Exception as error:  # whatever somebody's object does not like
            raise InputError(
                f"Expected an audit that can be sent to another process, but pickling it raised "
                f"{type(error).__name__}: {error}. Define networks and methods in a module of their own, not inside a "
                "function, or run it in this process."
            ) from error
        _Driver(worker, missing, heard, [Place(device) for device in devices], file).run()


class _Driver:
    """Hands out blocks, and replaces processes that have died."""

    def __init__(self, worker: Worker, missing: Missing, heard: Heard, places: list[Place], file: Path) -> None:
        self.worker, self.missing, self.heard, self.places, self.file = worker, missing, heard, places, file
        self.todo = sorted(missing, reverse=True)
        self.deaths: Counter[int] = Counter()
        self.errors: set[tuple[str, ...]] = set()

    def run(self) -> None:
        """Until every block is done or given up."""
        try:
            while self.todo or any(place.block is not None for place in self.places):
                for place in self.places:
                    if place.process is None and self.todo:
                        self._start(place)
                self._listen()
        except BaseException:
            for place in self.places:
                if place.process is not None:
                    place.process.terminate()  # it puts down what it has
            raise
        finally:
            for place in self.places:
                self._end(place)

    def _listen(self) -> None:
        living = [place for place in self.places if place.process is not None]
        by_pipe = {place.pipe: place for place in living}
        for pipe in wait([*by_pipe], timeout=1.0):
            place = by_pipe[pipe]
            try:
                kind, said = place.pipe.recv()
            except (EOFError, OSError):
                self._died(place)
                continue
            if kind == HEARD:
                for label, passes in said:
                    self.heard(label, passes)
            elif kind == REFUSED:
                raise said
            else:
                place.ready, place.block = True, None
                if kind == DONE:
                    self._failed(said)
                self._hand(place)

    def _hand(self, place: Place) -> None:
        """The next block, or leave to go."""
        place.block = self.todo.pop() if self.todo else None
        with contextlib.suppress(OSError):  # it has died: the next look at it will tell
            place.pipe.send(None if place.block is None else (place.block, self.missing[place.block]))

    def _start(self, place: Place) -> None:
        context = multiprocessing.get_context("spawn")
        place.pipe, theirs = context.Pipe()
        place.ready, place.block = False, None
        place.process = context.Process(target=_work, args=(theirs, str(self.file), place.device), daemon=True)
        place.process.start()
        theirs.close()

    def _died(self, place: Place) -> None:
        assert place.process is not None
        place.process.join()
        code, block = place.process.exitcode, place.block
        place.starts.append(place.ready)
        place.pipe.close()
        place.process, place.block = None, None
        if place.starts[-DEATHS:] == [False] * DEATHS:
            raise AuditError(
                f"Stopped, as {DEATHS} processes in a row ended ({_ending(code)}) before they could begin; see what "
                "they wrote above. A script that starts an audit with processes needs its lines under "
                'if __name__ == "__main__":. What is finished is kept; run again to go on.'
            )
        if block is None:
            return
        self.deaths[block] += 1
        if self.deaths[block] < DEATHS:
            self.todo.append(block)
            return
        said = failure(f"ProcessDied: {DEATHS} processes ended ({_ending(code)}) while they were at block {block}.")
        self.worker.log.fail([said], block)
        self.worker.log.write(last=False)
        self._failed([(said["method"], said["check"], said["error"])])

    def _failed(self, kinds: Sequence[tuple[str, ...]]) -> None:
        self.errors.update(kinds)
        if len(self.errors) > self.worker.max_errors:
            raise too_many(len(self.errors), self.worker.max_errors, sorted(self.errors)[-1][-1])

    def _end(self, place: Place) -> None:
        if place.process is None:
            return
        with contextlib.suppress(OSError):
            place.pipe.send(None)
        place.process.join(timeout=30)
        if place.process.is_alive():
            place.process.kill()
            place.process.join()
        place.pipe.close()


def _work(pipe: Connection, file: str, device: str) -> None:
    """What a process does: open the task, then block after block."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver hears of it, and ends its processes
    signal.signal(signal.SIGTERM, _ended)
    _leave_with_parent()
    task: Task = pickle.loads(Path(file).read_bytes())
    plan = task.plan.on(device) if device else task.plan
    store = Store(task.files)
    store.know(plan.questions)
    with allocator.kept(), pinned(task.threads):
        inputs = plan.example.inputs
        log = Log(store, leases.fresh(), environment.describe(inputs.device, inputs.dtype, task.threads, plan.batch))
        log.said["recipes"] = plan.recipes
        worker = Worker(plan, task.learned, store, log, task.known, task.max_errors)
        told: list[tuple[str, float]] = []
        try:
            pipe.send((READY, None))
            while (given := pipe.recv()) is not None:
                before = len(log.failures)
                block, ids = given
                worker.compute(block, ids, lambda label, passes: told.append((label, passes)))
                pipe.send((HEARD, told))
                told.clear()
                kinds = {(one["method"], one["check"], one["error"]) for one in log.failures[before:]}
                pipe.send((DONE, sorted(kinds)))
        except HeatproofError as error:
            with contextlib.suppress(OSError):
                pipe.send((REFUSED, error))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass  # the driver is gone
        finally:
            log.write(last=True)


def _ended(*_: Any) -> None:
    raise SystemExit(143)


def _leave_with_parent() -> None:
    """End when the driver does: nobody would hand out another block, and a run that goes on has workers of its own."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            wait([parent.sentinel])
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


def _check_device(device: str) -> None:
    if not device:
        return
    try:
        torch.empty(0, device=torch.device(device))
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"Expected devices of this machine, but {device!r} is none: {error}.") from None


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"by {signal.Signals(-code).name}"
    return f"with status {code}"
