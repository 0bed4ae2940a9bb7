"""Does a map depend on the model's parameters?

With every layer randomized, by the survival u of `survival`:

1. fewer than 5 samples, or than half of them, have a value, or a yardstick is missing: `cannot be told`
2. s is 1 for every sample by all measures, which takes no scale to tell: `never looks at the model`
3. its repeatability, (r − c)/(1 − c), is not surely above one tenth: `is noise`, or untold if it may exceed one half;
   or c is above 0.9 and u not known to within one half: untold. Then there is no u
4. u surely 0.9 or more: `does not depend`; surely one half or more: `hardly depends`
5. u surely below one tenth: `depends`; below one half: `depends in part` (`depends, perhaps in part` across one tenth)
6. everything else: `cannot be told`
7. a map that is not surely steady where nothing happened says nothing by changing: 5. needs that

"Surely" means with the whole interval. Two measures are judged, Spearman of the signed and of the absolute values, and
the one under which more survives counts; "depends" needs both. Only randomizations that end with every layer random
are judged; of several the worst counts, and one whose network died counts for nothing beside others. What two random
networks share is the input showing through: it is told, and excuses nothing. The margins are choices, the same for
every method and run.

Source: Adebayo et al. 2018 (randomization). The rule is ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from heatproof.reading.base import READINGS, Judgement, Reading
from heatproof.reading.entries import CheckInfo
from heatproof.reading.evidence import Evidence
from heatproof.reading.shares import percent
from heatproof.reading.survival import HALF, JUDGED, Measured, Survival, survival
from heatproof.reading.surviving import by_survival, untold
from heatproof.rows import chance_of

CHECK = "parameter-randomization"
MISSING = {
    "s": "this similarity was not measured with every layer randomized",
    "c": "its map was not compared with itself permuted",
}


@READINGS.register("depends")
@dataclass(frozen=True, kw_only=True)
class Depends(Reading):
    """Survival of full randomization of the parameters.

    >>> run = hp.audit(net, images, labels, methods=["gradient-x-input"],
    ...                checks=["parameter-randomization"], out="run", progress=False)
    ...
    >>> verdicts = run.verdicts()
    >>> verdicts[verdicts["question"] == "depends"][["method", "answer"]].values.tolist()
    [['gradient-x-input', 'unknown']]
    """

    title: ClassVar[str] = "Depends on the parameters?"
    reads: ClassVar[tuple[str, ...]] = (CHECK,)
    other_maps: ClassVar[bool] = True

    def judge(self, evidence: Evidence, method: str) -> Iterator[Judgement]:
        info = evidence.info
        excluded = info.excluded(method)
        for check in info.of(CHECK):
            for group in info.randomizations:
                grades = _grades(evidence, check, method, group)
                if grades and (why := info.unfinished(group)):
                    yield untold("depends", method, check.label, group, grades, "not judged", f"Shown: {why}.")
                    continue
                dead = info.dead(group) or _blank(evidence, check, group)
                if grades and dead:
                    yield untold("depends", method, check.label, group, grades, "network is dead", dead)
                elif grades and excluded:
                    why = f"Left out where the network is changed: {excluded}."
                    yield untold("depends", method, check.label, group, grades, "excluded", why)
                elif grades:
                    yield by_survival("depends", method, check.label, group, grades)


def measured(evidence: Evidence, check: str, method: str, group: str, metric: str) -> Measured:
    """s, r and c of a method's maps with every layer randomized, as `survival` has them."""
    stage = evidence.info.last_stage(group)
    s = evidence.column(check, method, metric, setting=group, position=stage)
    r = evidence.column(check, method, metric, setting="replicate")
    c = evidence.column(check, method, metric, setting=chance_of(group), position=stage)
    return Measured(metric, s, r, c if r is not None else None)


def grade(evidence: Evidence, of: Measured) -> Survival:
    """What survives of a method's maps by one measure, or why that cannot be told."""
    missing = MISSING if of.r is not None else {**MISSING, "c": "the method's own noise was not measured"}
    return survival(of.s, of.r, of.c, metric=of.metric, samples=evidence.samples, missing=missing)


def _grades(evidence: Evidence, check: CheckInfo, method: str, group: str) -> dict[str, Survival]:
    columns = (measured(evidence, check.label, method, group, metric) for metric in JUDGED)
    return {one.metric: grade(evidence, one) for one in columns if one.s is not None}


def _blank(evidence: Evidence, check: CheckInfo, group: str) -> str:
    """What to say of a network whose explained outputs are zero for half of the samples, where the trained are not."""
    before, after = (
        evidence.mean(check.label, "", "dead-target", setting=group, position=position)
        for position in (0.0, evidence.info.last_stage(group))
    )
    if not after >= HALF > before:
        return ""
    remedy = "another seed or initializer" if " he" in group else "initializer='he'"
    return f"The randomized network is dead: {percent(after)} of its explained outputs are exactly zero; set {remedy}."
