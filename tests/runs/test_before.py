"""Runs of the version before: read, never gone on with."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heatproof.errors import StoreError
from heatproof.runs import Store, read, read_manifest, read_rows, read_samples
from heatproof.runs.blocks import ROW_SCHEMA

COLUMNS = [name if name != "question" else "cell" for name in ROW_SCHEMA.names]
MANIFEST: dict[str, Any] = {
    "schema": 2, "cells": ["a", "b"], "data": {"samples": [{"id": "s", "target": 3}, {"id": "t", "target": 1}]},
}  # fmt: skip


def old_run(run: Path, **changes: Any) -> Path:
    (run / "rows").mkdir(parents=True)
    (run / "manifest.json").write_text(json.dumps(MANIFEST | changes))
    for stem, cells in (("1", ["a", "old"]), ("2", ["a", "b"]), ("3", ["old"])):
        columns: dict[str, Any] = {name: [name] * len(cells) for name in COLUMNS}
        columns |= {"position": [0.0] * len(cells), "seed": [0] * len(cells), "cell": cells}
        columns |= {"value": [10.0 * int(stem) + k for k in range(len(cells))], "check": ["x", "y"][: len(cells)]}
        table = pa.table(columns, schema=pa.schema(zip(COLUMNS, ROW_SCHEMA.types, strict=True)))
        pq.write_table(table, run / "rows" / f"{stem}.parquet")
    return run


def test_rows_are_read_once_a_cell_and_only_those_that_the_plan_asks_for(tmp_path: Path) -> None:
    run = old_run(tmp_path)
    assert read_rows(run)[["question", "value"]].to_numpy().tolist() == [["a", 10.0], ["b", 21.0]]
    assert read_rows(run, ["y"])["question"].tolist() == ["b"]
    found = read(run, lambda batches, manifest: [batch["value"].to_pylist() for batch in batches])
    assert [value for values in found for value in values] == [10.0, 21.0]


def test_samples_are_counted_and_told(tmp_path: Path) -> None:
    assert read_manifest(old_run(tmp_path))["data"]["samples"] == 2
    assert read_samples(tmp_path, ["t"]) == [{"id": "t", "target": 1}]


def test_going_on_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is one of schema 2, which an earlier version made; it can be read"):
        Store(old_run(tmp_path)).check()


def test_another_schema_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"a run of schema 3 or 2, but .* has 1: another version of heatproof made it"):
        read_manifest(old_run(tmp_path, schema=1))
