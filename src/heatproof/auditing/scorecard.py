"""The scorecard: what the rows of a run say about each method, in numbers with intervals and in plain words.

Pure functions of the rows (a DataFrame) and the manifest (a dict). Never one number: a `Finding` for each method and
question, with its 95 % bootstrap interval over samples (see `bootstrap`). Whether a map depends on the parameters is
decided by the rule in `survival`. A question whose check was not run has no finding: the page leaves a stated blank.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from heatproof.auditing.bootstrap import Array, Interval, Key, bounds, intervals, per_sample, resampled_means
from heatproof.auditing.survival import GRADES, HALF, JUDGED, RANDOMIZATION, TENTH, combine, explain, percent, survival

Manifest = Mapping[str, Any]
Means = Mapping[Key, Interval]

CONTROLS, CALIBRATION = "input-controls", "calibration"
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
COMPLETE = 0.01
QUESTIONS = {
    "parameters": "Depends on the parameters?",
    "labels": "Depends on the labels?",
    "faithful": "Faithful?",
    "localizes": "Localizes?",
    "complete": "Complete?",
    "noise": "How noisy?",
    "competition": "What survives competition?",
    "cost": "What does it cost?",
}
OTHER_CHECKS = {
    "data-randomization": "labels",
    "sensitivity-n": "faithful",
    "degradation": "faithful",
    "blurred-patch": "faithful",
    "bounding-box": "localizes",
    "completeness": "complete",
}
TONES = {
    "depends": "good",
    "depends in part": "mid",
    "hardly depends": "bad",
    "does not depend": "bad",
    "never looks at the model": "bad",
    "is noise": "noise",
    "cannot be told": "unknown",
}
MIDDLING = ("depends in part", "hardly depends")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One answer: mean over samples with its 95 % interval, and what it means.

    `n` samples have a value, `nan` values are degenerate. `verdict` is empty where a number is shown but not judged.
    `tone` is one of good, mid, bad, noise, unknown, plain.
    """

    method: str
    question: str
    check: str
    setting: str
    metric: str
    mean: float
    low: float = np.nan
    high: float = np.nan
    n: int = 0
    nan: int = 0
    verdict: str = ""
    tone: str = "plain"
    sentence: str = ""


def named(rows: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """The rows with checks under their registered names, whatever labels the run gave them."""
    names = {check["label"]: check["name"] or check["label"] for check in manifest.get("checks", [])}
    return rows.assign(check=rows["check"].replace(names))


def groups(manifest: Manifest) -> list[str]:
    """Randomizations that end with every layer randomized, in the run's order."""
    names = dict.fromkeys(s["group"] for s in manifest["states"] if s["kind"] == "randomized")
    return [name for name in names if not name.startswith("independent")]


def last_stage(manifest: Manifest, group: str) -> float:
    """Position at which every layer of `group` is randomized."""
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
    rows = named(rows, manifest)
    table, means = per_sample(rows), intervals(rows)
    found: list[Finding] = []
    for method in (m["label"] for m in manifest["methods"]):
        for group in groups(manifest):
            found += _parameters(table, means, manifest, method, group)
            found += _competition(table, means, manifest, method, group)
        found += [*_noise(means, method), *_completeness(table, means, method), *_others(rows, manifest, method)]
        found += _cost(manifest, method)
    return pd.DataFrame([asdict(f) for f in found], columns=[field.name for field in fields(Finding)])


def headline(found: pd.DataFrame, manifest: Manifest) -> str:
    """One sentence: how many of the heatmaps that are not controls depend on the parameters."""
    verdicts = primary(found, manifest)
    judged = [m["label"] for m in manifest["methods"] if not m.get("controls") and m["label"] in verdicts]
    if not judged:
        return "Whether these heatmaps depend on what this network learned was not measured."
    passed = sum(verdicts[label]["verdict"] == "depends" for label in judged)
    noun = "heatmaps depend" if passed != 1 else "heatmaps depends" if len(judged) > 1 else "heatmap depends"
    return f"{passed} of {len(judged)} {noun} on what this network learned."


def primary(found: pd.DataFrame, manifest: Manifest) -> dict[str, dict[str, Any]]:
    """The verdict on the parameters by method: the worst over all randomizations that end with every layer random.

    Of equal verdicts the one with the higher similarity is given.
    """
    chosen = found[(found["question"] == "parameters") & found["setting"].isin(groups(manifest))]
    ranks = {word: rank for rank, word in enumerate(["cannot be told", *GRADES, "is noise"])}
    records: list[dict[str, Any]] = chosen.to_dict("records")  # type: ignore[assignment]
    records.sort(key=lambda r: (ranks[r["verdict"]], np.nan_to_num(r["mean"], nan=-np.inf)))
    return {record["method"]: record for record in records}


def _finding(
    means: Means, key: Key, question: str, *, verdict: str = "", tone: str = "plain", sentence: str = ""
) -> Finding:
    check, method, setting, _, metric = key
    return Finding(
        method=method,
        question=question,
        check=check,
        setting=setting,
        metric=metric,
        verdict=verdict,
        tone=tone,
        sentence=sentence,
        **means[key]._asdict(),
    )


def _parameters(table: pd.DataFrame, means: Means, manifest: Manifest, method: str, group: str) -> Iterator[Finding]:
    """The verdict first, on the measure with the higher survival; then every similarity, shown without one."""
    stage = last_stage(manifest, group)
    measured = [
        name for name in similarities(key[4] for key in means) if (RANDOMIZATION, method, group, stage, name) in means
    ]
    grades = {name: survival(table, method, group, stage, name) for name in measured if name in JUDGED}
    if grades:
        worst = max(grades, key=lambda name: np.nan_to_num(grades[name].share, nan=-np.inf))
        verdict = combine(grades)
        sentence = explain(verdict, grades, worst, _likest_control(means, method, worst))
        zeros = (RANDOMIZATION, method, group, stage, "shared-zeros")
        if zeros in means and means[zeros].mean >= HALF and verdict in ("depends", *MIDDLING):
            share = percent(means[zeros].mean)
            sentence += f" {share} of its features are zero in both maps, which raises this number."
        key = (RANDOMIZATION, method, group, stage, worst)
        yield _finding(means, key, "parameters", verdict=verdict, tone=TONES[verdict], sentence=sentence)
    for name in measured:
        said = f"By this measure: {grades[name].verdict}." if name in grades else "Shown, not judged."
        yield _finding(means, (RANDOMIZATION, method, group, stage, name), "similarity", sentence=said)


def _likest_control(means: Means, method: str, metric: str) -> tuple[str, float] | None:
    """The input control whose map is most similar to the trained model's."""
    values = [
        (key[2], interval.mean)
        for key, interval in means.items()
        if key[:2] == (CONTROLS, method) and key[2] != method and key[4] == metric and np.isfinite(interval.mean)
    ]
    return max(values, key=lambda v: v[1], default=None)


def _noise(means: Means, method: str) -> Iterator[Finding]:
    """Similarity of two seeds on the trained model, by the measure under which it repeats worst."""
    keys = [(RANDOMIZATION, method, "replicate", 0.0, name) for name in JUDGED]
    keys = [key for key in keys if key in means and np.isfinite(means[key].mean)]
    if not keys:
        return
    key = min(keys, key=lambda k: means[k].mean)
    mean, low, high = means[key][:3]
    agree = f"Two runs on the same network agree to {mean:z.2f}"
    if mean >= 1 - 1e-6:
        said = {"verdict": "repeats exactly", "tone": "good", "sentence": "A second run gives the same map."}
    elif low >= HALF:
        said = {"verdict": "repeats", "tone": "good", "sentence": f"{agree}."}
    elif low <= TENTH or high < HALF:
        word = "all noise" if low <= TENTH else "noisy"
        said = {"verdict": word, "tone": "noise", "sentence": f"{agree} only."}
    else:
        said = {"verdict": "somewhat noisy", "tone": "mid", "sentence": f"{agree}."}
    yield _finding(means, key, "noise", **said)


def _completeness(table: pd.DataFrame, means: Means, method: str) -> Iterator[Finding]:
    """|ΣR − what it should sum to| of the trained model's maps, relative to the mean absolute target score."""
    gap = next((k for k in means if k[1] == method and k[3] == 0 and k[4] == "completeness-gap"), None)
    score = next((k for k in means if k[1] == "" and k[3] == 0 and k[4] == "target-score"), None)
    if gap is None or score is None:
        return
    both = pd.DataFrame({"gap": table[gap].abs(), "score": table[score].abs()}).dropna()
    if both.empty or both["score"].sum() == 0:
        return
    draws = resampled_means(both.to_numpy(np.float64))
    low, high = bounds(draws[:, 0] / draws[:, 1])
    mean = float(both["gap"].mean() / both["score"].mean())
    complete = bool(high < COMPLETE)
    yield Finding(
        method=method,
        question="complete",
        check=gap[0],
        setting=gap[2],
        metric="relative completeness gap",
        mean=mean,
        low=float(low),
        high=float(high),
        n=len(both),
        nan=means[gap].nan,
        verdict="complete" if complete else "not complete",
        tone="good" if complete else "mid",
        sentence=f"Its sum misses what it should explain by {100 * mean:.2g} % of the score.",
    )


def _competition(table: pd.DataFrame, means: Means, manifest: Manifest, method: str, group: str) -> Iterator[Finding]:
    """Shares of features and of energy that competition leaves: trained (position 0) against fully randomized."""
    stage, chance = last_stage(manifest, group), chance_share(int(manifest["model"]["outputs"]))
    for metric, noun in (("surviving-share", "features"), ("surviving-energy", "energy")):
        trained, random = ((RANDOMIZATION, method, group, position, metric) for position in (0.0, stage))
        if trained not in means or random not in means:
            continue
        low, high = paired_difference(table[trained], table[random])
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
        yield _finding(means, random, "competition", verdict=word, tone=tone, sentence=sentence)


def paired_difference(first: pd.Series, second: pd.Series) -> tuple[float, float]:
    """95 % interval of mean(first) − mean(second) over the samples that have both; NaN for fewer than two."""
    both = pd.DataFrame({"a": first, "b": second}).dropna()
    if len(both) < 2:
        return float("nan"), float("nan")
    draws: Array = resampled_means(both.to_numpy(np.float64))
    low, high = bounds(draws[:, 0] - draws[:, 1])
    return float(low), float(high)


def _others(rows: pd.DataFrame, manifest: Manifest, method: str) -> Iterator[Finding]:
    """Any other check by what its metrics declare: mean over settings and positions, judged against chance only."""
    for check in manifest.get("checks", []):
        name = check["name"] or check["label"]
        question = OTHER_CHECKS.get(name)
        ours = rows[(rows["check"] == name) & (rows["method"] == method)]
        for metric in check.get("metrics", []) if question else []:
            values = ours[ours["metric"] == metric["name"]].assign(setting="all", position=0.0)
            if values.empty:
                continue
            means = intervals(values)
            ((key, (_, low, high, _, _)),) = means.items()
            chance, better = metric.get("chance"), metric.get("higher_is_better")
            said: dict[str, str] = {}
            if chance is not None and better is not None and np.isfinite(low):
                above, below = (low > chance, high < chance) if better else (high < chance, low > chance)
                word, tone = ("better than chance", "good") if above else ("as good as chance", "bad")
                word, tone = ("worse than chance", "bad") if below else (word, tone)
                said = {"verdict": word, "tone": tone}
            yield _finding(means, key, str(question), **said)


def _cost(manifest: Manifest, method: str) -> Iterator[Finding]:
    """Seconds a map, and how many times the cheapest method that looks at the model."""
    each = {
        label: cost["seconds"] / cost["maps"] for label, cost in manifest.get("costs", {}).items() if cost.get("maps")
    }
    models = {m["label"] for m in manifest["methods"] if not m.get("controls")}
    if method not in each:
        return
    cheapest = min((value for label, value in each.items() if label in models), default=each[method])
    ratio = each[method] / cheapest if cheapest else float("nan")
    yield Finding(
        method=method,
        question="cost",
        check="",
        setting="",
        metric="seconds a map",
        mean=each[method],
        n=manifest["costs"][method]["maps"],
        verdict="< 0.1 ×" if ratio < 0.05 else f"{ratio:.1f} ×" if ratio < 10 else f"{ratio:.0f} ×",
        sentence="Against the cheapest method that looks at the model, on this machine.",
    )
