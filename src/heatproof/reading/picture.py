"""Is a map more than the picture? What is left of it in a map that was made from the input with no network at all.

Survival as in `survival`: s is the similarity of the trained map to a control (an edge detector, input × noise, input ×
edges), r the method's own repeatability where it was measured, c that of the map with itself permuted. The control that
is most like the map counts. Surely one half or more *is the picture*, surely below is *more*. Of a method that does not
repeat there is no scale, and nothing is told. A control is no network's map by its making: it is shown, not judged.

Source: Adebayo et al. 2018, Fig. 10 (edge detectors look convincing). The scale and the margin are ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar

from heatproof.reading.base import READINGS, Judgement, Reading, judged, lacking
from heatproof.reading.depends import CHECK as RANDOMIZATION
from heatproof.reading.evidence import Evidence
from heatproof.reading.rule import Margin
from heatproof.reading.shares import sentence
from heatproof.reading.survival import HALF, JUDGED, Survival, survival, untold_among, worst
from heatproof.rows import chance_of

CHECK = "input-controls"
MARGIN = Margin(good="below", yes=HALF, no=HALF)
MISSING = {"s": "not compared with this control", "c": "its map was not compared with itself permuted"}


@READINGS.register("more-than-the-picture")
@dataclass(frozen=True, kw_only=True)
class MoreThanThePicture(Reading):
    """Likeness to maps made without a network.

    >>> run = hp.audit(net, images, labels, methods=["gradient-x-input"],
    ...                checks=["input-controls"], out="run", progress=False)
    ...
    >>> verdicts = run.verdicts()
    >>> verdicts[verdicts["question"] == "more-than-the-picture"][["method", "answer"]].values.tolist()
    [['gradient-x-input', 'unknown']]
    """

    title: ClassVar[str] = "More than the picture?"
    reads: ClassVar[tuple[str, ...]] = (CHECK,)

    def judge(self, evidence: Evidence, method: str) -> Iterator[Judgement]:
        for check in evidence.info.of(CHECK):
            if grades := _grades(evidence, check.label, method):
                yield _judged(method, check.label, grades, control=method in evidence.info.controls)


def _judged(method: str, check: str, grades: dict[str, Survival], *, control: bool) -> Judgement:
    likest, metric = (name := worst(grades)).rsplit("|", 1)
    grade = grades[name]
    told = f"{sentence(grade.told)} of its similarity to itself is left in the likest map made with no network, "
    told = f"{sentence(grade.untold)}." if grade.untold else f"{told}{likest}."
    found = judged(
        method,
        "more-than-the-picture",
        check,
        metric,
        grade.share,
        MARGIN,
        {"yes": ("is more", told), "no": ("is the picture", told), "unknown": ("cannot be told", told)},
        setting=likest,
    )
    if control:
        said = f"{told} It is a control: it is made with no network itself."
        word = "no value" if grade.untold else f"{grade.share.mean:z.2f}"
        return replace(found, decide=None, margin=None, tell=lambda _: (word, said))
    return lacking(found, reason) if (reason := untold_among(grades)) else found


def _grades(evidence: Evidence, check: str, method: str) -> dict[str, Survival]:
    """By control and measure; the method itself, where it is one of the controls, is left out."""
    own = next((m.name for m in evidence.info.methods if m.label == method), None)
    found: dict[str, Survival] = {}
    for setting, metric in product(evidence.settings(check, method), JUDGED):
        if setting.endswith(chance_of("")) or setting == own:
            continue
        s, c = (evidence.column(check, method, metric, setting=name) for name in (setting, chance_of(setting)))
        if s is None:
            continue
        repeats = [
            evidence.column(one.label, method, metric, setting="replicate") for one in evidence.info.of(RANDOMIZATION)
        ]
        r = next((values for values in repeats if values is not None), None)
        grade = survival(s, r, c, metric=metric, samples=evidence.samples, missing=MISSING)
        found[f"{setting}|{metric}"] = grade
    return found
