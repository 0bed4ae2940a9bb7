"""Complete: does a map sum to what its method promises, S_c(x) or S_c(x) − S_c(x̄)?

The mean magnitude of the gap over the mean magnitude of what is promised: surely below 1 % *complete*, surely 1 % or
more *not complete*. From the check of completeness where it was run, else from what the method itself says of its sum.
A method that promises no sum is not judged.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from heatproof.reading.base import READINGS, Judgement, Reading, judged, shown
from heatproof.reading.evidence import Evidence
from heatproof.reading.intervals import of_ratio
from heatproof.reading.rule import NOTHING, Estimate, Margin
from heatproof.reading.values import Key, Values, aligned, difference

CHECK = "completeness"
GAPS = ("completeness-gap", "conservation-gap")
MARGIN = Margin(good="below", yes=0.01, no=0.01)


def precise(value: float, digits: int = 2) -> str:
    """Two digits at least, and no powers of ten for large numbers."""
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:z.{digits}g}"


@READINGS.register("complete")
@dataclass(frozen=True, kw_only=True)
class Complete(Reading):
    """The gap against the promised sum.

    >>> run = hp.audit(net, images, labels, methods=["gradient-x-input"],
    ...                checks=["completeness"], out="run", progress=False)
    ...
    >>> verdicts = run.verdicts()
    >>> verdicts[verdicts["question"] == "complete"][["method", "answer"]].values.tolist()
    [['gradient-x-input', 'unknown']]
    """

    title: ClassVar[str] = "Complete?"
    reads: ClassVar[tuple[str, ...]] = (CHECK,)

    def judge(self, evidence: Evidence, method: str) -> Iterator[Judgement]:
        labels = [check.label for check in evidence.info.of(CHECK)]
        columns = [key for key in evidence.table if key[1] == method and key[3] == 0 and key[4] in GAPS]
        gap = next((key for label in labels for key in columns if key[0] == label), next(iter(columns), None))
        if gap is None:
            yield from (
                _no_promise(method, label)
                for label in labels
                if evidence.column(label, method, "attribution-sum") is not None
            )
            return
        promised = _promised(evidence, gap)
        if promised is None:
            return
        both, _ = aligned(abs(evidence.table[gap]), abs(promised))
        owed = Values(both[:, :, 1], (0,) * len(both))
        if not owed.n or owed.mean == 0:
            return
        n, share = owed.n, Values(both[:, :, 0], owed.seeds).mean / owed.mean
        low, high = of_ratio(both)
        told = f"Its sum misses what it should explain by {precise(100 * share)} % of that{_condition(evidence, gap)}."
        told += _over_labels(evidence, gap[0], method)
        yield judged(
            method,
            "complete",
            gap[0],
            gap[4],
            Estimate(mean=share, low=low, high=high, n=n, missing=evidence.samples - n),
            MARGIN,
            {"yes": ("complete", told), "no": ("not complete", told), "unknown": ("cannot be told", told)},
            setting=gap[2],
        )


def _no_promise(method: str, check: str) -> Judgement:
    told = "promises no sum", "It does not say what its maps should sum to."
    return shown(method, "complete", check, "completeness-gap", NOTHING, told)


def _promised(evidence: Evidence, gap: Key) -> Values | None:
    """What the maps should sum to: their sum less the gap, the score less the baseline's, or the explained output."""
    check, method, setting, position, _ = gap

    def of(name: str, who: str = method) -> Values | None:
        return evidence.column(check, who, name, setting=setting, position=position)

    if (total := of("attribution-sum")) is not None:
        return difference(total, evidence.table[gap])
    if (score := of("score")) is not None:
        baseline = of("baseline-score")
        return score if baseline is None else difference(score, baseline)
    return of("target-score", "")


def _condition(evidence: Evidence, gap: Key) -> str:
    """The condition number in words; empty where it was not measured."""
    numbers = evidence.column(gap[0], gap[1], "condition-number", setting=gap[2], position=gap[3])
    median = float("nan") if numbers is None or not numbers.n else float(np.nanmedian(numbers.array))
    return f", at a condition number of {precise(median)}" if np.isfinite(median) else ""


def _over_labels(evidence: Evidence, check: str, method: str) -> str:
    """How its sums follow what they should be from label to label; empty where that was not measured."""
    slope, correlation = (evidence.mean(check, method, name) for name in ("label-slope", "label-correlation"))
    if not np.isfinite(slope + correlation):
        return ""
    return f" From label to label its sums follow with slope {slope:z.2f} and correlation {correlation:z.2f}."
