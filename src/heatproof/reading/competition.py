"""Competition: does less of a map survive the competition of labels where the network is random?

Shares of features and of energy that competition leaves, trained against fully randomized, sample by sample: *less*
where the difference is surely above 0, *as much* where it surely lies within five points of 0, *more* where it is
surely below. Told, and no part of what makes a map believable.

Source: Gupta & Arora 2019, sections 3 and 4.1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from heatproof.reading.base import READINGS, Judgement, Reading, Told, judged
from heatproof.reading.depends import CHECK
from heatproof.reading.evidence import Evidence
from heatproof.reading.rule import Answer, Margin
from heatproof.reading.shares import percent
from heatproof.reading.values import difference

MARGIN = Margin(good="above", yes=0.0, no=0.05)


def chance_share(labels: int) -> float:
    """Share of features that competition among `labels` i.i.d. symmetric scores leaves: 2(1 − 2^−C)/C; 1 for one."""
    return min(1.0, 2 * (1 - 2.0**-labels) / labels)


@READINGS.register("competition")
@dataclass(frozen=True, kw_only=True)
class Competition(Reading):
    """What survives the competition of labels.

    >>> run = hp.audit(net, images, labels, methods=["cgi"],
    ...                checks=["parameter-randomization"], out="run", progress=False)
    ...
    >>> verdicts = run.verdicts()
    >>> verdicts[verdicts["question"] == "competition"][["method", "answer"]].values.tolist()
    [['cgi', 'unknown']]
    """

    title: ClassVar[str] = "Less survives competition when random?"
    reads: ClassVar[tuple[str, ...]] = (CHECK,)

    def judge(self, evidence: Evidence, method: str) -> Iterator[Judgement]:
        info = evidence.info
        for check in info.of(CHECK):
            for group in info.complete_randomizations:
                for metric, noun in (("surviving-share", "features"), ("surviving-energy", "energy")):
                    before, after = (
                        evidence.column(check.label, method, metric, setting=group, position=position)
                        for position in (0.0, info.last_stage(group))
                    )
                    if before is None or after is None:
                        continue
                    line = f"; pure chance leaves {percent(chance_share(info.outputs))}" if noun == "features" else ""
                    told = (
                        f"Competition leaves {percent(before.mean)} of the {noun} trained, "
                        f"{percent(after.mean)} fully randomized{line}."
                    )
                    less = difference(before, after).estimate(evidence.samples)
                    same = "more survives randomized" if less.high < 0 else "as much survives randomized"
                    words: dict[Answer, Told] = {"yes": ("less survives randomized", told), "no": (same, told)}
                    words["unknown"] = ("cannot be told", told)
                    yield judged(
                        method,
                        "competition",
                        check.label,
                        metric,
                        less,
                        MARGIN,
                        words,
                        setting=group,
                    )
