"""Whoever reads `rows/*.parquet` with any tool, at any moment, sees current rows, each once."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import audit_toys as toys
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch import Tensor, nn

import heatproof as hp
from heatproof.auditing import store as store_module
from heatproof.auditing.store import ROW_SCHEMA, read, read_rows
from heatproof.methods import SmoothGrad
from heatproof.rows import COLUMNS, SCHEMA

KEYS = ["check", "method", "setting", "position", "seed", "metric", "sample"]
SMOOTH = SmoothGrad(samples=2)
CHECKS = ("calibration", hp.checks.Degradation(tile=4))  # degradation has rows of the whole data set
asked: list[int] = []  # no part of a method that counts in it
METHODS = {"a": SMOOTH, "b": "gradient"}


def plain(run: Path) -> pd.DataFrame:
    """What somebody reads who knows nothing of heatproof."""
    found = pd.concat(pd.read_parquet(path) for path in sorted((run / "rows").glob("*.parquet")))
    return found.sort_values(KEYS, kind="stable", ignore_index=True)


def audit(out: Path, methods: Mapping[str, Any] = METHODS, **changes: Any) -> pd.DataFrame:
    return toys.run(out, methods=methods, **{"checks": CHECKS, **changes}).rows()


def current(run: Path) -> None:
    """Nothing twice, and nothing that the manifest does not list."""
    rows = plain(run)
    manifest = json.loads((run / "manifest.json").read_text())
    assert not rows[KEYS].duplicated().any()
    assert set(rows.cell) <= set(manifest["cells"])
    listed = store_module.Store(run).finished_cells()
    assert set(rows.cell) <= listed <= set(manifest["cells"])
    if manifest["status"] == "complete":
        assert listed == set(manifest["cells"])


CHANGES: dict[str, dict[str, Any]] = {
    "a parameter": {"methods": {"a": replace(SMOOTH, noise=0.3), "b": "gradient"}},
    "a label": {"methods": {"smooth": SMOOTH, "b": "gradient"}},
    "a method less": {"methods": {"b": "gradient"}},
    "a check less": {"checks": CHECKS[:1]},
    "a method more": {"methods": {**METHODS, "c": "saliency"}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_and_back(tmp_path: Path, change: str) -> None:
    first = audit(tmp_path / "run")
    current(tmp_path / "run")
    changed = audit(tmp_path / "run", **CHANGES[change])
    current(tmp_path / "run")
    pd.testing.assert_frame_equal(plain(tmp_path / "run").drop(columns="cell")[list(changed)], changed)
    pd.testing.assert_frame_equal(changed, audit(tmp_path / "alone", **CHANGES[change]))
    pd.testing.assert_frame_equal(audit(tmp_path / "run"), first)
    current(tmp_path / "run")


def test_costs_are_those_of_the_recipe_under_the_label(tmp_path: Path) -> None:
    def costs() -> dict[str, int]:
        manifest = json.loads((tmp_path / "manifest.json").read_text())
        return {label: cost["maps"] for label, cost in manifest["costs"].items()}

    audit(tmp_path, checks=["calibration"])
    first = costs()
    audit(tmp_path, {"a": replace(SMOOTH, noise=0.3), "b": "gradient"}, checks=["calibration"])
    assert costs() == first


def test_what_was_moved_aside_is_not_computed_again(tmp_path: Path) -> None:
    asked.clear()

    def counted(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        asked.append(len(inputs))
        return inputs

    methods = {"counted": counted, "b": "gradient"}
    first = audit(tmp_path, methods, checks=["calibration"])
    audit(tmp_path, {"b": "gradient"}, checks=["calibration"])
    assert set(plain(tmp_path).method) == {"", "b"}
    times = len(asked)
    pd.testing.assert_frame_equal(audit(tmp_path, methods, checks=["calibration"]), first)
    assert len(asked) == times
    for some in ({"counted": counted}, methods, {"b": "gradient"}, methods):  # parts come back one after the other
        audit(tmp_path, some, checks=["calibration"])
        current(tmp_path)
    assert len(asked) == times


def test_a_reader_at_any_moment_and_a_kill_between_any_two_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = audit(tmp_path / "alone", **CHANGES["a parameter"])
    run, write, unlink = tmp_path / "run", store_module._write, Path.unlink
    first = audit(run)
    left, kills = 0, 0

    def step(act: Callable[[], None], path: Path) -> None:
        nonlocal left
        current(run)
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        act()
        current(run)

    def writing(path: Path, make: Any) -> None:
        step(lambda: write(path, make), path)

    def unlinking(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".parquet":
            step(lambda: unlink(path), path)
        else:
            unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(store_module, "_write", writing)
    monkeypatch.setattr(Path, "unlink", unlinking)
    while True:
        left = 5
        try:
            rows = audit(run, **CHANGES["a parameter"])
            break
        except KeyboardInterrupt:
            kills += 1
    assert kills > 3
    left = 10**6
    pd.testing.assert_frame_equal(rows, expected)
    pd.testing.assert_frame_equal(audit(run), first)


def test_a_file_that_goes_while_somebody_reads_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = audit(tmp_path, checks=["calibration"])
    path = sorted((tmp_path / "rows").glob("*.parquet"))[0]
    read, times = store_module.pq.read_table, []

    def reading(one: Path) -> Any:
        times.append(one)
        if len(times) == 1:
            path.rename(path.with_name("00000-moved.parquet"))
        return read(one)

    monkeypatch.setattr(store_module.pq, "read_table", reading)
    pd.testing.assert_frame_equal(store_module.read_rows(tmp_path).drop(columns="cell"), rows)


def test_rows_are_read_once_a_cell_and_only_those_that_the_plan_asks_for(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": SCHEMA, "cells": ["a", "b"]}))
    for stem, cells in (("1", ["a", "old"]), ("2", ["a", "b"]), ("3", ["old"])):
        columns: dict[str, Any] = {name: [name] * len(cells) for name in COLUMNS}
        columns |= {"position": [0.0] * len(cells), "seed": [0] * len(cells), "cell": cells}
        columns |= {"value": [10.0 * int(stem) + k for k in range(len(cells))], "check": ["x", "y"][: len(cells)]}
        table = pa.table(columns, schema=ROW_SCHEMA)
        metadata = {b"heatproof.cells": json.dumps(cells).encode()}
        pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "rows" / f"{stem}.parquet")
    assert read_rows(tmp_path)[["cell", "value"]].values.tolist() == [["a", 10.0], ["b", 21.0]]
    assert read_rows(tmp_path, ["y"])["cell"].tolist() == ["b"]
    found = read(tmp_path, lambda batches, manifest: [batch["value"].to_pylist() for batch in batches])
    assert [value for values in found for value in values] == [10.0, 21.0]
