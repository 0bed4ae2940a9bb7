"""From judgements to findings, from findings to one verdict a method and question, and to what may be believed."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import pandas as pd

from heatproof.reading.base import READINGS, Finding, Judgement, Reading, no_method
from heatproof.reading.believable import COUNTED, NEEDED, believable
from heatproof.reading.declared import declared
from heatproof.reading.entries import MethodInfo
from heatproof.reading.evidence import Evidence
from heatproof.reading.headline import headline
from heatproof.reading.rule import Answer, more_samples, selected
from heatproof.reading.support import ORDER, supported, withheld
from heatproof.reading.table import Rows

COLUMNS = ["method", "question", "answer", "word", "mean", "low", "high", "n", "missing", "margin", "why"]


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Everything that a run's rows say.

    `needed` are the questions that a believable map must pass, `counted` those that it must pass where they were run.

    >>> run = hp.audit(net, images, labels, methods=["gradient"], checks=["steadiness"], out="run", progress=False)
    >>> verdicts = hp.readings.Verdicts.of(run.rows(), run.manifest)
    >>> verdicts.believable("gradient").answer
    'unknown'
    """

    evidence: Evidence
    needed: Sequence[str] = NEEDED
    counted: Sequence[str] = COUNTED

    @classmethod
    def of(cls, rows: Rows, manifest: Mapping[str, Any]) -> "Verdicts":
        """The verdicts of a run's rows, a frame or batches. Raises: StoreError for a run of another schema."""
        asked = tuple(manifest.get("believable") or NEEDED)
        counted = (*COUNTED, *(name for name in asked if name not in COUNTED))
        return cls(Evidence.of(rows, manifest), asked, counted)

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
        return self._by_method.get(method, {})

    @cached_property
    def _by_method(self) -> dict[str, dict[str, Finding]]:
        found: dict[tuple[str, str], list[Finding]] = {}
        for one in self.findings:
            found.setdefault((one.method, one.question), []).append(one)
        return {
            method: {question: _decisive(ours) for question in self.titles if (ours := found.get((method, question)))}
            for method in dict.fromkeys(method for method, _ in found)
        }

    def believable(self, method: str) -> Finding:
        """The conjunction: passes every test that was run, fails some, or is not shown for want of some."""
        return believable(
            method,
            self.by_question(method),
            needed=self.needed,
            counted=self.counted,
            samples=self.evidence.samples,
        )

    @cached_property
    def headline(self) -> str:
        """How often the network is right, where that is known, and which heatmaps pass every test that was run."""
        return headline(self)

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


def _decisive(found: Sequence[Finding]) -> Finding:
    """Which of a method's findings to one question is the answer to it."""
    decisive = [one for one in found if not (one.supporting and one.answer == "unknown")] or found
    return min(decisive, key=lambda one: ORDER[one.answer])


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
