"""Does a map stay the same when nothing happened? A map that always jumps says nothing by jumping.

Survival as in `survival`, where the parameters, or the input, were changed so little that the outputs stay where they
are (the check `steadiness`), by the measure under which least survives; *steady* needs all. For each of the two
changes:

1. the map is the very same by every measure: *steady*
2. the outputs moved by more than 5 % of their spread: untold, as something happened
3. u surely one half or more: *steady*; surely below: *not steady*; else untold

A steady map is so under both changes that were tried. Max-sensitivity is shown beside them and judges nothing: its
optimum is a map that says nothing. How honest and made-up methods stand: docs/steadiness.md.

Source: Yeh et al. 2019 (max-sensitivity). The rule is ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from heatproof.reading.base import READINGS, Judgement, Reading, judged, lacking, shown
from heatproof.reading.evidence import Evidence
from heatproof.reading.rule import Estimate, Margin
from heatproof.reading.shares import percent, sentence
from heatproof.reading.survival import HALF, JUDGED, Survival, least, survival, untold_among
from heatproof.rows import chance_of

CHECK = "steadiness"
PARAMETERS, INPUTS, BALL = "parameters", "inputs", "ball"
CHANGES = {PARAMETERS: "the parameters change", INPUTS: "the input changes"}
MOST = "max-sensitivity"
MOVED = 0.05  # of the outputs' spread: more is no longer "nothing happened"
MARGIN = Margin(good="above", yes=HALF, no=HALF)
MISSING = {"s": "it was not measured", "c": "its map was not compared with itself permuted"}


@READINGS.register("steady")
@dataclass(frozen=True, kw_only=True)
class Steady(Reading):
    """Similarity of the map to itself under a change that changes nothing.

    >>> run = hp.audit(net, images, labels, methods=["gradient-x-input"],
    ...                checks=["steadiness"], out="run", progress=False)
    ...
    >>> verdicts = run.verdicts()
    >>> verdicts[verdicts["question"] == "steady"][["method", "answer"]].values.tolist()
    [['gradient-x-input', 'unknown']]
    """

    title: ClassVar[str] = "Steady?"
    reads: ClassVar[tuple[str, ...]] = (CHECK,)
    other_maps: ClassVar[bool] = True

    def judge(self, evidence: Evidence, method: str) -> Iterator[Judgement]:
        for check in evidence.info.of(CHECK):
            for setting in CHANGES:
                yield from _under(evidence, check.label, method, setting)
            most = evidence.column(check.label, method, MOST, setting=BALL)
            if most is not None and most.n:
                yield _most(method, check.label, most.estimate(evidence.samples))


def _grades(evidence: Evidence, check: str, method: str, setting: str) -> dict[str, Survival]:
    """What stays, by measure; chance is the map's own, under either change."""
    found = {}
    for metric in JUDGED:
        s = evidence.column(check, method, metric, setting=setting)
        c = evidence.column(check, method, metric, setting=chance_of(PARAMETERS))
        if s is not None:
            found[metric] = survival(s, None, c, metric=metric, samples=evidence.samples, missing=MISSING)
    return found


def _under(evidence: Evidence, check: str, method: str, setting: str) -> Iterator[Judgement]:
    grades = _grades(evidence, check, method, setting)
    if not grades:
        return
    metric = least(grades)
    grade = grades[metric]
    moved = evidence.mean(check, "", "outputs-moved", setting=setting)
    told = f"{sentence(grade.told)} of it stays where {CHANGES[setting]} too little to move the outputs, judged by "
    told += f"{JUDGED[metric]}."
    found = judged(
        method,
        "steady",
        check,
        metric,
        grade.share,
        MARGIN,
        {
            "yes": ("steady", told),
            "no": ("not steady", told),
            "unknown": ("cannot be told", told),
        },
        setting=setting,
    )
    if reason := untold_among(grades):
        found = lacking(found, reason)
    if moved > MOVED:
        far = f"The change moved the outputs by {percent(moved)} of their spread: set a lower `level`."
        found = replace(found, decide=lambda _: "unknown", tell=lambda _: ("cannot be told", far))
    if all(one.unchanged for one in grades.values()):
        found = replace(found, decide=lambda _: "yes", tell=lambda _: ("steady", "It gives the very same map."))
    yield found


def _most(method: str, check: str, estimate: Estimate) -> Judgement:
    told = "How far the map moves at most, of its length, within a small ball around the input."
    return shown(method, "steady", check, MOST, estimate, (f"{estimate.mean:.2g}", told), setting=BALL)
