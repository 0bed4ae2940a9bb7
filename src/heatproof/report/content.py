"""Everything the page shows, as plain values: text for the template, and one JSON object for the browser."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.reading import Verdicts
from heatproof.reading.base import Finding
from heatproof.reading.competition import chance_share
from heatproof.reading.complete import precise
from heatproof.reading.depends import CHECK as RANDOMIZATION
from heatproof.reading.picture import CHECK as CONTROLS
from heatproof.reading.run_info import RunInfo
from heatproof.reading.table import Table
from heatproof.reading.values import Interval, Key
from heatproof.report.agreement import AGREEMENT, agreement, blanks
from heatproof.report.colors import strokes
from heatproof.report.effects import effects
from heatproof.report.gallery import gallery_of, number
from heatproof.report.ledger import ledger, three
from heatproof.report.texts import texts_of
from heatproof.report.words import lead, learned, order, unjudged, ways
from heatproof.rows import Role, chance_of, floor_of
from heatproof.runs import read
from heatproof.runs.failures import failure, unusable

PANELS = {
    "shared-zeros": "Zero in both maps",
    "surviving-share": "Features that survive competition",
    "surviving-energy": "Energy that survives competition",
    "relative-energy": "Energy against the trained map",
}
Records = list[dict[str, Any]]
TONES = {"good": 0, "mid": 1, "unknown": 2, "noise": 3, "bad": 4, "plain": 5}
CALIBRATION = "calibration"
MOST_ANSWERS = 3  # of one method to one question, in the matrix; the others are told in words


def content(run: Path) -> dict[str, Any]:
    """What `page.html` is rendered with; key "data" is the browser's JSON object."""
    verdicts = read(run, Verdicts.of)
    evidence, info = verdicts.evidence, verdicts.evidence.info
    manifest, means = info.manifest, evidence.means
    stroke = strokes((m["label"], m["name"], bool(m.get("controls"))) for m in manifest["methods"])
    methods = [_method(method, verdicts, manifest, stroke[method["label"]]) for method in manifest["methods"]]
    methods.sort(key=lambda m: (m["control"], TONES[m["tone"]]))
    labels = [m["label"] for m in methods]
    curves = _curves(means, info)
    texts = texts_of(run, manifest, labels)
    gallery = None if texts else gallery_of(run, evidence, labels)
    asked = {question for m in methods for question in m["answers"]}
    return {
        "manifest": manifest,
        "title": manifest.get("title") or f"{manifest['model']['name']} on {manifest['data']['name']}",
        "features": _name(manifest["data"]["features"]),
        "headline": verdicts.headline,
        "lead": lead(manifest),
        "known": info.unmeasured,
        "withheld": bool(info.withheld),
        "judged": bool(info.complete_randomizations),
        "ways": ways(info.randomizations),
        "unjudged": unjudged(manifest),
        "tally": _tally(methods),
        "methods": methods,
        "columns": {
            name: title
            for name, title in verdicts.titles.items()
            if name in verdicts.counted or (name in asked and _fits(methods, name))
        },
        "titles": verdicts.titles,
        "asked": asked,
        "needed": verdicts.needed,
        "most": MOST_ANSWERS,
        "curves_names": info.similarities,
        "plural": _plural,
        "precise": precise,
        "three": three,
        "effects": effects(verdicts),
        "ledger": ledger(means, labels),
        "agreement": agreement(evidence.by_id, info.similarities, labels),
        "problems": _problems(evidence.by_id, manifest),
        "chance": chance_share(info.outputs),
        "rule": _rule(),
        "curves": curves,
        "gallery": gallery is not None,
        "texts": texts,
        "data": {
            "methods": {
                m["label"]: {k: m[k] for k in ("color", "dash", "control", "verdict", "tone", "text", "group")}
                for m in methods
            },
            "order": labels,
            "metrics": info.similarities,
            "panels": PANELS,
            "curves": curves,
            "chance": chance_share(info.outputs),
            "gallery": gallery,
            "findings": _plain(verdicts.frame.to_dict("records")),
        },
    }


def _method(
    method: Mapping[str, Any], verdicts: Verdicts, manifest: Mapping[str, Any], stroke: tuple[str, str]
) -> dict[str, Any]:
    """One row of the scorecard: whether to believe it, and what each question got."""
    label = method["label"]
    believable, best = verdicts.believable(label), verdicts.by_question(label)
    answers = {
        question: _answers([one for one in verdicts.findings if (one.method, one.question) == (label, question)], first)
        for question, first in best.items()
    }
    return {
        "label": label,
        "text": method["text"],
        "learned": learned(method, manifest),
        "control": bool(method.get("controls")),
        "color": stroke[0],
        "dash": stroke[1],
        "answer": believable.answer,
        "verdict": believable.word,
        "tone": believable.tone,
        "sentence": believable.why,
        "answers": answers,
        "group": best["depends"].setting if "depends" in best else "",
    }


def _fits(methods: Sequence[Mapping[str, Any]], question: str) -> bool:
    """Whether a question has a place in the matrix: one that is judged, or that has a number or two a method."""
    answers = [answer for method in methods for answer in method["answers"].get(question, ())]
    return any(answer["answer"] for answer in answers) or len(answers) <= MOST_ANSWERS * len(methods)


def _answers(findings: Sequence[Finding], first: Finding) -> Records:
    """All answers to a question, the one that counts first, each with the name that tells it from the others."""
    ours = [first, *(one for one in findings if one is not first)]
    fields = ("check", "setting", "metric")
    distinct = [name for name in fields if len({getattr(one, name) for one in ours}) > 1]
    # One that tells them all apart says it alone.
    distinct = next(([name] for name in distinct if len({getattr(one, name) for one in ours}) == len(ours)), distinct)
    return [
        _plain({**asdict(one), "tone": one.tone, "name": ", ".join(str(getattr(one, name)) for name in distinct)})
        for one in ours
    ]


TALLY = {"yes": ("passes every test", "good"), "unknown": ("not shown", "unknown"), "no": ("fails a test", "bad")}


def _tally(methods: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    """(what, tone, how many) of the heatmaps that are not controls."""
    answers = [m["answer"] for m in methods if not m["control"]]
    return [(word, tone, answers.count(answer)) for answer, (word, tone) in TALLY.items() if answer in answers]


def _name(recipe: Any) -> str:
    """A recipe by the name of its class."""
    return str(recipe["class"]).rpartition(".")[2] if isinstance(recipe, dict) and "class" in recipe else str(recipe)


def _plural(word: str) -> str:
    """The word said of several methods."""
    return word.replace("passes", "pass").replace("fails", "fail")


def _problems(table: Table, manifest: Mapping[str, Any]) -> list[str]:
    """What a reader must know before any number: an unfinished run, failures, degenerate values, dead networks."""
    said: list[str] = []
    if manifest["status"] != "complete":
        said.append(
            "This run is not complete: what follows rests on what had been computed when this page was written."
        )
    said += [failure(failed) for failed in manifest.get("failures", [])]
    said += unusable(manifest)
    said += _degenerate(table, manifest)
    said += filter(None, [blanks(table)])
    said += _dead(table)
    notes: dict[str, list[str]] = {}
    for check in manifest.get("checks", []):
        for note in check.get("notes", []):
            notes.setdefault(note, []).append(check["label"])
    return said + [f"{', '.join(labels)}: {note}" for note, labels in notes.items()]


def _dead(table: Table) -> list[str]:
    """A line for each stage at which explained outputs are exactly zero."""
    counts: dict[tuple[str, float], np.ndarray[Any, Any]] = {}
    for (_, _, setting, position, metric), values in table.values.items():
        if metric == "dead-target":
            found = np.array([(values.array > 0).sum(), np.isfinite(values.array).sum()])
            counts[setting, position] = counts.get((setting, position), 0) + found
    return [
        f"{setting}, stage {position:.0f}: the explained output is exactly 0 in {dead} of {total} samples. "
        "A blank map there says nothing about a method."
        for (setting, position), (dead, total) in sorted(counts.items())
        if dead
    ]


def _degenerate(table: Table, manifest: Mapping[str, Any]) -> list[str]:
    """A line for each method and setting with values that mean nothing, and how many of each metric."""
    changed = {state["group"] for state in manifest["states"]} - {""}
    why = {method.label: method.excluded for method in RunInfo(manifest).methods}
    gone: dict[tuple[str, str, str], int] = {}
    known: dict[tuple[str, str, str], int] = {}
    for key, values in table.values.items():
        if key[0] != AGREEMENT:
            of = (key[1], key[2], key[4])
            gone[of] = gone.get(of, 0) + table.gone.get(key, 0)
            known[of] = known.get(of, 0) + int(np.isfinite(values.array).sum())
    lines: dict[tuple[str, str], list[str]] = {}
    for method, setting, metric in sorted(of for of, count in gone.items() if count):
        lost = gone[method, setting, metric]
        said = f"{metric} {lost} of {lost + known[method, setting, metric]}"
        lines.setdefault((method, setting), []).append(said)
    where = {key: ", ".join(filter(None, (key[0] or "the network", key[1]))) for key in lines}
    reasons = {
        key: f"excluded, as {why[key[0]]}; no value"
        if why.get(key[0]) and key[1].removesuffix(floor_of("")).removesuffix(chance_of("")) in changed
        else "degenerate values, left out of the means"
        for key in lines
    }
    return [f"{where[key]}: {reasons[key]}: {', '.join(parts)}." for key, parts in lines.items()]


def _curves(means: Mapping[Key, Interval], info: RunInfo) -> dict[str, Any]:
    """By randomization: stages, bands, and curves by metric and method as [position, mean, low, high, n, nan]."""
    labels, measures = [method.label for method in info.methods], info.similarities
    found: dict[str, Any] = {}
    for group in info.randomizations:
        stages = {s.index: s.label for s in info.states if s.role is Role.RANDOMIZED and s.group == group}
        lines: dict[str, Any] = {}
        for (check, method, setting, position, metric), interval in means.items():
            if (check, setting) == (RANDOMIZATION, group) and method in labels and metric in {*measures, *PANELS}:
                lines.setdefault(metric, {}).setdefault(method, []).append([position, *_numbers(interval)])
        for metric in measures.keys() & lines.keys():
            for points in lines[metric].values():  # the trained map against itself, by definition
                points.insert(0, [0, info.itself[metric], None, None, 0, 0])
        found[group] = {
            "stages": [[0, "trained"], *([k, stages[k]] for k in sorted(stages))],
            "independent": group.partition(" ")[0] == "independent",
            "axis": order(group).axis,
            "lines": lines,
            "bands": {metric: _bands(means, group, metric, labels) for metric in measures if metric in lines},
        }
    return found


def _bands(means: Mapping[Key, Interval], group: str, metric: str, labels: Sequence[str]) -> dict[str, dict[str, Any]]:
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
        elif setting == floor_of(group):
            name = "two random networks"
        elif setting == chance_of(group):
            name = "itself permuted"
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
    """The steps of the verdict on the parameters as they stand in the code's own documentation."""
    from heatproof.reading import depends

    lines = (depends.__doc__ or "").splitlines()
    return [line.split(". ", 1)[1].replace("`", "") for line in lines if line[:1].isdigit()]
