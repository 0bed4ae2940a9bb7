"""What to run next, so that more can be told."""

from collections.abc import Sequence

from heatproof.reading import Verdicts
from heatproof.reading.shares import listed
from heatproof.report.questions import QUESTIONS, short
from heatproof.report.sentences import rounded
from heatproof.rows import Role

NEEDS = {"localizes": "needs boxes", "labels": "needs training data"}
MOST = 4


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


def _more(verdicts: Verdicts, unknown: Sequence[str]) -> str:
    """How many samples would tell the first, and how many all, of the maps that more would tell; empty for none."""
    needs = {label: [one.more for one in verdicts.by_question(label).values() if one.more] for label in unknown}
    told = sorted((max(numbers), label) for label, numbers in needs.items() if numbers)
    if not told:
        return ""
    (fewest, first), (most, _) = told[0], told[-1]
    said = f"Take about {rounded(fewest)} samples instead of {verdicts.evidence.samples} to tell {first}"
    whole = "both" if len(told) == 2 else f"all {len(told)}"
    return f"{said}, about {rounded(most)} for {whole}." if len(told) > 1 else f"{said}."
