"""Does a method give the same map twice? Two draws of its noise on the trained network, against chance.

(r − c)/(1 − c), r the similarity of two runs and c that of the map with itself permuted, by the measure under which it
repeats worst: surely one half or more *repeats*, surely below one half is *noisy*, surely below one tenth *is noise*.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from heatproof.reading.base import READINGS, Judgement, Reading, Told, judged, lacking
from heatproof.reading.depends import CHECK
from heatproof.reading.evidence import Evidence
from heatproof.reading.rule import Answer, Estimate, Margin
from heatproof.reading.survival import EXACT, HALF, JUDGED, TENTH, Survival, least, survival, untold_among
from heatproof.rows import chance_of

MARGIN = Margin(good="above", yes=HALF, no=HALF)
MISSING = {"s": "it was not run twice", "c": "its map was not compared with itself permuted"}


@READINGS.register("repeats")
@dataclass(frozen=True, kw_only=True)
class Repeats(Reading):
    """Similarity of two draws of the method's noise.

    >>> run = hp.audit(net, images, labels, methods=["gradient-x-input"],
    ...                checks=["parameter-randomization"], out="run", progress=False)
    ...
    >>> verdicts = run.verdicts()
    >>> verdicts[verdicts["question"] == "repeats"][["method", "answer"]].values.tolist()
    [['gradient-x-input', 'unknown']]
    """

    title: ClassVar[str] = "Repeats?"
    reads: ClassVar[tuple[str, ...]] = (CHECK,)
    other_maps: ClassVar[bool] = True

    def judge(self, evidence: Evidence, method: str) -> Iterator[Judgement]:
        for check in evidence.info.of(CHECK):
            values = {metric: evidence.column(check.label, method, metric, setting="replicate") for metric in JUDGED}
            known = {metric: one for metric, one in values.items() if one is not None and one.n}
            if not known:
                continue
            if all((one.array[np.isfinite(one.array)] >= EXACT).all() for one in known.values()):
                yield _exactly(method, check.label, next(iter(known)), {m: one.n for m, one in known.items()})
                return
            grades = {metric: _grade(evidence, check.label, method, metric) for metric in known}
            metric = least(grades)
            found = _judged(method, check.label, metric, grades[metric])
            yield lacking(found, reason) if (reason := untold_among(grades)) else found
            return


def _grade(evidence: Evidence, check: str, method: str, metric: str) -> Survival:
    r = evidence.column(check, method, metric, setting="replicate")
    chances = (
        evidence.column(check, method, metric, setting=chance_of(group), position=evidence.info.last_stage(group))
        for group in evidence.info.complete_randomizations
    )
    c = next((one for one in chances if one is not None), None)
    if c is None and r is not None:
        c = r * 0.0  # no permuted map: a rank correlation is 0 on average there
    return survival(r, None, c, metric=metric, samples=evidence.samples, missing=MISSING)


def _judged(method: str, check: str, metric: str, grade: Survival) -> Judgement:
    told = f"Two runs on the same network agree to {grade.similarity:z.2f}, judged by {JUDGED[metric]}; with itself "
    told += f"permuted the map agrees to {grade.chance:z.2f}."
    no = ("is noise", told) if grade.share.high < TENTH else ("noisy", told)
    words: dict[Answer, Told] = {
        "yes": ("repeats", told),
        "no": no,
        "unknown": ("cannot be told", told),
    }
    return judged(method, "repeats", check, metric, grade.share, MARGIN, words, setting="replicate")


def _exactly(method: str, check: str, metric: str, known: dict[str, int]) -> Judgement:
    return Judgement(
        method=method,
        question="repeats",
        check=check,
        metric=metric,
        estimate=Estimate(mean=1.0, low=1.0, high=1.0, n=known[metric]),
        setting="replicate",
        margin=MARGIN,
        decide=lambda _: "yes",
        tell=lambda _: ("repeats exactly", "A second run gives the same map."),
    )
