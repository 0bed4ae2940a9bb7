"""Faithful: do the features that a map calls relevant matter to the network, more than those of a map without one?

Each check is read by its mean over set sizes, numbers of regions and the like, sample by sample, against the best of
the controls that the run has, maps made without the network: *yes* where the difference, sample by sample, is surely
above 0, *no* where it is surely at most a twentieth of the way from chance to the ideal. Better than chance is not
enough: an edge detector is better than chance, too. Without a control in the run nothing better than "no" can be told.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from heatproof.metrics import Metric
from heatproof.reading.base import READINGS, Judgement, Reading, judged, shown, untold
from heatproof.reading.entries import CheckInfo
from heatproof.reading.evidence import Evidence
from heatproof.reading.rule import Margin
from heatproof.reading.values import Values, difference

EQUAL = 0.05  # of the way from chance to the ideal


class Measure(NamedTuple):
    """Which metric of a check is read, over which positions, and what a step towards the ideal is worth."""

    metric: str
    after: float | None = None
    sentence: str = "{mean}"


MEASURES = {
    "sensitivity-n": (
        Measure(
            "sensitivity-n",
            sentence="What sets of its features get and what the score loses without them correlate by {mean}",
        ),
    ),
    "degradation": (
        Measure(
            "degradation",
            sentence="The curves that take its least and its most relevant regions first are {mean} apart",
        ),
    ),
    # Every method's curve begins at the original, which says nothing of it.
    "blurred-patch": (
        Measure("probability", after=0.0, sentence="With its highest regions blurred the label keeps {mean}"),
        Measure("score", after=0.0, sentence="With its highest regions blurred the explained output keeps {mean}"),
    ),
}


@READINGS.register("faithful")
@dataclass(frozen=True, kw_only=True)
class Faithful(Reading):
    """What the network loses without the features that a map calls relevant.

    >>> run = hp.audit(net, images, labels, methods=["gradient", "edge-detector"],
    ...                checks=["degradation"], out="run",
    ...                progress=False)
    ...
    >>> verdicts = run.verdicts()
    >>> verdicts[verdicts["question"] == "faithful"][["method", "answer"]].values.tolist()
    [['gradient', 'unknown'], ['edge-detector', '']]
    """

    title: ClassVar[str] = "Faithful?"
    reads: ClassVar[tuple[str, ...]] = tuple(MEASURES)

    def judge(self, evidence: Evidence, method: str) -> Iterator[Judgement]:
        for check in evidence.info.of(*MEASURES):
            found = (
                (one, evidence.averaged(check.label, method, one.metric, after=one.after)) for one in MEASURES[check.id]
            )
            measure, ours = next((pair for pair in found if pair[1] is not None), (None, None))
            if measure is None or ours is None:
                continue
            controls = controls_of(evidence, check, measure)
            controls.pop(method, None)
            sentence = measure.sentence.replace("{mean}", f"{ours.mean:z.2f}")
            if not math.isfinite(ours.mean):
                sentence = f"No sample gives a value of {measure.metric}"
            yield against_controls("faithful", evidence, check, method, measure.metric, ours, controls, sentence)


def controls_of(evidence: Evidence, check: CheckInfo, measure: Measure) -> dict[str, Values]:
    """The run's controls that have a value of this measure."""
    found = {
        label: evidence.averaged(check.label, label, measure.metric, after=measure.after)
        for label in evidence.info.controls
    }
    return {label: values for label, values in found.items() if values is not None and math.isfinite(values.mean)}


def best_of(controls: Mapping[str, Values], metric: Metric) -> str:
    """The control that others are held against."""
    return max(controls, key=lambda label: _sign(metric) * controls[label].mean)


def against_controls(
    question: str,
    evidence: Evidence,
    check: CheckInfo,
    method: str,
    metric: str,
    ours: Values,
    controls: dict[str, Values],
    sentence: str,
) -> Judgement:
    """The judgement by the difference to the best control, sample by sample."""
    declared = check.metrics[metric]
    plain = ours.estimate(evidence.samples)
    if method in evidence.info.controls:
        why = f"{sentence}. It is a control: others must beat it."
        return shown(method, question, check.label, metric, plain, (f"{plain.mean:z.2f}", why))
    if not controls:
        why = f"{sentence}, and the run has no control to hold that against: add edge-detector, say, to its methods."
        return untold(method, question, check.label, metric, plain, ("cannot be told", why))
    best = best_of(controls, declared)
    ahead = (difference(ours, controls[best]) * _sign(declared)).estimate(evidence.samples)
    scale = _scale(declared)
    told = f"{sentence}; the best map made with no network, {best}, reaches {controls[best].mean:z.2f}."
    return judged(
        method,
        question,
        check.label,
        metric,
        ahead,
        Margin(good="above", yes=0.0, no=EQUAL * scale),
        {
            "yes": ("better than the input alone", told),
            "no": ("no better than the input alone", told),
            "unknown": ("cannot be told", told),
        },
    )


def _sign(metric: Metric) -> float:
    return -1.0 if metric.higher_is_better is False else 1.0


def _scale(metric: Metric) -> float:
    """How far the best map is from chance; 0 where nothing says, and then nothing is called equal."""
    if metric.ideal is not None and metric.chance is not None:
        return abs(metric.ideal - metric.chance)
    return 0.0 if metric.high is None or metric.low is None else metric.high - metric.low
