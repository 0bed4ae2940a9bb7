"""Requirements held against a run, each by its interval: what cannot be told is not kept."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heatproof.errors import InputError, unknown
from heatproof.gate.changes import changes
from heatproof.gate.requirements import Requirement, parse
from heatproof.reading import Verdicts
from heatproof.reading.believable import BELIEVABLE
from heatproof.reading.shares import sentence
from heatproof.runs import read
from heatproof.runs.failures import failures

COMPLETE = "the run is complete, and nothing in it failed"
ACCURACY = "accuracy"


@dataclass(frozen=True)
class Outcome:
    """Whether a requirement is kept, of whom, and why: `why` has the number, its interval and what to do."""

    requirement: str
    kept: bool
    why: str
    method: str = ""

    @property
    def name(self) -> str:
        """The requirement, with the method where it did not name one."""
        told = f"{self.requirement} ({self.method})" if self.method and self.method not in self.requirement else ""
        return told or self.requirement


def check(
    run: Path | str, require: Sequence[str], *, baseline: Path | str | None = None, allow_failures: bool = False
) -> list[Outcome]:
    """Every requirement with whether the run keeps it, the run's own completeness first.

    With a `baseline`, a run made before, an answer that was surely yes there has to be surely yes here. A run that is
    not complete, or in which anything failed, keeps nothing unless `allow_failures`.

    Raises: InputError for a requirement that is none, names a method, question or metric that the run has not, or where
    nothing is required at all; StoreError for a folder that holds no run.
    """
    wanted = [parse(text) for text in require]
    if not wanted and baseline is None:
        raise InputError("Expected something to require, or a baseline, but got neither.")
    verdicts = read(Path(run), Verdicts.of)
    found = [_complete(verdicts, allow_failures=allow_failures)]
    for one in wanted:
        found += _held(verdicts, one)
    if baseline is not None:
        found += _regressions(read(Path(baseline), Verdicts.of), verdicts)
    return found


def _complete(verdicts: Verdicts, *, allow_failures: bool) -> Outcome:
    manifest = verdicts.evidence.info.manifest
    if manifest["status"] != "complete":
        return Outcome(COMPLETE, False, f"The run is {manifest['status']}; run the same audit again to go on.")
    failed = failures(manifest)
    return Outcome(COMPLETE, allow_failures or not failed, "; ".join(failed) or "Nothing failed.")


def _held(verdicts: Verdicts, one: Requirement) -> Iterator[Outcome]:
    if one.metric == ACCURACY and not one.method:
        yield _accuracy(verdicts, one)
        return
    labels = [method.label for method in verdicts.evidence.info.methods]
    if one.method and one.method not in labels:
        raise unknown("method in this run", one.method, labels)
    controls = verdicts.evidence.info.controls
    chosen = [one.method] if one.method else [label for label in labels if label not in controls]
    if not chosen:
        yield Outcome(one.text, False, "Every method of the run is a control.")
    for label in chosen:
        yield from [_answered(verdicts, one, label)] if one.question else _measured(verdicts, one, label)


def _answered(verdicts: Verdicts, one: Requirement, method: str) -> Outcome:
    if one.question == BELIEVABLE:
        found = verdicts.believable(method)
    else:
        known = [BELIEVABLE, *verdicts.titles]
        if one.question not in known:
            raise unknown("question", one.question, known)
        asked = verdicts.by_question(method).get(one.question)
        if asked is None:
            return Outcome(one.text, False, "It was not asked in this run.", method)
        found = asked
    wanted = "no" if one.denied else "yes"
    more = f" About {found.more} samples would tell." if found.more and "would tell" not in found.why else ""
    said = f"{sentence(found.word)}. {found.why}{more}"
    return Outcome(one.text, found.answer == wanted, said, method)


def _measured(verdicts: Verdicts, one: Requirement, method: str) -> Iterator[Outcome]:
    evidence = verdicts.evidence
    checks = [c for c in evidence.info.checks if one.metric in c.metrics and one.check in ("", c.id, c.label)]
    if not checks:
        ours = (c for c in evidence.info.checks if one.check in ("", c.id, c.label))
        raise unknown("metric in this run", one.metric, {name for c in ours for name in c.metrics})
    some = False
    for chosen in checks:
        for setting in evidence.settings(chosen.label, method):
            if one.setting and setting != one.setting:
                continue
            values = evidence.averaged(chosen.label, method, one.metric, setting=setting)
            if values is None:
                continue
            some = True
            found = values.estimate(evidence.samples)
            place = f"{chosen.label}{', ' + setting if setting else ''}"
            yield _judged(one, method, place, found.mean, found.low, found.high, found.n)
    if not some:
        where = f" in setting {one.setting!r}" if one.setting else ""
        yield Outcome(one.text, False, f"The run has no value of {one.metric}{where} for it.", method)


def _judged(one: Requirement, method: str, place: str, mean: float, low: float, high: float, n: int) -> Outcome:
    told = f"{place}: {mean:.4g}, 95 % interval {low:.4g} to {high:.4g}, {n} samples."
    if not (math.isfinite(low) and math.isfinite(high)):
        return Outcome(one.text, False, f"{told} No interval can be had, so it cannot be told.", method)
    holds = one.holds(low, high)
    unsure = "" if holds is not None else " The interval reaches over the bound: more samples would tell."
    return Outcome(one.text, bool(holds), told + unsure, method)


def _accuracy(verdicts: Verdicts, one: Requirement) -> Outcome:
    known: Mapping[str, Any] = verdicts.evidence.info.manifest.get("knowledge") or {}
    if known.get("measure") != ACCURACY or known.get("low") is None:
        return Outcome(one.text, False, "How often the network is right was not measured: give true labels.")
    return _judged(one, "", "the network", known["value"], known["low"], known["high"], int(known["n"]))


def _regressions(before: Verdicts, after: Verdicts) -> Iterator[Outcome]:
    """What was surely yes in the baseline and is not so now."""
    text = "nothing that was surely yes in the baseline is lost"
    lost = [one for one in changes(before, after) if one.before == "yes" and one.after != "yes"]
    for one in lost:
        yield Outcome(f"{one.method}: {one.question}, as in the baseline", False, one.sentence, one.method)
    if not lost:
        yield Outcome(text, True, "Every yes of the baseline is a yes here.")
