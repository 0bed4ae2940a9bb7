"""The reading of a check that no other reading asks for: what its metrics declare is all that it takes.

A metric that declares chance and a direction is judged against chance: *better than chance* where its mean is surely
on the good side, *no better than chance* where it surely does not come within a twentieth of the way to the ideal.
Others are shown with their interval, and so are similarities of maps: no merit by themselves. So a check from another
package is read without a line of ours.
"""

from collections.abc import Iterator

from heatproof.metrics import Metric
from heatproof.reading.base import Judgement, judged, shown
from heatproof.reading.complete import precise
from heatproof.reading.entries import CheckInfo
from heatproof.reading.evidence import Evidence
from heatproof.reading.faithful import EQUAL
from heatproof.reading.rule import Margin
from heatproof.reading.values import Values


def declared(evidence: Evidence, check: CheckInfo, method: str) -> Iterator[Judgement]:
    """What each metric of a check says of a method, a setting at a time, averaged over positions."""
    for setting in evidence.settings(check.label, method):
        for name, metric in check.metrics.items():
            values = evidence.averaged(check.label, method, name, setting=setting)
            if values is not None:
                yield _judged(evidence, check, method, setting, metric, values)


def _judged(
    evidence: Evidence, check: CheckInfo, method: str, setting: str, metric: Metric, values: Values
) -> Judgement:
    estimate, name = values.estimate(evidence.samples), metric.name
    said = metric.text or f"{metric.title or metric.name}."
    if not estimate.n:
        told = f"{said} No sample has a value: all are degenerate."
        return shown(method, check.id, check.label, name, estimate, ("no value", told), setting=setting)
    told = f"{said} Mean {precise(estimate.mean, 3)}."
    better = metric.higher_is_better
    if metric.chance is None or better is None or metric.itself is not None:
        return shown(method, check.id, check.label, name, estimate, (f"{estimate.mean:z.2f}", told), setting=setting)
    scale = 0.0 if metric.ideal is None else EQUAL * abs(metric.ideal - metric.chance)
    margin = Margin(
        good="above" if better else "below", yes=metric.chance, no=metric.chance + (scale if better else -scale)
    )
    words = {"yes": ("better than chance", told), "no": ("no better than chance", told)}
    return judged(
        method,
        check.id,
        check.label,
        name,
        estimate,
        margin,
        {**words, "unknown": ("cannot be told", told)},  # type: ignore[dict-item]
        setting=setting,
    )
