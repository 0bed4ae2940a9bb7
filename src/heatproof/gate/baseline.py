"""A run made before: what was surely yes in it must be so now."""

from collections.abc import Iterator

from heatproof.errors import InputError
from heatproof.gate.changes import changes
from heatproof.gate.outcome import Outcome
from heatproof.reading import Verdicts
from heatproof.runs import read_samples


def unready(verdicts: Verdicts) -> str:
    """What keeps a run from being judged, in a word; "" where nothing does."""
    manifest = verdicts.evidence.info.manifest
    if manifest["status"] != "complete":
        return str(manifest["status"])
    return "damaged" if manifest.get("torn") else ""


def regressions(before: Verdicts, after: Verdicts, baseline: str, run: str) -> Iterator[Outcome]:
    """What was surely yes in the baseline and is not so now. Raises: InputError for a baseline of other samples."""
    text = "nothing that was surely yes in the baseline is lost"
    if unfinished := unready(before):
        yield Outcome(text, False, f"The baseline is {unfinished}; run its audit again to go on.")
        return
    _same_samples(before, after, baseline, run)
    if forgotten := [name for name in before.needed if name not in after.needed]:
        why = f"Belief needs {', '.join(before.needed)} in the baseline, and here not {', '.join(forgotten)}."
        yield Outcome("belief needs what it needed in the baseline", False, why)
    if not any(
        before.believable(one.label).answer == "yes" or "yes" in _answers(before, one.label)
        for one in before.evidence.info.methods
    ):
        yield Outcome(text, False, "Nothing was surely yes in the baseline, so it guards nothing.")
        return
    lost = [one for one in changes(before, after) if one.before == "yes" and one.after != "yes"]
    for one in lost:
        yield Outcome(f"{one.method}: {one.question}, as in the baseline", False, one.sentence, one.method)
    if not lost:
        yield Outcome(text, True, "Every yes of the baseline is a yes here.")


def _answers(verdicts: Verdicts, label: str) -> set[str]:
    return {str(one.answer) for one in verdicts.by_question(label).values()}


def _same_samples(before: Verdicts, after: Verdicts, baseline: str, run: str) -> None:
    """Two runs are held against one another on the same samples alone, whatever files they were read from."""
    if len({one.evidence.info.manifest["data"]["fingerprint"] for one in (before, after)}) == 1:
        return
    old, new = ({one["digest"] for one in read_samples(folder)} for folder in (baseline, run))
    if old != new or not old:
        raise InputError(
            f"Expected a baseline of the same samples, but {len(old & new)} of the {len(old)} samples of {baseline} "
            f"are among the {len(new)} of {run}; audit the older network on them, and take that."
        )
