"""What an audit would take, before it is run: blocks, passes, bytes, hours, and what is dear."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from heatproof.arithmetic import pinned
from heatproof.auditing import learning
from heatproof.auditing.course import planned
from heatproof.auditing.from_spec import load, settings, subject_of
from heatproof.auditing.lines import duration
from heatproof.auditing.maps_needed import methods_needed
from heatproof.auditing.passes import seconds_a_pass
from heatproof.auditing.plan import Plan, every
from heatproof.auditing.run import asked_of
from heatproof.auditing.settings import chosen, measured, settings_of
from heatproof.auditing.spec import AuditSpec
from heatproof.auditing.worker import missing_of
from heatproof.intact import intact
from heatproof.runs.store import Store

ROW_BYTES = 12  # of a row on the disk, as measured
ROWS_A_MAP = 8  # of a method in a state for a sample, about: similarities and diagnostics
DEAR = 0.25  # share of all passes from which on a method or check is named


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What is left to do of an audit.

    `passes` count a forward and a backward pass of one sample, and `shares` are those of each method and check.
    `seconds` are those of one worker at the pace that was measured here; a fit is made once. `rates` are samples a
    second of the network by the size of passes, of an audit that is not begun and leaves the size to heatproof.
    """

    samples: int
    blocks: int
    batch: int
    missing_blocks: int
    questions: int
    states: int
    maps: int
    passes: int
    shares: Mapping[str, float]
    bytes: int
    seconds: float
    seconds_of_fits: float
    rates: Mapping[int, float] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """The fields as plain data."""
        return asdict(self)

    def hours(self, workers: int) -> float:
        """The hours that so many workers take, each at this machine's pace."""
        at_once = min(workers, max(1, self.missing_blocks))
        rounds = -(-self.missing_blocks // at_once) if self.missing_blocks else 0
        a_block = self.seconds / max(1, self.missing_blocks)
        return (self.seconds_of_fits + rounds * a_block) / 3600

    def sentences(self, workers: int = 1) -> list[str]:
        """The same in words, a line each."""
        told = [
            f"{self.samples:,} samples in {self.blocks:,} blocks of {self.batch}; {self.questions:,} questions in "
            f"{self.states} states.",
            f"{self.missing_blocks:,} blocks to compute: {self.maps:,} maps, {self.passes:,} passes, about "
            f"{duration(self.hours(workers) * 3600)} on {workers} worker{'s' if workers > 1 else ''} of this machine's "
            "pace.",
            f"About {self.bytes / 2**20:,.0f} MiB of rows in {2 * self.blocks:,} files.",
        ]
        best = chosen(self.rates, self.batch)
        if best != self.batch:
            faster = self.rates[best] / self.rates[self.batch]
            told.append(f"Passes of {best} samples are {faster:.1f} × as fast as of {self.batch} here: batch = {best}.")
        for name, share in sorted(self.shares.items(), key=lambda one: -one[1]):
            if share >= DEAR:
                told.append(f"{name} takes {share:.0%} of it: leave it out, or give it fewer steps, samples or labels.")
        return told


def forecast(spec: AuditSpec, out: Path) -> Forecast:
    """What an audit of a spec into the folder `out` would take. Nothing is written there.

    Cost: what planning costs, four forward passes of a block, and a second for passes of other sizes.
    """
    found, store = load(spec), Store(out)
    subject = subject_of(spec, found)
    asked = asked_of(subject, **settings(spec), training=found.training, threads=spec.threads)
    before = store.question()
    kept = settings_of(before, asked, subject.model, subject.source)
    open_ = before is None and spec.batch is None and kept.batch < len(subject.source)
    with pinned(kept.threads), intact(subject.model):
        rates = measured(subject.model, subject.source, kept.batch) if open_ else {}
        return _of(planned(subject.model, subject.source, asked, kept.batch), store, rates)


def _of(plan: Plan, store: Store, rates: Mapping[int, float]) -> Forecast:
    missing = missing_of(plan, store)
    ids = every(missing)
    needed = methods_needed(plan, plan.asked(ids))
    spent: dict[str, float] = {}
    maps = 0
    for methods in needed.values():
        for method in methods:
            maps += 1
            spent[method.label] = spent.get(method.label, 0.0) + plan.passes[method.label]
    for (check, _, _), passes in plan.passes_of_checks.items():
        if passes:
            spent[check] = spent.get(check, 0.0) + passes
    total = sum(spent.values())
    a_pass = seconds_a_pass(plan)
    samples = len(missing) * plan.batch
    return Forecast(
        samples=len(plan.source),
        blocks=len(plan.blocks),
        batch=plan.batch,
        missing_blocks=len(missing),
        questions=len(plan.questions),
        states=len(plan.conditions),
        maps=maps * samples,
        passes=round(total * samples),
        shares={name: passes / total for name, passes in spent.items()} if total else {},
        bytes=maps * samples * ROWS_A_MAP * ROW_BYTES,
        seconds=total * len(missing) * a_pass,
        seconds_of_fits=learning.cost(plan, missing) / plan.batch * a_pass,
        rates=rates,
    )
