"""Hands block after block to workers that may die, whatever they are: processes of this machine, actors of a cluster.

A worker that dies is replaced, and what it was at is handed to another; a block at which three have died is recorded as
failed, and the audit goes on.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from heatproof.auditing.block import Heard
from heatproof.auditing.engines.task import Answer
from heatproof.auditing.plan import Missing
from heatproof.auditing.worker import Worker, too_many
from heatproof.errors import AuditError, HeatproofError
from heatproof.runs.workers import failure

DEATHS = 3  # of workers at one block, after which it counts as failed


@dataclass(frozen=True)
class Said:
    """What was heard of the worker in a place: that it can begin, what a block gave, that it refuses, or that it died.

    `ended` says how it died, and `refused` why the audit cannot be computed there; with neither and without an answer
    it is ready.
    """

    place: int
    answer: Answer | None = None
    refused: HeatproofError | None = None
    ended: str = ""

    @classmethod
    def of(cls, place: int, said: Answer | HeatproofError | None) -> "Said":
        """What a worker that lives has said."""
        return cls(place, refused=said) if isinstance(said, HeatproofError) else cls(place, answer=said)


class Crew(Protocol):
    """Workers in places, each of which takes one block at a time and answers."""

    places: int  # how many
    kind: str  # what they are called, in an error's name: Process, Actor
    noun: str  # and in its sentence: processes
    hint: str  # what to look at where none can begin

    def start(self, place: int) -> None:
        """A fresh worker in a place where none is."""

    def give(self, place: int, block: int, ids: Collection[str]) -> None:
        """A block, to a worker that has none."""

    def heard(self) -> Iterable[Said]:
        """What workers said since; waits for it, but not longer than a second or so. One that died is gone."""

    def stop(self) -> None:
        """Interrupted: let them put down what they have."""

    def end(self) -> None:
        """Let all go, and leave none behind."""


@dataclass
class Driver:
    """Hands out blocks, and replaces workers that have died."""

    worker: Worker
    missing: Missing
    heard: Heard
    crew: Crew
    at: dict[int, int] = field(default_factory=dict)  # by place, the block that its worker is at
    idle: set[int] = field(default_factory=set)
    living: set[int] = field(default_factory=set)
    deaths: Counter[int] = field(default_factory=Counter)
    errors: set[tuple[str, ...]] = field(default_factory=set)
    starts: dict[int, list[bool]] = field(default_factory=dict)  # by place, whether each worker so far got ready

    def run(self) -> None:
        """Until every block is done or given up.

        Raises: AuditError after too many failures, or where workers die before they have begun; what they refuse.
        """
        self.todo = sorted(self.missing, reverse=True)
        try:
            while self.todo or self.at:
                self._fill()
                for said in self.crew.heard():
                    self._take(said)
        except BaseException:
            self.crew.stop()
            raise
        finally:
            self.crew.end()

    def _fill(self) -> None:
        """Blocks for those that wait, and workers for the blocks that are left: no more than there is to do."""
        while self.idle and self.todo:
            place, block = self.idle.pop(), self.todo.pop()
            self.at[place] = block
            self.crew.give(place, block, self.missing[block])
        starting = len(self.living) - len(self.at) - len(self.idle)
        for place in range(self.crew.places):
            if place not in self.living and starting < len(self.todo):
                self.crew.start(place)
                self.living.add(place)
                starting += 1

    def _take(self, said: Said) -> None:
        if said.refused is not None:
            raise said.refused
        if said.ended:
            self._died(said.place, said.ended)
            return
        self.idle.add(said.place)
        if said.answer is not None:
            del self.at[said.place]
            for label, passes in said.answer.heard:
                self.heard(label, passes)
            self._failed(said.answer.failed)

    def _died(self, place: int, how: str) -> None:
        block = self.at.pop(place, None)
        starts = self.starts.setdefault(place, [])
        starts.append(block is not None or place in self.idle)
        self.living.discard(place)
        self.idle.discard(place)
        if starts[-DEATHS:] == [False] * DEATHS:
            raise AuditError(
                f"Stopped, as {DEATHS} {self.crew.noun} in a row ended ({how}) before they could begin; "
                f"{self.crew.hint} What is finished is kept; run again to go on."
            )
        if block is None:
            return
        self.deaths[block] += 1
        if self.deaths[block] < DEATHS:
            self.todo.append(block)
            return
        said = failure(
            f"{self.crew.kind}Died: {DEATHS} {self.crew.noun} ended ({how}) while they were at block {block}."
        )
        self.worker.log.fail([said], block)
        self.worker.log.write(last=False)
        self._failed([(said["method"], said["check"], said["error"])])

    def _failed(self, kinds: Sequence[tuple[str, ...]]) -> None:
        self.errors.update(kinds)
        if len(self.errors) > self.worker.max_errors:
            raise too_many(len(self.errors), self.worker.max_errors, sorted(self.errors)[-1][-1])
