"""Claims of maps that stay like themselves, or do not: by the rule of the scorecard, on its scale.

What survives is u = (s − c)/(r − c) as in `heatproof.reading.survival`: 1 is what the method reaches with itself, 0
what the trained map permuted has, and a map that went blank counts as s = 0. A map *stays* where surely one half or
more survives, and *changes* where surely less does. c is measured where every layer is random; where only some are,
that stands for it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from heatproof.papers.measure import STAGES, NoRowsError, Pick, Results
from heatproof.papers.measure import Measured as Figure
from heatproof.papers.paper import NOT_SAID, SAID, Answer, Claim, Verdict, all_of, positive
from heatproof.reading.depends import CHECK as RANDOMIZATION
from heatproof.reading.labels import PERMUTED, TRUE
from heatproof.reading.rule import ALPHA, Margin
from heatproof.reading.survival import TENTH, Measured, Survival, more_survives, survival
from heatproof.reading.surviving import answered
from heatproof.reading.values import Values
from heatproof.rows import chance_of

GONE = Margin(good="below", yes=TENTH, no=TENTH)
MISSING = {"s": "this similarity was not measured", "c": "its map was not compared with itself permuted"}
NOT_AGAIN = {**MISSING, "c": "no network learned the true labels again"}


def stays(*, where: str, text: str, paper: str, step: str, of: Pick) -> Claim:
    """At every place of a pick surely one half or more of the map survives."""
    return Claim(where=where, text=text, paper=paper, steps=(step,), answer=partial(kept, of=of))


def changes(*, where: str, text: str, paper: str, step: str, of: Pick) -> Claim:
    """At every place of a pick surely less than one half of the map survives."""
    return Claim(where=where, text=text, paper=paper, steps=(step,), answer=partial(_judged, of=of, verdict=_changed))


def is_gone(*, where: str, text: str, paper: str, step: str, of: Pick) -> Claim:
    """At every place of a pick surely less than one tenth of the map survives."""
    return Claim(where=where, text=text, paper=paper, steps=(step,), answer=partial(_judged, of=of, verdict=_gone))


def keeps_more(
    *, where: str, text: str, paper: str, step: str, one: Pick, other: Pick, names: tuple[str, str] = ("", "")
) -> Claim:
    """More survives of one map than of another, sample by sample, at every place that both have.

    Open positions are averaged over.
    """
    answer = partial(more_kept, pairs=((one, other),), names=names)
    return Claim(where=where, text=text, paper=paper, steps=(step,), answer=answer)


def kept(results: Results, *, of: Pick) -> Answer:
    """What `stays` asks, of results."""
    return _judged(results, of=of, verdict=stayed)


def more_kept(results: Results, *, pairs: tuple[tuple[Pick, Pick], ...], names: tuple[str, str]) -> Answer:
    """Whether more survives of the first than of the second of every pair."""
    found: list[tuple[Figure, Places, Places]] = []
    for one, other in pairs:
        first, second = places_of(results, one), places_of(results, other)
        more = more_survives(first.averaged, second.averaged, samples=results.evidence.samples)
        found.append((Figure(more.mean, more.low, more.high, more.n, more.missing), first, second))
    least, first, second = min(found, key=lambda each: np.nan_to_num(each[0].value, nan=np.inf))
    labels = [name or pick.method or "" for name, pick in zip(names, pairs[0], strict=True)]
    told = ", ".join(f"{label} {one.told}" for label, one in zip(labels, (first, second), strict=True))
    over = f", where they differ least of {len(found)}" if len(found) > 1 else ""
    blank = sum(one.blank + other.blank for _, one, other in found)
    counted = f"; {blank} blank maps counted as 0" if blank else ""
    untold = next((why for _, one, other in found for each in (one, other) if (why := each.untold)), "")
    return Answer(
        f"of its similarity to itself survives: {told}; difference {least.text(percent=True)}{over}{counted}"
        + (f"; not to be told: {untold}" if untold else ""),
        "cannot be told here" if untold else all_of([positive(more) for more, _, _ in found]),
    )


@dataclass(frozen=True, kw_only=True)
class Places:
    """What a pick's survival is made of, at each of its positions."""

    at: Mapping[float, Measured]
    samples: int
    missing: Mapping[str, str]
    repeats: bool  # whether r is known, or 1 for a method that repeats exactly

    @property
    def averaged(self) -> Measured:
        """The same averaged over positions, blank maps as 0."""
        first = next(iter(self.at.values()))
        s = _mean([one.s.filled(0.0) for one in self.at.values() if one.s is not None])
        return Measured(first.metric, s, first.r, _mean([one.c for one in self.at.values() if one.c is not None]))

    @property
    def told(self) -> str:
        """What survives on average over positions, in words; the plain similarity where that cannot be told."""
        averaged = self.averaged
        share = self.survival(averaged)
        plain = averaged.s.mean if averaged.s is not None else float("nan")
        return f"similarity {plain:z.2f}" if share.untold else share.told

    @property
    def untold(self) -> str:
        """Why nothing can be told, though the method's own repeatability was measured."""
        share = self.survival(self.averaged)
        return (share.reason or share.noise) if self.repeats else ""

    @property
    def shares(self) -> list[Survival]:
        """What survives at each position."""
        return [self.survival(one) for one in self.at.values()]

    @property
    def blank(self) -> int:
        """How many maps have no similarity though the trained one has a pattern: nothing is left in them."""
        return sum(
            int((np.isnan(s.array) & np.isfinite(c.array)).sum()) if s is not None and c is not None else 0
            for _, s, _, c in self.at.values()
        )

    def survival(self, of: Measured) -> Survival:
        """By the rule of the scorecard."""
        c = of.c if self.repeats else None
        return survival(of.s, of.r, c, metric=of.metric, samples=self.samples, missing=self.missing)


def places_of(results: Results, of: Pick) -> Places:
    """s, r and c of a pick. Raises: NoRowsError where nothing was measured."""
    evidence, method, metric = results.evidence, of.method or "", of.metric or ""
    setting = results.setting(of)
    column = partial(evidence.column, of.check, method, metric)
    places = results.positions(of) if of.position in (None, "later") else [results.position(of)]
    s = {place: column(setting=setting, position=place) for place in places if place > 0 or of.setting != STAGES}
    if all(one is None for one in s.values()):
        raise NoRowsError(of, results.checks)
    if setting == PERMUTED:
        r, missing = column(setting=TRUE), NOT_AGAIN
        repeats = r is not None
    else:
        checks = (one.label for one in evidence.info.of(RANDOMIZATION))
        again = (evidence.column(check, method, metric, setting="replicate") for check in checks)
        r, missing, repeats = next((one for one in again if one is not None), None), MISSING, True
    found = {
        place: Measured(metric, one, r, column(setting=chance_of(setting), position=place) or _chance(results, of))
        for place, one in s.items()
    }
    return Places(at=found, samples=evidence.samples, missing=missing, repeats=repeats)


def _chance(results: Results, of: Pick) -> Values | None:
    """Chance as it was measured where every layer is random, for a state in which only some are."""
    evidence = results.evidence
    columns: Iterator[Values | None] = (
        evidence.column(
            check.label, of.method or "", of.metric or "",
            setting=chance_of(group), position=evidence.info.last_stage(group),
        )
        for check in evidence.info.of(RANDOMIZATION)
        for group in evidence.info.complete_randomizations
    )  # fmt: skip
    return next((values for values in columns if values is not None), None)


def _mean(values: list[Values]) -> Values | None:
    if not values:
        return None
    stacked = np.stack([one.array for one in values if one.seeds == values[0].seeds])
    return Values(stacked.mean(0), values[0].seeds)


def _judged(results: Results, *, of: Pick, verdict: Callable[[Survival], Verdict]) -> Answer:
    places = places_of(results, of)
    shares = places.shares
    least = min(shares, key=lambda one: np.nan_to_num(one.share.mean, nan=np.inf))
    over = f", the least of {len(shares)} layers" if len(shares) > 1 else ""
    counted = f"; {places.blank} blank maps counted as 0" if places.blank else ""
    untold = next((one.untold for one in shares if one.untold and not one.unchanged), "")
    told = f"not to be told: {untold}" if untold else f"{least.told} of its similarity to itself survives{over}"
    chance = "" if untold else f" (similarity {least.similarity:z.2f}, permuted {least.chance:z.2f})"
    return Answer(f"{told}{chance}{counted}", all_of([verdict(one) for one in shares]))


def stayed(one: Survival) -> Verdict:
    """Whether a map stays: where the scorecard says that it hardly depends, or does not."""
    if one.unchanged:
        return "holds"
    return NOT_SAID.get(answered(one, ALPHA), "cannot be told here")


def _changed(one: Survival) -> Verdict:
    """Whether a map changes: where the scorecard says that it depends, perhaps in part."""
    return "does not hold" if one.unchanged else SAID.get(answered(one, ALPHA), "cannot be told here")


def _gone(one: Survival) -> Verdict:
    if one.noise or one.reason:
        return "cannot be told here"
    return SAID.get(GONE.answer(*one.share.at(ALPHA)), "cannot be told here")
