"""Line charts as SVG text: a picture that needs no library, and whose changes can be read in a diff."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from heatproof.report.colors import PALETTE

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 34, 44
KEY = 17


@dataclass(frozen=True, kw_only=True)
class Line:
    """Points of a curve, with an interval for each where it has one; a dashed one is theory."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = field(default=())
    high: Sequence[float] = field(default=())
    dashed: bool = False
    color: int = 0


def chart(lines: Sequence[Line], *, title: str, x: str, y: str) -> str:
    """An SVG document: axes that hold all lines, the lines over their bands, and a key."""
    values = [v for line in lines for v in (*line.y, *line.low, *line.high) if math.isfinite(v)]
    places = [v for line in lines for v in line.x]
    across, up = ticks(min(places), max(places)), ticks(min(values), max(values))
    key = [KEY * k for k in range(len(lines))]
    height = HEIGHT + KEY * len(lines)

    def at(px: float, py: float) -> str:
        u = (px - across[0]) / (across[-1] - across[0])
        v = (py - up[0]) / (up[-1] - up[0])
        return f"{LEFT + u * (WIDTH - LEFT - RIGHT):.1f},{HEIGHT - BOTTOM - v * (HEIGHT - TOP - BOTTOM):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{WIDTH / 2}" y="20" text-anchor="middle" font-size="14">{escape(title)}</text>',
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x)}</text>',
        f'<text transform="translate(14,{HEIGHT / 2}) rotate(-90)" text-anchor="middle">{escape(y)}</text>',
    ]
    for tick in across:
        px, py = at(tick, up[0]).split(",")
        parts.append(f'<text x="{px}" y="{float(py) + 16:.1f}" text-anchor="middle">{tick:g}</text>')
    for tick in up:
        start, end = at(across[0], tick), at(across[-1], tick)
        parts.append(f'<path d="M{start}L{end}" stroke="#ddd"/>')
        px, py = start.split(",")
        parts.append(f'<text x="{float(px) - 6:.1f}" y="{float(py) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for line, offset in zip(lines, key, strict=True):
        color = PALETTE[line.color % len(PALETTE)]
        if line.low:
            there = [at(px, py) for px, py in zip(line.x, line.high, strict=True)]
            back = [at(px, py) for px, py in zip(line.x, line.low, strict=True)]
            parts.append(f'<path d="M{"L".join([*there, *back[::-1]])}Z" fill="{color}" opacity="0.2"/>')
        dash = ' stroke-dasharray="6 4"' if line.dashed else ""
        stroke = f'fill="none" stroke="{color}" stroke-width="1.8"{dash}'
        points = [at(px, py) for px, py in zip(line.x, line.y, strict=True) if math.isfinite(py)]
        parts.append(f'<path d="M{"L".join(points)}" {stroke}/>')
        below = HEIGHT + offset
        parts.append(f'<path d="M{LEFT},{below}L{LEFT + 28},{below}" {stroke}/>')
        parts.append(f'<text x="{LEFT + 36}" y="{below + 4}">{escape(line.label)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def ticks(low: float, high: float) -> list[float]:
    """Five to ten round numbers that hold `low` and `high`."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / 5
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]
