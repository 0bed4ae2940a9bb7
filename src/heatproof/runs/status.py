"""How far a run is, and who is at it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from heatproof.runs import leases
from heatproof.runs.blocks import SUMMARY
from heatproof.runs.manifest import blocks_of, manifest_of
from heatproof.runs.store import LEASES, PARTIAL, Store


@dataclass(frozen=True, kw_only=True)
class Status:
    """What a listing of a run's folder tells, and what its workers said.

    `finished` of `blocks` are done in full, `answered` is the share of all their questions; `begun` have something put
    down. `workers` are those that are at it now, each with what it is at; one on another machine may be gone for a
    minute. `failures` are different ones whose rows are missing.
    """

    status: str
    blocks: int
    finished: int
    begun: int
    answered: float
    samples: int
    summed_up: bool
    workers: tuple[str, ...]
    failures: int
    seconds: float

    @classmethod
    def of(cls, run: Path | str) -> "Status":
        """The status of a run. Raises: StoreError if there is none. Cost: a few listings and the workers' files."""
        store = Store(run)
        question = store.asked(run)
        asked, done = frozenset(question["questions"]), store.finished()
        manifest = manifest_of(store, question, done)
        blocks = blocks_of(question)
        answers = [len(asked & done.get(block, frozenset())) for block in range(blocks)]
        return cls(
            status=manifest["status"],
            blocks=blocks,
            finished=sum(1 for count in answers if count == len(asked)),
            begun=len({part.block for part in store.parts(PARTIAL)}),
            answered=sum(answers) / (len(asked) * blocks),
            samples=question["data"]["samples"],
            summed_up=frozenset(question["summaries"].values()) <= done.get(SUMMARY, frozenset()),
            workers=tuple(_at_work(store)),
            failures=len(manifest["failures"]),
            seconds=sum(cost["seconds"] for cost in manifest["costs"].values()),
        )

    def describe(self) -> dict[str, Any]:
        """The fields as plain data."""
        return asdict(self)

    def sentences(self) -> list[str]:
        """The same in words, a line each."""
        told = [
            f"{self.finished:,} of {self.blocks:,} blocks are finished ({self.answered:.0%} of all answers), of "
            f"{self.samples:,} samples; the run is {self.status}."
        ]
        if self.begun:
            told.append(f"Of {self.begun} others some states are done.")
        told += self.workers or ("Nobody is at it.",)
        if self.failures:
            told.append(f"{self.failures} different failures; `heatproof finish` tells them.")
        if self.finished == self.blocks and not self.summed_up:
            told.append("What needs all blocks is not said yet: heatproof finish.")
        return told


def _at_work(store: Store) -> list[str]:
    """Who holds which lease, as far as nobody knows that he is gone."""
    by_holder: dict[tuple[Any, Any], list[str]] = {}
    for name in leases.held(store.files):
        found = leases.standing(store.files, f"{LEASES}/{name}.json")
        if found and leases.alive(found) is not False:
            by_holder.setdefault((found.get("pid"), found.get("host")), []).append(name)
    told = []
    for (pid, host), names in sorted(by_holder.items(), key=str):
        at = [f"block {int(name.removeprefix('block-'))}" for name in names if name.startswith("block-")]
        kind = next((name for name in names if name.startswith("shard-")), "")
        before = ["what the blocks wait for"] if any(name.startswith("prepared-") for name in names) else []
        what = " and ".join(filter(None, [kind.replace("-", " "), *at, *before])) or "all blocks"
        told.append(f"Process {pid} on {host} is at {what if names != ['run'] else 'all blocks'}.")
    return told
