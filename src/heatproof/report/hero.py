"""The effect on this data: the map that survives randomization most beside the one that loses it, on one sample."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from heatproof.drawing import flat
from heatproof.reading import Verdicts
from heatproof.reading.base import Finding
from heatproof.reading.shares import percent
from heatproof.reading.survival import TENTH
from heatproof.report import pictures
from heatproof.report.along import cells_of, has_one_direction, largest, one_map
from heatproof.report.columns import columns_of, random_of, trained_of
from heatproof.report.gallery import class_name, is_signed
from heatproof.report.shown import Shown
from heatproof.report.texts import colored

LONGEST, COLUMNS, LEADS = 40, 8, 2  # words of a text, columns of a table and leads of a series that are shown


class Row(NamedTuple):
    """A method's map under the trained and the fully random network, as picture or as marked-up text."""

    method: str
    said: str
    tone: str
    trained: Any
    random: Any
    texts: tuple[str, str]  # what each picture shows, for those who do not see it


class Hero(NamedTuple):
    """`picture` is the input as an image, None where the maps themselves show it; `sample` says how it was chosen.

    `kind`: maps are images (""), `words` in colors, or `lines` and bars.
    """

    rows: Sequence[Row]
    picture: str | None
    sample: str
    kind: str
    name: str


def hero(verdicts: Verdicts, kept: Shown) -> Hero | None:
    """The two rows; None where no map of a fully random network was kept, or none was judged by it."""
    manifest = verdicts.evidence.info.manifest
    maps, inputs, samples = kept
    columns = columns_of(manifest, {key[0] for key in maps})
    trained, ends = trained_of(columns), random_of(columns)
    judged = [one for one in _survivals(verdicts) if one.setting in ends]
    names = [
        name
        for name in manifest["shown"]
        if all((state, one.method, name) in maps for one in judged for state in (trained, ends[one.setting]))
    ]
    pair = _pair(judged, verdicts)
    if not pair or not names or not trained:
        return None
    sample, why = _typical(verdicts, pair, names)
    tokens = (manifest["data"].get("tokens") or {}).get(sample)
    grid, along = manifest["data"]["grid"], has_one_direction(manifest)
    at = pictures.strongest_slice(maps[trained, pair[-1].method, sample], grid) if len(grid) > 2 else None

    def drawn(one: Finding, state: str) -> Any:
        values, signed = maps[state, one.method, sample], is_signed(maps, one.method)
        if tokens is not None:
            return colored(tokens[:LONGEST], np.asarray(values).reshape(-1)[:LONGEST], signed=signed)
        if along:
            first = largest(np.asarray(maps[trained, one.method, sample]).reshape(-1))[:COLUMNS]
            fed = inputs.get(sample)
            fed = fed if fed is None or fed.ndim < 2 else fed[:LEADS]
            return one_map(values, None, fed, manifest, cells_of(manifest, sample), first)
        return pictures.tile(values, grid, signed=signed, slice_=at)

    def text(one: Finding, state: str, network: str) -> str:
        found = flat(maps[state, one.method, sample])
        return f"{one.method}, {network} network" + (f" ({found.said})" if found else "")

    rows = [
        Row(one.method, said, tone, drawn(one, trained), drawn(one, ends[one.setting]),
            (text(one, trained, "trained"), text(one, ends[one.setting], "random")))
        for one, (said, tone) in ((one, _said(one)) for one in pair)
    ]  # fmt: skip
    target = class_name(samples[sample]["target"], manifest["data"]["classes"])
    shown = None if tokens is not None or along else pictures.picture(sample, inputs, at)
    kind = "words" if tokens is not None else "lines" if along else ""
    of = f"{sample}, slice {at + 1} of {math.prod(grid[:-2])}" if at is not None else sample
    return Hero(rows, shown, f"{of}, explained for {target}: {why}", kind, sample)


def _survivals(verdicts: Verdicts) -> list[Finding]:
    """How much of each map survives, where it was judged; the controls' at the end."""
    controls = verdicts.evidence.info.controls
    found = [verdicts.by_question(method.label).get("depends") for method in verdicts.evidence.info.methods]
    known = [one for one in found if one is not None and np.isfinite(one.mean) and not one.supporting]
    return sorted(known, key=lambda one: one.method in controls)


def _pair(judged: Sequence[Finding], verdicts: Verdicts) -> list[Finding]:
    """The map that survives most and the one that loses most; a control in their place where no map would do.

    One that jumps when nothing happened is no example of one that loses, and of equal ones that which may be believed
    stands for them.
    """
    controls = verdicts.evidence.info.controls
    maps = [one for one in judged if one.method not in controls]

    def steady(one: Finding) -> bool:
        answers = verdicts.by_question(one.method)
        return all(answers[q].answer != "no" for q in ("steady", "repeats") if q in answers)

    losing = sorted(
        (one for one in maps if steady(one)),
        key=lambda one: (verdicts.believable(one.method).answer != "yes", one.mean),
    )
    surviving = sorted((one for one in maps if one.answer == "no"), key=lambda one: -one.mean)
    surviving += sorted(
        (one for one in judged if one.method in controls and one.answer == "no"), key=lambda one: -one.mean
    )
    surviving += sorted(maps, key=lambda one: -one.mean)
    first = next(iter(surviving), None)
    second = next((one for one in losing if one is not first), None)
    return [one for one in (first, second) if one is not None]


def _typical(verdicts: Verdicts, pair: Sequence[Finding], names: Sequence[str]) -> tuple[str, str]:
    """The shown sample on which the two survive as far apart as on the median one of all: no picked one."""
    evidence, columns = verdicts.evidence, []
    for one in pair:
        stage = evidence.info.last_stage(one.setting)
        found = evidence.column(one.check, one.method, one.metric, setting=one.setting, position=stage)
        if found is not None:
            columns.append(np.nan_to_num(found.by_sample))
    if len(columns) < len(pair):
        return names[0], "the first that was kept"
    apart = columns[0] - columns[-1] if len(columns) > 1 else columns[0]
    places = {name: k for k, name in enumerate(evidence.gathered.samples) if name in set(names)}
    if not places:
        return names[0], "the first that was kept"
    middle = float(np.median(apart))
    best = min(places, key=lambda name: (abs(apart[places[name]] - middle), name))
    return best, "where the two are as far apart as on the median sample"


def _said(one: Finding) -> tuple[str, str]:
    left = percent(min(max(one.mean, 0.0), 1.0))  # more alike than a map and itself is all of it
    if one.answer == "no":
        return f"still there, {left} of it", "bad"
    if one.answer == "yes":
        return (f"gone, {left} of it stays" if one.mean < TENTH else f"mostly gone, {left} of it stays"), "good"
    return f"perhaps {left} of it stays", "unknown"
