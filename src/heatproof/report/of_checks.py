"""What the panels of single checks draw beside the number that was judged."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from heatproof.reading import Verdicts
from heatproof.reading.base import Finding
from heatproof.reading.complexity import CHECK as COMPLEXITY
from heatproof.reading.complexity import GINI, SHARE
from heatproof.reading.depends import CHECK as RANDOMIZATION
from heatproof.reading.depends import measured
from heatproof.reading.labels import CHECK as LABELS
from heatproof.reading.labels import PERMUTED, TRUE
from heatproof.reading.localizes import AREA, RATIO
from heatproof.reading.localizes import CHECK as BOXES
from heatproof.reading.survival import SIGNED, by_magnitude
from heatproof.report.figures import Dots, Point
from heatproof.report.of_rows import dots
from heatproof.report.sentences import plural
from heatproof.rows import chance_of, floor_of


def boxes(verdicts: Verdicts, order: Sequence[str]) -> Iterator[Dots]:
    """The share of the highest pixels that lie in boxes, beside what knows no network."""
    evidence = verdicts.evidence
    for check in evidence.info.of(BOXES):
        rows = dots(verdicts, check, order, {"": (RATIO, "")})
        marks = {
            name: values.mean
            for name, values in (
                ("a random map", evidence.column(check.label, "", AREA)),
                ("the middle of the image", evidence.column(check.label, "", RATIO, setting="center")),
            )
            if values is not None and np.isfinite(values.mean)
        }
        if rows:
            title = "Share of the highest pixels inside the object's boxes or mask"
            yield Dots(name=f"{check.label}-ratio", title=title, x="share of pixels", rows=rows, marks=marks)


def labels(verdicts: Verdicts, order: Sequence[str]) -> Iterator[Dots]:
    """Similarity to the maps of networks that learned other labels, and the true ones again."""
    for check in verdicts.evidence.info.of(LABELS):
        series = {"shuffled labels": PERMUTED, "true labels again": TRUE, "permuted map": chance_of(PERMUTED)}
        rows = dots(verdicts, check, order, {name: ("spearman-absolute", s) for name, s in series.items()})
        if rows:
            title = "Similarity to the map on your network, of networks that learned other labels and the same again"
            yield Dots(name=f"{check.label}-similarity", title=title, x="Spearman, absolute values", rows=rows)


def complexity(verdicts: Verdicts, order: Sequence[str]) -> Iterator[Dots]:
    """The share of features that maps are spread over, and how unequally."""
    for check in verdicts.evidence.info.of(COMPLEXITY):
        for metric, title, x in (
            (SHARE, "Share of its features that the map is spread over", "share of features"),
            (
                GINI,
                "Gini index of magnitudes: 0 where all are alike, 1 where few have everything",
                "Gini index",
            ),
        ):
            if rows := dots(verdicts, check, order, {"": (metric, "")}):
                yield Dots(name=f"{check.label}-{metric}", title=title, x=x, rows=rows, limits=(0.0, 1.0))


def yardsticks(verdicts: Verdicts, known: Mapping[str, Finding]) -> Iterator[Dots]:
    """What the verdict on the parameters is made of: the similarity that was left, chance, repeatability and floor."""
    if (decided := deciding(known)) is None:
        return
    evidence = verdicts.evidence
    rows = dict[str, dict[str, Point]]()
    for label in known:
        made_of = measured(evidence, decided.check, label, decided.setting, decided.metric)
        if made_of.s is None or made_of.c is None:
            continue
        s, c, r = by_magnitude(made_of)
        series = {"every layer random, s": s, "itself permuted, c": c, "two runs, r": r}
        stage = evidence.info.last_stage(decided.setting)
        floor = evidence.column(decided.check, label, decided.metric, setting=floor_of(decided.setting), position=stage)
        if floor is not None and floor.n:
            series["two random networks"] = abs(floor) if decided.metric in SIGNED else floor
        for name, values in series.items():
            found = values.estimate(evidence.samples)
            rows.setdefault(label, {})[name] = Point(found.mean, found.low, found.high)
    if rows:
        measure = evidence.info.similarities.get(decided.metric, decided.metric)
        title = f"What it was judged by: similarity to the trained map after {decided.setting}"
        yield Dots(name=f"{RANDOMIZATION}-yardsticks", title=title, x=measure, rows=rows)


def deciding(known: Mapping[str, Finding]) -> Finding | None:
    """A finding under the randomization and the measure that decided for most methods; None where nothing did."""
    decided = [one for one in known.values() if one.answer and one.setting]
    where = [(one.check, one.setting, one.metric) for one in decided]
    return max(decided, key=lambda one: where.count((one.check, one.setting, one.metric)), default=None)


def how_decided(verdicts: Verdicts, known: Mapping[str, Finding]) -> str:
    """Which randomization decided, and the yardsticks in words; empty where nothing was decided."""
    if (decided := deciding(known)) is None:
        return ""
    measure = verdicts.evidence.info.similarities.get(decided.metric, decided.metric)
    ours = sum((one.setting, one.metric) == (decided.setting, decided.metric) for one in known.values())
    return (
        f"Decided after {decided.setting}, by {measure}, for {ours} of {plural(len(known), 'method')}: where most of "
        "a map is left counts. Similarity s is what is left; c, the map permuted, is chance; r, two runs on the same "
        "network, is the most there can be; u = (s − c)/(r − c) is the share that survives. What two random networks "
        "share is the input showing through, and excuses nothing."
    )
