"""Faithful? Localizes? What the checks without randomization say of a method, judged against what knows nothing.

Each check under its own label, so that two of one kind with other settings stay apart. A value is averaged over what a
check repeats within a sample (set sizes, numbers of blurred regions), then over samples and seeds, with the interval
of `bootstrap`. An answer is given where the whole interval lies on one side of chance; "as good as chance" needs all
of it within one tenth of the way from chance to the ideal; everything else cannot be told.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from heatproof.auditing.bootstrap import DRAWN, aligned, bounds, column, count, cube, resampled_means
from heatproof.auditing.finding import Finding, Manifest, paired_difference
from heatproof.auditing.survival import FEWEST, TENTH

QUESTIONS_OF = {
    "efficient-parameter-randomization": "complexity",
    "sensitivity-n": "faithful",
    "degradation": "faithful",
    "blurred-patch": "faithful",
    "bounding-box": "localizes",
}
SENTENCES = {
    "sensitivity-n": "What sets of its features are attributed and what the score loses without them correlate by "
    "{mean}, on average over set sizes; 0 is chance, 1 is exact.",
    "degradation": "Area between the curves that take the least and the most relevant regions away first: {mean}; "
    "0 is a random map.",
}
UNTOLD = ("cannot be told", "unknown")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One check's values, (seed, sample) × (method, setting, metric), and how many of each are degenerate."""

    label: str
    name: str
    manifest: Manifest
    table: pd.DataFrame
    degenerate: dict[tuple[str, str, str], int]

    def column(self, method: str, setting: str, metric: str) -> "pd.Series[float] | None":
        """The values by (seed, sample); None where nothing was measured."""
        return column(self.table, (method, setting, metric))

    def finding(self, method: str, setting: str, metric: str, said: tuple[str, str], sentence: str) -> Finding:
        """What the check measured, with a verdict, its tone and a sentence; `{mean}` is the mean with its interval."""
        found = self.column(method, setting, metric)
        assert found is not None  # it was judged
        known = found.dropna()
        low, high = interval(known)
        mean = float(known.mean()) if len(known) else np.nan
        return Finding(
            method=method,
            question=QUESTIONS_OF[self.name],
            check=self.label,
            setting=setting,
            metric=metric,
            mean=mean,
            low=low,
            high=high,
            n=count(known),
            nan=self.degenerate[(method, setting, metric)],
            verdict=said[0],
            tone=said[1],
            sentence=sentence.replace("{mean}", f"{mean:z.2f} ({low:z.2f} to {high:z.2f})"),
        )


def asked(rows: pd.DataFrame, manifest: Manifest, names: dict[str, str]) -> list[Asked]:
    """The checks of a run that answer a question of this module; `names` by label; rows under their labels."""
    found = []
    keys = ["method", "setting", "metric"]
    for label, name in names.items():
        part = rows[(rows["check"] == label) & (rows["sample"] != "")] if name in QUESTIONS_OF else rows.iloc[:0]
        if part.empty:
            continue
        if name == "blurred-patch":  # every method's curve begins at the original, which says nothing of it
            part = part[(part["method"] == "") | (part["position"] > 0)]
        table = part.groupby([*keys, *DRAWN])["value"].mean().unstack(DRAWN).T
        counts: dict[Any, Any] = part["value"].isna().groupby([part[key] for key in keys]).sum().to_dict()
        degenerate = {key: int(times) for key, times in counts.items()}
        (check,) = (c for c in manifest["checks"] if c["label"] == label)
        found.append(Asked(label=label, name=name, manifest=check, table=table, degenerate=degenerate))
    return found


def answers(checks: list[Asked], method: str, random: str | None) -> Iterator[Finding]:
    """What each check says of a method; `random` is the label of a random map among the methods."""
    for check in checks:
        if check.name == "bounding-box":
            yield from _boxes(check, method)
        elif check.name == "blurred-patch":
            yield from _blurred(check, method, random)
        elif check.name == "efficient-parameter-randomization":
            yield from _complexity(check, method)
        else:
            yield from _declared(check, method)


def interval(values: "pd.Series[float]") -> tuple[float, float]:
    """95 % interval of the mean by (seed, sample); NaN for fewer than two samples."""
    if count(values) < 2:
        return float("nan"), float("nan")
    low, high = bounds(resampled_means(cube(values.to_frame()))[:, 0])
    return float(low), float(high)


def against_chance(
    low: float, high: float, n: int, *, scale: float | None, beats: str = "better than chance"
) -> tuple[str, str]:
    """Verdict and tone of an interval for "how much better than chance"; `scale` is how much better one can be."""
    if n < FEWEST or not np.isfinite(low):
        return UNTOLD
    if low > 0:
        return beats, "good"
    if high < 0:
        return "worse than chance", "bad"
    if scale is not None and max(-low, high) <= TENTH * scale:
        return "as good as chance", "bad"
    return UNTOLD


def _declared(check: Asked, method: str) -> Iterator[Finding]:
    """Metrics that declare their chance level, judged against it."""
    for metric in check.manifest.get("metrics", []):
        values, chance = check.column(method, "", metric["name"]), metric.get("chance")
        better = metric.get("higher_is_better")
        if values is None or chance is None or better is None:
            continue
        gain = (values.dropna() - chance) * (1 if better else -1)
        said = against_chance(*interval(gain), count(gain), scale=_scale(check, metric))
        sentence = SENTENCES.get(metric["name"], f"{metric.get('text') or metric['name']} {{mean}}.")
        yield check.finding(method, "", metric["name"], said, sentence)


def _scale(check: Asked, metric: dict[str, Any]) -> float | None:
    """How far the best map is from chance; None where nothing says."""
    if metric["name"] == "degradation":  # in units of what all regions together take, unless of the raw score
        of_score = any(one["name"] == "score" for one in check.manifest.get("metrics", []))
        return 1.0 if check.manifest.get("recipe", {}).get("of") == "probability" and not of_score else None
    return None if metric.get("ideal") is None else abs(metric["ideal"] - metric["chance"])


def _boxes(check: Asked, method: str) -> Iterator[Finding]:
    """Against a random map, which finds the boxes' share of the image, and against the middle of the image."""
    area = check.column("", "", "box-area")
    for metric, lead in (
        ("box-ratio", "{mean} of its highest pixels lie in the object's boxes"),
        ("pointing-game", "Its highest pixel lies in the object's boxes in {mean} of the samples"),
    ):
        ours, center = check.column(method, "", metric), check.column("", "center", metric)
        if ours is None or area is None or center is None:
            continue
        compared = aligned({"ours": ours, "area": area, "center": center})
        gain = compared["ours"] - compared["area"]
        scale = float(1 - compared["area"].mean())
        said = against_chance(*interval(gain), count(gain), scale=scale, beats="beats the center")
        low, _ = paired_difference(compared["ours"], compared["center"])
        if said[1] == "good" and not low > 0:
            said = ("better than chance", "mid")
        told = f"{lead}; a random map has {area.mean():.2f}, the middle of the image {center.mean():.2f}."
        yield check.finding(method, "", metric, said, told)


def _blurred(check: Asked, method: str, random: str | None) -> Iterator[Finding]:
    """Against a random map where the run has one: the lower the probability (or the score), the better."""
    likely = check.column("", "", "probability") is not None
    metric, what = ("probability", "the label's probability") if likely else ("score", "the explained output")
    ours, original = check.column(method, "", metric), check.column("", "", metric)
    if ours is None or original is None:
        return
    chance = None if random in (None, method) else check.column(str(random), "", metric)
    said, against = ("", "plain"), ""
    if chance is not None:
        both = aligned({"chance": chance, "ours": ours})
        less = paired_difference(both["chance"], both["ours"])
        said = against_chance(*less, count(both), scale=float(both["chance"].mean()) if likely else None)
        against = f"; a random map leaves {chance.mean():.2f}"
    lead = f"Blurring its highest regions takes {what} from {original.mean():.2f} to {{mean}}"
    yield check.finding(method, "", metric, said, f"{lead} on average{against}.")


def _complexity(check: Asked, method: str) -> Iterator[Finding]:
    """Told and not judged: noise rises most."""
    rise, noise = check.column(method, "", "entropy-rise"), check.column(method, "gaussian", "entropy-rise")
    if rise is None or noise is None or rise.isna().all():
        return
    told = "With every layer random the entropy of its values rises by {mean} of itself; "
    told += f"a map of pure noise would have {noise.mean():z.2f} more."
    yield check.finding(method, "", "entropy-rise", ("", "plain"), told)
