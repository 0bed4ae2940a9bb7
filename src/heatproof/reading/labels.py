"""Does a map depend on the labels that the network has learned?

The rule of `depends` on networks trained anew: s is the similarity of the map on a network that learned permuted
labels to the map on the model, r the same on one that learned the true labels again: what a method that reads the
labels keeps. Where r is not surely above chance, learning the same labels again gives another map as well, and nothing
can be told.

Source: Adebayo et al. 2018, section 4; Gupta & Arora 2019, 4.2. The network on true labels and the rule are ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from heatproof.reading.base import READINGS, Judgement, Reading, Told
from heatproof.reading.evidence import Evidence
from heatproof.reading.rule import Answer
from heatproof.reading.shares import percent
from heatproof.reading.survival import JUDGED, Measured, Survival, survival
from heatproof.reading.surviving import by_survival, untold
from heatproof.rows import chance_of

CHECK = "data-randomization"
PERMUTED, TRUE = "permuted-labels", "true-labels"
NEAR_CHANCE = 0.03
MISSING = {
    "s": "the network on permuted labels was not trained",
    "c": "its map was not compared with itself permuted",
}


@READINGS.register("labels")
@dataclass(frozen=True, kw_only=True)
class Labels(Reading):
    """Survival of training on permuted labels.

    >>> hp.readings.get("labels").title, hp.readings.get("labels").reads
    ('Depends on the labels?', ('data-randomization',))
    """

    title: ClassVar[str] = "Depends on the labels?"
    reads: ClassVar[tuple[str, ...]] = (CHECK,)
    other_maps: ClassVar[bool] = True

    def judge(self, evidence: Evidence, method: str) -> Iterator[Judgement]:
        excluded = evidence.info.excluded(method)
        for check in evidence.info.of(CHECK):
            grades = {
                metric: grade(evidence, measured(evidence, check.label, method, metric))
                for metric in JUDGED
                if evidence.column(check.label, method, metric, setting=PERMUTED) is not None
            }
            if grades and excluded:
                why = f"Left out where the network was trained anew: {excluded}."
                yield untold("labels", method, check.label, PERMUTED, grades, "excluded", why)
            elif grades:
                found = by_survival("labels", method, check.label, PERMUTED, grades)
                yield _warned(found, warning(evidence, check.label))


def _warned(found: Judgement, said: str) -> Judgement:
    def tell(answer: Answer) -> Told:
        word, why = found.tell(answer)
        return word, why + said

    return replace(found, tell=tell)


def measured(evidence: Evidence, check: str, method: str, metric: str) -> Measured:
    """s, r and c of a method's maps on networks that learned permuted labels, as `survival` has them."""
    settings = PERMUTED, TRUE, chance_of(PERMUTED)
    s, r, c = (evidence.column(check, method, metric, setting=setting) for setting in settings)
    return Measured(metric, s, r, c if r is not None else None)


def grade(evidence: Evidence, of: Measured) -> Survival:
    """What survives of a method's maps by one measure, or why that cannot be told."""
    missing = MISSING if of.r is not None else {**MISSING, "c": "no network learned the true labels again"}
    found = survival(of.s, of.r, of.c, metric=of.metric, samples=evidence.samples, missing=missing)
    if found.noise or found.reason.startswith("too few samples"):
        said = (
            f"where the true labels were learned again its map is no more like itself ({found.own:z.2f}) than permuted"
        )
        return replace(found, noise="", reason=f"{said} ({found.chance:z.2f})")
    return found


def warning(evidence: Evidence, check: str) -> str:
    """Whether the networks on permuted labels guess on samples that they were not trained on, as they should."""
    reached, chance = (
        evidence.mean(check, "", name, setting=PERMUTED) for name in ("test-accuracy", "chance-accuracy")
    )
    if not np.isfinite(reached - chance) or abs(reached - chance) <= NEAR_CHANCE:
        return ""
    return (
        f" The network on permuted labels gets {percent(reached)} of new samples right, not {percent(chance)[:-2]} "
        "± 3 %: it learned something of the labels, or there are too few samples to test on."
    )
