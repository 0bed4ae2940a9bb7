"""What a run says of itself: the question that was asked once, and what all its workers said since."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from heatproof.errors import StoreError
from heatproof.rows import SCHEMA
from heatproof.runs import before
from heatproof.runs.blocks import SUMMARY
from heatproof.runs.store import BEFORE, RUN, Questions, Store, no_run
from heatproof.runs.workers import Failure, together


def read_manifest(run: Path | str) -> dict[str, Any]:
    """What was audited, with what, and how far it is.

    Raises: StoreError if there is no run, or it is of a later schema.
    """
    store = Store(run)
    question = store.question()
    if question is None:
        if BEFORE in store.files.names():
            return before.read_manifest(Path(run))
        raise no_run(run)
    return manifest_of(store, question)


def manifest_of(
    store: Store, question: Mapping[str, Any], done: Mapping[int, Questions] | None = None
) -> dict[str, Any]:
    """The question with everything that workers said of it; `done` is what `store.finished` says, if it was asked.

    Cost: one listing of rows/, a look into one file for each set of questions, and every worker's file.
    """
    if question.get("schema") != SCHEMA:
        raise StoreError(
            f"Expected a run of schema {SCHEMA}, but {store.files}/{RUN} has {question.get('schema')!r}: another "
            "version of heatproof made it. Read it with that version, or run its audit again in another folder."
        )
    workers = store.workers()
    done = store.finished() if done is None else done
    summed = store.summed_up() or {}
    environments = [worker["environment"] for worker in workers] or [question["settings"]]
    recipes = {method["label"]: method["digest"] for method in question["methods"]}
    told: list[Failure] = [one for worker in workers for one in worker["failures"]] + summed.get("failures", [])
    skipped = [one for said in (question["data"], *workers) for one in said["skipped"]]
    return {
        **question,
        "data": {**question["data"], "skipped": [one for i, one in enumerate(skipped) if one not in skipped[:i]]},
        "knowledge": summed.get("knowledge") or question["knowledge"],
        "finished": max((one["finished"] for one in workers if one["finished"]), default=None),
        "status": "complete" if is_complete(question, done) else "incomplete",
        "environment": environments[-1],
        "earlier": [one for i, one in enumerate(environments[:-1]) if one not in environments[i + 1 :]],
        "estimate": next((one["estimate"] for one in reversed(workers) if one["estimate"]), {}),
        "failures": together(still(told, question, done)),
        "costs": _costs(workers, recipes),
        "unusable": _unusable(workers, recipes),
        "shrunk": _shrunk(workers, recipes),
        "methods": [_learned(method, workers) for method in question["methods"]],
    }


def blocks_of(question: Mapping[str, Any]) -> int:
    """How many blocks a run has."""
    return int(-(-question["data"]["samples"] // question["settings"]["compute_batch"]))


def is_complete(question: Mapping[str, Any], done: Mapping[int, Questions]) -> bool:
    """Whether every question is answered for every block, and those of the whole data set."""
    asked = frozenset(question["questions"])
    summaries = frozenset(question["summaries"].values())
    whole = all(asked <= done.get(block, frozenset()) for block in range(blocks_of(question)))
    return whole and summaries <= done.get(SUMMARY, frozenset())


def still(failures: Sequence[Failure], question: Mapping[str, Any], done: Mapping[int, Questions]) -> list[Failure]:
    """The failures whose rows are still missing: what was computed since has failed no more."""
    aliases = question["aliases"]

    @cache
    def places(answered: Questions) -> set[tuple[str, str, str]]:
        return {
            (method, check, aliases.get(state, state))
            for name, (check, state, one, other) in question["questions"].items()
            if name not in answered
            for method in (one, other)
        }

    everywhere = set[tuple[str, str, str]]()
    for answered in {done.get(block, frozenset()) for block in range(blocks_of(question))}:
        everywhere |= places(answered)
    summaries = {label for label, name in question["summaries"].items() if name not in done.get(SUMMARY, frozenset())}

    def open_(one: Failure) -> bool:
        block = one.get("block")
        if not one["state"]:  # of the whole data set, or of a block as a whole
            return one["check"] in summaries or (not one["check"] and bool(places(done.get(block or 0, frozenset()))))
        where = everywhere if block is None else places(done.get(block, frozenset()))
        state = aliases.get(one["state"], one["state"])
        return any(
            (not one["method"] or method == one["method"])
            and (not one["check"] or check == one["check"])
            and at == state
            for method, check, at in where
        )

    return [one for one in failures if open_(one)]


def _of_present(worker: Mapping[str, Any], label: str, recipes: Mapping[str, str]) -> bool:
    """Whether a worker's method of this label is the one that is asked for now."""
    return bool(worker["recipes"].get(label) == recipes.get(label))


def _costs(workers: Sequence[Mapping[str, Any]], recipes: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for worker in workers:
        for label, cost in worker["costs"].items():
            if _of_present(worker, label, recipes):
                total = found.setdefault(label, {"maps": 0, "seconds": 0.0})
                total["maps"] += cost["maps"]
                total["seconds"] += cost["seconds"]
    return found


def _unusable(workers: Sequence[Mapping[str, Any]], recipes: Mapping[str, str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for worker in workers:
        for label, number in worker["unusable"].items():
            if _of_present(worker, label, recipes):
                found[label] = found.get(label, 0) + number
    return found


def _shrunk(workers: Sequence[Mapping[str, Any]], recipes: Mapping[str, str]) -> list[dict[str, Any]]:
    """Who ran out of memory, with the fewest rows a pass of any worker."""
    found: dict[tuple[str, str], int] = {}
    for worker in workers:
        for one in worker.get("shrunk", []):  # other versions' workers say nothing of it
            who = (one["method"], one["check"])
            if not one["method"] or _of_present(worker, one["method"], recipes):
                found[who] = min(one["rows"], found.get(who, one["rows"]))
    return [{"method": method, "check": check, "rows": rows} for (method, check), rows in found.items()]


def _learned(method: Mapping[str, Any], workers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is said of a method, with what it has learned."""
    told = [
        worker["learned"][method["label"]]
        for worker in workers
        if method["label"] in worker["learned"] and worker["recipes"].get(method["label"]) == method["digest"]
    ]
    learns = [{**said, **found} for said, found in zip(method["learns"], told[-1], strict=True)] if told else None
    return {**method, "learns": learns or method["learns"]}
