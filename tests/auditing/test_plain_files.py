"""Whoever reads `rows/*.parquet` with any tool, at any moment, sees current rows, each once."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import audit_toys as toys
import pandas as pd
import pytest
from torch import Tensor, nn

import heatproof as hp
from heatproof.methods import SmoothGrad
from heatproof.runs import Store, read_manifest, read_rows
from heatproof.runs.blocks import ROW_SCHEMA
from heatproof.runs.files import LocalFiles
from heatproof.runs.manifest import is_complete

KEYS = ["check", "method", "setting", "position", "seed", "metric", "sample"]
SMOOTH = SmoothGrad(samples=2)
CHECKS = ("calibration", hp.checks.Degradation(tile=4))  # degradation has rows of the whole data set
asked: list[int] = []  # no part of a method that counts in it
METHODS = {"a": SMOOTH, "b": "gradient"}


def plain(run: Path) -> pd.DataFrame:
    """What somebody reads who knows nothing of heatproof."""
    empty = ROW_SCHEMA.empty_table().to_pandas()
    found = pd.concat([empty, *(pd.read_parquet(path) for path in sorted((run / "rows").glob("*.parquet")))])
    return found.sort_values(KEYS, kind="stable", ignore_index=True)


def audit(out: Path, methods: Mapping[str, Any] = METHODS, **changes: Any) -> pd.DataFrame:
    return toys.run(out, methods=methods, **{"checks": CHECKS, **changes}).rows()


def wanted(run: Path) -> set[str]:
    """What the run asks: of every block, and of the whole data set."""
    question = json.loads((run / "run.json").read_text())
    return {*question["questions"], *question["summaries"].values()}


def current(run: Path) -> None:
    """Nothing twice, and nothing that the run does not ask for."""
    rows = plain(run)
    assert not rows[KEYS].duplicated().any()
    answered = frozenset().union(*Store(run).finished().values())
    assert set(rows.question) <= answered <= wanted(run)
    if is_complete(json.loads((run / "run.json").read_text()), Store(run).finished()):
        assert answered == wanted(run)


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
    pd.testing.assert_frame_equal(plain(tmp_path / "run").drop(columns="question")[list(changed)], changed)
    pd.testing.assert_frame_equal(changed, audit(tmp_path / "alone", **CHANGES[change]))
    pd.testing.assert_frame_equal(audit(tmp_path / "run"), first)
    current(tmp_path / "run")


def test_costs_are_those_of_the_recipe_under_the_label(tmp_path: Path) -> None:
    def costs() -> dict[str, int]:
        return {label: cost["maps"] for label, cost in read_manifest(tmp_path)["costs"].items()}

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
    run = tmp_path / "run"
    first = audit(run)
    left, kills = 10**6, 0

    def stepwise(name: str) -> None:
        act = getattr(LocalFiles, name)

        def step(files: LocalFiles, file: str, *rest: Any) -> Any:
            nonlocal left
            if not file.startswith(("rows", "superseded", "run.json")):
                return act(files, file, *rest)
            current(run)
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            found = act(files, file, *rest)
            current(run)
            return found

        monkeypatch.setattr(LocalFiles, name, step)

    for name in ("create", "replace", "move", "remove"):
        stepwise(name)
    while True:
        left = 3
        try:
            rows = audit(run, **CHANGES["a parameter"])
            break
        except KeyboardInterrupt:
            kills += 1
    assert kills > 1
    left = 10**6
    pd.testing.assert_frame_equal(rows, expected)
    pd.testing.assert_frame_equal(audit(run), first)


def test_a_file_that_goes_while_somebody_reads_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = audit(tmp_path, checks=["calibration"])
    read, times = LocalFiles.read, []

    def reading(files: LocalFiles, name: str) -> bytes:
        if name.startswith("rows"):
            times.append(name)
            if len(times) == 1:  # it was moved aside, and brought back
                raise FileNotFoundError(name)
        return read(files, name)

    monkeypatch.setattr(LocalFiles, "read", reading)
    pd.testing.assert_frame_equal(read_rows(tmp_path).drop(columns="question"), rows)
    assert len(times) > 3
