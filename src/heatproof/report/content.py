"""Everything the page shows, as plain values: text for the template, and one JSON object for the browser."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heatproof.reading import Verdicts
from heatproof.reading.competition import chance_share
from heatproof.reading.complete import precise
from heatproof.report.agreement import agreement
from heatproof.report.along import along, is_table
from heatproof.report.beside import beside
from heatproof.report.colors import strokes
from heatproof.report.curves import curves_of, panels_of
from heatproof.report.effects import effects
from heatproof.report.first_screen import QUESTION, first_screen
from heatproof.report.gallery import gallery_of
from heatproof.report.hero import hero
from heatproof.report.ledger import ledger
from heatproof.report.matrix import GLYPHS, KEY, answers_of, matrix
from heatproof.report.panels import cost_against_belief, panels, structure
from heatproof.report.pictures import colors
from heatproof.report.problems import counts, failures
from heatproof.report.questions import QUESTIONS
from heatproof.report.shown import Shown
from heatproof.report.svg import drawn
from heatproof.report.texts import texts_of
from heatproof.report.words import axes, lead, learned, title, unjudged, ways
from heatproof.runs import read
from heatproof.toml import dumped, inline


def content(run: Path) -> dict[str, Any]:
    """What `page.html` is rendered with; key "data" is the browser's JSON object."""
    verdicts = read(run, Verdicts.of)
    evidence, info = verdicts.evidence, verdicts.evidence.info
    manifest, means = info.manifest, evidence.means
    stroke = strokes((m["label"], m["name"], bool(m.get("controls"))) for m in manifest["methods"])
    marks, screen, answers = matrix(verdicts), first_screen(verdicts), answers_of(verdicts)
    labels = [line.method for line in marks.lines]
    tones = {line.method: line.marks[0].tone for line in marks.lines}
    by_label = {m["label"]: m for m in manifest["methods"]}
    methods = [
        {
            "label": label,
            "text": by_label[label]["text"],
            "learned": learned(by_label[label], manifest),
            "control": bool(by_label[label].get("controls")),
            "color": stroke[label][0],
            "dash": stroke[label][1],
            "tone": tones[label],
            "verdict": answers[label]["believable"][0]["word"],
            "sentence": answers[label]["believable"][0]["why"],
            "answers": {q: found for q, found in answers[label].items() if q != "believable"},
        }
        for label in labels
    ]
    shown = Shown.of(run, manifest)
    curves = curves_of(means, info)
    texts = texts_of(shown, manifest, labels)
    gallery = None if texts else gallery_of(shown, evidence, labels)
    top = hero(verdicts, shown)
    example = top.name if top else next(iter(manifest["shown"]), "")
    asked = [
        (panel, [(one.title, drawn(one, stroke)) for one in panel.figures], beside(panel, shown, manifest, example))
        for panel in panels(verdicts, labels)
    ]
    scatter, layers = cost_against_belief(verdicts), structure(verdicts)
    return {
        "manifest": manifest,
        "title": title(manifest),
        "axes": axes(manifest),
        "features": _name(manifest["data"]["features"]),
        "question": QUESTION,
        "screen": screen,
        "hero": top,
        "panels": asked,
        "scatter": drawn(scatter, stroke) if scatter else None,
        "structure": drawn(layers, stroke) if layers else None,
        "failures": failures(info),
        "matrix": marks,
        "glyphs": {tone: (GLYPHS[tone], said) for tone, said in KEY.items()},
        "questions": QUESTIONS,
        "headline": verdicts.headline,
        "lead": lead(manifest),
        "withheld": bool(info.withheld),
        "ways": ways(info.randomizations),
        "unjudged": unjudged(manifest),
        "methods": methods,
        "titles": verdicts.titles,
        "needed": verdicts.needed,
        "counted": verdicts.counted,
        "precise": precise,
        "effects": effects(verdicts),
        "ledger": ledger(means, labels),
        "agreement": agreement(evidence.by_id, info.similarities, labels),
        "counts": counts(evidence.by_id, manifest),
        "chance": chance_share(info.outputs),
        "rule": _rule(),
        "curves": curves,
        "gallery": gallery is not None,
        "texts": texts,
        "spec": dumped(manifest["spec"]) if manifest.get("spec") else "",
        "lines": along(shown, manifest, labels),
        "columns": is_table(manifest),
        "data": {
            "methods": {
                m["label"]: {k: m[k] for k in ("color", "dash", "control", "verdict", "tone", "text")} for m in methods
            },
            "order": labels,
            "questions": {
                q: {"title": title, **({} if q not in QUESTIONS else _asked(q))} for q, title in verdicts.titles.items()
            },
            "answers": answers,
            "entries": _entries(manifest),
            "metrics": info.similarities,
            "panels": panels_of(means, info),
            "curves": curves,
            "chance": chance_share(info.outputs),
            "gallery": gallery,
            "colors": colors(),
            "findings": _plain(verdicts.frame.to_dict("records")),
        },
    }


def _entries(manifest: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """By label what the specification says of each method and check, as TOML; empty for a run without one."""
    found = {}
    for kind in ("methods", "checks"):
        written = manifest.get("spec", {}).get(kind) or []
        labels = [one["label"] for one in manifest[kind]]
        found[kind] = {label: inline(one) for label, one in zip(labels, written, strict=False)}
        if len(written) != len(labels):
            found[kind] = {}
    return found


def _asked(question: str) -> dict[str, str]:
    """What a question asks and cannot tell."""
    return {"asks": QUESTIONS[question].asks, "cannot": QUESTIONS[question].cannot}


def _name(recipe: Any) -> str:
    """A recipe by the name of its class."""
    return str(recipe["class"]).rpartition(".")[2] if isinstance(recipe, dict) and "class" in recipe else str(recipe)


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
