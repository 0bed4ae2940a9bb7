"""Figures as SVG that needs no script: it prints, scales, and follows the page's light or dark."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from markupsafe import Markup

from heatproof.report.figures import Between, Curves, Dots, Figure, Point, Scatter
from heatproof.report.placing import LETTER, above, beside

Strokes = Mapping[str, tuple[str, str]]
WIDTH, WIDE, ROW, LEFT = 460, 640, 19, 150
NAME = 6.9  # width of a letter of a method's name
LONGEST = 34  # letters of a name
SHAPES = ("circle", "diamond", "bar", "square")
SMALL = (150, 92)


def drawn(figure: Figure, strokes: Strokes) -> Markup:
    """A figure as inline SVG; `strokes` are color and dash by method."""
    if isinstance(figure, Dots):
        return _dots(figure)
    if isinstance(figure, Curves):
        return _curves(figure, strokes)
    if isinstance(figure, Between):
        return _between(figure)
    assert isinstance(figure, Scatter)
    return _scatter(figure)


def ticks(low: float, high: float) -> list[float]:
    """Round values between two, at most seven."""
    span = high - low
    if not span > 0:
        return [low]
    step = next(
        step
        for power in range(math.floor(math.log10(span)) - 1, math.floor(math.log10(span)) + 2)
        for step in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)
        if span / step <= 6
    )
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _range(points: Sequence[Point], marks: Sequence[float] = ()) -> tuple[float, float]:
    """What is shown: all means and marks, and intervals as far as they do not dwarf them."""
    means = [value for value in [*(p.mean for p in points), *marks] if math.isfinite(value)]
    low, high = min([0.0, *means]), max([0.0, *means])
    room = 0.6 * ((high - low) or 1.0)
    ends = [value for p in points for value in (p.low, p.high) if math.isfinite(value)]
    low, high = max(min([low, *ends]), low - room), min(max([high, *ends]), high + room)
    return (low, high) if high > low else (low, low + 1)


def _dots(figure: Dots) -> Markup:
    points = [point for row in figure.rows.values() for point in row.values()]
    low, high = figure.limits or _range(points, list(figure.marks.values()))
    series = list(dict.fromkeys(name for row in figure.rows.values() for name in row))
    left = max(LEFT, 12 + NAME * min(LONGEST, max(map(len, figure.rows), default=0)))
    width = WIDTH + left - LEFT

    def x(value: float) -> float:
        return left + (min(max(value, low), high) - low) / (high - low) * (width - left - 12)

    labels, lines = above({name: x(value) for name, value in figure.marks.items()}, width)
    top, height = 10 + 14 * lines, ROW * len(figure.rows)
    keys = _keys(series, width) if len(series) > 1 else []
    total = top + height + 36 + 18 * (1 + max((line for _, line in keys), default=-1))
    parts = _axis(low, high, x, top, top + height)
    for name, value in figure.marks.items():
        parts.append(f'<line class="mark" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{top}" y2="{top + height}"/>')
        at, anchor, line = labels[name]
        parts.append(f'<text x="{at:.1f}" y="{top - 4 - 14 * line}" text-anchor="{anchor}">{escape(name)}</text>')
    for k, (method, row) in enumerate(figure.rows.items()):
        y = top + ROW * (k + 0.5)
        parts.append(f'<text class="name" x="{left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{_cut(method)}</text>')
        for name, point in row.items():
            tone = figure.tones.get(method, "plain")
            shape = series.index(name) % len(SHAPES)
            title = f"{method}{', ' + name if name else ''}: {_said(point)}"
            parts.append(f'<g class="tone-{tone} s{shape}"><title>{escape(title)}</title>')
            if not low <= point.mean <= high:  # off the scale: its number stands at the edge
                beyond = point.mean > high
                anchor, where = ("end", width - 4) if beyond else ("start", left)
                said = f"{point.mean:.3g} ›" if beyond else f"‹ {point.mean:.3g}"
                parts.append(f'<text x="{where}" y="{y + 4:.1f}" text-anchor="{anchor}">{said}</text></g>')
                continue
            if math.isfinite(point.low):
                ends = f'x1="{x(point.low):.1f}" x2="{x(point.high):.1f}"'
                parts.append(f'<line class="range" {ends} y1="{y}" y2="{y}"/>')
            parts.append(f"{_shape(shape, x(point.mean), y)}</g>")
    parts.append(f'<text x="{width - 4:.1f}" y="{top + height + 30}" text-anchor="end">{escape(figure.x)}</text>')
    for k, (at, line) in enumerate(keys):
        y = top + height + 48 + 18 * line
        parts.append(f'<g class="tone-plain s{k % len(SHAPES)}">{_shape(k, at + 5, y - 4)}</g>')
        parts.append(f'<text x="{at + 14:.1f}" y="{y}">{escape(series[k])}</text>')
    return _svg(figure, width, total, parts)


def _keys(series: Sequence[str], width: float) -> list[tuple[float, int]]:
    """Where each series' name stands in the key: its place, and on which line."""
    found, at, line = list[tuple[float, int]](), 4.0, 0
    for name in series:
        wide = 34 + 6.6 * len(name)
        if at > 4 and at + wide > width:
            at, line = 4.0, line + 1
        found.append((at, line))
        at += wide
    return found


def _curves(figure: Curves, strokes: Strokes) -> Markup:
    height, left, top, bottom = 250, 44, 10, 210
    points = [point for line in figure.lines.values() for point in line if math.isfinite(point.mean)]
    low, high = _range(points)
    places = sorted({point.x for point in points})
    if not places:
        return Markup("")

    def at(value: float) -> float:
        return math.log(value) if figure.log and value > 0 else value

    first, last = at(places[0]), at(places[-1])

    def x(value: float) -> float:
        return left + (at(value) - first) / ((last - first) or 1) * (WIDTH - left - 12)

    def y(value: float) -> float:
        return top + (high - min(max(value, low), high)) / (high - low) * (bottom - top)

    parts = [
        f'<line class="grid" x1="{left}" x2="{WIDTH - 12}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text x="{left - 6}" y="{y(t) + 4:.1f}" text-anchor="end">{t:g}</text>'
        for t in ticks(low, high)
    ]
    free = -99.0
    for place in places:
        half = LETTER * len(f"{place:g}") / 2
        middle = min(x(place), WIDTH - half)
        if middle - half >= free:
            parts.append(f'<text x="{middle:.1f}" y="{bottom + 16}" text-anchor="middle">{place:g}</text>')
            free = middle + half + 12
    for method, line in figure.lines.items():
        color, dash = strokes.get(method, ("currentColor", ""))
        known = [p for p in line if math.isfinite(p.mean)]
        if not known:
            continue
        path = "L".join(f"{x(p.x):.1f},{y(p.mean):.1f}" for p in known)
        band = [p for p in known if math.isfinite(p.low)]
        kind = "line best" if method == figure.best else "line"
        parts.append(f'<g class="{kind}"><title>{escape(method)}: {_said(known[-1])} at {known[-1].x:g}</title>')
        if band and (method not in figure.dim or method == figure.best):
            up = [f"{x(p.x):.1f},{y(p.high):.1f}" for p in band]
            down = [f"{x(p.x):.1f},{y(p.low):.1f}" for p in reversed(band)]
            parts.append(f'<path class="band" fill="{color}" d="M{"L".join(up + down)}Z"/>')
        parts.append(f'<path class="curve" stroke="{color}" stroke-dasharray="{dash}" d="M{path}"/></g>')
    parts.append(f'<text x="{(left + WIDTH) / 2}" y="{height - 4}" text-anchor="middle">{escape(figure.x)}</text>')
    keys = "".join(
        f'<li><svg class="stroke" viewBox="0 0 26 10" aria-hidden="true"><line x1="1" x2="25" y1="5" y2="5" '
        f'stroke="{strokes[m][0]}" stroke-dasharray="{strokes[m][1]}"/></svg>{escape(figure.key(m))}</li>'
        for m in figure.lines
        if m in strokes
    )
    return _svg(figure, WIDTH, height, parts) + Markup(f'<ul class="keys-of">{keys}</ul>' if keys else "")


def _between(figure: Between) -> Markup:
    """Small pictures, one a method, all on one scale."""
    points = [p for lines in (figure.upper, figure.lower) for line in lines.values() for p in line]
    low, high = _range([Point(p.mean) for p in points])
    width, height = SMALL

    def place(x: float, value: float) -> str:
        held = min(max(value, low), high)
        return f"{4 + x * (width - 8):.1f},{4 + (high - held) / (high - low) * (height - 8):.1f}"

    def pair(method: str) -> tuple[list[str], list[str]]:
        return tuple(  # type: ignore[return-value]  # two curves
            [place(p.x, p.mean) for p in lines.get(method, ()) if math.isfinite(p.mean)]
            for lines in (figure.upper, figure.lower)
        )

    def bands(method: str) -> str:
        """The intervals of both curves."""
        found = ""
        for kind, lines in (("upper", figure.upper), ("lower", figure.lower)):
            known = [p for p in lines.get(method, ()) if math.isfinite(p.low)]
            ends = [place(p.x, p.high) for p in known] + [place(p.x, p.low) for p in reversed(known)]
            found += f'<path class="around {kind}" d="M{"L".join(ends)}Z"/>' if known else ""
        return found

    behind = "".join(f'<path class="behind" d="M{"L".join(one)}"/>' for one in pair(figure.control) if one)
    cells = []
    for method in figure.upper:
        upper, lower = pair(method)
        if not upper or not lower:
            continue
        said = figure.said.get(method, "")
        label = escape(f"{method}: {said}")
        cells.append(
            f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
            f'<line class="grid" x1="4" x2="{width - 4}" y1="{height - 4}" y2="{height - 4}"/>'
            f'<path class="area" d="M{"L".join(upper + lower[::-1])}Z"/>{behind if method != figure.control else ""}'
            f"{bands(method)}"
            f'<path class="upper" d="M{"L".join(upper)}"/><path class="lower" d="M{"L".join(lower)}"/></svg>'
            f"<figcaption>{escape(method)}<small> {escape(said)}</small></figcaption></figure>"
        )
    note = f" Grey: the best control, {figure.control}." if figure.control else ""
    axes = f"Across: {figure.x}, 0 to 1. Up: {figure.y}, {low:.2g} to {high:.2g}. Bands: 95 % intervals.{note}"
    return Markup(f'<div class="small">{"".join(cells)}</div><p class="note">{escape(axes)}</p>')


def _scatter(figure: Scatter) -> Markup:
    height = 300 + 8 * max(0, len(figure.points) - 14)
    left, top, bottom = 44, 14, height - 44
    known = {m: (x, y) for m, (x, y) in figure.points.items() if x > 0}
    first, last = (f(math.log10(x) for x, _ in known.values()) for f in (min, max))
    first, last = first - 0.1, last + 0.55  # names stand to the right of their points

    def x(value: float) -> float:
        return left + (math.log10(value) - first) / (last - first) * (WIDE - left - 12)

    def y(value: float) -> float:
        return top + (1 - value) * (bottom - top)

    parts = [
        f'<line class="grid" x1="{left}" x2="{WIDE - 12}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text x="{left - 6}" y="{y(t) + 4:.1f}" text-anchor="end">{100 * t:.0f} %</text>'
        for t in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    for power in range(math.ceil(first), math.floor(last) + 1):
        parts.append(f'<text x="{x(10.0**power):.1f}" y="{bottom + 18}" text-anchor="middle">{10.0**power:g} s</text>')
    dots = [(x(px), y(py)) for px, py in known.values()]
    taken: list[tuple[float, float, float]] = []  # start, end and middle of each name's line
    for method, (px, py) in sorted(known.items(), key=lambda one: (-one[1][1], one[1][0])):
        start, at = beside(method, (x(px), y(py)), dots, taken, (46, WIDE, 8, bottom))
        tone = figure.tones.get(method, "plain")
        parts.append(
            f'<g class="tone-{tone}"><title>{escape(method)}: {px:.3g} s a map, {100 * py:.0f} % passed</title>'
        )
        if abs(at - y(py)) > 9:  # a name that stands apart is led to its point
            end = start if start > x(px) else start + LETTER * len(method)
            parts.append(f'<line class="grid" x1="{x(px):.1f}" y1="{y(py):.1f}" x2="{end:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<circle cx="{x(px):.1f}" cy="{y(py):.1f}" r="5"/>')
        parts.append(f'<text x="{start:.1f}" y="{at + 4:.1f}">{escape(method)}</text></g>')
    parts.append(f'<text x="{(left + WIDE) / 2}" y="{height - 6}" text-anchor="middle">{escape(figure.x)}</text>')
    return _svg(figure, WIDE, height, parts)


def _axis(low: float, high: float, x: object, top: float, bottom: float) -> list[str]:
    assert callable(x)
    return [
        f'<line class="grid" x1="{x(t):.1f}" x2="{x(t):.1f}" y1="{top}" y2="{bottom}"/>'
        f'<text x="{x(t):.1f}" y="{bottom + 14}" text-anchor="middle">{t:g}</text>'
        for t in ticks(low, high)
    ]


def _shape(kind: int, x: float, y: float) -> str:
    if SHAPES[kind % len(SHAPES)] == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
    if SHAPES[kind % len(SHAPES)] == "diamond":
        return f'<path class="shape" d="M{x:.1f},{y - 5:.1f}l5,5l-5,5l-5,-5Z"/>'
    if SHAPES[kind % len(SHAPES)] == "square":
        return f'<path class="shape" d="M{x - 4:.1f},{y - 4:.1f}h8v8h-8Z"/>'
    return f'<path class="shape" d="M{x - 1.5:.1f},{y - 5:.1f}h3v10h-3Z"/>'


def _said(point: Point) -> str:
    around = f", 95 % {point.low:z.2f} to {point.high:z.2f}" if math.isfinite(point.low) else ""
    return f"{point.mean:z.2f}{around}"


def _cut(name: str) -> str:
    return escape(name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…")


def _svg(figure: Figure, width: float, height: float, parts: Sequence[str]) -> Markup:
    label = escape(f"{figure.title}; across: {figure.x}")
    box = f'viewBox="0 0 {width:.0f} {height:.0f}"'
    return Markup(f'<svg class="drawn" {box} role="img" aria-label="{label}">{"".join(parts)}</svg>')
