"""What a worker elsewhere needs to know of an audit, and what it answers of a block."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from heatproof import allocator, artifacts, fast
from heatproof.arithmetic import pinned
from heatproof.auditing.learning import Learned
from heatproof.auditing.plan import Plan
from heatproof.auditing.worker import Worker, at_work
from heatproof.runs import leases
from heatproof.runs.files import Files
from heatproof.runs.prepared import Prepared
from heatproof.runs.store import Store


@dataclass(frozen=True)
class Answer:
    """Of one block: the maps and works of checks with their passes, and the kinds of what failed."""

    heard: tuple[tuple[str, float], ...]
    failed: tuple[tuple[str, str, str], ...]  # method, check, error


@dataclass(frozen=True)
class Task:
    """What a worker needs to know once."""

    plan: Plan
    learned: Learned
    files: Files
    known: dict[int, str]
    max_errors: int
    threads: int
    hands_on: bool = False  # what was prepared goes through the run's folder

    @classmethod
    def of(cls, worker: Worker) -> "Task":
        """What `worker` would do, to be done elsewhere."""
        return cls(
            worker.plan,
            worker.learned,
            worker.store.files,
            dict(worker.known),
            worker.max_errors,
            torch.get_num_threads(),
            artifacts.is_handed_on(),
        )

    @contextmanager
    def opened(self, device: str = "") -> Iterator["Session"]:
        """In here blocks are computed by this process, on the model's device or on another one."""
        plan = self.plan.on(device) if device else self.plan
        store, holder = Store(self.files), leases.fresh()
        store.know(plan.questions)
        with (
            artifacts.handed_on(Prepared(self.files, holder) if self.hands_on else None),
            allocator.kept(),
            pinned(self.threads),
            fast.opened(plan.fast, plan.model),
            at_work(
                plan, self.learned, store, holder, self.known, max_errors=self.max_errors, threads=self.threads
            ) as worker,
        ):
            yield Session(worker)


@dataclass(frozen=True)
class Session:
    """A worker that answers."""

    worker: Worker

    def compute(self, block: int, ids: Collection[str]) -> Answer:
        """The missing rows of a block. Raises: what `Worker.compute` raises."""
        told: list[tuple[str, float]] = []
        failures = self.worker.log.failures
        before = len(failures)
        self.worker.compute(block, ids, lambda label, passes: told.append((label, passes)))
        kinds = {(one["method"], one["check"], one["error"]) for one in failures[before:]}
        return Answer(tuple(told), tuple(sorted(kinds)))
