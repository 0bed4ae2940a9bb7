"""A run whose blocks were computed by many, finished by anyone: what needs all blocks is said."""

from pathlib import Path
from typing import Any

from heatproof.auditing.course import LOOKED_AT
from heatproof.auditing.spec import checks_of
from heatproof.auditing.summaries import sum_up, summarize
from heatproof.errors import StoreError
from heatproof.runs import read_manifest
from heatproof.runs.blocks import SUMMARY
from heatproof.runs.store import PARTIAL, Store
from heatproof.runs.workers import Failure


def finish(run: Path) -> dict[str, Any]:
    """Say what needs all blocks, from those that are there; gives the run's manifest. Doing it twice does no harm.

    What checks say of the whole data set is made by the checks of the run's spec.

    Raises: StoreError if there is no run, or it has checks to ask and no spec.
    """
    store = Store(run)
    question = store.asked(run)
    asked, summaries = frozenset(question["questions"]), question["summaries"]
    done = store.finished()
    for part in store.parts(PARTIAL):
        if asked <= done.get(part.block, frozenset()):
            store.files.remove(part.name)
    failed: list[Failure] = []
    if question["spec"]:
        failed = summarize(checks_of(question["spec"]), summaries, store)
    elif not frozenset(summaries.values()) <= done.get(SUMMARY, frozenset()):
        raise StoreError(
            f"Expected a run of a spec, but {run} was begun in Python, and its checks ({', '.join(summaries)}) are "
            "known there alone; call heatproof.audit on the folder once more, which has only this left to do."
        )
    sum_up(store, question, LOOKED_AT, failed)
    return read_manifest(run)
