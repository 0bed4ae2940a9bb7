"""What the panel of faithfulness draws: the label going and coming back as features go and come, set by set."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from heatproof.reading import Verdicts
from heatproof.reading.entries import CheckInfo
from heatproof.reading.faithful import MEASURES, best_of, controls_of
from heatproof.reading.values import Values
from heatproof.report.figures import Between, Curves, Dots, Figure, Point
from heatproof.report.of_rows import curves

OUTPUTS = ("probability", "score")  # what the curves of a check may be of


def faithfulness(verdicts: Verdicts, order: Sequence[str]) -> Iterator[Figure]:
    """The figures of every check of faithfulness in a run."""
    for check in verdicts.evidence.info.of(*MEASURES):
        if check.id == "degradation":
            yield from _degradation(verdicts, check, order)
        else:
            yield from _over_positions(verdicts, check, order)


def _degradation(verdicts: Verdicts, check: CheckInfo, order: Sequence[str]) -> Iterator[Figure]:
    """The two curves with the area between them, and each alone: deletion, and insertion, which is the other way round.

    The least relevant taken away up to a share is the most relevant put in up to the rest of it: the same inputs.
    """
    least, most = (curves(verdicts, check, order, way, OUTPUTS) for way in ("lerf", "morf"))
    if not least or not most:
        return
    evidence, best = verdicts.evidence, best_control(verdicts, check, least)
    means = {label: evidence.mean(check.label, label, "degradation") for label in least}
    yield Between(
        name=check.label,
        title=f"What {_kept(check)} keeps while tiles are taken away: the least relevant first (above), the most "
        "(below)",
        x="share of the tiles taken away",
        y=_measured(check),
        upper=least,
        lower=most,
        control=best,
        said={label: f"area {mean:z.2f}" for label, mean in means.items() if math.isfinite(mean)},
    )
    back = {label: [one._replace(x=1.0 - one.x) for one in reversed(line)] for label, line in least.items()}
    areas = dict[str, dict[str, Point]]()
    for name, title, x, lines, way in (
        ("deletion", "Deletion: the most relevant tiles are taken away first", "share of the tiles taken away", most,
         "morf"),
        ("insertion", "Insertion: the most relevant tiles are put in first", "share of the tiles put in", back, "lerf"),
    ):  # fmt: skip
        said = dict[str, str]()
        for label in lines:
            if (area := _area(verdicts, check, label, way)) is not None:
                found = area.estimate(evidence.samples)
                areas.setdefault(label, {})[name] = Point(found.mean, found.low, found.high)
                said[label] = f"{found.mean:z.2f}"
        dim = [label for label in evidence.info.controls if label in lines]
        yield Curves(
            name=f"{check.label}-{name}", title=title, x=x, y=_measured(check), lines=lines, dim=dim, best=best,
            said=said,
        )  # fmt: skip
    yield Dots(
        name=f"{check.label}-areas",
        title="Areas below both curves: a good map has much below insertion and little below deletion",
        x=f"mean {_measured(check)}",
        rows=areas,
    )


def _area(verdicts: Verdicts, check: CheckInfo, method: str, way: str) -> Values | None:
    """The area below a curve over the share of tiles, sample by sample, by trapezoids."""
    table = verdicts.evidence.table
    keys = [k for k in table if k[:3] == (check.label, method, way) and k[4] in OUTPUTS]
    keys = sorted((k for k in keys if table[k].seeds == table[keys[0]].seeds), key=lambda key: key[3])
    if len(keys) < 2:
        return None
    stacked, places = np.stack([table[key].array for key in keys]), np.array([key[3] for key in keys])
    area = ((stacked[1:] + stacked[:-1]) / 2 * np.diff(places)[:, None, None]).sum(0)
    return Values(area, table[keys[0]].seeds)


def best_control(verdicts: Verdicts, check: CheckInfo, lines: Mapping[str, Sequence[Point]]) -> str:
    """The control that the verdicts of this check hold others against; empty where there is none."""
    for measure in MEASURES[check.id]:
        controls = {
            label: found for label, found in controls_of(verdicts.evidence, check, measure).items() if label in lines
        }
        if controls:
            return best_of(controls, check.metrics[measure.metric])
    return ""


def _measured(check: CheckInfo) -> str:
    """What the curves of a check are of: a probability where there is one, else the output itself in its unit."""
    if "probability" in check.metrics:
        return "probability of the label"
    score = check.metrics.get("score")
    return f"explained output, in {score.unit}" if score and score.unit not in ("", "score") else "explained output"


def _kept(check: CheckInfo) -> str:
    return "the label" if "probability" in check.metrics else "the explained output"


def _over_positions(verdicts: Verdicts, check: CheckInfo, order: Sequence[str]) -> Iterator[Curves]:
    """Sensitivity-n over n, and the label's probability over the number of blurred regions."""
    metrics = {"sensitivity-n": ("sensitivity-n",), "blurred-patch": OUTPUTS}.get(check.id, ())
    lines = curves(verdicts, check, order, "", metrics)
    if not lines:
        return
    sets = check.id == "sensitivity-n"
    yield Curves(
        name=check.label,
        title="Sensitivity-n: do sums over sets of n features follow what the score loses without them?"
        if sets
        else f"What {_kept(check)} keeps while the highest regions are blurred",
        x="n, features of a set" if sets else "regions blurred",
        y="correlation" if sets else _measured(check),
        lines=lines,
        dim=[label for label in verdicts.evidence.info.controls if label in lines],
        log=sets,
        best=best_control(verdicts, check, lines),
    )
