"""Complexity: over which share of its features is a map spread? Told, and never judged.

A map of few features is easier to look at, and no truer for it: noise is spread out, and so is an honest map of an
object that fills the picture. The maps made without the network stand beside it in the run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from heatproof.reading.base import READINGS, Judgement, Reading, shown
from heatproof.reading.complete import precise
from heatproof.reading.evidence import Evidence
from heatproof.reading.rule import Estimate
from heatproof.reading.values import Values

CHECK, SHARE, GINI = "complexity", "effective-share", "gini"


@READINGS.register("complexity")
@dataclass(frozen=True, kw_only=True)
class Complexity(Reading):
    """The share of features that a map is spread over.

    >>> run = hp.audit(net, images, labels, methods=["gradient"], checks=["complexity"], out="run", progress=False)
    >>> verdicts = run.verdicts()
    >>> verdicts[verdicts["question"] == "complexity"][["method", "answer"]].values.tolist()
    [['gradient', '']]
    """

    title: ClassVar[str] = "How concentrated is it?"
    reads: ClassVar[tuple[str, ...]] = (CHECK,)
    judges: ClassVar[bool] = False

    def judge(self, evidence: Evidence, method: str) -> Iterator[Judgement]:
        for check in evidence.info.of(CHECK):
            share, gini = (evidence.column(check.label, method, metric) for metric in (SHARE, GINI))
            if share is None or not share.n:
                continue
            yield _judgement(method, check.label, share.estimate(evidence.samples), gini)


def _judgement(method: str, check: str, share: Estimate, gini: Values | None) -> Judgement:
    word = f"{precise(100 * share.mean)} %"
    told = f"The map is spread over {word} of its features"
    told += f"; its Gini index is {gini.mean:z.2f}." if gini is not None and gini.n else "."
    return shown(method, "complexity", check, SHARE, share, (word, told))
