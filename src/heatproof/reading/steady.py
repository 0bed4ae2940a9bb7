"""Does a map stay the same when nothing happened? A map that always jumps says nothing by jumping.

Survival as in `survival`, after the parameters were changed so little that the outputs stay where they are (the check
`steadiness`). Surely one half or more is *steady*, surely below is *not*. What the same change of the input does stands
beside it and is not judged: noise on a flat ground breaks ties, and a method's draws are keyed by the sample's values.

Honest methods keep 0.93 or more on two networks, methods keyed by a hash of the weights 0.13 or less.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from heatproof.reading.base import READINGS, Judgement, Reading, judged
from heatproof.reading.evidence import Evidence
from heatproof.reading.rule import Margin
from heatproof.reading.survival import HALF, JUDGED, survival
from heatproof.rows import chance_of

CHECK = "steadiness"
PARAMETERS, INPUTS = "parameters", "inputs"
MOVED = 0.05  # of the outputs' spread: more is no longer "nothing happened"
MARGIN = Margin(good="above", yes=HALF, no=HALF)
MISSING = {"s": "it was not measured", "c": "its map was not compared with itself permuted"}


@READINGS.register("steady")
@dataclass(frozen=True, kw_only=True)
class Steady(Reading):
    """Similarity of the map to itself under a change that changes nothing."""

    title: ClassVar[str] = "Steady?"
    reads: ClassVar[tuple[str, ...]] = (CHECK,)
    other_maps: ClassVar[bool] = True

    def judge(self, evidence: Evidence, method: str) -> Iterator[Judgement]:
        for check in evidence.info.of(CHECK):
            grades = {}
            for metric in JUDGED:
                s, c = (
                    evidence.column(check.label, method, metric, setting=setting)
                    for setting in (PARAMETERS, chance_of(PARAMETERS))
                )
                if s is not None:
                    grades[metric] = survival(s, None, c, metric=metric, samples=evidence.samples, missing=MISSING)
            if not grades:
                continue
            metric = min(grades, key=lambda name: np.nan_to_num(grades[name].share.mean, nan=np.inf))
            grade = grades[metric]
            moved = evidence.mean(check.label, "", "outputs-moved", setting=PARAMETERS)
            if moved > MOVED:
                why = f"the change moved the outputs by {moved:.0%} of their spread: set a lower `level`"
                grade = replace(grade, reason=why)
            told = (
                f"{grade.told} of it stays where the parameters change too little to move the outputs, {JUDGED[metric]}"
            )
            beside = evidence.mean(check.label, method, metric, setting=INPUTS)
            also = f"; {beside:z.2f} of its similarity where the input does." if np.isfinite(beside) else "."
            found = judged(
                method,
                "steady",
                check.label,
                metric,
                grade.share,
                MARGIN,
                {
                    "yes": ("steady", told + also),
                    "no": ("not steady", told + also),
                    "unknown": ("cannot be told", f"{grade.reason or told}."),
                },
                setting=PARAMETERS,
            )
            if grade.reason:
                found = replace(found, decide=lambda _: "unknown")
            if all(one.unchanged for one in grades.values()):
                found = replace(found, decide=lambda _: "yes", tell=lambda _: ("steady", "It gives the very same map."))
            yield found
