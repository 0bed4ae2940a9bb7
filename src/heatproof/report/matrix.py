"""The matrix of methods and questions: one mark each, told apart by shape as well as by color."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from heatproof.reading import Verdicts
from heatproof.reading.base import Finding
from heatproof.reading.believable import BELIEVABLE
from heatproof.report.questions import short

GLYPHS = {"good": "●", "mid": "◐", "bad": "✕", "noise": "✕", "unknown": "?"}
SAID = {"good": "surely yes", "mid": "in part", "bad": "surely no", "noise": "surely no", "unknown": "cannot be told"}
RANKS = {"good": 0, "mid": 1, "unknown": 2, "plain": 3, "noise": 4, "bad": 4}
KEY = {"good": "surely yes", "mid": "yes, in part", "bad": "surely no", "unknown": "cannot be told"}
NOTHING = "·"
MOST_SHOWN = 12  # columns of questions that are told and not judged, such as those of other packages


class Mark(NamedTuple):
    """One cell: what is drawn, in which tone, what it says in words, and its place when the column is sorted."""

    question: str
    shown: str
    tone: str
    said: str
    rank: float

    @property
    def glyph(self) -> bool:
        """Whether a shape is drawn, not a number."""
        return self.shown in GLYPHS.values() or self.shown == NOTHING


class Line(NamedTuple):
    """A method with its marks, in the order of the columns."""

    method: str
    control: bool
    answer: str
    marks: Sequence[Mark]


class Matrix(NamedTuple):
    """`columns`: (question, short name, whole question)."""

    columns: Sequence[tuple[str, str, str]]
    lines: Sequence[Line]


def matrix(verdicts: Verdicts) -> Matrix:
    """Methods that may be used first, controls last; questions in the order in which belief needs them."""
    info = verdicts.evidence.info
    by_method = {method.label: verdicts.by_question(method.label) for method in info.methods}
    asked = {one.question for one in verdicts.findings if one.answer or one.metric not in info.similarities}
    names = [q for q in verdicts.titles if q in verdicts.counted or q in asked]
    extra = [q for q in names if q not in verdicts.counted and q != "cost"]
    names = [q for q in names if q not in extra[MOST_SHOWN:]]
    lines = []
    for method in info.methods:
        found = by_method[method.label]
        believable = verdicts.believable(method.label)
        marks = [_mark(BELIEVABLE, believable), *(_mark(q, found.get(q), asked=q in asked) for q in names)]
        lines.append(Line(method.label, method.control, believable.answer, marks))
    lines.sort(key=lambda line: (line.control, *_place(line)))
    titles = [(BELIEVABLE, "believable", "Does it pass every test that was run?")]
    return Matrix([*titles, *((q, short(q), verdicts.titles[q]) for q in names)], lines)


def _place(line: Line) -> tuple[float, float]:
    """Those that pass come first, then those that fail least."""
    return line.marks[0].rank, sum(mark.tone in ("bad", "noise") for mark in line.marks[1:])


def _mark(question: str, found: Finding | None, *, asked: bool = True) -> Mark:
    if found is None:
        return Mark(question, NOTHING, "none", "no measure of it" if asked else "not asked", 9.0)
    if found.tone in GLYPHS:
        said = SAID[found.tone] if found.word in ("", SAID[found.tone]) else f"{SAID[found.tone]}: {found.word}"
        strength = 0.0 if math.isnan(found.mean) else math.tanh(found.mean) / 10
        return Mark(question, GLYPHS[found.tone], found.tone, said, RANKS[found.tone] + strength)
    if math.isnan(found.mean):
        return Mark(question, NOTHING, "none", found.word, 8.0)
    rank = found.mean if question == "cost" else RANKS["plain"] + math.tanh(found.mean) / 10
    return Mark(question, found.word or f"{found.mean:z.2f}", "plain", "shown, not judged", rank)


def told(verdicts: Verdicts) -> Mapping[str, Mapping[str, Sequence[Finding]]]:
    """By method and question every finding, the one that counts first, for who presses a mark."""
    found: dict[str, dict[str, list[Finding]]] = {}
    for method in verdicts.evidence.info.methods:
        best = verdicts.by_question(method.label)
        ours: dict[str, list[Finding]] = {q: [one] for q, one in best.items()}
        for one in verdicts.findings:
            if one.method == method.label and one is not best[one.question]:
                ours[one.question].append(one)
        found[method.label] = {BELIEVABLE: [verdicts.believable(method.label)], **ours}
    return found


def answers_of(verdicts: Verdicts) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The same as plain values for the browser."""
    return {
        method: {question: [_plain(one, findings) for one in findings] for question, findings in ours.items()}
        for method, ours in told(verdicts).items()
    }


def _plain(one: Finding, others: Sequence[Finding]) -> dict[str, Any]:
    fields = ("check", "setting", "metric")
    distinct = [name for name in fields if len({getattr(other, name) for other in others}) > 1]
    alone = [[name] for name in distinct if len({getattr(other, name) for other in others}) == len(others)]
    name = ", ".join(str(getattr(one, field)) for field in (alone[0] if alone else distinct))
    numbers = {key: _number(getattr(one, key)) for key in ("mean", "low", "high")}
    texts = {
        key: getattr(one, key) for key in ("answer", "word", "why", "margin", "check", "setting", "metric", "tone")
    }
    return {**texts, **numbers, "n": one.n, "missing": one.missing, "more": one.more, "name": name}


def _number(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None
