"""Every figure of a run as data, by its name: what is exported, and what `run.plot` draws."""

from heatproof.reading import Verdicts
from heatproof.report.agreement import agreement
from heatproof.report.colors import strokes
from heatproof.report.curves import curves_of
from heatproof.report.figures import Cells, Curves, Figure, Point
from heatproof.report.maps import maps_of
from heatproof.report.matrix import matrix
from heatproof.report.panels import cost_against_belief, panels, structure
from heatproof.report.shown import Shown


def order_of(verdicts: Verdicts) -> list[str]:
    """Methods as the page orders them."""
    return [line.method for line in matrix(verdicts).lines]


def strokes_of(verdicts: Verdicts) -> dict[str, tuple[str, str]]:
    """Color and dash of every method."""
    return strokes((method.label, method.name, method.control) for method in verdicts.evidence.info.methods)


def figures_of(verdicts: Verdicts, shown: Shown | None = None) -> dict[str, Figure]:
    """Randomization's curves by measure, the panels' figures, agreement, cost against belief, structure, and maps."""
    order = order_of(verdicts)
    found: list[Figure] = list(randomization(verdicts, order))
    found += [figure for panel in panels(verdicts, order) for figure in panel.figures]
    found += agreements(verdicts, order)
    found += [one for one in (cost_against_belief(verdicts), structure(verdicts)) if one is not None]
    found += maps_of(verdicts, shown, order) if shown is not None else []
    named: dict[str, Figure] = {}
    for figure in found:
        name, k = figure.name, 2
        while name in named:
            name, k = f"{figure.name}-{k}", k + 1
        named[name] = figure
    return named


def randomization(verdicts: Verdicts, order: list[str]) -> list[Curves]:
    """How like itself each map stays, stage by stage: a figure a randomization and measure."""
    evidence, info = verdicts.evidence, verdicts.evidence.info
    found = []
    for group, curves in curves_of(evidence.means, info).items():
        for metric, title in info.similarities.items():
            lines = curves["lines"].get(metric, {})
            points = {
                label: [Point(_nan(p[1]), _nan(p[2]), _nan(p[3]), p[0]) for p in sorted(lines[label], key=_place)]
                for label in order
                if label in lines
            }
            if points:
                found.append(
                    Curves(
                        name=f"{group}-{metric}".replace(" ", "-"),
                        title=f"{title}: similarity to the trained map, {group}",
                        x=f"stage, {curves['axis']}",
                        y=title,
                        lines=points,
                        dim=info.controls,
                    )
                )
    return found


def agreements(verdicts: Verdicts, order: list[str]) -> list[Cells]:
    """How much methods agree, a figure a measure."""
    found = []
    for table in agreement(verdicts.evidence.by_id, verdicts.evidence.info.similarities, order):
        labels = [label for label, _ in table["lines"]]
        values = [[None if cell is None else cell["mean"] for cell in cells] for _, cells in table["lines"]]
        name = f"agreement-{table['name']}".lower().replace(" ", "-").replace(",", "")
        title = f"Agreement: {table['name']}"
        found.append(Cells(name=name, title=title, x="", labels=labels, values=values))
    return found


def _place(point: list[float]) -> float:
    return point[0]


def _nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)
