"""Every reading once more, slowly: sample by sample, from the words of docs/audits.md, docs/verdicts.md and docstrings.

Only the numbers of intervals are the library's own (they have their own tests). Rows are a plain frame, the manifest is
plain JSON. Verdicts are `Said`: the answer, the word, the mean and the number of samples behind it.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from heatproof.reading.intervals import of_means, of_ratio

MEASURES = ("spearman", "spearman-absolute")
COUNTED = ("steady", "depends", "faithful", "repeats", "more-than-the-picture", "labels", "localizes", "complete")
NEEDED = ("steady", "depends", "faithful")
Cells = dict[tuple[int, str], float]  # by seed and sample
Decide = Callable[[float], str]
GONE = math.nan


@dataclass
class Said:
    """What is said of one method; `decide` gives the answer at a level, `words` a word for each answer."""

    method: str
    question: str
    mean: float = GONE
    n: int = 0
    bad: float = GONE  # of equal answers the larger counts
    decide: Decide | None = None
    words: Callable[[str], str] = lambda answer: answer
    supporting: bool = False
    answer: str = ""
    word: str = field(default="", compare=False)


# --- values ---


class Twin:
    """The rows of a run and what its manifest says."""

    def __init__(self, rows: pd.DataFrame, manifest: dict[str, Any]) -> None:
        rows = rows[rows["sample"] != ""]
        self.samples = sorted(set(rows["sample"]))
        self.manifest = manifest
        self.cells: dict[tuple[str, str, str, float, str], Cells] = {}
        drawn: dict[tuple[str, str, str, float, str], dict[tuple[int, str], list[float]]] = {}
        for row in rows.itertuples():
            key = row.check, row.method, row.setting, float(row.position), row.metric
            drawn.setdefault(key, {}).setdefault((int(row.seed), row.sample), []).append(row.value)
        for key, places in drawn.items():
            found = {place: mean(values) for place, values in places.items()}
            # Seeds under which nothing has a value were not drawn; of none that has, the first stands for all.
            filled = {seed for (seed, _), value in found.items() if value == value} or {min(seed for seed, _ in found)}
            self.cells[key] = {place: value for place, value in found.items() if place[0] in filled}
        self.methods = [one["label"] for one in manifest["methods"]]
        self.controls = [one["label"] for one in manifest["methods"] if one.get("controls")]

    def of(self, check: str, method: str, metric: str, setting: str = "", position: float = 0.0) -> Cells | None:
        return self.cells.get((check, method, setting, float(position), metric))

    def checks(self, *ids: str) -> list[str]:
        return [one["label"] for one in self.manifest["checks"] if one["id"] in ids]

    def metric(self, check: str, name: str) -> dict[str, Any]:
        declared = next(one["metrics"] for one in self.manifest["checks"] if one["label"] == check)
        return next(one for one in declared if one["name"] == name)

    def groups(self) -> dict[str, dict[str, Any]]:
        """The last state of every randomization."""
        last: dict[str, dict[str, Any]] = {}
        for state in self.manifest["states"]:
            if state["kind"] == "randomized" and state["index"] >= last.get(state["group"], state)["index"]:
                last[state["group"]] = state
        return last

    def over_positions(self, check: str, method: str, metric: str, setting: str = "", after: float = -1.0) -> Cells:
        """Each sample's mean over positions."""
        found: dict[tuple[int, str], list[float]] = {}
        for (c, m, s, position, name), cells in self.cells.items():
            if (c, m, s, name) == (check, method, setting, metric) and position > after:
                for place, value in cells.items():
                    found.setdefault(place, []).extend([value] if value == value else [])
        return {place: mean(values) for place, values in found.items()}

    def side_by_side(self, *columns: Cells) -> np.ndarray:
        """(seeds, samples, columns): what has one seed stands beside every seed of the others; NaN where one lacks."""
        several = [{seed for seed, _ in one} for one in columns if len({seed for seed, _ in one}) > 1]
        seeds = sorted(set.intersection(*several)) if several else [min(seed for seed, _ in columns[0])]
        cube = np.full((len(seeds), len(self.samples), len(columns)), GONE)
        for i, seed in enumerate(seeds):
            for j, sample in enumerate(self.samples):
                values = []
                for one in columns:
                    own = {s for s, _ in one}
                    values.append(one.get((seed if len(own) > 1 else min(own), sample), GONE))
                if all(v == v for v in values):
                    cube[i, j] = values
        return cube

    def estimate(self, cube: np.ndarray) -> tuple[float, float, float, int]:
        """Mean, interval and number of samples of (seeds, samples, 1), each sample counted once."""
        means = [mean(cube[:, j, 0].tolist()) for j in range(cube.shape[1])]
        low, high = of_means(cube)
        return mean(means), float(low[0]), float(high[0]), sum(one == one for one in means)


def mean(values: Iterable[float]) -> float:
    """The mean of those that there are."""
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else GONE


def mean_of(cells: Cells | None) -> float:
    """Each sample's mean over seeds, and theirs over samples."""
    by_sample: dict[str, list[float]] = {}
    for (_, sample), value in (cells or {}).items():
        by_sample.setdefault(sample, []).append(value)
    return mean(mean(values) for values in by_sample.values())


# --- the rule ---


def surely(
    mean: float, low: float, high: float, n: int, good: str, yes: float, no: float, *, equal: bool = False
) -> Decide:
    """Yes where the whole interval at 1 − α lies beyond `yes`, no where it lies on the other side of `no`.

    From values that are all equal nothing is concluded, unless they say so: `equal`.
    """

    def at(alpha: float) -> str:
        if n < 5 or (low == high and not equal) or not math.isfinite(low + high):
            return "unknown"
        wider = stats.t.ppf(1 - alpha / 2, n - 1) / stats.t.ppf(0.975, n - 1)
        least, most = mean - wider * (mean - low), mean + wider * (high - mean)
        if good == "below":
            return "yes" if most < yes else "no" if least >= no else "unknown"
        return "yes" if least > yes else "no" if most <= no else "unknown"

    return at


def together(column: list[Said]) -> None:
    """Decide a column: each at 1 − 0.05·R/m, R the largest number of which as many are decided."""
    judged = [one for one in column if one.decide is not None]
    m, alpha = len(judged), 0.05 / max(len(judged), 1)
    for r in range(1, m + 1):
        if sum(one.decide(0.05 * r / m) != "unknown" for one in judged) >= r:  # type: ignore[misc]
            alpha = 0.05 * r / m
    for one in column:
        one.answer = "" if one.decide is None else one.decide(alpha)
        one.word = one.words(one.answer)


# --- survival ---


@dataclass
class Left:
    """What is left of a map: u over `n` samples with its interval, or why there is none."""

    u: float = GONE
    low: float = GONE
    high: float = GONE
    n: int = 0
    same: bool = False  # the very same map in every sample
    noise: bool = False
    untold: bool = False


def left(twin: Twin, s: Cells | None, r: Cells | None, c: Cells | None, metric: str) -> Left:
    """u = (|s| − c)/(r − c), a blank map being 0; none where r is not surely a tenth of the way from c to 1."""
    if s is None or c is None:
        return Left(untold=True)
    blank_is_0 = {place: 0.0 if v != v else v for place, v in s.items()}
    for seed in {seed for seed, _ in s}:
        for sample in twin.samples:
            blank_is_0.setdefault((seed, sample), 0.0)
    own = r if r is not None else {(0, sample): 1.0 for sample in twin.samples}
    cube = twin.side_by_side(blank_is_0, own, c)
    same = all(v >= 1 - 1e-6 for v in cube[:, :, 0].ravel() if v == v)
    if metric == "spearman":
        cube = np.abs(cube)
    by_sample = [cube[:, j][cube[:, j, 0] == cube[:, j, 0]].mean(0) for j in range(cube.shape[1])
                 if (cube[:, j, 0] == cube[:, j, 0]).any()]  # fmt: skip
    n = len(by_sample)
    if n < 5 or n < len(twin.samples) / 2:
        return Left(untold=True)
    survives, repeats, chance = np.mean(by_sample, axis=0)
    above = cube[:, :, :2] - cube[:, :, 2:]
    low, high = of_ratio(above)
    best = 1 - cube[:, :, 2:]
    least, most = (1.0, 1.0) if r is None else of_ratio(np.concatenate([above[:, :, 1:], best], axis=2))
    found = Left(n=n, same=same)
    if not least > 0.1:
        return replace(found, noise=most <= 0.5, untold=not most <= 0.5)
    if chance > 0.9 and not high - low <= 0.5:
        return replace(found, untold=True)
    return replace(found, u=(survives - chance) / (repeats - chance), low=low, high=high)


def likest(found: dict[Any, Left], *, least: bool = False) -> Any:
    """Under which measure most survives, or least; those without a number are not asked."""
    told = {name: one.u for name, one in found.items() if one.u == one.u}
    return (min if least else max)(told, key=told.__getitem__) if told else next(iter(found))


def depending(twin: Twin, method: str, question: str, found: dict[str, Left]) -> Said:
    """The rule of what should be gone: yes by both measures below one half, no by any above."""
    name = likest(found)
    one = found[name]

    def decide(alpha: float) -> str:
        if all(each.same for each in found.values()):
            return "no"
        answers = [
            "unknown" if each.noise or each.untold
            else surely(each.u, each.low, each.high, each.n, "below", 0.5, 0.5, equal=True)(alpha)
            for each in found.values()
        ]  # fmt: skip
        return "no" if "no" in answers else "yes" if answers == ["yes", "yes"] else "unknown"

    def word(answer: str) -> str:
        if all(each.same for each in found.values()):
            return "never looks at the model"
        if answer == "unknown":
            return "is noise" if all(each.noise for each in found.values()) else "cannot be told"
        if answer == "no":
            return "does not depend" if one.low >= 0.9 else "hardly depends"
        if one.high < 0.1:
            return "depends"
        return "depends in part" if one.low >= 0.1 and one.high < 0.5 else "depends, perhaps in part"

    return Said(method, question, one.u, one.n, one.u, decide, word)


# --- the questions ---


def repeats(twin: Twin, method: str) -> Iterator[Said]:
    for check in twin.checks("parameter-randomization"):
        twice = {m: twin.of(check, method, m, "replicate") for m in MEASURES}
        known = {m: one for m, one in twice.items() if one and any(v == v for v in one.values())}
        if not known:
            continue
        if all(v >= 1 - 1e-6 for one in known.values() for v in one.values() if v == v):
            n = len({sample for (_, sample), v in next(iter(known.values())).items() if v == v})
            yield Said(method, "repeats", 1.0, n, -1.0, lambda _: "yes", lambda _: "repeats exactly")
            return
        found = {}
        for m, r in known.items():
            chances = [twin.of(check, method, m, f"{group} chance", last["index"])
                       for group, last in twin.groups().items() if last.get("complete")]  # fmt: skip
            c = next((one for one in chances if one is not None), {place: v * 0.0 for place, v in r.items()})
            found[m] = left(twin, r, None, c, m)
        yield staying(method, "repeats", found, ("repeats", "is noise", "noisy"))
        return


def staying(method: str, question: str, found: dict[str, Left], words: tuple[str, str, str]) -> Said:
    """What should stay: no where surely less than one half does by the worst measure; yes needs that all tell."""
    one = found[likest(found, least=True)]
    inner = surely(one.u, one.low, one.high, one.n, "above", 0.5, 0.5)
    whole = not any(each.untold for each in found.values())

    def decide(alpha: float) -> str:
        return inner(alpha) if whole or inner(alpha) != "yes" else "unknown"

    def word(answer: str) -> str:
        no = words[1] if one.high < 0.1 else words[2]
        return {"yes": words[0], "no": no, "unknown": "cannot be told"}[answer]

    return Said(method, question, one.u, one.n, -one.u, decide, word)


def steady(twin: Twin, method: str) -> Iterator[Said]:
    for check in twin.checks("steadiness"):
        for change in ("parameters", "inputs"):
            found = {
                m: left(twin, s, None, twin.of(check, method, m, "parameters chance"), m)
                for m in MEASURES
                if (s := twin.of(check, method, m, change)) is not None
            }
            if not found:
                continue
            said = staying(method, "steady", found, ("steady", "not steady", "not steady"))
            if mean_of(twin.of(check, "", "outputs-moved", change)) > 0.05:
                said = replace(said, decide=lambda _: "unknown")
            if all(one.same for one in found.values()):
                said = replace(said, decide=lambda _: "yes")
            yield said
        most = twin.of(check, method, "max-sensitivity", "ball")
        if most and (size := mean_of(most)) == size:
            _, _, _, n = twin.estimate(twin.side_by_side(most))
            yield Said(method, "steady", size, n, words=lambda _, size=size: f"{size:.2g}")


def depends(twin: Twin, method: str) -> Iterator[Said]:
    for check in twin.checks("parameter-randomization"):
        for group, last in twin.groups().items():
            at = last["index"]
            found = {}
            for m in MEASURES:
                s, r = twin.of(check, method, m, group, at), twin.of(check, method, m, "replicate")
                c = twin.of(check, method, m, f"{group} chance", at) if r is not None else None
                if s is not None:
                    found[m] = left(twin, s, r, c, m)
            before, after = (mean_of(twin.of(check, "", "dead-target", group, p)) for p in (0.0, at))
            if not found:
                continue
            word = "" if last.get("complete") else "not judged"
            word = word or ("network is dead" if last.get("dead") or after >= 0.5 > before else "")
            word = word or ("excluded" if excluded(twin, method) else "")
            said = depending(twin, method, "depends", found)
            yield withheld(said, found, word) if word else said


def excluded(twin: Twin, method: str) -> bool:
    one = next(one for one in twin.manifest["methods"] if one["label"] == method)
    return any(each["changed"] == "exclude" for each in one.get("learns", ()))


def withheld(said: Said, found: dict[str, Left], word: str) -> Said:
    first = next(iter(found.values()))
    return replace(
        said, mean=first.u, n=first.n, decide=lambda _: "unknown", bad=GONE, words=lambda _: word, supporting=True
    )


def labels(twin: Twin, method: str) -> Iterator[Said]:
    for check in twin.checks("data-randomization"):
        found = {}
        for m in MEASURES:
            s, r, c = (
                twin.of(check, method, m, f"{k}") for k in ("permuted-labels", "true-labels", "permuted-labels chance")
            )
            if s is not None:
                one = left(twin, s, r, c if r is not None else None, m)
                found[m] = replace(one, noise=False, untold=one.untold or one.noise)
        if found:
            said = depending(twin, method, "labels", found)
            yield withheld(said, found, "excluded") if excluded(twin, method) else said


def picture(twin: Twin, method: str) -> Iterator[Said]:
    name = next(one["name"] for one in twin.manifest["methods"] if one["label"] == method)
    for check in twin.checks("input-controls"):
        settings = sorted({key[2] for key in twin.cells if key[:2] == (check, method)})
        twice: dict[str, Cells | None] = dict.fromkeys(MEASURES)
        for m in MEASURES:
            runs = (twin.of(other, method, m, "replicate") for other in twin.checks("parameter-randomization"))
            twice[m] = next((one for one in runs if one is not None), None)
        found = {
            (control, m): left(twin, s, twice[m], twin.of(check, method, m, f"{control} chance"), m)
            for control in settings if not control.endswith(" chance") and control != name
            for m in MEASURES if (s := twin.of(check, method, m, control)) is not None
        }  # fmt: skip
        if not found:
            continue
        one = found[likest(found)]
        if method in twin.controls:
            shown = f"{one.u:z.2f}" if one.u == one.u else "no value"
            yield Said(method, "more-than-the-picture", one.u, one.n, words=lambda _, shown=shown: shown)
            continue
        inner = surely(one.u, one.low, one.high, one.n, "below", 0.5, 0.5)
        whole = not any(each.untold or each.noise for each in found.values())
        decide = inner if whole else lambda alpha, inner=inner: "no" if inner(alpha) == "no" else "unknown"
        words = {"yes": "is more", "no": "is the picture", "unknown": "cannot be told"}
        yield Said(method, "more-than-the-picture", one.u, one.n, one.u, decide, words.__getitem__)


def against(
    twin: Twin, method: str, question: str, check: str, metric: str, ours: Cells, others: dict[str, Cells]
) -> Said:
    """By the difference, sample by sample, to the best of those that know no network."""
    declared = twin.metric(check, metric)
    sign = -1.0 if declared["higher_is_better"] is False else 1.0
    plain, _, _, n = twin.estimate(twin.side_by_side(ours))
    if method in twin.controls:
        return Said(method, question, plain, n, words=lambda _: f"{plain:z.2f}")
    if not others:
        return Said(method, question, plain, n, GONE, lambda _: "unknown", lambda _: "cannot be told")
    best = max(others, key=lambda label: sign * mean_of(others[label]))
    both = twin.side_by_side(ours, others[best])
    ahead, low, high, n = twin.estimate(sign * (both[:, :, :1] - both[:, :, 1:]))
    low_, high_ = declared["low"], declared["high"]
    whole = 0.0 if low_ is None or high_ is None else high_ - low_
    if declared["ideal"] is not None and declared["chance"] is not None:
        whole = abs(declared["ideal"] - declared["chance"])
    words = {"yes": "better than the input alone", "no": "no better than the input alone", "unknown": "cannot be told"}
    decide = surely(ahead, low, high, n, "above", 0.0, 0.05 * whole)
    return Said(method, question, ahead, n, -ahead, decide, words.__getitem__)


def faithful(twin: Twin, method: str) -> Iterator[Said]:
    reads = {"sensitivity-n": [("sensitivity-n", -1.0)], "degradation": [("degradation", -1.0)],
             "blurred-patch": [("probability", 0.0), ("score", 0.0)]}  # fmt: skip
    for one in twin.manifest["checks"]:
        check = one["label"]
        for metric, after in reads.get(one["id"], []):
            ours = twin.over_positions(check, method, metric, after=after)
            if ours:
                others = {label: cells for label in twin.controls if label != method
                          if (cells := twin.over_positions(check, label, metric, after=after))}  # fmt: skip
                yield against(twin, method, "faithful", check, metric, ours, others)
                break


def localizes(twin: Twin, method: str) -> Iterator[Said]:
    for check in twin.checks("bounding-box"):
        area, ours = twin.of(check, "", "box-area"), twin.of(check, method, "box-ratio")
        if ours is None or area is None:
            continue

        def known(metric: str, check: str = check) -> dict[str, Cells]:
            found = {label: twin.of(check, label, metric) for label in twin.controls if label != method}
            found["the middle"] = twin.of(check, "", metric, "center")
            return {name: cells for name, cells in found.items() if cells is not None}

        yield against(twin, method, "localizes", check, "box-ratio", ours, {**known("box-ratio"), "random": area})
        hits = twin.of(check, method, "pointing-game")
        if hits is not None and method not in twin.controls:
            yield pointing(twin, method, hits, known("pointing-game"), area)


def pointing(twin: Twin, method: str, hits: Cells, rivals: dict[str, Cells], area: Cells) -> Said:
    """Hits are counted: against chance, each image with its boxes' area, and where only one of two hits."""
    pairs = [(h, a) for h, a in twin.side_by_side(hits, area)[0].tolist() if h == h]
    n, made = len(pairs), sum(int(h) for h, _ in pairs)
    odds = {0: 1.0}  # how likely so many hits are
    for _, chance in pairs:
        grown: dict[int, float] = {}
        for k, p in odds.items():
            grown[k] = grown.get(k, 0.0) + p * (1 - chance)
            grown[k + 1] = grown.get(k + 1, 0.0) + p * chance
        odds = grown
    more, fewer = (sum(p for k, p in odds.items() if test(k)) for test in (lambda k: k >= made, lambda k: k <= made))
    ahead = behind = 1.0
    if rivals:
        best = max(rivals, key=lambda name: mean_of(rivals[name]))
        both = [(h, o) for h, o in twin.side_by_side(hits, rivals[best])[0].tolist() if h == h]
        wins, losses = sum(h > o for h, o in both), sum(h < o for h, o in both)
        if wins + losses:
            ahead, behind = (
                stats.binomtest(wins, wins + losses, alternative=way).pvalue for way in ("greater", "less")
            )

    def decide(alpha: float) -> str:
        if n < 5:
            return "unknown"
        if max(more, ahead) <= alpha / 2:
            return "yes"
        return "no" if min(fewer, behind) <= alpha / 2 else "unknown"

    words = {"yes": "points at it", "no": "points elsewhere", "unknown": "cannot be told"}
    return Said(method, "localizes", made / n if n else GONE, n, GONE, decide, words.__getitem__, supporting=True)


def complete(twin: Twin, method: str) -> Iterator[Said]:
    own = twin.checks("completeness")
    gaps = [
        key
        for key in sorted(twin.cells)
        if key[1] == method and key[3] == 0 and key[4] in ("completeness-gap", "conservation-gap")
    ]
    gaps.sort(key=lambda key: own.index(key[0]) if key[0] in own else len(own))
    if not gaps:
        for check in own:
            if twin.of(check, method, "attribution-sum") is not None:
                yield Said(method, "complete", words=lambda _: "promises no sum")
        return
    check, _, setting, _, _ = gaps[0]
    gap, total = twin.cells[gaps[0]], twin.of(check, method, "attribution-sum", setting)
    score, base = (twin.of(check, method, name, setting) for name in ("score", "baseline-score"))
    network = twin.of(check, "", "target-score", setting)
    if total is not None:
        parts = twin.side_by_side(gap, total)
        owed = parts[:, :, 1:] - parts[:, :, :1]
    elif score is not None and base is not None:
        parts = twin.side_by_side(gap, score, base)
        owed = parts[:, :, 1:2] - parts[:, :, 2:]
    else:
        promised = score if score is not None else network
        if promised is None:
            return
        parts = twin.side_by_side(gap, promised)
        owed = parts[:, :, 1:]
    both = np.abs(np.concatenate([parts[:, :, :1], owed], axis=2))
    (miss, _, _, n), (whole, _, _, _) = twin.estimate(both[:, :, :1]), twin.estimate(both[:, :, 1:])
    if not n or whole == 0:
        return
    low, high = of_ratio(both)
    words = {"yes": "complete", "no": "not complete", "unknown": "cannot be told"}
    decide = surely(miss / whole, low, high, n, "below", 0.01, 0.01)
    yield Said(method, "complete", miss / whole, n, miss / whole, decide, words.__getitem__)


def competition(twin: Twin, method: str) -> Iterator[Said]:
    for check in twin.checks("parameter-randomization"):
        for group, last in twin.groups().items():
            for metric in ("surviving-share", "surviving-energy"):
                before, after = (twin.of(check, method, metric, group, p) for p in (0.0, last["index"]))
                if before is None or after is None or not last.get("complete"):
                    continue
                both = twin.side_by_side(before, after)
                ahead, low, high, n = twin.estimate(both[:, :, :1] - both[:, :, 1:])
                same = "more survives randomized" if high < 0 else "as much survives randomized"
                words = {"yes": "less survives randomized", "no": same, "unknown": "cannot be told"}
                decide = surely(ahead, low, high, n, "above", 0.0, 0.05)
                yield Said(method, "competition", ahead, n, -ahead, decide, words.__getitem__)


def cost(twin: Twin, method: str) -> Iterator[Said]:
    spent = {label: one["seconds"] / one["maps"] for label, one in twin.manifest["costs"].items() if one["maps"]}
    if method in spent:
        looking = [value for label, value in spent.items() if label not in twin.controls] or [spent[method]]
        times = spent[method] / min(looking)
        word = "< 0.1 ×" if times < 0.05 else f"{times:.1f} ×" if times < 10 else f"{times:.0f} ×"
        yield Said(method, "cost", spent[method], twin.manifest["costs"][method]["maps"], words=lambda _: word)


def complexity(twin: Twin, method: str) -> Iterator[Said]:
    for check in twin.checks("complexity"):
        share = twin.of(check, method, "effective-share")
        if share is None:
            continue
        found, _, _, n = twin.estimate(twin.side_by_side(share))
        percent = 100 * found
        word = f"{percent:.0f} %" if percent >= 100 else f"{percent:.2g} %"
        if n:
            yield Said(method, "complexity", found, n, words=lambda _, word=word: word)


READ = {
    "repeats": repeats, "steady": steady, "depends": depends, "labels": labels, "more-than-the-picture": picture,
    "faithful": faithful, "localizes": localizes, "complete": complete, "competition": competition, "cost": cost,
    "complexity": complexity,
}  # fmt: skip
IDS = (
    "parameter-randomization", "steadiness", "data-randomization", "input-controls", "sensitivity-n", "degradation",
    "blurred-patch", "bounding-box", "completeness", "complexity",
)  # fmt: skip


def declared(twin: Twin, method: str) -> Iterator[Said]:
    """Checks that no question reads: against the declared chance, within a twentieth of the way to the ideal."""
    for check in twin.manifest["checks"]:
        label = check["label"]
        for setting in dict.fromkeys(key[2] for key in sorted(twin.cells) if key[:2] == (label, method)):
            for metric in check["metrics"]:
                cells = twin.over_positions(label, method, metric["name"], setting)
                if check["id"] in IDS or not cells:
                    continue
                average, low, high, n = twin.estimate(twin.side_by_side(cells))
                better, chance, ideal = metric["higher_is_better"], metric["chance"], metric["ideal"]
                if not n or chance is None or better is None or metric["itself"] is not None:
                    word = f"{average:z.2f}" if n else "no value"
                    yield Said(method, check["id"], average, n, words=lambda _, word=word: word)
                    continue
                near = chance + (0.0 if ideal is None else 0.05 * (ideal - chance))
                decide = surely(average, low, high, n, "above" if better else "below", chance, near)
                words = {"yes": "better than chance", "no": "no better than chance", "unknown": "cannot be told"}
                yield Said(method, check["id"], average, n, -average if better else average, decide, words.__getitem__)


# --- from findings to verdicts ---


def findings(twin: Twin) -> list[Said]:
    """Everything that is said, column by column, without a yes that says nothing by what else was found."""
    columns: dict[str, list[Said]] = {}
    for method in twin.methods:
        for read in READ.values():
            for one in read(twin, method):
                columns.setdefault(one.question, []).append(one)
        for one in declared(twin, method):
            columns.setdefault(one.question, []).append(one)
    for column in columns.values():
        together(column)
    found = [one for column in columns.values() for one in column]

    def held(method: str, question: str) -> list[Said]:
        return [one for one in found if (one.method, one.question) == (method, question) and one.answer]

    def all_yes(method: str, question: str) -> bool:
        return all(one.answer == "yes" for one in held(method, question))

    hollow = []
    for one in found:
        if one.answer != "yes":
            continue
        if one.question in ("depends", "labels"):
            jumps = any(other.answer == "no" for other in held(one.method, "steady"))
            if not held(one.method, "steady") or not all_yes(one.method, "steady"):
                hollow.append((one, "changes, as it always does" if jumps else "changes"))
        elif one.question == "more-than-the-picture":
            never = any(other.word == "never looks at the model" for other in held(one.method, "depends"))
            if never or not all_yes(one.method, "repeats") or not all_yes(one.method, "steady"):
                hollow.append((one, "is other"))
    for one, word in hollow:
        one.answer, one.word = "unknown", word
    return found


def verdicts(twin: Twin) -> dict[tuple[str, str], Said]:
    """One a method and question: no before unknown before yes, of equal ones the less favorable."""
    order = {"no": 0, "unknown": 1, "yes": 2, "": 3}
    counted: dict[tuple[str, str], Said] = {}
    for one in findings(twin):
        here = counted.get((one.method, one.question))
        counted[one.method, one.question] = one if here is None else worse(here, one, order)
    for method in twin.methods:
        asked = {question: counted[method, question] for question in COUNTED if (method, question) in counted}
        asked = {question: one for question, one in asked.items() if one.answer}
        fails = [question for question, one in asked.items() if one.answer == "no"]
        lacks = [question for question, one in asked.items() if one.answer == "unknown"]
        lacks += [question for question in NEEDED if question not in asked]
        said = "no" if fails else "unknown" if lacks else "yes"
        counted[method, "believable"] = Said(method, "believable", answer=said, n=len(twin.samples))
    return counted


def worse(one: Said, other: Said, order: dict[str, int]) -> Said:
    """Which of two counts; one that only supports withholds nothing where it cannot tell."""
    idle = [each.supporting and each.answer == "unknown" for each in (one, other)]
    if idle[0] != idle[1]:
        return other if idle[0] else one
    ranks = [(order[each.answer], -each.bad if each.bad == each.bad else math.inf) for each in (one, other)]
    return other if ranks[1] < ranks[0] else one
