"""What a paper is here: audits at several scales, and its claims, each answered from rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from heatproof.errors import InputError, unknown
from heatproof.papers.measure import Measured, NoRowsError, Results
from heatproof.reading.rule import ALPHA, Margin, decide

Verdict = Literal["holds", "does not hold", "cannot be told here"]
SCALES = ("tiny", "small", "full")
ABOVE = Margin(good="above", yes=0.0, no=0.0)
SAID: Mapping[str, Verdict] = {"yes": "holds", "no": "does not hold"}
NOT_SAID: Mapping[str, Verdict] = {"no": "holds", "yes": "does not hold"}


class Answer(NamedTuple):
    """What our rows say of a claim: the figure, and whether the claim holds."""

    ours: str
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of a paper.

    Attributes:
        where: the figure, table or section of the paper.
        text: the claim.
        paper: the paper's figure, or its words.
        steps: what has to have run; at a scale without one of them the claim cannot be told.
        answer: from the results of those steps, in their order.
        why: what is known of why ours differs, for where the claim does not hold.
    """

    where: str
    text: str
    paper: str
    steps: tuple[str, ...]
    answer: Callable[..., Answer]
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure for the results page: `draw(results of its steps, in their order, file=…)` writes a PNG.

    A step is an audit or a table.
    """

    name: str
    caption: str
    steps: tuple[str, ...]
    draw: Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table of the results page: `make(results of its steps, in their order)` gives its cells as text."""

    name: str
    caption: str
    steps: tuple[str, ...]
    make: Callable[..., pd.DataFrame]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A computation that is no audit, such as a simulation, and gives rows of its own.

    Attributes:
        name: of the step that it is.
        compute: from the specs of `steps`, in their order.
        steps: audits whose network and data it is about; a scale without one of them has no such table.
        scales: that it belongs to.
    """

    name: str
    compute: Callable[..., pd.DataFrame]
    steps: tuple[str, ...] = ()
    scales: tuple[str, ...] = SCALES


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A paper with what reproduces it. Its audits are the TOML files in `specs/<id>/<scale>/`, in order of name.

    `notes` say per scale what stands in for what the paper used.
    """

    id: str
    title: str
    authors: str
    claims: tuple[Claim, ...]
    sheets: tuple[Sheet, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)

    def specs(self, scale: str) -> dict[str, Path]:
        """The audits at a scale, by the name of their step.

        Raises: InputError for a scale that is unknown, or that this paper does not have.
        """
        if scale not in SCALES:
            raise unknown("scale", scale, SCALES)
        folder = Path(str(files("heatproof.papers") / "specs" / self.id / scale))
        found = {path.stem: path for path in sorted(folder.glob("*.toml"))}
        if not found:
            raise InputError(
                f"Expected a scale that {self.id} has, but it has no {scale!r}; known are {self.scales()}."
            )
        return found

    def tables_at(self, scale: str) -> list[Table]:
        """The tables that a scale has."""
        audits = self.specs(scale)
        return [table for table in self.tables if scale in table.scales and audits.keys() >= {*table.steps}]

    def scales(self) -> list[str]:
        """The scales there are specs for."""
        root = Path(str(files("heatproof.papers") / "specs" / self.id))
        return [scale for scale in SCALES if [*(root / scale).glob("*.toml")]]


def explained(why: str, *claims: Claim) -> Iterator[Claim]:
    """The claims, with what is known of why they may not hold here."""
    for claim in claims:
        yield replace(claim, why=why)


def answer(claim: Claim, results: Mapping[str, Results]) -> Answer:
    """What the results say of a claim; a step that did not run cannot tell, nor what failed in one that did.

    Raises: NoRowsError for rows that are missing though nothing failed.
    """
    missing = [step for step in claim.steps if step not in results]
    if missing:
        return Answer(f"needs {', '.join(missing)}, which this scale does not run", "cannot be told here")
    given = [results[step] for step in claim.steps]
    try:
        return claim.answer(*given)
    except NoRowsError as error:
        if not excused(error, given):
            raise
        return Answer(f"not measured: {error.pick.method or error.pick.check} failed", "cannot be told here")


def excused(error: NoRowsError, given: Iterable[Results]) -> bool:
    """Whether what has no rows failed in its step; the page names the failure."""
    asked = {error.pick.method or error.pick.check, error.pick.check}
    return any(
        {failure["method"], failure["check"]} & asked for one in given for failure in one.manifest.get("failures", [])
    )


def verdict(holds: bool) -> Verdict:
    """Of what has no sampling error, or has it counted in already."""
    return "holds" if holds else "does not hold"


def positive(figure: Measured) -> Verdict:
    """A claim that a figure is above 0, by the rule of verdicts: its whole interval decides, of 5 samples and more.

    Where all samples have one value no spread is known, and nothing is told.
    """
    return SAID.get(decide(figure.estimate, ABOVE)(ALPHA), "cannot be told here")


def all_of(verdicts: Sequence[Verdict]) -> Verdict:
    """A claim of several parts: it holds if all do, and does not if one does not."""
    if "does not hold" in verdicts:
        return "does not hold"
    return "cannot be told here" if "cannot be told here" in verdicts else "holds"
