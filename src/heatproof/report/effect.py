"""A published effect, and what a run says of it: in the words of the verdicts, by their rule."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from heatproof.reading.base import Finding
from heatproof.reading.evidence import Evidence
from heatproof.reading.rule import ALPHA, Answer, Estimate, Margin, decide
from heatproof.reading.shares import in_words
from heatproof.reading.support import changed
from heatproof.reading.survival import Measured, Survival, more_survives
from heatproof.reading.values import Values, difference

Names = list[tuple[str | None, str]]
Verdict = tuple[Finding, Measured]  # and what it is made of
SOME = 0.005  # shares below are written as 0 %
ABOVE = Margin(good="above", yes=0.0, no=0.0)
SHOWN: Mapping[Answer, str] = {"yes": "shows", "no": "does not show"}
UNTOLD = "cannot be told"


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A published effect and what this run says of it: `shows` is "shows", "does not show" or "cannot be told"."""

    title: str
    shows: str
    sentence: str


def registered_names(manifest: Mapping[str, Any]) -> Names:
    """Each method's registered name and label."""
    return [(_registered(m), m["label"]) for m in manifest["methods"]]


def labels_of(registered: Names, name: str) -> list[str]:
    """The labels of the methods of that name."""
    return [label for known, label in registered if known == name]


def shown(answer: Answer) -> str:
    """What an answer says of an effect that it is the question of."""
    return SHOWN.get(answer, UNTOLD)


def stays(finding: Finding) -> str:
    """Whether a map stays like itself: where the verdict on the same rows is that it does not depend."""
    return {"no": "shows", "yes": "does not show"}.get(changed(finding), UNTOLD)


def compared(first: Values, second: Values, margin: Margin = ABOVE) -> str:
    """Whether the first is surely above the second, sample by sample."""
    return shown(decide(difference(first, second).estimate(0), margin)(ALPHA))


def less_survives(
    evidence: Evidence, ours: Verdict, theirs: Verdict, grade: Callable[[Evidence, Measured], Survival]
) -> tuple[str, str]:
    """Whether less survives of our maps than of theirs, by what the verdicts on both are made of, and a sentence.

    Where one of the verdicts has nothing to go by, as of a network that died or of maps that do not repeat, neither has
    the difference.
    """
    told = f"Of the similarity to itself {spread(ours[0])} of CGI survives, {spread(theirs[0])} of gradient × input."
    for finding, measured in (ours, theirs):
        found = grade(evidence, measured)
        if finding.supporting or found.noise or found.reason:
            return UNTOLD, told if not found.reason else f"Not enough to go by: {found.reason}."
    more = more_survives(theirs[1], ours[1], samples=evidence.samples)
    return shown(decide(more, ABOVE)(ALPHA)), told


def spread(of: Finding | Estimate) -> str:
    """A share with its interval, in percent."""
    return in_words(of.mean, of.low, of.high)


def text(values: Values, *, share: bool = False) -> str:
    """A mean with its interval."""
    of = values.estimate(0)
    return spread(of) if share else f"{of.mean:z.2f} ({of.low:z.2f} to {of.high:z.2f})"


def _registered(method: Mapping[str, Any]) -> str | None:
    """A method's registered name; "cgi" for competition among maps of gradient × input, never among another's."""
    outer, inner = method["recipe"], method["recipe"].get("method")
    if not str(outer.get("class", "")).endswith(".Competitive"):
        name: str | None = method["name"]
        return name
    return "cgi" if isinstance(inner, Mapping) and str(inner["class"]).endswith(".GradientXInput") else None
