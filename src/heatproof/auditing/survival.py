"""Does a map depend on the model's parameters? The rule, and one measure's answer to it.

For one measure, with every layer randomized:
s = similarity to the trained model's map; f = floor (i), the similarity between two independently randomized
networks; r = floor (ii), the similarity of two seeds on the trained model, 1 for a method without noise;
c = calibration, the similarity of the trained map to random masks (0, what a rank correlation with them is on average,
where that check was not part of the audit). Survival = (s − c) / (r − c): 0 is what a random mask reaches, 1 is what
the method reaches with itself. In this order, "surely" meaning with the whole 95 % interval:

1. fewer than 5 samples, or than half of them, have a value, or a floor is missing: `cannot be told`
2. r − c is not surely above one tenth: `is noise` (`cannot be told` where it could still exceed one half)
3. s is 1 for every sample: `never looks at the model`
4. s is not surely below r: `does not depend`
5. the interval of the survival is wider than one half: `cannot be told`
6. survival surely one half or more: `hardly depends`
7. survival surely below one half, and s not surely above both f and c: `depends`
8. everything else: `depends in part`

Steps 4 and 7 hold the definition "below (ii) and not above (i)". Five samples, one tenth and one half are choices, not
results; one tenth is there because with few samples pure noise lies "surely above" chance now and then. Two measures
are judged: Spearman of the signed values (what counts for and against) and of the absolute values (where the map is
strong). `depends` needs both; where they disagree, or only one was measured, the better one counts, but never for more
than `depends in part`. Only randomizations that end with every layer random are judged; of several (initializers,
orders) the worst verdict counts; one that cannot be told counts only where no other can, and where the reason is a
random network that is dead, the scorecard says so (`network is dead`) and what to set.
A low similarity alone is no merit: zero covariance minimizes these measures, and noise has it.

Source: Adebayo et al. 2018 (randomization, calibration); Binder et al. 2023, Theorems 1, 3, 4 (why low is no merit).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from heatproof.auditing.bootstrap import aligned, bounds, column, count, cube, resampled_means

FEWEST = 5
HALF, TENTH = 0.5, 0.1
JUDGED = {"spearman": "what counts for and against", "spearman-absolute": "where the map is strong"}
RANDOMIZATION, CALIBRATION = "parameter-randomization", "calibration"
GRADES = ["depends", "depends in part", "hardly depends", "does not depend", "never looks at the model"]


@dataclass(frozen=True, kw_only=True)
class Survival:
    """How one measure grades one method; all numbers are means over the samples that have all four."""

    verdict: str
    reason: str
    similarity: float
    floor: float
    replicate: float
    calibration: float
    share: float
    low: float
    high: float
    n: int


def survival(
    table: pd.DataFrame, method: str, group: str, stage: float, metric: str, *, calibrated: bool = False
) -> Survival:
    """Grade one measure by the eight steps of this module's docstring.

    The check that gives s gives both floors too, so one that is missing has failed. `calibrated` says whether the audit
    compares maps with random masks by this measure: if it does, c must be there as well.
    """
    drawn = column(table, (RANDOMIZATION, method, group, float(stage), metric))
    if drawn is None:
        return untold("this similarity was not measured with every layer randomized")
    replicate = column(table, (RANDOMIZATION, method, "replicate", 0.0, metric))
    if replicate is None:
        return untold("the method's own noise was not measured")
    floor = column(table, (RANDOMIZATION, method, f"{group} floor", float(stage), metric))
    if floor is None:
        return untold("two random networks were not compared")
    masks = [column(table, (CALIBRATION, method, f"map-vs-{kind}", 0.0, metric)) for kind in ("gaussian", "uniform")]
    known = [mask for mask in masks if mask is not None]
    if calibrated and not known:
        return untold("its map was not compared with random masks")
    complete = aligned({"s": drawn, "f": floor, "r": replicate, **{f"c{k}": mask for k, mask in enumerate(known)}})
    complete["c"] = complete.iloc[:, 3:].mean(axis=1) if known else 0.0
    return graded(complete[["s", "f", "r", "c"]], count(table))


def graded(complete: pd.DataFrame, samples: int) -> Survival:
    """Steps 1 to 8 on s, f, r and c by (seed, sample), of so many samples that there are."""
    n = count(complete)
    if n < max(FEWEST, samples / 2):
        return untold(f"only {n} of {samples} samples have a similarity (a blank map has none)")

    s, f, r, c = (float(mean) for mean in complete.mean())
    draws = resampled_means(cube(complete))
    gap_low, gap_high = bounds(draws[:, 2] - draws[:, 3])
    below_replicate = bounds(draws[:, 2] - draws[:, 0])[0] > 0
    above_floor = bounds(draws[:, 0] - np.maximum(draws[:, 1], draws[:, 3]))[0] > 0
    noise = gap_low <= TENTH
    shares = (draws[:, 0] - draws[:, 3]) / np.where(draws[:, 2] == draws[:, 3], np.nan, draws[:, 2] - draws[:, 3])
    low, high = (float(bound) for bound in bounds(shares))
    reason = ""
    if noise and gap_high > HALF:
        verdict, reason = "cannot be told", "too few samples to tell its own noise from chance"
    elif noise:
        verdict = "is noise"
    elif (complete["s"] >= 1 - 1e-6).all():
        verdict = "never looks at the model"
    elif not below_replicate:
        verdict = "does not depend"
    elif high - low > HALF:
        verdict, reason = "cannot be told", f"{low:.0%} to {high:.0%} of it may survive: too few samples"
    elif low >= HALF:
        verdict = "hardly depends"
    elif high < HALF and not above_floor:
        verdict = "depends"
    else:
        verdict = "depends in part"
        reason = "more than two random networks share" if above_floor else ""
    return Survival(
        verdict=verdict,
        reason=reason,
        similarity=s,
        floor=f,
        replicate=r,
        calibration=c,
        share=(s - c) / (r - c) if r != c else np.nan,
        low=low,
        high=high,
        n=n,
    )


def untold(reason: str) -> Survival:
    """Nothing was measured, for this reason."""
    gone = float("nan")
    return Survival(
        verdict="cannot be told",
        reason=reason,
        similarity=gone,
        floor=gone,
        replicate=gone,
        calibration=gone,
        share=gone,
        low=gone,
        high=gone,
        n=0,
    )


def combine(grades: Mapping[str, Survival]) -> str:
    """One word for the judged measures: `depends` needs all of them, otherwise the better one, at most `in part`."""
    words = [grade.verdict for grade in grades.values()]
    for word in ("is noise", "cannot be told"):
        if all(w == word for w in words):
            return word
    if all(name in grades and grades[name].verdict == "depends" for name in JUDGED):
        return "depends"
    ranked = [GRADES.index(w) for w in words if w in GRADES]
    return GRADES[max(min(ranked), 1)] if ranked else "cannot be told"


def explain(verdict: str, grades: Mapping[str, Survival], worst: str, control: tuple[str, float] | None) -> str:
    """The verdict in plain words, with the numbers that decided it."""
    grade = grades[worst]
    if verdict == "never looks at the model":
        return "Exactly the same map whatever the parameters: it fails, and cannot say anything about this network."
    if verdict == "is noise":
        unmoved = " With the same draws it does not even change with the model." if grade.similarity > 0.999 else ""
        return (
            "Two runs on the same trained network agree no better than with a random mask: "
            f"a low similarity here is only noise.{unmoved}"
        )
    if verdict == "cannot be told":
        reasons = [g.reason for g in grades.values() if g.reason]
        return f"Not enough to go by: {reasons[0] if reasons else 'the measures cannot be told from noise'}."
    if verdict == "does not depend":
        return "A fully random network gives a map as similar to the trained one's as a second run on the trained one."
    amount = percent(grade.share) if grade.share > 0 else "Nothing"
    survives = f"{amount} ({percent(grade.low)[:-2]} to {percent(grade.high)})"
    if verdict == "depends":
        said = (
            f"{survives} of its similarity to itself survives full randomization: not more than two random nets share."
        )
    else:
        lead, whose = "", "its"
        words = {name: grades[name].verdict if name in grades else "not measured" for name in JUDGED}
        if len(set(words.values())) > 1:
            parts = "; ".join(f"{JUDGED[name]}: {word}" for name, word in words.items())
            lead = f"{parts[0].upper()}{parts[1:]}. "
            whose = "the latter's" if worst == list(JUDGED)[-1] else "the former's"
        reason = f", {grade.reason}" if grade.reason else ""
        said = f"{lead}{survives} of {whose} similarity to itself survives full randomization{reason}."
    if control and grade.share > 0 and control[1] >= grade.similarity:
        said += f" A map made with no network at all, {control[0]}, is at least as similar: {control[1]:.2f}."
    return said


def percent(value: float) -> str:
    """A share in whole percent."""
    return "? %" if not np.isfinite(value) else f"{round(100 * value) + 0:d} %"
