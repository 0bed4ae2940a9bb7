"""Does a map depend on the labels that the network has learned? The answer from data randomization.

The steps of `survival`, for one measure, with
s = similarity of the map on a network that learned permuted labels to the map on the model;
r = the same on a network that learned the true labels again: what a method that reads the labels keeps;
f = what two networks on permuted labels share, where several seeds were run, else c;
c = calibration: what random masks share with the map.
Survival = (s − c) / (r − c): 0 is what a random mask reaches, 1 what learning the same again reaches. Where r is not
surely above c by one tenth, learning the same labels again gives another map as well, and nothing can be told.

Source: Adebayo et al. 2018, section 4; Gupta & Arora 2019, 4.2. The network on true labels and the rule are ours.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from heatproof.auditing.bootstrap import aligned, column, count, intervals, per_sample
from heatproof.auditing.finding import Finding, Means, finding_of, paired_difference
from heatproof.auditing.survival import CALIBRATION, GRADES, JUDGED, Survival, combine, graded, percent, untold

LABELS = "data-randomization"
PERMUTED, TRUE = "permuted-labels", "true-labels"
NEAR_CHANCE = 0.03


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One data randomization's values beside the calibration's: see `bootstrap.per_sample` and `intervals`."""

    label: str
    table: pd.DataFrame
    means: Means


def asked_of_labels(rows: pd.DataFrame, names: Mapping[str, str]) -> list[Trained]:
    """The data randomizations of a run, each under its own label; `names` says what each check is."""
    masks = rows[rows["check"].isin([label for label, name in names.items() if name == CALIBRATION])]
    found = []
    for label in (label for label, name in names.items() if name == LABELS):
        part = pd.concat([rows[rows["check"] == label].assign(check=LABELS), masks.assign(check=CALIBRATION)])
        if (part["check"] == LABELS).any():
            found.append(Trained(label=label, table=per_sample(part), means=intervals(part)))
    return found


def labels(
    run: Trained, method: str, measures: Collection[str], tones: Mapping[str, str], excluded: str = ""
) -> Iterator[Finding]:
    """The verdict first, on the measure with the higher survival; then every similarity, shown without one.

    `excluded` says why the method was left out of these networks, if it was.
    """
    measured = [name for name in measures if _key(method, PERMUTED, name) in run.means]
    grades = {name: _grade(run.table, method, name) for name in measured if name in JUDGED}
    if grades and excluded:
        key = _key(method, PERMUTED, next(iter(grades)))
        said = f"Left out where the network was trained anew: {excluded}."
        found = finding_of(run.means, key, "labels", verdict="excluded", tone="unknown", sentence=said)
        yield replace(found, check=run.label)
        return
    if grades:
        worst = max(grades, key=lambda name: (grades[name].verdict in GRADES, np.nan_to_num(grades[name].share)))
        verdict = combine(grades)
        said = f"{_explain(verdict, grades, worst)}{_warning(run.means)}"
        key = _key(method, PERMUTED, worst)
        found = finding_of(run.means, key, "labels", verdict=verdict, tone=tones[verdict], sentence=said)
        yield replace(found, check=run.label)
    for name in measured:
        for setting in (PERMUTED, TRUE):
            if (key := _key(method, setting, name)) in run.means:
                shown = finding_of(run.means, key, "similarity on labels", sentence=_paired(run.table, method, name))
                yield replace(shown, check=run.label)


def _key(method: str, setting: str, metric: str) -> tuple[str, str, str, float, str]:
    return (LABELS, method, setting, 0.0, metric)


def _grade(table: pd.DataFrame, method: str, metric: str) -> Survival:
    permuted, true = (column(table, _key(method, setting, metric)) for setting in (PERMUTED, TRUE))
    if permuted is None or true is None:
        return untold("one of the networks was not trained")
    floor = column(table, _key(method, f"{PERMUTED} floor", metric))
    masks = [column(table, (CALIBRATION, method, f"map-vs-{kind}", 0.0, metric)) for kind in ("gaussian", "uniform")]
    known = {f"c{k}": mask for k, mask in enumerate(masks) if mask is not None}
    complete = aligned({"s": permuted, "r": true, **({} if floor is None else {"f": floor}), **known})
    complete["c"] = complete[list(known)].mean(axis=1) if known else 0.0
    if floor is None:
        complete["f"] = complete["c"]
    grade = graded(complete[["s", "f", "r", "c"]], count(table))
    if grade.verdict == "is noise":
        return replace(grade, verdict="cannot be told", reason=_unrepeated(grade))
    if "own noise" in grade.reason:
        return replace(grade, reason="too few samples to tell whether learning the true labels again gives it again")
    if grade.reason.startswith("more than"):
        return replace(grade, reason="" if floor is None else "more than two networks on permuted labels share")
    return grade


def _unrepeated(grade: Survival) -> str:
    return (
        f"where the true labels were learned again its map is no more like itself ({grade.replicate:z.2f}) than a "
        f"random mask ({grade.calibration:z.2f})"
    )


def _explain(verdict: str, grades: Mapping[str, Survival], worst: str) -> str:
    """The verdict in plain words, with the numbers that decided it."""
    grade = grades[worst]
    if verdict == "never looks at the model":
        return "Exactly the same map whatever labels the network learned."
    if verdict == "cannot be told":
        reasons = [g.reason for g in grades.values() if g.reason]
        return f"Not enough to go by: {reasons[0] if reasons else 'the measures cannot be told from noise'}."
    numbers = (
        f"{grade.similarity:z.2f} on permuted labels, {grade.replicate:z.2f} where the true ones were learned again"
    )
    if verdict == "does not depend":
        return f"Its similarity to itself is as high without the labels: {numbers}."
    lead = ""
    words = {name: grades[name].verdict if name in grades else "not measured" for name in JUDGED}
    if len(set(words.values())) > 1:
        parts = "; ".join(f"{JUDGED[name]}: {word}" for name, word in words.items())
        lead = f"{parts[0].upper()}{parts[1:]}. "
    amount = percent(grade.share) if grade.share > 0 else "nothing" if lead else "Nothing"
    left = f"{amount} ({percent(grade.low)[:-2]} to {percent(grade.high)})"
    if lead:
        lead += f"By the {'latter' if worst == list(JUDGED)[-1] else 'former'}, "
    reason = f", {grade.reason}" if grade.reason else ""
    return f"{lead}{left} of its similarity to itself needs no labels{reason}: {numbers}."


def _warning(means: Means) -> str:
    """Whether the networks on permuted labels guess on samples that they were not trained on, as they should."""
    reached, chance = (means.get(_key("", PERMUTED, name)) for name in ("test-accuracy", "chance-accuracy"))
    if reached is None or chance is None or abs(reached.mean - chance.mean) <= NEAR_CHANCE:
        return ""
    right, guessed = percent(reached.mean), percent(chance.mean)[:-2]
    return (
        f" The network on permuted labels gets {right} of new samples right, not {guessed} ± 3 %: it learned something "
        "of the labels, or there are too few samples to test on."
    )


def _paired(table: pd.DataFrame, method: str, metric: str) -> str:
    permuted, true = (column(table, _key(method, setting, metric)) for setting in (PERMUTED, TRUE))
    if permuted is None or true is None:
        return "Shown, not judged."
    low, high = paired_difference(true, permuted)
    both = aligned({"true": true, "permuted": permuted})
    gap = float(both["true"].mean() - both["permuted"].mean())
    return f"True minus permuted labels, sample by sample: {gap:z.2f} ({low:z.2f} to {high:z.2f})."
