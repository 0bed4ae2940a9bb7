"""Processes on this machine, one a device if devices are named: each is handed block after block.

Every process reads and writes its blocks itself; this one only tells which.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch

from heatproof.auditing.block import Heard
from heatproof.auditing.engines.driver import Driver, Said
from heatproof.auditing.engines.task import Task
from heatproof.auditing.plan import Missing
from heatproof.auditing.worker import Worker
from heatproof.errors import HeatproofError, InputError


def run(worker: Worker, missing: Missing, heard: Heard, devices: Sequence[str]) -> None:
    """Compute the missing rows in a process for each of `devices`, "" for the one that the model is on.

    Raises: AuditError after too many failures, or where processes die before they have begun; InputError for what
        cannot be sent to another process.
    """
    for device in devices:
        _check_device(device)
    with tempfile.TemporaryDirectory(prefix="heatproof-") as folder:
        file = Path(folder) / "task.pickle"
        try:
            file.write_bytes(pickle.dumps(Task.of(worker)))
        except Exception as error:  # whatever somebody's object does not like
            raise InputError(
                f"Expected an audit that can be sent to another process, but pickling it raised "
                f"{type(error).__name__}: {error}. Define networks and methods in a module of their own, not inside a "
                "function, or run it in this process."
            ) from error
        Driver(worker, missing, heard, _Processes(devices, file)).run()


@dataclass(frozen=True)
class _Process:
    process: SpawnProcess
    pipe: Any


class _Processes:
    """One a device."""

    kind, noun = "Process", "processes"
    hint = (
        "see what they wrote above. A script that starts an audit with processes needs its lines under "
        'if __name__ == "__main__":.'
    )

    def __init__(self, devices: Sequence[str], file: Path) -> None:
        self.devices, self.file = devices, file
        self.places = len(devices)
        self.living: dict[int, _Process] = {}

    def start(self, place: int) -> None:
        """A fresh process for a device."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, str(self.file), self.devices[place]), daemon=True)
        process.start()
        theirs.close()
        self.living[place] = _Process(process, ours)

    def give(self, place: int, block: int, ids: Collection[str]) -> None:
        """A block, by its pipe."""
        with contextlib.suppress(OSError):  # it has died: the next look at it will tell
            self.living[place].pipe.send((block, ids))

    def heard(self) -> Iterator[Said]:
        """What came by the pipes; a pipe that ends is a process that has ended."""
        by_pipe = {one.pipe: place for place, one in self.living.items()}
        for pipe in wait([*by_pipe], timeout=1.0):
            place = by_pipe[pipe]
            try:
                said = self.living[place].pipe.recv()
            except (EOFError, OSError):
                yield Said(place, ended=self._buried(place))
                continue
            yield Said.of(place, said)

    def _buried(self, place: int) -> str:
        one = self.living.pop(place)
        one.process.join()
        one.pipe.close()
        return _ending(one.process.exitcode)

    def stop(self) -> None:
        """They put down what they have."""
        for one in self.living.values():
            one.process.terminate()

    def end(self) -> None:
        """Leave to go, and half a minute to take it."""
        for one in self.living.values():
            with contextlib.suppress(OSError):
                one.pipe.send(None)
        for one in self.living.values():
            one.process.join(timeout=30)
            if one.process.is_alive():
                one.process.kill()
                one.process.join()
            one.pipe.close()
        self.living.clear()


def _work(pipe: Connection, file: str, device: str) -> None:
    """What a process does: open the task, then block after block."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver hears of it, and ends its processes
    signal.signal(signal.SIGTERM, _ended)
    _leave_with_parent()
    task: Task = pickle.loads(Path(file).read_bytes())
    with task.opened(device) as session:
        try:
            pipe.send(None)
            while (given := pipe.recv()) is not None:
                pipe.send(session.compute(*given))
        except HeatproofError as error:
            with contextlib.suppress(OSError):
                pipe.send(error)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass  # the driver is gone


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
