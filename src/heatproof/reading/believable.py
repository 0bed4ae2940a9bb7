"""May a map be believed? A conjunction of what was asked of it: it passes every test, fails some, or is not shown.

Never an average: one test that is failed is not outvoted, and what cannot be told is not shown.
"""

from collections.abc import Mapping, Sequence

from heatproof.errors import InputError, unknown
from heatproof.reading.base import READINGS, Finding
from heatproof.reading.rule import Answer
from heatproof.reading.shares import listed

BELIEVABLE = "believable"
# What a map has to pass before anybody is told to believe it; every other test that was run counts as well.
NEEDED = ("steady", "depends", "faithful")
COUNTED = (*NEEDED, "repeats", "more-than-the-picture", "labels", "localizes", "complete")


def needed(questions: Sequence[str]) -> tuple[str, ...]:
    """The questions that a believable map must pass: these, or the usual ones for none.

    Raises: UnknownNameError for a name that no reading has, InputError for a question that is told and not judged.
    """
    for name in questions:
        if name not in READINGS.names():
            raise unknown("question", name, READINGS.names())
        if not READINGS.get(name).judges:
            raise InputError(f"Expected questions that a map passes or fails, but {name} is told only; leave it out.")
    return tuple(questions) or NEEDED


def believable(
    method: str, found: Mapping[str, Finding], *, needed: Sequence[str], counted: Sequence[str], samples: int
) -> Finding:
    """What is to be believed of a method by what was found to each question."""
    answers = {name: one for name, one in found.items() if name in counted and one.answer}
    failed = [name for name, one in answers.items() if one.answer == "no"]
    untold = [name for name, one in answers.items() if one.answer == "unknown"]
    untold += [name for name in needed if name not in answers]
    answer: Answer = "no" if failed else "unknown" if untold else "yes"
    said = {
        "no": f"fails {listed(failed)}",
        "unknown": f"not shown: {listed(untold)}",
        "yes": "passes every test that was run",
    }[answer]
    reasons = [answers[name].why for name in failed or untold if name in answers]
    missing = [name for name in untold if name not in answers]
    why = " ".join(reasons) + (f" Not run: {listed(missing)}." if missing and not failed else "")
    gone = float("nan")
    return Finding(
        method=method, question=BELIEVABLE, answer=answer, word=said, mean=gone, low=gone, high=gone,
        n=samples, missing=0, margin=f"all of {', '.join(answers)}", why=why.strip(),
        check="", setting="", metric="", supporting=False,
    )  # fmt: skip
