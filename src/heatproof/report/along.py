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
from heatproof.report.svg import ticks

Floats = NDArray[np.floating]
WIDTH, NAMES, ROW = 340, 140, 15
LANE, MAP = 24, 56  # height of a lead of a series, and of the map below
MOST_BARS = 24  # columns of a table: those with the largest values in the trained map
MOST_LEADS = 12


def along(kept: Shown, manifest: Mapping[str, Any], order: Sequence[str]) -> list[dict[str, Any]]:
    """For each shown sample, a figure a method; empty where maps have not one direction, or are of texts."""
    data = manifest["data"]
    if not has_one_direction(manifest):
        return []
    columns = columns_of(manifest, {state for state, _, _ in kept.maps})
    trained, random = trained_of(columns), next(iter(random_of(columns).values()), "")
    units = {method["label"]: method.get("unit", "") for method in manifest["methods"]}

    def method(label: str, sample: str) -> dict[str, Any] | None:
        values = kept.maps.get((trained, label, sample))
        if values is None:
            return None
        other, none = kept.maps.get((random, label, sample)), flat(values)
        scale = f"{scale_of(values):.3g} {units.get(label, '')}".strip()
        said = none.said if none else f"± {scale}" if (values < 0).any() else f"to {scale}"
        drawn = (
            Markup() if none else one_map(values, other, kept.inputs.get(sample), manifest, cells_of(manifest, sample))
        )
        return {"label": label, "said": said, "figure": drawn}

    return [
        {
            "id": name,
            "target": class_name(kept.samples[name]["target"], data["classes"]),
            "methods": [found for label in order if (found := method(label, name))],
        }
        for name in manifest["shown"]
    ]


def has_one_direction(manifest: Mapping[str, Any]) -> bool:
    """Whether maps are drawn as bars or lines: of tables and series, and not of texts, whose words are colored."""
    return len(manifest["data"]["grid"]) == 1 and not manifest["data"].get("tokens")


def one_map(
    values: Floats,
    random: Floats | None,
    fed: Floats | None,
    manifest: Mapping[str, Any],
    cells: Sequence[str] = (),
    chosen: Sequence[int] | None = None,
) -> Markup:
    """A map of one direction, with the random network's: bars of columns with what stands there, or a line."""
    data, other = manifest["data"], None if random is None else random.reshape(-1)
    if is_table(manifest):
        return bars(values.reshape(-1), other, names_of(manifest), cells, chosen)
    axes = data.get("axes") or {}
    return line(values.reshape(-1), other, fed, axes.get("leads") or (), axes.get("rate"))


def is_table(manifest: Mapping[str, Any]) -> bool:
    """Whether samples are rows of a table: features are the scalars of (D,), or have columns' names."""
    return len(manifest["data"]["shape"]) == 1 or bool(manifest["data"].get("columns"))


def names_of(manifest: Mapping[str, Any]) -> list[str]:
    """The names of a table's columns, or their places."""
    data = manifest["data"]
    return list(data.get("columns") or (f"column {k}" for k in range(data["grid"][0])))


def cells_of(manifest: Mapping[str, Any], sample: str) -> Sequence[str]:
    """What stands in each column of a sample's row, in words; empty where nothing tells."""
    found: Sequence[str] = (manifest["data"].get("cells") or {}).get(sample) or ()
    return found


def largest(values: Floats) -> list[int]:
    """The columns of a table that are drawn: the largest magnitudes first."""
    found: list[int] = np.argsort(-np.abs(np.nan_to_num(values)), kind="stable")[:MOST_BARS].tolist()
    return found


def bars(
    values: Floats,
    random: Floats | None,
    names: Sequence[str],
    cells: Sequence[str] = (),
    chosen: Sequence[int] | None = None,
) -> Markup:
    """A bar a column, the largest first or those `chosen`; below each, outlined, the random network's.

    `cells` are what stands in the row, and stand beside the names.
    """
    chosen = largest(values) if chosen is None else chosen
    ours = np.clip(values / scale_of(values), -1, 1)
    theirs = None if random is None else np.clip(random / scale_of(random), -1, 1)
    signed = bool((values < 0).any()) or bool(random is not None and (random < 0).any())
    left = NAMES + (WIDTH - NAMES) / 2 if signed else NAMES
    reach = WIDTH - left - 4
    parts = [f'<line class="zero" x1="{left}" x2="{left}" y1="0" y2="{ROW * len(chosen)}"/>']
    for place, k in enumerate(chosen):
        y = ROW * place
        name = names[k] if k < len(names) else f"column {k}"
        known = f" {cells[k]}" if k < len(cells) and cells[k] else ""
        most = max(8, 24 - len(known))
        cut = name if len(name) <= most else f"{name[: most - 1]}…"
        parts.append(f'<text x="{NAMES - 6}" y="{y + 11}" text-anchor="end">{escape(cut + known)}</text>')
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


def line(
    values: Floats,
    random: Floats | None,
    series: Floats | None,
    leads: Sequence[str] = (),
    rate: float | None = None,
) -> Markup:
    """The map over positions, that of the random network dashed, below the leads of the series, each by itself.

    With `rate`, values a second, positions are in seconds.
    """
    known = [] if series is None or series.ndim != 2 else list(series[:MOST_LEADS])
    longest = max((min(10, len(name)) for name in leads[: len(known)]), default=0)
    left = 10.0 + 7 * longest if longest else 2.0
    top = LANE * len(known)
    middle, below = top + MAP / 2 + 4, top + MAP + 8
    parts = []
    for k, lead in enumerate(known):
        spread = float(np.ptp(lead)) or 1.0
        parts.append(_path("input", left, LANE * k + 2 + (LANE - 4) * (1 - (lead - lead.min()) / spread)))
        if k < len(leads):
            parts.append(
                f'<text x="{left - 4:.0f}" y="{LANE * k + 15}" text-anchor="end">{escape(leads[k][:10])}</text>'
            )
    parts.append(f'<line class="zero" x1="{left:.0f}" x2="{WIDTH}" y1="{middle:.0f}" y2="{middle:.0f}"/>')
    for kind, map_ in (("map random", random), ("map", values)):
        if map_ is not None:
            scaled = np.clip(np.nan_to_num(map_) / scale_of(map_), -1, 1)
            parts.append(_path(kind, left, middle - (MAP / 2 - 2) * scaled))
    last = len(values) - 1
    for at in ticks(0.0, last / (rate or 1.0))[: None if last else 1]:
        x = left + (at * (rate or 1.0) / last if last else 0.0) * (WIDTH - 2 - left)
        anchor = "start" if at == 0 else "end" if x > WIDTH - 20 else "middle"
        parts.append(
            f'<text x="{x:.1f}" y="{below + 10:.0f}" text-anchor="{anchor}">{at:g}{" s" if rate else ""}</text>'
        )
    more = "" if series is None or series.ndim != 2 or len(series) <= MOST_LEADS else f" of {len(series)}"
    label = f"map over {len(values)} positions" + (f" below {len(known)}{more} leads" if known else "")
    return _svg(int(below + 14), escape(label), parts)


def _path(kind: str, left: float, y: Floats) -> str:
    x = np.linspace(left, WIDTH - 2, len(y))
    points = "L".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return f'<path class="{kind}" d="M{points}"/>'


def _svg(height: int, label: str, parts: Sequence[str]) -> Markup:
    box = f'viewBox="0 0 {WIDTH} {height}"'
    return Markup(f'<svg {box} role="img" aria-label="{label}">{"".join(parts)}</svg>')
