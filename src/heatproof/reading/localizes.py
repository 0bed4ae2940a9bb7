"""Localizes: do a map's highest pixels lie in the object's boxes or mask, more than without the network?

`box-ratio`, the share of the n highest pixels inside boxes of n pixels, is judged by the difference, sample by sample,
to the best of what knows no network: the controls of the run, the middle of the image, and the boxes' area, which a
random map reaches. The pointing game is hit or miss, so hits are counted by exact tests: against hits by chance, each
image with its boxes' area, and against the best of the others where only one of the two hits. It withholds nothing
where it cannot tell: a hit a sample tells little.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from heatproof.reading.base import READINGS, Judgement, Reading
from heatproof.reading.evidence import Evidence
from heatproof.reading.faithful import against_controls
from heatproof.reading.proportions import more_hits_than, more_wins_than, of_share_exactly
from heatproof.reading.resampling import Array
from heatproof.reading.rule import FEWEST, Answer, Estimate
from heatproof.reading.shares import percent
from heatproof.reading.values import Values, aligned

CHECK = "bounding-box"
RATIO, HIT, AREA = "box-ratio", "pointing-game", "box-area"


@READINGS.register("localizes")
@dataclass(frozen=True, kw_only=True)
class Localizes(Reading):
    """Where the highest pixels lie.

    >>> hp.readings.get("localizes").title, hp.readings.get("localizes").reads
    ('Localizes?', ('bounding-box',))
    """

    title: ClassVar[str] = "Localizes?"
    reads: ClassVar[tuple[str, ...]] = (CHECK,)

    def judge(self, evidence: Evidence, method: str) -> Iterator[Judgement]:
        for check in evidence.info.of(CHECK):
            area = evidence.column(check.label, "", AREA)
            ours, others = _known(evidence, check.label, method, RATIO, area)
            if ours is None or area is None:
                continue
            sentence = f"{ours.mean:.2f} of its highest pixels lie in the object's boxes or mask"
            yield against_controls("localizes", evidence, check, method, RATIO, ours, others, sentence)
            hits, rivals = _known(evidence, check.label, method, HIT, None)
            if hits is not None and method not in evidence.info.controls:
                yield _pointing(evidence, check.label, method, hits, rivals, area)


def _known(
    evidence: Evidence, check: str, method: str, metric: str, area: Values | None
) -> tuple[Values | None, dict[str, Values]]:
    """A method's values, and those of what knows no network, by name."""
    found = {label: evidence.column(check, label, metric) for label in evidence.info.controls if label != method}
    found["the middle of the image"] = evidence.column(check, "", metric, setting="center")
    found["a random map"] = area
    others = {name: values for name, values in found.items() if values is not None}
    return evidence.column(check, method, metric), others


def _pointing(
    evidence: Evidence,
    check: str,
    method: str,
    hits: Values,
    rivals: dict[str, Values],
    area: Values,
) -> Judgement:
    both = _first(hits, area)
    n, made = len(both), int(both[:, 0].sum())
    low, high = of_share_exactly(made, n)
    best = max(rivals, key=lambda name: rivals[name].mean) if rivals else ""
    more, fewer = more_hits_than(made, both[:, 1])
    ahead = behind = 1.0
    if best:
        paired = _first(hits, rivals[best])
        wins, losses = (int((paired[:, a] > paired[:, 1 - a]).sum()) for a in (0, 1))
        ahead, behind = more_wins_than(wins, losses)

    def decide(alpha: float) -> Answer:
        if n < FEWEST:
            return "unknown"
        if more <= alpha / 2 and ahead <= alpha / 2:
            return "yes"
        return "no" if fewer <= alpha / 2 or behind <= alpha / 2 else "unknown"

    rival = f", that of {best} in {percent(rivals[best].mean)}" if best else ""
    random = percent(float(both[:, 1].mean())) if n else "? %"
    told = f"Its highest pixel lies in the object's boxes or mask in {made} of {n} samples"
    told += f"; that of a random map would in {random} of them{rival}."
    words = {"yes": "points at it", "no": "points elsewhere", "unknown": "cannot be told"}
    return Judgement(
        method=method,
        question="localizes",
        check=check,
        metric=HIT,
        estimate=Estimate(mean=made / n if n else float("nan"), low=low, high=high, n=n, missing=evidence.samples - n),
        decide=decide,
        tell=lambda answer: (words[answer], told),
        supporting=True,
    )


def _first(one: Values, other: Values) -> Array:
    """Both (samples, 2) where they have a value, under the first seed."""
    both = aligned(one, other)[0][0]
    known: Array = both[np.isfinite(both[:, 0])]
    return known
