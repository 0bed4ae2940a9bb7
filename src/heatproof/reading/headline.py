"""What a run says in one breath: how often the network is right, and which of its heatmaps pass every test."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from heatproof.reading.shares import listed

if TYPE_CHECKING:
    from heatproof.reading.verdicts import Verdicts


def headline(verdicts: "Verdicts") -> str:
    """The sentence, or two."""
    info = verdicts.evidence.info
    said = f"{info.known} " if info.known else ""
    if info.withheld:
        return f"{said}Nothing here says which of its heatmaps to trust.{_dead(verdicts)}"
    return said + _passed(verdicts)


def _passed(verdicts: "Verdicts") -> str:
    """Which heatmaps pass every test that was run."""
    methods = [method.label for method in verdicts.evidence.info.methods if not method.control]
    found = {label: verdicts.believable(label) for label in methods}
    if not methods:
        return "No heatmap was judged: every method is a control."
    passed = [label for label, one in found.items() if one.answer == "yes"]
    if passed:
        verb = "passes" if len(passed) == 1 else "pass"
        return f"{len(passed)} of {_heatmaps(methods)} {verb} every test that was run: {listed(passed)}."
    failed = sum(one.answer == "no" for one in found.values())
    if failed == len(methods):
        return f"{'The heatmap fails' if failed == 1 else f'All {failed} heatmaps fail'} at least one test."
    missing = [name for name in verdicts.needed if not any(name in verdicts.by_question(label) for label in methods)]
    want = f": not run were {listed(missing)}" if missing else ""
    if not failed:
        return f"Not one heatmap is shown to be believable{want}.{_dead(verdicts)}"
    verb = "fails" if failed == 1 else "fail"
    rest = f"the others are not shown to be believable{want}.{_dead(verdicts)}"
    return f"{failed} of {_heatmaps(methods)} {verb} a test; {rest}"


def _dead(verdicts: "Verdicts") -> str:
    """What kept every map from being judged by randomization: a network that died."""
    found = [one for one in verdicts.findings if one.question == "depends"]
    dead = {one.why for one in found if one.word == "network is dead"}
    return f" {dead.pop()}" if dead and all(one.word == "network is dead" for one in found) else ""


def _heatmaps(methods: Sequence[str]) -> str:
    return f"{len(methods)} heatmap{'s' if len(methods) != 1 else ''}"
