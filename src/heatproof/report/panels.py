"""A panel for each question that was asked: what it asks, its figures, what it cannot tell and whose idea it is."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from heatproof.reading import Verdicts
from heatproof.reading.base import Finding
from heatproof.reading.entries import CheckInfo
from heatproof.reading.faithful import MEASURES
from heatproof.reading.labels import CHECK as LABELS
from heatproof.reading.labels import PERMUTED, TRUE
from heatproof.reading.localizes import AREA, RATIO
from heatproof.reading.localizes import CHECK as BOXES
from heatproof.reading.table import Table, intervals
from heatproof.reading.values import Key
from heatproof.report.figures import Between, Curves, Dots, Figure, Point, Scatter
from heatproof.report.questions import QUESTIONS
from heatproof.rows import chance_of

STRUCTURE = "network-structure"
OUTPUTS = ("probability", "score")  # what the curves of a check may be of
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
    """One question below the matrix. `best` and `worst` name methods whose maps stand beside the figures."""

    question: str
    title: str
    asks: str
    cannot: str
    source: str
    figures: Sequence[Figure]
    best: str
    worst: str


def panels(verdicts: Verdicts, order: Sequence[str]) -> list[Panel]:
    """The panels of a run, in the order of its questions; methods stand in `order`."""
    found = []
    for question, title in verdicts.titles.items():
        if question in NO_PANEL:
            continue
        ours = {label: verdicts.by_question(label).get(question) for label in order}
        known = {label: one for label, one in ours.items() if one is not None and math.isfinite(one.mean)}
        figures = [*_judged(question, title, known), *_of_check(verdicts, question, order)]
        if not figures:
            continue
        about = QUESTIONS.get(question)
        best, worst = _ends(verdicts, known)
        found.append(
            Panel(
                question,
                title,
                about.asks if about else _declared(verdicts, question),
                about.cannot if about else "What its check does not measure.",
                about.source if about else "The check's own.",
                figures,
                best,
                worst,
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
                lines={"the network": sorted(_points(verdicts, keys), key=lambda point: point.x)},
            )
    return None


def _points(verdicts: Verdicts, keys: Sequence[Key]) -> list[Point]:
    """The mean and interval of each of these, at its position: those of one number of seeds are drawn together."""
    found = intervals(
        Table({key: verdicts.evidence.table[key] for key in keys}, {}, verdicts.evidence.gathered.samples)
    )
    return [Point(found[key].mean, found[key].low, found[key].high, key[3]) for key in keys]


def _judged(question: str, title: str, known: Mapping[str, Finding]) -> Iterator[Dots]:
    """The number that was judged, with its interval and the margins."""
    shown = {label: one for label, one in known.items() if one.margin and math.isfinite(one.low)}
    if not shown:
        return
    marks = _margins(next(iter(shown.values())).margin)
    yield Dots(
        name=question,
        title=f"{title} The number that was judged, with its 95 % interval",
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


def _of_check(verdicts: Verdicts, question: str, order: Sequence[str]) -> Iterator[Figure]:
    if question == "faithful":
        for check in verdicts.evidence.info.of(*MEASURES):
            yield from _degradation(verdicts, check, order)
            yield from _over_positions(verdicts, check, order)
    if question == "localizes":
        yield from _boxes(verdicts, order)
    if question == "labels":
        yield from _labels(verdicts, order)


def _degradation(verdicts: Verdicts, check: CheckInfo, order: Sequence[str]) -> Iterator[Between]:
    if check.id != "degradation":
        return
    curves = {way: _curves(verdicts, check, order, way, OUTPUTS) for way in ("lerf", "morf")}
    upper, lower = curves["lerf"], curves["morf"]
    if not upper:
        return
    evidence = verdicts.evidence
    means = {label: evidence.mean(check.label, label, "degradation") for label in upper}
    controls = [label for label in evidence.info.controls if label in means and math.isfinite(means[label])]
    yield Between(
        name=check.label,
        title=f"What {_kept(check)} keeps while tiles are taken away: the least relevant first (above), the most "
        "(below)",
        x="share of the tiles taken away",
        y=_measured(check),
        upper=upper,
        lower=lower,
        control=max(controls, key=lambda label: means[label], default=""),
        said={label: f"area {mean:z.2f}" for label, mean in means.items() if math.isfinite(mean)},
    )


def _measured(check: CheckInfo) -> str:
    """What the curves of a check are of: a probability where there is one, else the output itself in its unit."""
    if "probability" in check.metrics:
        return "probability of the label"
    score = check.metrics.get("score")
    return f"explained output, in {score.unit}" if score and score.unit not in ("", "score") else "explained output"


def _kept(check: CheckInfo) -> str:
    return "the label" if "probability" in check.metrics else "the explained output"


def _curves(
    verdicts: Verdicts, check: CheckInfo, order: Sequence[str], way: str, metrics: Sequence[str]
) -> dict[str, list[Point]]:
    """Each method's numbers of a setting over the positions."""
    keys = [
        key
        for key in verdicts.evidence.table
        if (key[0], key[2]) == (check.label, way) and key[4] in metrics and key[1] in order
    ]
    found = dict[str, list[Point]]()
    for key, point in zip(keys, _points(verdicts, keys), strict=True):
        found.setdefault(key[1], []).append(point)
    return {label: sorted(found[label], key=lambda point: point.x) for label in order if label in found}


def _over_positions(verdicts: Verdicts, check: CheckInfo, order: Sequence[str]) -> Iterator[Curves]:
    """Sensitivity-n over n, and the label's probability over the number of blurred regions."""
    metrics = {"sensitivity-n": ("sensitivity-n",), "blurred-patch": OUTPUTS}.get(check.id, ())
    lines = _curves(verdicts, check, order, "", metrics)
    if not lines:
        return
    sets = check.id == "sensitivity-n"
    yield Curves(
        name=check.label,
        title="Sensitivity-n: do sums over sets of n features follow what the score loses without them?"
        if sets
        else f"What {_kept(check)} keeps while the highest regions are blurred",
        x="n, features of a set" if sets else "regions blurred",
        y="correlation" if sets else _measured(check),
        lines=lines,
        dim=[label for label in verdicts.evidence.info.controls if label in lines],
        log=sets,
    )


def _boxes(verdicts: Verdicts, order: Sequence[str]) -> Iterator[Dots]:
    evidence = verdicts.evidence
    for check in evidence.info.of(BOXES):
        rows = _dots(verdicts, check, order, {"": (RATIO, "")})
        marks = {
            name: values.mean
            for name, values in (
                ("a random map", evidence.column(check.label, "", AREA)),
                ("the middle of the image", evidence.column(check.label, "", RATIO, setting="center")),
            )
            if values is not None and np.isfinite(values.mean)
        }
        if rows:
            title = "Share of the highest pixels inside the object's boxes"
            yield Dots(name=f"{check.label}-ratio", title=title, x="share of pixels", rows=rows, marks=marks)


def _labels(verdicts: Verdicts, order: Sequence[str]) -> Iterator[Dots]:
    for check in verdicts.evidence.info.of(LABELS):
        series = {"shuffled labels": PERMUTED, "true labels again": TRUE, "permuted map": chance_of(PERMUTED)}
        rows = _dots(verdicts, check, order, {name: ("spearman-absolute", s) for name, s in series.items()})
        if rows:
            title = "Similarity to the map on your network, of networks that learned other labels and the same again"
            yield Dots(name=f"{check.label}-similarity", title=title, x="Spearman, absolute values", rows=rows)


def _dots(
    verdicts: Verdicts, check: CheckInfo, order: Sequence[str], series: Mapping[str, tuple[str, str]]
) -> dict[str, dict[str, Point]]:
    evidence, found = verdicts.evidence, dict[str, dict[str, Point]]()
    for label in order:
        for name, (metric, setting) in series.items():
            values = evidence.column(check.label, label, metric, setting=setting)
            if values is not None and values.n:
                one = values.estimate(evidence.samples)
                found.setdefault(label, {})[name] = Point(one.mean, one.low, one.high)
    return found


def _ends(verdicts: Verdicts, known: Mapping[str, Finding]) -> tuple[str, str]:
    """The method that answers best and the one that answers worst, by the words and then by the number."""
    methods = [label for label in known if label not in verdicts.evidence.info.controls and known[label].answer]
    if len(methods) < 2:
        return (methods[0] if methods else ""), ""
    low = any("below" in known[label].margin for label in methods)
    rank = {"yes": 0, "unknown": 1, "no": 2}
    ordered = sorted(methods, key=lambda m: (rank[known[m].answer], known[m].mean if low else -known[m].mean))
    return ordered[0], ordered[-1]


def _declared(verdicts: Verdicts, question: str) -> str:
    """What a check of another package says of its metrics."""
    for check in verdicts.evidence.info.of(question):
        return " ".join(metric.text or metric.name for metric in check.metrics.values())
    return ""
