"""Runs of schema 2, which earlier versions made: read as they are, never gone on with."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from heatproof.errors import StoreError
from heatproof.rows import COLUMNS, SCHEMA
from heatproof.runs.blocks import TEXTS, only
from heatproof.runs.store import no_run

if TYPE_CHECKING:
    import numpy as np

FILE, BEFORE = "manifest.json", 2


def read_manifest(run: Path) -> dict[str, Any]:
    """The manifest as a run of today would say it; its samples are counted, and told by `read_samples`."""
    found = _manifest(run)
    del found["cells"]
    return {**found, "schema": SCHEMA, "data": {**found["data"], "samples": len(found["data"]["samples"])}}


def batches(run: Path) -> Iterator[pa.RecordBatch]:
    """The current rows. A cell stands for the question; one may lie in two files where an audit was killed."""
    cells, seen = set(_manifest(run)["cells"]), set[str]()
    for path in sorted((run / "rows").glob("*.parquet")):
        table = pq.read_table(path, read_dictionary=[*TEXTS, "cell"]).rename_columns({"cell": "question"})
        here = (set(pc.unique(table["question"]).to_pylist()) & cells) - seen
        seen |= here
        table = only(table.replace_schema_metadata().select(list(COLUMNS)), here)
        yield from table.combine_chunks().to_batches()


def read_samples(run: Path, ids: Collection[str] | None) -> list[dict[str, Any]]:
    """What is known of each sample, or of these."""
    return [one for one in _manifest(run)["data"]["samples"] if ids is None or one["id"] in ids]


def read_maps(
    run: Path,
) -> "tuple[dict[tuple[str, str, str], np.ndarray[Any, Any]], dict[str, np.ndarray[Any, Any]]]":
    """Maps by (state, method, sample), and inputs by name."""
    from safetensors import safe_open

    cells = set(_manifest(run)["cells"])
    maps: dict[tuple[str, str, str], np.ndarray[Any, Any]] = {}
    inputs: dict[str, np.ndarray[Any, Any]] = {}
    for path in sorted((run / "maps").glob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            named = json.loads((file.metadata() or {}).get("cells", "{}"))
            for name in file.keys():  # noqa: SIM118  # no mapping: it has keys only
                if path.name == "inputs.safetensors":
                    inputs[name] = file.get_tensor(name)
                    continue
                state, method, sample = json.loads(name)
                if not cells.isdisjoint(named.get(method, ())):
                    maps[state, method, sample] = file.get_tensor(name)
    return maps, inputs


def _manifest(run: Path) -> dict[str, Any]:
    path = run / FILE
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise no_run(run) from None
    except ValueError as error:
        raise StoreError(f"Expected {path} to be JSON, but it is not: {error}.") from None
    if found.get("schema") != BEFORE:
        raise StoreError(
            f"Expected a run of schema {SCHEMA} or {BEFORE}, but {path} has {found.get('schema')!r}: another "
            "version of heatproof made it. Read it with that version, or run its audit again in another folder."
        )
    return found
