"""A panel for each question that was asked: what it asks, its figures, what it cannot tell and whose idea it is."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from heatproof.reading import Verdicts
from heatproof.reading.base import Finding
from heatproof.report.faithfulness import faithfulness
from heatproof.report.figures import Curves, Dots, Figure, Point, Scatter
from heatproof.report.of_checks import boxes, complexity, how_decided, labels, yardsticks
from heatproof.report.of_rows import points
from heatproof.report.questions import QUESTIONS

STRUCTURE = "network-structure"
OF_CHECKS = {"faithful": faithfulness, "localizes": boxes, "labels": labels, "complexity": complexity}
NO_PANEL = ("cost", "competition")  # a scatter and the curves of randomization show them
OF_SHARES = ("steady", "repeats", "depends", "more-than-the-picture", "labels")
SHARES = (-0.25, 1.25)  # what a share of survival is drawn within; the ratio of two that are near chance is far out
JUDGED_ON = {
    "steady": "survival of a change that nobody notices; 1 is the map itself, 0 chance",
    "repeats": "likeness of two runs; 1 is the same map, 0 chance",
    "depends": "share of the map that survives full randomization; 0 is chance",
    "more-than-the-picture": "share of the map that is in a map made without a network",
    "labels": "share of the map that is left where the labels mean nothing",
    "faithful": "ahead of the best map made without a network",
    "localizes": "ahead of the best that knows no network",
    "complete": "what is missing, as a share of what was promised",
}


class Panel(NamedTuple):
    """One question below the matrix. `maps`: what is said of methods whose maps stand beside the figures, and them."""

    question: str
    title: str
    asks: str
    cannot: str
    source: str
    figures: Sequence[Figure]
    maps: Sequence[tuple[str, str]]
    how: str = ""


def panels(verdicts: Verdicts, order: Sequence[str]) -> list[Panel]:
    """The panels of a run, in the order of its questions; methods stand in `order`."""
    found = []
    for question, title in verdicts.titles.items():
        if question in NO_PANEL:
            continue
        ours = {label: verdicts.by_question(label).get(question) for label in order}
        known = {label: one for label, one in ours.items() if one is not None and math.isfinite(one.mean)}
        figures = [*_judged(question, title, known), *_of_question(verdicts, question, order, known)]
        if not figures:
            continue
        about = QUESTIONS.get(question)
        found.append(
            Panel(
                question,
                title,
                about.asks if about else _declared(verdicts, question),
                about.cannot if about else "What its check does not measure.",
                about.source if about else "The check's own.",
                figures,
                _ends(verdicts, question, known),
                how_decided(verdicts, known) if question == "depends" else "",
            )
        )
    return found


def cost_against_belief(verdicts: Verdicts) -> Scatter | None:
    """Seconds a map against the share of tests that a method passed, of those that were decided or not."""
    points, tones = {}, {}
    for method in verdicts.evidence.info.methods:
        found = verdicts.by_question(method.label)
        asked = [one.answer for q, one in found.items() if q in verdicts.counted and one.answer]
        cost = found.get("cost")
        if method.control or cost is None or not asked or not cost.mean > 0:
            continue
        points[method.label] = (cost.mean, asked.count("yes") / len(asked))
        tones[method.label] = verdicts.believable(method.label).tone
    if len(points) < 2:
        return None
    x, y = "seconds a map", "share of tests passed"
    return Scatter(name="cost-against-belief", title="Cost against belief", x=x, y=y, points=points, tones=tones)


def structure(verdicts: Verdicts) -> Curves | None:
    """The share of activations that are zero or negative, by layer, where the check was run."""
    for check in verdicts.evidence.info.of(STRUCTURE):
        keys = [key for key in verdicts.evidence.table if key[:2] == (check.label, "") and key[4] == "non-positive"]
        if keys:
            return Curves(
                name="structure",
                title="Activations that are zero or negative, by layer",
                x="layer, in the order of execution",
                y="share of activations",
                lines={"the network": sorted(points(verdicts, keys), key=lambda point: point.x)},
            )
    return None


def _judged(question: str, title: str, known: Mapping[str, Finding]) -> Iterator[Dots]:
    """The number that was judged, with its interval and the margins."""
    shown = {label: one for label, one in known.items() if one.margin and math.isfinite(one.low)}
    if not shown:
        return
    marks = _margins(next(iter(shown.values())).margin)
    yield Dots(
        name=question,
        title=f"{title.rstrip('?')}: the number that was judged, with its 95 % interval",
        x=JUDGED_ON.get(question, "the number that was judged"),
        rows={label: {"": Point(one.mean, one.low, one.high)} for label, one in shown.items()},
        marks=marks,
        limits=SHARES if question in OF_SHARES else None,
        tones={label: one.tone for label, one in shown.items()},
    )


def _margins(text: str) -> dict[str, float]:
    """The values of a margin in words, "yes below 0.5, no at 0.5 or more"."""
    words = text.replace(",", "").split()
    yes, no = float(words[2]), float(words[5])
    return {f"{words[1]} is yes": yes} if yes == no else {f"{words[1]} is yes": yes, f"or {words[-1]} is no": no}


def _of_question(
    verdicts: Verdicts, question: str, order: Sequence[str], known: Mapping[str, Finding]
) -> Iterator[Figure]:
    if question == "depends":
        yield from yardsticks(verdicts, known)
    if question in OF_CHECKS:
        yield from OF_CHECKS[question](verdicts, order)


def _ends(verdicts: Verdicts, question: str, known: Mapping[str, Finding]) -> list[tuple[str, str]]:
    """The method that answers best and the one that answers worst, by the words and then by the number.

    Of what is told and not judged, the ends of the scale.
    """
    judged = question != "complexity"
    methods = [m for m in known if m not in verdicts.evidence.info.controls and (known[m].answer or not judged)]
    rank = {"yes": 0, "unknown": 1, "no": 2, "": 1}
    low = any("below" in known[label].margin for label in methods) or not judged
    ordered = sorted(methods, key=lambda m: (rank[known[m].answer], known[m].mean if low else -known[m].mean))
    names = ("best", "worst") if judged else ("most concentrated", "least concentrated")
    return list(zip(names, [ordered[0], ordered[-1]] if len(ordered) > 1 else ordered, strict=False))


def _declared(verdicts: Verdicts, question: str) -> str:
    """What a check of another package says of its metrics."""
    said = {one.metric for one in verdicts.findings if one.question == question and one.answer}
    for check in verdicts.evidence.info.of(question):
        metrics = [metric for name, metric in check.metrics.items() if name in said or not said]
        return " ".join(metric.text or metric.name for metric in metrics)
    return ""
