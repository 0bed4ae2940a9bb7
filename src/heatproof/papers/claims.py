"""The kinds of claims that papers make, each as what it takes to answer one from rows."""

import math
from collections.abc import Mapping
from functools import partial
from itertools import pairwise

from heatproof.papers.measure import Measured, Pick, Results
from heatproof.papers.paper import Answer, Claim, Verdict, all_of, positive, verdict
from heatproof.reading.rule import FEWEST


def higher(
    *,
    where: str,
    text: str,
    paper: str,
    step: str,
    one: Pick,
    other: Pick,
    margin: float = 0.0,
    names: tuple[str, str] = ("", ""),
    percent: bool = False,
) -> Claim:
    """The mean of `one` exceeds that of `other` by more than `margin`, paired by sample."""
    answer = partial(_higher, one=one, other=other, margin=margin, names=names, percent=percent)
    return Claim(where=where, text=text, paper=paper, steps=(step,), answer=answer)


def near(
    *, where: str, text: str, paper: str, step: str, picks: Mapping[str, Pick], value: float, within: float
) -> Claim:
    """The mean of every pick lies within `within` of `value`, with its whole interval."""
    answer = partial(_near, picks=dict(picks), value=value, within=within)
    return Claim(where=where, text=text, paper=paper, steps=(step,), answer=answer)


def alike(
    *, where: str, text: str, paper: str, step: str, one: Pick, other: Pick, within: float, names: tuple[str, str]
) -> Claim:
    """The means of two picks differ by less than `within`, paired by sample, with the whole interval."""
    answer = partial(_alike, one=one, other=other, within=within, names=names)
    return Claim(where=where, text=text, paper=paper, steps=(step,), answer=answer)


def beyond(
    *,
    where: str,
    text: str,
    paper: str,
    step: str,
    pick: Pick,
    above: float | None = None,
    below: float | None = None,
    of_network: bool = False,
) -> Claim:
    """The mean of a pick lies above one figure, or below one, with its whole interval.

    One `of_network`, such as its accuracy on what it was trained on, has the same value beside every sample, and no
    sampling error.
    """
    answer = partial(_beyond, pick=pick, above=above, below=below, of_network=of_network)
    return Claim(where=where, text=text, paper=paper, steps=(step,), answer=answer)


def falls(*, where: str, text: str, paper: str, step: str, picks: Mapping[str, Pick], digits: int = 2) -> Claim:
    """The means of the picks fall from each to the next, paired by sample."""
    answer = partial(_falls, picks=dict(picks), digits=digits)
    return Claim(where=where, text=text, paper=paper, steps=(step,), answer=answer)


def _beyond(results: Results, *, pick: Pick, above: float | None, below: float | None, of_network: bool) -> Answer:
    found = results.mean(pick)
    told = [f"above {above:g}"] if above is not None else []
    told += [f"below {below:g}"] if below is not None else []
    by = [found.above(above)] if above is not None else []
    by += [found.below(below)] if below is not None else []
    verdicts = [verdict(one.value > 0) if of_network else positive(one) for one in by]
    return Answer(f"{found.text(digits=3)}; asked is {' and '.join(told)}", all_of(verdicts))


def _falls(results: Results, *, picks: Mapping[str, Pick], digits: int) -> Answer:
    told = ", ".join(f"{name} {results.mean(pick).text(digits=digits)}" for name, pick in picks.items())
    steps = [positive(results.difference(one, other)) for one, other in pairwise(picks.values())]
    return Answer(told, all_of(steps))


def _higher(
    results: Results, *, one: Pick, other: Pick, margin: float, names: tuple[str, str], percent: bool
) -> Answer:
    found = results.difference(one, other)
    first, second = (results.mean(pick).text(percent=percent) for pick in (one, other))
    labels = [name or pick.method or "" for name, pick in zip(names, (one, other), strict=True)]
    asked = f" (by more than {margin:g})" if margin else ""
    return Answer(
        f"{labels[0]} {first}, {labels[1]} {second}; difference {found.text(percent=percent, digits=3)}{asked}",
        positive(found.above(margin)),
    )


def _near(results: Results, *, picks: Mapping[str, Pick], value: float, within: float) -> Answer:
    found = {name: results.mean(pick) for name, pick in picks.items()}
    told = ", ".join(f"{name} {figure.text(digits=3)}" for name, figure in found.items())
    return Answer(f"{told}; asked is {value:g} ± {within:g}", all_near([*found.values()], value, within))


def _alike(results: Results, *, one: Pick, other: Pick, within: float, names: tuple[str, str]) -> Answer:
    found = results.difference(one, other)
    first, second = (results.mean(pick).text(digits=3) for pick in (one, other))
    told = f"{names[0]} {first}, {names[1]} {second}; difference {found.text(digits=3)}, asked is 0 ± {within:g}"
    return Answer(told, all_near([found], 0.0, within))


def all_near(found: list[Measured], value: float, within: float) -> Verdict:
    """Whether every figure lies within `within` of `value`, with its whole interval, of 5 samples and more.

    Where all samples have one value that value is it: equality needs no spread.
    """
    if any(one.n < FEWEST or not math.isfinite(one.low) for one in found):
        return "cannot be told here"
    if all(-within <= one.low - value and one.high - value <= within for one in found):
        return "holds"
    apart = any(one.low - value > within or one.high - value < -within for one in found)
    return "does not hold" if apart else "cannot be told here"
