"""Maps of tables as bars with their columns' names, and of series as lines below the series: SVG without a script."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from heatproof.drawing import flat, scale_of
from heatproof.report.columns import columns_of, random_of, trained_of
from heatproof.report.gallery import class_name
from heatproof.report.shown import Shown

Floats = NDArray[np.floating]
WIDTH, HEIGHT, NAMES, ROW = 340, 90, 110, 15
MOST_BARS = 24  # columns of a table: those with the largest values in the trained map


def along(kept: Shown, manifest: Mapping[str, Any], order: Sequence[str]) -> list[dict[str, Any]]:
    """For each shown sample, a figure a method; empty where maps have not one direction, or are of texts."""
    if len(manifest["data"]["grid"]) != 1 or manifest["data"].get("tokens"):
        return []
    columns = columns_of(manifest, {state for state, _, _ in kept.maps})
    trained, random = trained_of(columns), next(iter(random_of(columns).values()), "")
    table = is_table(manifest)
    columns_named = manifest["data"].get("columns") or [f"column {k}" for k in range(manifest["data"]["grid"][0])]
    cells = manifest["data"].get("cells") or {}

    def method(label: str, sample: str) -> dict[str, Any] | None:
        values = kept.maps.get((trained, label, sample))
        if values is None:
            return None
        ours, other = values.reshape(-1), kept.maps.get((random, label, sample))
        other = None if other is None else other.reshape(-1)
        none = flat(ours)
        said = none.said if none else f"± {scale_of(ours):.3g}" if (ours < 0).any() else f"to {scale_of(ours):.3g}"
        values_said = cells.get(sample) or [""] * len(columns_named)
        names = [f"{name} {cell}".strip() for name, cell in zip(columns_named, values_said, strict=True)]
        drawn = Markup() if none else bars(ours, other, names) if table else line(ours, other, kept.inputs.get(sample))
        return {"label": label, "said": said, "figure": drawn}

    return [
        {
            "id": name,
            "target": class_name(kept.samples[name]["target"], manifest["data"]["classes"]),
            "methods": [found for label in order if (found := method(label, name))],
        }
        for name in manifest["shown"]
    ]


def is_table(manifest: Mapping[str, Any]) -> bool:
    """Whether samples are rows of a table: features are the scalars of (D,), or have columns' names."""
    return len(manifest["data"]["shape"]) == 1 or bool(manifest["data"].get("columns"))


def bars(values: Floats, random: Floats | None, names: Sequence[str]) -> Markup:
    """A bar a column, the largest first; below each, outlined, that of the random network."""
    chosen = np.argsort(-np.abs(np.nan_to_num(values)), kind="stable")[:MOST_BARS]
    ours = np.clip(values / scale_of(values), -1, 1)
    theirs = None if random is None else np.clip(random / scale_of(random), -1, 1)
    signed = bool((values < 0).any()) or bool(random is not None and (random < 0).any())
    left = NAMES + (WIDTH - NAMES) / 2 if signed else NAMES
    reach = WIDTH - left - 4
    parts = [f'<line class="zero" x1="{left}" x2="{left}" y1="0" y2="{ROW * len(chosen)}"/>']
    for row, k in enumerate(chosen.tolist()):
        y = ROW * row
        name = names[k] if k < len(names) else f"column {k}"
        cut = name if len(name) <= 18 else f"{name[:17]}…"
        parts.append(f'<text x="{NAMES - 6}" y="{y + 11}" text-anchor="end">{escape(cut)}</text>')
        for at, kind, tall in ((ours, "", 7), (theirs, " random", 3)):
            if at is not None and math.isfinite(at[k]) and at[k] != 0:
                wide = abs(at[k]) * reach
                start = left if at[k] > 0 else left - wide
                sign = "for" if at[k] > 0 else "against"
                top = y + (2 if tall == 7 else 10)
                box = f'x="{start:.1f}" y="{top}" width="{wide:.1f}" height="{tall}"'
                parts.append(f'<rect class="{sign}{kind}" {box}><title>{escape(name)}: {at[k]:.2g}</title></rect>')
    label = escape(f"bars of {len(chosen)} of {len(values)} columns")
    return _svg(ROW * len(chosen) + 2, label, parts)


def line(values: Floats, random: Floats | None, series: Floats | None) -> Markup:
    """The map over positions, that of the random network dashed, and the series above."""
    parts = [f'<line class="zero" x1="0" x2="{WIDTH}" y1="62" y2="62"/>']
    if series is not None and series.ndim == 2:
        for lead in series:
            spread = float(np.ptp(lead)) or 1.0
            parts.append(_path("input", 2 + 28 * (1 - (lead - lead.min()) / spread)))
    for kind, map_ in (("map random", random), ("map", values)):
        if map_ is not None:
            scaled = np.clip(np.nan_to_num(map_) / scale_of(map_), -1, 1)
            parts.append(_path(kind, 62 - 26 * scaled))
    return _svg(HEIGHT, escape(f"map over {len(values)} positions"), parts)


def _path(kind: str, y: Floats) -> str:
    x = np.linspace(2, WIDTH - 2, len(y))
    points = "L".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return f'<path class="{kind}" d="M{points}"/>'


def _svg(height: int, label: str, parts: Sequence[str]) -> Markup:
    box = f'viewBox="0 0 {WIDTH} {height}"'
    return Markup(f'<svg {box} role="img" aria-label="{label}">{"".join(parts)}</svg>')
