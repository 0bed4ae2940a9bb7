"""From judgements to findings, from findings to one verdict a method and question, and to what may be believed."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import pandas as pd

from heatproof.errors import unknown
from heatproof.reading.base import READINGS, Finding, Judgement, Reading, no_method
from heatproof.reading.declared import declared
from heatproof.reading.evidence import Evidence
from heatproof.reading.rule import Answer, more_samples, selected
from heatproof.reading.run_info import MethodInfo
from heatproof.reading.support import ORDER, supported, withheld
from heatproof.reading.table import Rows

BELIEVABLE = "believable"
# What a map has to pass before anybody is told to believe it; every other test that was run counts as well.
NEEDED = ("steady", "depends", "faithful")
COUNTED = (*NEEDED, "repeats", "more-than-the-picture", "labels", "localizes", "complete")
COLUMNS = ["method", "question", "answer", "word", "mean", "low", "high", "n", "missing", "margin", "why"]


def needed(questions: Sequence[str]) -> tuple[str, ...]:
    """The questions that a believable map must pass: these, or the usual ones for none.

    Raises: UnknownNameError for a name that no reading has.
    """
    for name in questions:
        if name not in READINGS.names():
            raise unknown("question", name, READINGS.names())
    return tuple(questions) or NEEDED


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Everything that a run's rows say.

    `needed` are the questions that a believable map must pass, `counted` those that it must pass where they were run.
    """

    evidence: Evidence
    needed: Sequence[str] = NEEDED
    counted: Sequence[str] = COUNTED

    @classmethod
    def of(cls, rows: Rows, manifest: Mapping[str, Any]) -> "Verdicts":
        """The verdicts of a run's rows, a frame or batches. Raises: StoreError for a run of another schema."""
        asked = manifest.get("believable")
        return cls(Evidence.of(rows, manifest), *([tuple(asked)] if asked else []))

    @cached_property
    def readings(self) -> Mapping[str, Reading]:
        """Every reading, by its question."""
        return {name: READINGS.get(name) for name in READINGS.names()}

    @cached_property
    def titles(self) -> Mapping[str, str]:
        """Every question that was asked, as a page asks it, in the order in which belief needs them."""
        names = {check.id: check.id.replace("-", " ").capitalize() for check in self._unread}
        known = {name: reading.title for name, reading in self.readings.items()}
        order = [*self.counted, *(name for name in known if name not in self.counted), *names]
        return {name: {**names, **known}[name] for name in order if name in known or name in names}

    @cached_property
    def findings(self) -> list[Finding]:
        """Every finding, a column of verdicts decided together, methods in the run's order."""
        columns: dict[str, list[Judgement]] = {}
        for method in self.evidence.info.methods:
            for judgement in self._judgements(method):
                columns.setdefault(judgement.question, []).append(judgement)
        found = [finding for judgements in columns.values() for finding in _decided(sorted(judgements, key=_merit))]
        place = {method.label: k for k, method in enumerate(self.evidence.info.methods)}
        found = sorted(supported(found), key=lambda f: place[f.method])
        reason = self.evidence.info.withheld
        return [withheld(one, reason) if reason and one.answer == "yes" else one for one in found]

    @cached_property
    def table(self) -> pd.DataFrame:
        """One verdict a method and question, "believable" the last of each method."""
        rows = []
        for method in self.evidence.info.methods:
            ours = list(self.by_question(method.label).values())
            rows += [{name: asdict(one)[name] for name in COLUMNS} for one in [*ours, self.believable(method.label)]]
        return pd.DataFrame(rows, columns=COLUMNS)

    def by_question(self, method: str) -> dict[str, Finding]:
        """One finding a question: a no before an unknown before a yes, of equal ones the less favorable."""
        found: dict[str, Finding] = {}
        for question in self.titles:
            ours = [one for one in self.findings if (one.method, one.question) == (method, question)]
            decisive = [one for one in ours if not (one.supporting and one.answer == "unknown")] or ours
            if decisive:
                found[question] = min(decisive, key=lambda one: ORDER[one.answer])
        return found

    def believable(self, method: str) -> Finding:
        """The conjunction: passes every test that was run, fails some, or is not shown for want of some."""
        answers = {name: one for name, one in self.by_question(method).items() if name in self.counted and one.answer}
        failed = [name for name, one in answers.items() if one.answer == "no"]
        untold = [name for name, one in answers.items() if one.answer == "unknown"]
        untold += [name for name in self.needed if name not in answers]
        answer: Answer = "no" if failed else "unknown" if untold else "yes"
        said = {
            "no": f"fails {_listed(failed)}",
            "unknown": f"not shown: {_listed(untold)}",
            "yes": "passes every test that was run",
        }[answer]
        reasons = [answers[name].why for name in failed or untold if name in answers]
        missing = [name for name in untold if name not in answers]
        why = " ".join(reasons) + (f" Not run: {_listed(missing)}." if missing and not failed else "")
        gone = float("nan")
        return Finding(
            method=method, question=BELIEVABLE, answer=answer, word=said, mean=gone, low=gone, high=gone,
            n=self.evidence.samples, missing=0, margin=f"all of {', '.join(answers)}", why=why.strip(),
            check="", setting="", metric="", supporting=False,
        )  # fmt: skip

    @cached_property
    def headline(self) -> str:
        """How often the network is right, where that is known, and which heatmaps pass every test that was run."""
        info = self.evidence.info
        said = f"{info.known} " if info.known else ""
        nothing = f"Nothing here says which of its heatmaps to trust.{self._dead}"
        return said + (nothing if info.withheld else self._passed)

    @property
    def _passed(self) -> str:
        """Which heatmaps pass every test that was run."""
        methods = [method.label for method in self.evidence.info.methods if not method.control]
        verdicts = {label: self.believable(label) for label in methods}
        if not methods:
            return "No heatmap was judged: every method is a control."
        passed = [label for label, one in verdicts.items() if one.answer == "yes"]
        if passed:
            verb = "passes" if len(passed) == 1 else "pass"
            return f"{len(passed)} of {_heatmaps(methods)} {verb} every test that was run: {_listed(passed)}."
        failed = sum(one.answer == "no" for one in verdicts.values())
        if failed == len(methods):
            return f"{'The heatmap fails' if failed == 1 else f'All {failed} heatmaps fail'} at least one test."
        missing = [name for name in self.needed if not any(name in self.by_question(label) for label in methods)]
        want = f": not run were {_listed(missing)}" if missing else ""
        if not failed:
            return f"Not one heatmap is shown to be believable{want}.{self._dead}"
        verb = "fails" if failed == 1 else "fail"
        rest = f"the others are not shown to be believable{want}.{self._dead}"
        return f"{failed} of {_heatmaps(methods)} {verb} a test; {rest}"

    @property
    def _dead(self) -> str:
        """What kept every map from being judged by randomization: a network that died."""
        found = [one for one in self.findings if one.question == "depends"]
        dead = {one.why for one in found if one.word == "network is dead"}
        return f" {dead.pop()}" if dead and all(one.word == "network is dead" for one in found) else ""

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Every finding as a row."""
        names = [field.name for field in fields(Finding)]
        return pd.DataFrame([asdict(one) for one in self.findings], columns=names).assign(
            tone=[one.tone for one in self.findings]
        )

    @cached_property
    def _unread(self) -> list[Any]:
        read = {name for reading in self.readings.values() for name in reading.reads}
        return [check for check in self.evidence.info.checks if check.id not in read]

    def _judgements(self, method: MethodInfo) -> Iterator[Judgement]:
        for question, reading in self.readings.items():
            yield from (found := list(reading.judge(self.evidence, method.label)))
            check = next(self.evidence.info.of(*reading.reads), None)
            if method.given and reading.other_maps and check is not None and not found:
                yield no_method(question, method.label, check.label)
        for check in self._unread:
            yield from declared(self.evidence, check, method.label)


def _merit(judgement: Judgement) -> tuple[bool, float]:
    """The less favorable first: of equal answers it counts. What only supports, and what has no number, comes last."""
    mean, margin = judgement.estimate.mean, judgement.margin
    if margin is None or mean != mean:
        return judgement.supporting, math.inf
    return judgement.supporting, mean if margin.good == "above" else -mean


def _decided(judgements: Sequence[Judgement]) -> Iterator[Finding]:
    """The findings of one column, its verdicts decided together."""
    deciders = [one.decide for one in judgements if one.decide is not None]
    alpha = selected(deciders)
    for one in judgements:
        answer: Answer = "" if one.decide is None else one.decide(alpha)
        word, why = one.tell(answer)
        yield Finding(
            method=one.method,
            question=one.question,
            answer=answer,
            word=word,
            mean=one.estimate.mean,
            low=one.estimate.low,
            high=one.estimate.high,
            n=one.estimate.n,
            missing=one.estimate.missing,
            margin="" if one.margin is None else one.margin.text(),
            why=why,
            check=one.check,
            setting=one.setting,
            metric=one.metric,
            supporting=one.supporting,
            more=more_samples(one.estimate, one.margin) if answer == "unknown" and one.margin else None,
        )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"


def _heatmaps(methods: Sequence[str]) -> str:
    return f"{len(methods)} heatmap{'s' if len(methods) != 1 else ''}"
