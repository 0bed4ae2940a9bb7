"""Which yes needs another: what one question found may be hollow by what another did."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from heatproof.reading.base import Finding
from heatproof.reading.rule import Answer

# One of several judgements stands for a question: what refutes it first, then what withholds it.
ORDER: Mapping[str, int] = {"no": 0, "unknown": 1, "yes": 2, "": 3}
NEVER, CHANGES = "never looks at the model", "changes"
HOLLOW = {
    "repeats": "so is noise, and it is not shown to repeat",
    "steady": "so is noise, and it is not shown to be steady",
    "depends": "it never looks at the model, so it is made with no network itself",
}


def supported(found: Sequence[Finding]) -> Iterator[Finding]:
    """The findings, without a yes that says nothing by what else was found of the same method.

    - *depends* and *labels* need *steady*: a map that jumps when nothing happened says nothing by jumping when
      everything did.
    - *more than the picture* needs *repeats* and *steady* where they were asked, and falls where the map never looks at
      the model: noise is unlike every picture.
    """
    counts: dict[tuple[str, str], Finding] = {}
    for one in sorted(found, key=lambda finding: ORDER[finding.answer], reverse=True):  # what refutes comes last
        if one.answer:
            counts[one.method, one.question] = one
    for one in found:
        if one.answer == "yes" and one.question in ("depends", "labels"):
            yield _by_steadiness(one, counts.get((one.method, "steady")))
        elif one.answer == "yes" and one.question == "more-than-the-picture":
            yield _by_substance(one, [counts.get((one.method, name)) for name in ("repeats", "steady", "depends")])
        else:
            yield one


def _by_steadiness(finding: Finding, steady: Finding | None) -> Finding:
    if steady is not None and steady.answer == "yes":
        return finding
    if steady is None:
        why = "whether it stays the same where nothing happened was not tested (check steadiness)"
        word = CHANGES
    else:
        why = "where nothing happened it " + ("changes, too" if steady.answer == "no" else "may change, too")
        word = f"{CHANGES}, as it always does" if steady.answer == "no" else CHANGES
    return replace(finding, answer="unknown", word=word, why=f"{finding.why[:-1]}; but {why}.")


def changed(finding: Finding) -> Answer:
    """Whether a map changed, whatever that is worth in one that may change always."""
    return "yes" if finding.word.startswith(CHANGES) else finding.answer


def _by_substance(finding: Finding, others: Sequence[Finding | None]) -> Finding:
    for other in others:
        if other is None or (other.word != NEVER if other.question == "depends" else other.answer == "yes"):
            continue
        return replace(
            finding, answer="unknown", word="is other", why=f"{finding.why[:-1]}; but {HOLLOW[other.question]}."
        )
    return finding


def withheld(finding: Finding, reason: str) -> Finding:
    """The finding without its good word: what a network that knows nothing shows is no merit of a method."""
    said = f"{reason} It would have been “{finding.word}”: {finding.why}"
    return replace(finding, answer="unknown", word="withheld", why=said)
