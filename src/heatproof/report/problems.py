"""What went wrong in a run, for the top of its page, and what in it means nothing, for the end."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from heatproof.reading.run_info import RunInfo
from heatproof.reading.table import Table
from heatproof.report.agreement import AGREEMENT, blanks
from heatproof.rows import chance_of, floor_of
from heatproof.runs.failures import failure, shrunk, unusable


def failures(info: RunInfo) -> list[str]:
    """What a reader must know before any number: an unfinished run, what failed, random networks that are dead."""
    manifest = info.manifest
    said: list[str] = []
    if manifest["status"] != "complete":
        said.append(
            "This run is not complete: what follows rests on what had been computed when this page was written."
        )
    if torn := manifest.get("torn"):
        names = ", ".join(torn[:3]) + (f" and {len(torn) - 3} more" if len(torn) > 3 else "")
        said.append(
            f"Files of this run changed since they were written, and their rows are left out: {names}. Run the audit "
            "again to compute them anew."
        )
    said += [failure(failed) for failed in manifest.get("failures", [])]
    said += unusable(manifest)
    said += [f"{group}: {why}" for group in info.randomizations if (why := info.dead(group))]
    skipped = manifest["data"].get("skipped") or []
    if skipped:
        names = ", ".join(f"{name} ({why})" for name, why in skipped[:3])
        said.append(f"{len(skipped)} of the data's files were left out: {names}{', …' if len(skipped) > 3 else ''}.")
    return said


def counts(table: Table, manifest: Mapping[str, Any]) -> list[str]:
    """What was left out of means and why, and what the checks say of themselves."""
    said = [*_degenerate(table, manifest), *filter(None, [blanks(table)]), *_dead(table)]
    said += shrunk(manifest)
    notes: dict[str, list[str]] = {}
    for check in manifest.get("checks", []):
        for note in check.get("notes", []):
            notes.setdefault(note, []).append(check["label"])
    return said + [f"{', '.join(labels)}: {note}" for note, labels in notes.items()]


def _dead(table: Table) -> list[str]:
    """A line for each stage at which explained outputs are exactly zero."""
    counts: dict[tuple[str, float], np.ndarray[Any, Any]] = {}
    for (_, _, setting, position, metric), values in table.values.items():
        if metric == "dead-target":
            found = np.array([(values.array > 0).sum(), np.isfinite(values.array).sum()])
            counts[setting, position] = counts.get((setting, position), 0) + found
    return [
        f"{setting}, stage {position:.0f}: the explained output is exactly 0 in {dead} of {total} samples. "
        "A blank map there says nothing about a method."
        for (setting, position), (dead, total) in sorted(counts.items())
        if dead
    ]


def _degenerate(table: Table, manifest: Mapping[str, Any]) -> list[str]:
    """A line for each method and setting with values that mean nothing, and how many of each metric."""
    changed = {state["group"] for state in manifest["states"]} - {""}
    why = {method.label: method.excluded for method in RunInfo(manifest).methods}
    gone: dict[tuple[str, str, str], int] = {}
    known: dict[tuple[str, str, str], int] = {}
    for key, values in table.values.items():
        if key[0] != AGREEMENT:
            of = (key[1], key[2], key[4])
            gone[of] = gone.get(of, 0) + table.gone.get(key, 0)
            known[of] = known.get(of, 0) + int(np.isfinite(values.array).sum())
    lines: dict[tuple[str, str], list[str]] = {}
    for method, setting, metric in sorted(of for of, count in gone.items() if count):
        lost = gone[method, setting, metric]
        said = f"{metric} {lost} of {lost + known[method, setting, metric]}"
        lines.setdefault((method, setting), []).append(said)
    where = {key: ", ".join(filter(None, (key[0] or "the network", key[1]))) for key in lines}
    reasons = {
        key: f"excluded, as {why[key[0]]}; no value"
        if why.get(key[0]) and key[1].removesuffix(floor_of("")).removesuffix(chance_of("")) in changed
        else "degenerate values, left out of the means"
        for key in lines
    }
    return [f"{where[key]}: {reasons[key]}: {', '.join(parts)}." for key, parts in lines.items()]
