"""Everything the page shows, as plain values: text for the template, and one JSON object for the browser."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from heatproof.auditing import scorecard
from heatproof.auditing.answers import precise
from heatproof.auditing.bootstrap import Interval, intervals
from heatproof.auditing.failures import failure, unusable
from heatproof.auditing.finding import Means, unmeasured, withheld
from heatproof.auditing.scorecard import CONTROLS, QUESTIONS, chance_share
from heatproof.auditing.store import read_manifest, read_rows
from heatproof.auditing.survival import CALIBRATION, RANDOMIZATION
from heatproof.report.agreement import AGREEMENT, agreement, blanks
from heatproof.report.colors import strokes
from heatproof.report.effects import effects
from heatproof.report.gallery import gallery_of, number
from heatproof.report.ledger import ledger, three
from heatproof.report.texts import texts_of
from heatproof.report.words import lead, learned, order, unjudged, ways, without_verdict

PANELS = {
    "shared-zeros": "Zero in both maps",
    "surviving-share": "Features that survive competition",
    "surviving-energy": "Energy that survives competition",
    "relative-energy": "Energy against the trained map",
}
Records = list[dict[str, Any]]
COLUMNS = ["parameters", "labels", "faithful", "localizes", "complete", "noise", "cost"]


def content(run: Path) -> dict[str, Any]:
    """What `page.html` is rendered with; key "data" is the browser's JSON object."""
    manifest, rows = read_manifest(run), read_rows(run)
    found = scorecard.findings(rows, manifest)
    rows = scorecard.named(rows, manifest)
    means = intervals(rows)
    stroke = strokes((m["label"], m["name"], bool(m.get("controls"))) for m in manifest["methods"])
    verdicts, records = scorecard.primary(found, manifest), _plain(found.to_dict("records"))
    methods = [
        _method(method, records, verdicts.get(method["label"]), manifest, stroke[method["label"]])
        for method in manifest["methods"]
    ]
    order = {"good": 0, "mid": 1, "bad": 2, "noise": 3, "unknown": 4, "plain": 5}
    methods.sort(key=lambda m: (m["control"], order[m["tone"]]))
    curves = _curves(means, manifest)
    texts = texts_of(run, manifest, [m["label"] for m in methods])
    gallery = None if texts else gallery_of(run, manifest, rows, [m["label"] for m in methods])
    return {
        "manifest": manifest,
        "title": manifest.get("title") or f"{manifest['model']['name']} on {manifest['data']['name']}",
        "features": _name(manifest["data"]["features"]),
        "headline": scorecard.headline(found, manifest),
        "lead": lead(manifest),
        "known": unmeasured(manifest),
        "withheld": bool(withheld(manifest)),
        "judged": bool(scorecard.groups(manifest)),
        "ways": ways(scorecard.randomizations(manifest)),
        "unjudged": unjudged(manifest),
        "tally": _tally(methods),
        "methods": methods,
        "columns": {key: QUESTIONS[key] for key in COLUMNS},
        "asked": set(found["question"]),
        "curves_names": scorecard.similarities(rows["metric"]),
        "plural": _plural,
        "precise": precise,
        "three": three,
        "effects": effects(rows, manifest),
        "ledger": ledger(means, [m["label"] for m in methods]),
        "agreement": agreement(rows, [m["label"] for m in methods]),
        "problems": _problems(rows, manifest),
        "chance": chance_share(int(manifest["model"]["outputs"])),
        "rule": _rule(),
        "curves": curves,
        "gallery": gallery is not None,
        "texts": texts,
        "data": {
            "methods": {
                m["label"]: {k: m[k] for k in ("color", "dash", "control", "verdict", "tone", "text", "group")}
                for m in methods
            },
            "order": [m["label"] for m in methods],
            "metrics": scorecard.similarities(rows["metric"]),
            "panels": PANELS,
            "curves": curves,
            "chance": chance_share(int(manifest["model"]["outputs"])),
            "gallery": gallery,
            "findings": records,
        },
    }


def _method(
    method: Mapping[str, Any],
    records: Records,
    verdict: Mapping[str, Any] | None,
    manifest: Mapping[str, Any],
    stroke: tuple[str, str],
) -> dict[str, Any]:
    """One row of the scorecard."""
    label = method["label"]
    asked = {q: [r for r in records if (r["method"], r["question"]) == (label, q)] for q in COLUMNS}
    judged = asked.pop("parameters")
    return {
        "label": label,
        "text": method["text"],
        "learned": learned(method, manifest),
        "control": bool(method.get("controls")),
        "color": stroke[0],
        "dash": stroke[1],
        "verdict": verdict["verdict"] if verdict else "not measured",
        "tone": verdict["tone"] if verdict else "unknown",
        "sentence": verdict["sentence"] if verdict else without_verdict(manifest, label),
        "parameters": None if verdict is None else _plain(dict(verdict)),
        "answers": {question: _answers(some) for question, some in asked.items() if some},
        "group": verdict["setting"] if verdict else "",
        "judged": [{**j, "short": j["setting"].removeprefix("cascading ")} for j in judged] if len(judged) > 1 else [],
    }


def _answers(records: Records) -> Records:
    """All answers to a question, each with the name that tells it from the others."""
    checks = {r["check"] for r in records}
    named = []
    for record in records:
        metrics = {r["metric"] for r in records if r["check"] == record["check"]}
        parts = ([record["check"]] if len(checks) > 1 else []) + ([record["metric"]] if len(metrics) > 1 else [])
        named.append({**record, "name": ", ".join(parts)})
    return named


def _tally(methods: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    """(verdict, tone, how many) of the heatmaps that are not controls."""
    words = [(m["verdict"], m["tone"]) for m in methods if not m["control"]]
    return [(word, tone, words.count((word, tone))) for word, tone in dict.fromkeys(words)]


def _name(recipe: Any) -> str:
    """A recipe by the name of its class."""
    return str(recipe["class"]).rpartition(".")[2] if isinstance(recipe, dict) and "class" in recipe else str(recipe)


def _plural(verdict: str) -> str:
    """The verdict said of several methods."""
    for one, many in (("depends", "depend"), ("does not", "do not"), ("looks", "look"), ("is noise", "are noise")):
        verdict = verdict.replace(one, many)
    return verdict


def _problems(rows: pd.DataFrame, manifest: Mapping[str, Any]) -> list[str]:
    """What a reader must know before any number: an unfinished run, failures, degenerate values, dead networks."""
    said: list[str] = []
    if manifest["status"] != "complete":
        said.append(
            "This run is not complete: what follows rests on what had been computed when this page was written."
        )
    said += [failure(failed) for failed in manifest.get("failures", [])]
    said += unusable(manifest)
    said += _degenerate(rows[rows["check"] != AGREEMENT], manifest)
    said += filter(None, [blanks(rows)])
    dead = rows[(rows["metric"] == "dead-target") & (rows["value"] > 0)]
    for (setting, position), part in dead.groupby(["setting", "position"]):
        total = (
            (rows["metric"] == "dead-target") & (rows["setting"] == setting) & (rows["position"] == position)
        ).sum()
        said.append(
            f"{setting}, stage {position:.0f}: the explained output is exactly 0 in {len(part)} of {total} samples. "
            "A blank map there says nothing about a method."
        )
    notes: dict[str, list[str]] = {}
    for check in manifest.get("checks", []):
        for note in check.get("notes", []):
            notes.setdefault(note, []).append(check["label"])
    return said + [f"{', '.join(labels)}: {note}" for note, labels in notes.items()]


def _degenerate(rows: pd.DataFrame, manifest: Mapping[str, Any]) -> list[str]:
    """A line for each method and setting with values that mean nothing, and how many of each metric."""
    changed = {state["group"] for state in manifest["states"]} - {""}
    why = {m["label"]: scorecard.excluded(manifest, m["label"]) for m in manifest["methods"]}
    counts = rows.groupby(["method", "setting", "metric"])["value"].agg(["size", "count"])
    counts = counts[counts["count"] < counts["size"]]
    lines: dict[tuple[str, str], list[str]] = {}
    for method, setting, metric, size, count in counts.reset_index().itertuples(index=False):
        lines.setdefault((method, setting), []).append(f"{metric} {size - count} of {size}")
    where = {key: ", ".join(filter(None, (key[0] or "the network", key[1]))) for key in lines}
    reasons = {
        key: f"excluded, as {why[key[0]]}; no value"
        if why.get(key[0]) and key[1].removesuffix(" floor") in changed
        else "degenerate values, left out of the means"
        for key in lines
    }
    return [f"{where[key]}: {reasons[key]}: {', '.join(parts)}." for key, parts in lines.items()]


def _curves(means: Means, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """By randomization: stages, bands, and curves by metric and method as [position, mean, low, high, n, nan]."""
    labels = [m["label"] for m in manifest["methods"]]
    measures = scorecard.similarities(key[4] for key in means)
    found: dict[str, Any] = {}
    for group in scorecard.randomizations(manifest):
        stages = {
            s["index"]: s["label"] for s in manifest["states"] if s["kind"] == "randomized" and s["group"] == group
        }
        lines: dict[str, Any] = {}
        for (check, method, setting, position, metric), interval in means.items():
            if (check, setting) == (RANDOMIZATION, group) and method in labels and metric in {*measures, *PANELS}:
                lines.setdefault(metric, {}).setdefault(method, []).append([position, *_numbers(interval)])
        for metric in measures.keys() & lines.keys():
            for points in lines[metric].values():  # the trained map against itself, by definition
                points.insert(0, [0, 0.0 if metric.startswith("mse") else 1.0, None, None, 0, 0])
        found[group] = {
            "stages": [[0, "trained"], *([k, stages[k]] for k in sorted(stages))],
            "independent": group.partition(" ")[0] == "independent",
            "axis": order(group).axis,
            "lines": lines,
            "bands": {metric: _bands(means, group, metric, labels) for metric in measures if metric in lines},
        }
    return found


def _bands(means: Means, group: str, metric: str, labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By method: [mean, low, high] of its calibration, floors and controls; "" holds those of no method."""
    found: dict[str, dict[str, Any]] = {}
    for (check, method, setting, _, measured), interval in means.items():
        if measured != metric or (method and method not in labels):
            continue
        name = ""
        if check == CALIBRATION:
            name = f"noise: {setting}"
        elif check == CONTROLS:
            name = f"control: {setting}"
        elif setting == f"{group} floor":
            name = "two random networks"
        elif setting == "replicate":
            name = "two runs, same network"
        if name:
            found.setdefault(method, {})[name] = _numbers(interval)[:3]
    return found


def _numbers(interval: Interval) -> list[float | int | None]:
    return [number(value) for value in interval]


def _plain(value: Any) -> Any:
    """The same with NaN as None: what JSON can say."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rule() -> list[str]:
    """The steps of the verdict as they stand in the code's own documentation."""
    from heatproof.auditing import survival

    lines = (survival.__doc__ or "").splitlines()
    return [line.split(". ", 1)[1].replace("`", "") for line in lines if line[:1].isdigit()]
