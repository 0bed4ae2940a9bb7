"""What failed in an audit, in words: for the terminal, a warning in Python, and the report."""

import warnings
from collections.abc import Mapping
from typing import Any

from heatproof.errors import FailureWarning

Manifest = Mapping[str, Any]


def failure(failed: Manifest) -> str:
    """One failure: who, how often, where, and what was raised."""
    method, check, samples = failed.get("method") or "", failed.get("check") or "", failed.get("samples") or []
    who = f"{method} failed in {check}" if method and check else f"{method or check or 'the network'} failed"
    count = f"{len(samples)} sample{'s' if len(samples) != 1 else ''}"
    where = ", ".join(part for part in (failed.get("state") or "", count if samples else "") if part)
    times = failed.get("count", 1)
    often = f" {times} times, first" if times > 1 else ""
    return f"{who}{often}{f' ({where})' if where else ''}: {failed.get('error')}"


def unusable(manifest: Manifest) -> list[str]:
    """A line for each method some of whose maps hold NaN or infinity."""
    costs = manifest.get("costs", {})
    return [
        f"{label}: {number} of {costs[label]['maps']} maps hold NaN or infinity; their values are NaN."
        for label, number in manifest.get("unusable", {}).items()
        if label in costs
    ]


def shrunk(manifest: Manifest) -> list[str]:
    """A line for each method or check that ran out of memory and was tried again with fewer rows a pass."""
    return [
        f"{' in '.join(filter(None, (one['method'], one['check'])))}: ran out of memory and took {one['rows']} "
        f"row{'s' if one['rows'] != 1 else ''} a pass; the bits of its rows that `shrunk` marks may differ from "
        "those of another run."
        for one in manifest.get("shrunk", [])
    ]


def failures(manifest: Manifest) -> list[str]:
    """Every failure of a run in one line, the first of what was raised."""
    return [failure(failed).splitlines()[0] for failed in manifest.get("failures", [])] + unusable(manifest)


def warn(manifest: Manifest) -> None:
    """Warn of what failed, if anything did: the run looks finished to who does not read its manifest."""
    said = failures(manifest)
    if said:
        what = "1 failure" if len(said) == 1 else f"{len(said)} kinds of failure"
        lines = "\n".join(f"  {line}" for line in said)
        warnings.warn(f"{what} in this audit, whose rows are missing or NaN:\n{lines}", FailureWarning, stacklevel=3)
