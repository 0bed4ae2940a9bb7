"""The scorecard: what the rows of a run say about each method, in numbers with intervals and in plain words.

Pure functions of the rows (a DataFrame) and the manifest (a dict). Never one number: a `Finding` for each method and
question, with its 95 % bootstrap interval over samples and seeds (see `bootstrap`). Whether a map depends on the
parameters is decided by the rule in `survival`. A question whose check was not run has no finding: the page leaves a
stated blank.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from heatproof.auditing.answers import completeness, cost, noise
from heatproof.auditing.beyond import answers, asked
from heatproof.auditing.bootstrap import column, intervals, per_sample
from heatproof.auditing.finding import Finding, Manifest, Means, finding_of, paired_difference, withheld
from heatproof.auditing.labels import LABELS, asked_of_labels, labels
from heatproof.auditing.survival import (
    CALIBRATION,
    GRADES,
    HALF,
    JUDGED,
    RANDOMIZATION,
    combine,
    explain,
    percent,
    survival,
)

CONTROLS = "input-controls"
SIMILARITIES = {
    "spearman": "Spearman, signed",
    "spearman-absolute": "Spearman, absolute",
    "ssim": "SSIM",
    "ssim-adebayo": "SSIM, Adebayo's code",
    "ssim-flip": "SSIM, sign flips allowed",
    "hog": "HOG",
    "hog-spearman": "HOG, Spearman",
    "mse": "MSE",
}
QUESTIONS = {
    "parameters": "Depends on the parameters?",
    "labels": "Depends on the labels?",
    "faithful": "Faithful?",
    "localizes": "Localizes?",
    "complete": "Complete?",
    "noise": "How noisy?",
    "competition": "What survives competition?",
    "complexity": "More complex when random?",
    "cost": "What does it cost?",
}
DEAD = "network is dead"
HE = "initializer='he'"
TONES = {
    "depends": "good",
    "depends in part": "mid",
    "hardly depends": "bad",
    "does not depend": "bad",
    "never looks at the model": "bad",
    "is noise": "noise",
    "cannot be told": "unknown",
    DEAD: "unknown",
}
EXCLUDED = "excluded"
WITHHELD = "withheld"
MIDDLING = ("depends in part", "hardly depends")


def names_of(manifest: Manifest) -> dict[str, str]:
    """What each check is, by its label: the registered name that its class has, whatever its fields are."""
    return {check["label"]: _class_name(check) or check["name"] or check["label"] for check in manifest["checks"]}


def _class_name(check: Mapping[str, Any]) -> str:
    """`sensitivity-n` for heatproof.checks.sensitivity_n.SensitivityN; empty for a check that is none of ours."""
    package, _, name = str(check.get("recipe", {}).get("class", "")).rpartition(".")
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower() if package.startswith("heatproof.checks.") else ""


def named(rows: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """The rows with checks under their registered names, whatever labels the run gave them."""
    return rows.assign(check=rows["check"].replace(names_of(manifest)))


def randomizations(manifest: Manifest) -> list[str]:
    """Every randomization, in the run's order."""
    return list(dict.fromkeys(s["group"] for s in manifest["states"] if s["kind"] == "randomized"))


def groups(manifest: Manifest) -> list[str]:
    """Randomizations that end with every layer randomized, in the run's order: only these can be judged."""
    stages = [s for s in manifest["states"] if s["kind"] == "randomized"]
    last = [s for s in stages if s["index"] == last_stage(manifest, s["group"])]
    unfinished = {s["group"] for s in last if not s.get("complete", False)}
    return [group for group in randomizations(manifest) if group not in unfinished]


def last_stage(manifest: Manifest, group: str) -> float:
    """Position of the last stage of `group`."""
    return float(max(s["index"] for s in manifest["states"] if s["kind"] == "randomized" and s["group"] == group))


def similarities(metrics: Iterable[str]) -> dict[str, str]:
    """The similarity measures among `metrics`, each with what to call it; `hog[cell=8]` is HOG with other fields."""
    measured = sorted(set(metrics))
    names = [name for family in SIMILARITIES for name in measured if name.partition("[")[0] == family]
    return {name: SIMILARITIES[name.partition("[")[0]] + name[len(name.partition("[")[0]) :] for name in names}


def chance_share(labels: int) -> float:
    """Share of features that competition among `labels` i.i.d. symmetric scores leaves: 2(1 − 2^−C)/C; 1 for one."""
    return min(1.0, 2 * (1 - 2.0**-labels) / labels)


def findings(rows: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """Every finding of a run, one a row, with the columns of `Finding`; methods and questions in the run's order."""
    names = names_of(manifest)
    beyond, trained = asked(rows, manifest, names), asked_of_labels(rows, names)
    random = next((m["label"] for m in manifest["methods"] if m["name"] == "random"), None)
    rows = named(rows, manifest)
    measures = similarities(rows["metric"])
    rows = rows[rows["check"] != LABELS]
    table, means = per_sample(rows), intervals(rows)
    judged = groups(manifest)
    found: list[Finding] = []
    for method in (m["label"] for m in manifest["methods"]):
        for group in randomizations(manifest):
            if group in judged:
                found += _parameters(table, means, manifest, method, group)
                found += _competition(table, means, manifest, method, group)
            else:
                found += _unjudged(means, manifest, method, group)
        for run in trained:
            found += labels(run, method, measures, TONES, excluded(manifest, method))
        found += [*noise(means, method), *completeness(table, means, method), *answers(beyond, method, random)]
        found += cost(manifest, method)
    if reason := withheld(manifest):
        found = [_withheld(one, reason) if one.tone == "good" else one for one in found]
    return pd.DataFrame([asdict(f) for f in found], columns=[field.name for field in fields(Finding)])


def _withheld(finding: Finding, reason: str) -> Finding:
    """The finding without its good word: what a network that knows nothing shows is no merit of a method."""
    said = f"{reason} It would have been “{finding.verdict}”: {finding.sentence}"
    return replace(finding, verdict=WITHHELD, tone="unknown", sentence=said)


def headline(found: pd.DataFrame, manifest: Manifest) -> str:
    """How often the network is right, where that is known, and then what its heatmaps are worth."""
    known = manifest.get("knowledge") or {}
    said = f"{known['sentence']} " if known.get("measure") else ""
    if withheld(manifest):
        return f"{said}Nothing here says which of its heatmaps to trust."
    return said + _verdicts(found, manifest)


def _verdicts(found: pd.DataFrame, manifest: Manifest) -> str:
    """One sentence: how many of the heatmaps that are not controls depend on the parameters, or else on the labels."""
    verdicts = primary(found, manifest)
    what = "what this network learned"
    if not verdicts and (found["question"] == "labels").any():
        records: list[dict[str, Any]] = found[found["question"] == "labels"].to_dict("records")  # type: ignore[assignment]  # columns are text
        verdicts, what = {record["method"]: record for record in records}, "the labels that this network learned"
    judged = [m["label"] for m in manifest["methods"] if not m.get("controls") and m["label"] in verdicts]
    if not judged:
        known = randomizations(manifest) and not groups(manifest)
        why = "judged: no randomization ended with every layer random" if known else "measured"
        return f"Whether these heatmaps depend on what this network learned was not {why}."
    judged = [label for label in judged if verdicts[label]["verdict"] != EXCLUDED]
    if judged and all(verdicts[label]["verdict"] == DEAD for label in judged):
        return f"Whether these heatmaps depend on {what} cannot be judged. {verdicts[judged[0]]['sentence']}"
    if not judged:
        return f"Whether these heatmaps depend on {what} was not judged: no method has a meaning on a changed network."
    passed = sum(verdicts[label]["verdict"] == "depends" for label in judged)
    noun = "heatmaps depend" if passed != 1 else "heatmaps depends" if len(judged) > 1 else "heatmap depends"
    return f"{passed} of {len(judged)} {noun} on {what}."


def primary(found: pd.DataFrame, manifest: Manifest) -> dict[str, dict[str, Any]]:
    """The verdict on the parameters by method: the worst over all randomizations that end with every layer random.

    Of equal verdicts the one with the higher similarity is given.
    """
    chosen = found[(found["question"] == "parameters") & found["setting"].isin(groups(manifest))]
    words = [EXCLUDED, "cannot be told", DEAD, WITHHELD, *GRADES, "is noise"]
    ranks = {word: rank for rank, word in enumerate(words)}
    records: list[dict[str, Any]] = chosen.to_dict("records")  # type: ignore[assignment]  # columns are text
    records.sort(key=lambda r: (ranks[r["verdict"]], np.nan_to_num(r["mean"], nan=-np.inf)))
    return {record["method"]: record for record in records}


def _parameters(table: pd.DataFrame, means: Means, manifest: Manifest, method: str, group: str) -> Iterator[Finding]:
    """The verdict first, on the measure with the higher survival; then every similarity, shown without one."""
    stage = last_stage(manifest, group)
    measured = _measured(means, method, group, stage)
    if (why := excluded(manifest, method)) and measured:
        key = (RANDOMIZATION, method, group, stage, measured[0])
        sentence = f"Left out where the network is randomized: {why}."
        yield finding_of(means, key, "parameters", verdict=EXCLUDED, tone="unknown", sentence=sentence)
        return
    masked = _calibrated(manifest)
    grades = {
        name: survival(table, method, group, stage, name, calibrated=name in masked)
        for name in measured
        if name in JUDGED
    }
    if grades:
        worst = max(grades, key=lambda name: np.nan_to_num(grades[name].share, nan=-np.inf))
        verdict = combine(grades)
        sentence = explain(verdict, grades, worst, _likest_control(means, method, worst))
        cause = _dead(manifest, group, stage)
        if verdict == "cannot be told" and (cause := cause or _blank(means, group, stage)):
            verdict, sentence = DEAD, cause
        elif cause:
            sentence += f" {cause}"
        zeros = (RANDOMIZATION, method, group, stage, "shared-zeros")
        if zeros in means and means[zeros].mean >= HALF and verdict in ("depends", *MIDDLING):
            share = percent(means[zeros].mean)
            sentence += f" {share} of its features are zero in both maps, which raises this number."
        key = (RANDOMIZATION, method, group, stage, worst)
        yield finding_of(means, key, "parameters", verdict=verdict, tone=TONES[verdict], sentence=sentence)
    for name in measured:
        said = f"By this measure: {grades[name].verdict}." if name in grades else "Shown, not judged."
        said += f" {_yardsticks(means, method, group, stage, name)}"
        yield finding_of(means, (RANDOMIZATION, method, group, stage, name), "similarity", sentence=said)


def excluded(manifest: Manifest, method: str) -> str:
    """Why a method was left out where the network was changed; empty for one that was not."""
    learned = next((m.get("learns", ()) for m in manifest["methods"] if m["label"] == method), ())
    return "; ".join(dict.fromkeys(one["because"] for one in learned if one["changed"] == "exclude"))


def _unjudged(means: Means, manifest: Manifest, method: str, group: str) -> Iterator[Finding]:
    """Similarities at the last stage of a randomization that leaves layers trained."""
    stage = last_stage(manifest, group)
    for name in _measured(means, method, group, stage):
        said = f"Shown, not judged: {_why_unjudged(manifest, group, stage)}. "
        said += _yardsticks(means, method, group, stage, name)
        yield finding_of(means, (RANDOMIZATION, method, group, stage, name), "similarity", sentence=said)


def _why_unjudged(manifest: Manifest, group: str, stage: float) -> str:
    agreement = next((s["agreement"] for s in _states(manifest, group, stage) if s.get("agreement")), None)
    if agreement is None:
        return "this randomization never has every layer random"
    return f"fully randomized, its outputs still correlate by {agreement:.2f} with the trained ones"


def _states(manifest: Manifest, group: str, stage: float) -> list[dict[str, Any]]:
    states = (s for s in manifest["states"] if s["kind"] == "randomized" and s["group"] == group)
    return [s for s in states if s["index"] == stage]


def _dead(manifest: Manifest, group: str, stage: float) -> str:
    """What to say of a fully randomized network that was found dead, with what to set; empty for one that lives."""
    found = next((s for s in _states(manifest, group, stage) if s.get("dead")), None)
    return "" if found is None else f"The randomized network is dead: {found['dead']}; set {found['remedy']}."


def _blank(means: Means, group: str, stage: float) -> str:
    """The same of one whose explained outputs are zero for half of the samples, where the trained ones are not."""
    before, after = ((RANDOMIZATION, "", group, position, "dead-target") for position in (0.0, stage))
    if not (before in means and after in means and means[after].mean >= HALF > means[before].mean):
        return ""
    share = f"{percent(means[after].mean)} of its explained outputs are exactly zero"
    return f"The randomized network is dead: {share}; set {'another seed or initializer' if ' he' in group else HE}."


def _yardsticks(means: Means, method: str, group: str, stage: float, name: str) -> str:
    """What a similarity is to be held against: no number of it says anything alone (002, Theorems 1, 3, 4)."""
    places = {
        "two random networks": (RANDOMIZATION, f"{group} floor", stage),
        "two runs on the trained one": (RANDOMIZATION, "replicate", 0.0),
        "a Gaussian mask": (CALIBRATION, "map-vs-gaussian", 0.0),
        "a uniform mask": (CALIBRATION, "map-vs-uniform", 0.0),
    }
    keys = {what: (check, method, setting, at, name) for what, (check, setting, at) in places.items()}
    told = [f"{what} {means[key].mean:z.2f}" if key in means else f"{what} not compared" for what, key in keys.items()]
    return f"Beside it: {', '.join(told)}."


def _measured(means: Means, method: str, group: str, stage: float) -> list[str]:
    """The similarities that a method has at a stage."""
    names = similarities(key[4] for key in means)
    return [name for name in names if (RANDOMIZATION, method, group, stage, name) in means]


def _calibrated(manifest: Manifest) -> set[str]:
    """The measures by which this audit compares maps with random masks."""
    names = names_of(manifest)
    checks = [check for check in manifest["checks"] if names[check["label"]] == CALIBRATION]
    return {metric["name"] for check in checks for metric in check["metrics"]}


def _likest_control(means: Means, method: str, metric: str) -> tuple[str, float] | None:
    """The input control whose map is most similar to the trained model's."""
    values = [
        (key[2], interval.mean)
        for key, interval in means.items()
        if key[:2] == (CONTROLS, method) and key[2] != method and key[4] == metric and np.isfinite(interval.mean)
    ]
    return max(values, key=lambda v: v[1], default=None)


def _competition(table: pd.DataFrame, means: Means, manifest: Manifest, method: str, group: str) -> Iterator[Finding]:
    """Shares of features and of energy that competition leaves: trained (position 0) against fully randomized."""
    stage, chance = last_stage(manifest, group), chance_share(int(manifest["model"]["outputs"]))
    for metric, noun in (("surviving-share", "features"), ("surviving-energy", "energy")):
        trained, random = ((RANDOMIZATION, method, group, position, metric) for position in (0.0, stage))
        first, second = column(table, trained), column(table, random)
        if first is None or second is None:
            continue
        low, high = paired_difference(first, second)
        word, tone = "as much survives randomized", "mid"
        if not np.isfinite(low):
            word, tone = "cannot be told", "unknown"
        elif low > 0:
            word, tone = "less survives randomized", "good"
        elif high < 0:
            word, tone = "more survives randomized", "bad"
        before, after = means[trained].mean, means[random].mean
        line = f"; pure chance leaves {percent(chance)}" if noun == "features" else ""
        sentence = (
            f"Competition leaves {percent(before)} of the {noun} trained, {percent(after)} fully randomized{line}."
        )
        yield finding_of(means, random, "competition", verdict=word, tone=tone, sentence=sentence)
