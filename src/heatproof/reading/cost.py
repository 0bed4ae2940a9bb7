"""What a map costs: seconds, and how many times the cheapest method that looks at the model. Told, never judged."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from heatproof.reading.base import READINGS, Judgement, Reading, shown
from heatproof.reading.evidence import Evidence
from heatproof.reading.rule import Estimate


@READINGS.register("cost")
@dataclass(frozen=True, kw_only=True)
class Cost(Reading):
    """Seconds a map on the machine of the run.

    >>> run = hp.audit(net, images, labels, methods=["gradient-x-input"],
    ...                checks=["completeness"], out="run", progress=False)
    ...
    >>> verdicts = run.verdicts()
    >>> verdicts[verdicts["question"] == "cost"][["method", "answer"]].values.tolist()
    [['gradient-x-input', '']]
    """

    title: ClassVar[str] = "What does it cost?"
    judges: ClassVar[bool] = False

    def judge(self, evidence: Evidence, method: str) -> Iterator[Judgement]:
        costs = evidence.info.manifest.get("costs", {}).items()
        each = {label: spent["seconds"] / spent["maps"] for label, spent in costs if spent.get("maps")}
        if method not in each:
            return
        looking = [value for label, value in each.items() if label not in evidence.info.controls]
        cheapest = min(looking, default=each[method])
        ratio = each[method] / cheapest if cheapest else float("nan")
        word = "< 0.1 ×" if ratio < 0.05 else f"{ratio:.1f} ×" if ratio < 10 else f"{ratio:.0f} ×"
        told = f"A map takes {word.rstrip(' ×')} times as long as one of the cheapest method that looks at the model, "
        told += "on the machine of the run."
        gone, maps = float("nan"), evidence.info.manifest["costs"][method]["maps"]
        spent = Estimate(mean=each[method], low=gone, high=gone, n=maps)
        yield shown(method, "cost", "", "seconds a map", spent, (word, told))
