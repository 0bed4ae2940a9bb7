"""What to run next, so that more can be told."""

from collections.abc import Sequence

from heatproof.reading import Verdicts
from heatproof.reading.shares import listed
from heatproof.report.questions import QUESTIONS, short
from heatproof.report.sentences import rounded
from heatproof.rows import Role

NEEDS = {"localizes": "needs boxes or masks", "labels": "needs training data"}
MOST, FEW = 4, 5  # lines, and methods that are no longer named one by one


def following(verdicts: Verdicts, unknown: Sequence[str]) -> list[str]:
    """In the order of what it would tell, at most four."""
    info = verdicts.evidence.info
    said: list[str] = []
    if info.manifest["status"] != "complete":
        said.append("Run the same command again: only what is missing is computed.")
    if info.withheld:
        said.append("Train the network, or load its weights and preprocessing; then run this again.")
    if not info.controls:
        said.append("Add a control, such as edge-detector, to the methods: it shows what needs no network.")
    ran = {check.id for check in info.checks}
    absent = [q for q in verdicts.counted if q in QUESTIONS and not ran & {*verdicts.readings[q].reads}]
    needed = [q for q in absent if q in verdicts.needed]
    for group, lead in ((needed, "Add"), ([q for q in absent if q not in needed], "Could be asked, too:")):
        checks: dict[str, list[str]] = {}
        for q in group:
            checks.setdefault(QUESTIONS[q].checks, []).append(short(q) + (f", {NEEDS[q]}" if q in NEEDS else ""))
        if checks:
            said.append(f"{lead} {listed([f'{check} ({listed(qs)})' for check, qs in checks.items()])}.")
    if samples := _more(verdicts, unknown):
        said.insert(len(said) - bool(absent and not needed), samples)
    seeds = {s.seed for s in info.states if s.role is Role.RANDOMIZED}
    if len(seeds) == 1:
        said.append("Draw more random networks, seeds = [0, 1, 2]: of one nothing is said of others.")
    return said[:MOST] or ["Nothing: whatever was asked is told. Other data may say otherwise."]


def would_tell(verdicts: Verdicts, label: str) -> int | None:
    """About how many samples would tell whether a map can be believed; None where no number of them is known to.

    So many as tell every question that could not be told; a question that was not asked is told by none.
    """
    found = verdicts.by_question(label)
    untold = [found[q].more for q in verdicts.counted if q in found and found[q].answer == "unknown"]
    numbers = [number for number in untold if number]
    answered = all(q in found and found[q].answer for q in verdicts.needed)
    return max(numbers) if numbers and len(numbers) == len(untold) and answered else None


def _more(verdicts: Verdicts, unknown: Sequence[str]) -> str:
    """How many samples would tell the first, and how many all, of the maps that more would tell.

    Where they would tell no map, which question of one; empty where they would tell none.
    """
    told = sorted((number, label) for label in unknown if (number := would_tell(verdicts, label)))
    instead = f"samples instead of {verdicts.evidence.samples} to tell"
    if not told:
        parts = ((one.more, label, q) for label in unknown for q, one in verdicts.by_question(label).items())
        number, label, question = min((part for part in parts if part[0]), default=(None, "", ""))
        return f"Take about {rounded(number)} {instead} {short(question)} of {label}." if number else ""
    (fewest, first), (most, _) = told[0], told[-1]
    said = f"Take about {rounded(fewest)} {instead} {first}"
    every = listed([label for _, label in told]) if len(told) < FEW else f"{len(told)} of {len(unknown)}"
    return f"{said}, about {rounded(most)} for {every}." if len(told) > 1 else f"{said}."
