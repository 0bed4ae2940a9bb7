"""What changed from one run to another, and whether it surely did."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from heatproof.reading import Verdicts
from heatproof.reading.base import Finding
from heatproof.reading.believable import BELIEVABLE

ABSENT = "not asked"


@dataclass(frozen=True)
class Change:
    """One method and question in both runs: answers, means, and whether the means surely differ.

    `surely` is None where one of them has no interval.
    """

    method: str
    question: str
    before: str
    after: str
    means: tuple[float, float]
    surely: bool | None
    words: tuple[str, str]

    @property
    def sentence(self) -> str:
        """The change in words."""
        numbers = ""
        if all(math.isfinite(mean) for mean in self.means):
            sure = {True: ", surely apart", False: ", perhaps by chance", None: ""}[self.surely]
            numbers = f" ({self.means[0]:.3g}, now {self.means[1]:.3g}{sure})"
        return f"It was “{self.words[0]}” and is “{self.words[1]}”{numbers}."


def changes(before: Verdicts, after: Verdicts) -> list[Change]:
    """Every method and question of either run whose answer differs, or whose mean surely does."""
    return list(_changes(before, after))


def _changes(before: Verdicts, after: Verdicts) -> Iterator[Change]:
    labels = [one.label for one in before.evidence.info.methods]
    labels += [one.label for one in after.evidence.info.methods if one.label not in labels]
    for label in labels:
        old, new = (_answers(run, label) for run in (before, after))
        for question in dict.fromkeys([*old, *new]):
            one, two = old.get(question), new.get(question)
            was, now = (ABSENT if found is None else str(found.answer) for found in (one, two))
            if one is not None and two is not None:
                one = _measured_alike(before, two) or one
            surely = None if one is None or two is None else _apart(one, two)
            if question == "cost" or (was == now and not surely):
                continue
            means = tuple(math.nan if found is None else found.mean for found in (one, two))
            words = tuple(ABSENT if found is None else found.word for found in (old.get(question), two))
            yield Change(label, question, was, now, (means[0], means[1]), surely, (words[0], words[1]))


def _measured_alike(run: Verdicts, other: Finding) -> Finding | None:
    """What the same check and metric found in a run: another one of the question may have decided there."""
    names = ("method", "question", "check", "metric", "setting")
    alike = (one for one in run.findings if all(getattr(one, name) == getattr(other, name) for name in names))
    return next(alike, None)


def _answers(run: Verdicts, label: str) -> dict[str, Finding]:
    if label not in {one.label for one in run.evidence.info.methods}:
        return {}
    return {BELIEVABLE: run.believable(label), **run.by_question(label)}


def _apart(one: Finding, two: Finding) -> bool | None:
    """Whether 0 lies outside of the interval of the difference, both runs' samples being independent.

    Conservative where they are the same: then what samples share cancels. Source: MOVER, Zou & Donner 2008.
    """
    ends = (one.mean, one.low, one.high, two.mean, two.low, two.high)
    if not all(math.isfinite(end) for end in ends) or one.metric != two.metric or one.check != two.check:
        return None
    down = math.hypot(two.mean - two.low, one.high - one.mean)
    up = math.hypot(two.high - two.mean, one.mean - one.low)
    apart = two.mean - one.mean
    return not apart - down <= 0 <= apart + up
