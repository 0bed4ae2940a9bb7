"""Requirements held against a run, each by its interval: what cannot be told is not kept."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from heatproof.errors import InputError, unknown
from heatproof.gate.baseline import regressions, unready
from heatproof.gate.measured import ACCURACY, accuracy, measured
from heatproof.gate.outcome import Outcome
from heatproof.gate.requirements import Requirement, parse
from heatproof.reading import Verdicts
from heatproof.reading.believable import BELIEVABLE
from heatproof.reading.shares import sentence
from heatproof.runs import read
from heatproof.runs.failures import failures

COMPLETE = "the run is complete, and nothing in it failed"


def check(
    run: Path | str, require: Sequence[str], *, baseline: Path | str | None = None, allow_failures: bool = False
) -> list[Outcome]:
    """Every requirement with whether the run keeps it, the run's own completeness first.

    With a `baseline`, a run made before on the same samples, an answer that was surely yes there has to be surely yes
    here; one that is not complete, or where nothing was, guards nothing and is not kept. A run that is not complete or
    damaged keeps nothing; nor does one in which anything failed or samples were left out, unless `allow_failures`.

    Raises: InputError for a requirement that is none, that every value would keep, that names a method, question,
    check, metric or setting that the run has not, for a baseline of other samples, or where nothing is required at
    all; StoreError for a folder that holds no run.
    """
    if isinstance(require, str):
        raise InputError(f"Expected a list of requirements, but got the text {require!r}; write [{require!r}].")
    wanted = [parse(text) for text in require]
    if not wanted and baseline is None:
        raise InputError("Expected something to require, or a baseline, but got neither.")
    verdicts = read(run, Verdicts.of)
    found = [_complete(verdicts, allow_failures=allow_failures)]
    for one in wanted:
        found += _held(verdicts, one)
    if baseline is not None:
        found += regressions(read(baseline, Verdicts.of), verdicts, str(baseline), str(run))
    return found


def _complete(verdicts: Verdicts, *, allow_failures: bool) -> Outcome:
    manifest = verdicts.evidence.info.manifest
    if unfinished := unready(verdicts):
        return Outcome(COMPLETE, False, f"The run is {unfinished}; run the same audit again to go on.")
    failed = failures(manifest)
    skipped = manifest["data"].get("skipped") or []
    if skipped:
        failed.append(f"{len(skipped)} of the data's files were left out, first {skipped[0][0]}: {skipped[0][1]}")
    if not verdicts.evidence.samples:
        return Outcome(COMPLETE, False, "The run has no sample.")
    return Outcome(COMPLETE, allow_failures or not failed, "; ".join(failed) or "Nothing failed.")


def _held(verdicts: Verdicts, one: Requirement) -> Iterator[Outcome]:
    if one.metric == ACCURACY and not (one.method or one.check or one.setting):
        yield accuracy(verdicts, one)
        return
    labels = [method.label for method in verdicts.evidence.info.methods]
    if one.method and one.method not in labels:
        raise unknown("method in this run", one.method, labels)
    controls = verdicts.evidence.info.controls
    chosen = [one.method] if one.method else [label for label in labels if label not in controls]
    if not chosen:
        yield Outcome(one.text, False, "Every method of the run is a control.")
    for label in chosen:
        yield from [_answered(verdicts, one, label)] if one.question else measured(verdicts, one, label)


def _answered(verdicts: Verdicts, one: Requirement, method: str) -> Outcome:
    if one.question == BELIEVABLE:
        found = verdicts.believable(method)
    else:
        known = [BELIEVABLE, *verdicts.titles]
        if one.question not in known:
            raise unknown("question", one.question, known)
        asked = verdicts.by_question(method).get(one.question)
        if asked is None:
            return Outcome(one.text, False, "It was not asked in this run.", method)
        found = asked
    wanted = "no" if one.denied else "yes"
    more = f" About {found.more} samples would tell." if found.more and "would tell" not in found.why else ""
    word = sentence(found.word)
    said = found.why + more if found.why.startswith(word) else f"{word}. {found.why}{more}"
    return Outcome(one.text, found.answer == wanted, said, method)
