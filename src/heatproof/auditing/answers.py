"""The answers beside randomization: how noisy a map is, whether it is complete, and what it costs."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from heatproof.auditing.bootstrap import Key, aligned, bounds, column, count, cube, resampled_means
from heatproof.auditing.finding import Finding, Manifest, Means, finding_of
from heatproof.auditing.survival import FEWEST, HALF, JUDGED, RANDOMIZATION, TENTH

COMPLETENESS = "completeness"
COMPLETE = 0.01


def precise(value: float) -> str:
    """Two digits at least, and no powers of ten for large numbers."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2g}"


def noise(means: Means, method: str) -> Iterator[Finding]:
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
    yield finding_of(means, key, "noise", **said)


GAPS = ("completeness-gap", "conservation-gap")


def completeness(table: pd.DataFrame, means: Means, method: str) -> Iterator[Finding]:
    """|ΣR − what it should sum to| of the trained model's maps, relative to the mean magnitude of what it should be.

    Beside it the median of the condition number Σ|R|/|what it should sum to|, by which rounding is magnified.
    From the check of completeness where it was run, else from what the method itself says of its sum. A method that
    promises no sum is not called incomplete.
    """
    ours = sorted(means, key=lambda key: key[0] != COMPLETENESS)
    gap = next((k for k in ours if k[1] == method and k[3] == 0 and k[4] in GAPS), None)
    if gap is None and (COMPLETENESS, method, "", 0.0, "attribution-sum") in means:
        yield Finding(
            method=method,
            question="complete",
            check=COMPLETENESS,
            setting="",
            metric="relative completeness gap",
            mean=float("nan"),
            verdict="promises no sum",
            sentence="It does not say what its maps should sum to.",
        )
    gaps = None if gap is None else column(table, gap)
    promised = None if gap is None or gaps is None else _promised(table, means, gap, gaps)
    if gap is None or gaps is None or promised is None:
        return
    both = aligned({"gap": gaps.abs(), "promised": promised.abs()})
    if both.empty or both["promised"].sum() == 0:
        return
    draws = resampled_means(cube(both))
    low, high = (float(bound) for bound in bounds(draws[:, 0] / draws[:, 1]))
    mean = float(both["gap"].mean() / both["promised"].mean())
    verdict, tone = "cannot be told", "unknown"
    if count(both) >= FEWEST and high < COMPLETE:
        verdict, tone = "complete", "good"
    elif count(both) >= FEWEST and low >= COMPLETE:
        verdict, tone = "not complete", "mid"
    yield Finding(
        method=method,
        question="complete",
        check=gap[0],
        setting=gap[2],
        metric="relative completeness gap",
        mean=mean,
        low=low,
        high=high,
        n=count(both),
        nan=means[gap].nan,
        verdict=verdict,
        tone=tone,
        sentence=f"Its sum misses what it should explain by {precise(100 * mean)} % of that{_condition(table, gap)}."
        + _over_labels(means, method),
    )


def _promised(table: pd.DataFrame, means: Means, gap: Key, gaps: "pd.Series[float]") -> "pd.Series[float] | None":
    """What the maps should sum to: their sum less the gap, the score less the baseline's, or the explained output."""
    check, method, setting, position, _ = gap

    def of(name: str) -> "pd.Series[float] | None":
        return column(table, (check, method, setting, position, name))

    if (total := of("attribution-sum")) is not None:
        return total - gaps
    if (score := of("score")) is not None:
        baseline = of("baseline-score")
        return score if baseline is None else score - baseline
    explained = next((k for k in means if k[1] == "" and k[3] == 0 and k[4] == "target-score"), None)
    return None if explained is None else column(table, explained)


def _condition(table: pd.DataFrame, gap: Key) -> str:
    """The condition number in words; empty where it was not measured."""
    numbers = column(table, (*gap[:4], "condition-number"))
    median = float("nan") if numbers is None or numbers.empty else float(numbers.median())
    return f", at a condition number of {precise(median)}" if np.isfinite(median) else ""


def _over_labels(means: Means, method: str) -> str:
    """How its sums follow what they should be from label to label; empty where that was not measured."""
    keys = [(COMPLETENESS, method, "", 0.0, name) for name in ("label-slope", "label-correlation")]
    if not all(key in means and np.isfinite(means[key].mean) for key in keys):
        return ""
    slope, correlation = (means[key].mean for key in keys)
    return f" From label to label its sums follow with slope {slope:z.2f} and correlation {correlation:z.2f}."


def cost(manifest: Manifest, method: str) -> Iterator[Finding]:
    """Seconds a map, and how many times the cheapest method that looks at the model."""
    costs = manifest.get("costs", {}).items()
    each = {label: spent["seconds"] / spent["maps"] for label, spent in costs if spent.get("maps")}
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
