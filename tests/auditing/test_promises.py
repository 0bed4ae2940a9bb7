"""What an audit promises of all checks together: no map twice, and rows that depend on the samples alone."""

from dataclasses import dataclass
from pathlib import Path

import audit_toys as toys
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.checks.steadiness import Steadiness
from heatproof.methods import Explanation, GradientXInput, Method

# Data randomization trains a network, and has tests of its own.
CHECKS = [name for name in hp.checks.names() if name != "data-randomization"]
COUNT, BATCH = 7, 3
BLOCKS, STAGES = 3, 3
BOXES = [[(float(i), 2.0, float(i) + 4, 6.0)] for i in range(COUNT)]
calls: list[int] = []  # no field of the method, whose fields are its identity


@dataclass(frozen=True, kw_only=True)
class Counted(Method):
    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        calls.append(len(inputs))
        return GradientXInput().explain(model, inputs, targets)


@dataclass(frozen=True, kw_only=True)
class Noisy(Counted):
    seed: int = 0


NUDGED = 2 * len(Steadiness().seeds) + Steadiness().draws


@pytest.mark.parametrize("checks", [["parameter-randomization"], CHECKS], ids=["one check", "all checks"])
@pytest.mark.parametrize(("method", "more"), [(Counted(), 0), (Noisy(), 1)], ids=["deterministic", "with noise"])
def test_no_map_is_computed_twice(tmp_path: Path, checks: list[str], method: Method, more: int) -> None:
    calls.clear()
    run = toys.run(tmp_path, methods={"counted": method, "random": "random"}, checks=checks, boxes=BOXES)
    assert run.manifest["status"] == "complete"
    # The trained network, each stage, the second fully random network of the floor and two more of the last stage; a
    # replicate where there is noise; changes too small to matter, of parameters and of the input, whose yardstick is a
    # network that is fully random already.
    nudged = NUDGED if "steadiness" in checks else 0
    assert len(calls) == BLOCKS * (1 + STAGES + 1 + 2 + more + nudged)


def audited(folder: Path, order: list[int], batch: int) -> pd.DataFrame:
    """All checks on the toy's samples in this order, in float64; rows sorted by what they are about."""
    run = toys.run(
        folder,
        model=toys.network().double(),
        inputs=toys.images().double()[order],
        targets=(torch.arange(COUNT) % 4)[order],
        ids=[f"s{i}" for i in order],
        boxes=[BOXES[i] for i in order],
        methods=["gradient-x-input", "cgi", "lrp-epsilon-plus", "smoothgrad", "random"],
        checks=CHECKS,
        batch=batch,
    )
    assert run.manifest["status"] == "complete"
    keys = ["check", "method", "setting", "position", "seed", "metric", "sample"]
    return run.rows().sort_values(keys, ignore_index=True)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    found = audited(tmp_path_factory.mktemp("whole"), list(range(COUNT)), BATCH)
    assert set(found["check"]) == set(CHECKS)
    return found


def test_permuted_samples_change_nothing(rows: pd.DataFrame, tmp_path: Path) -> None:
    order = [6, 2, 4, 0, 5, 1, 3]
    permuted = audited(tmp_path, order, BATCH)
    of_samples = rows["sample"] != ""
    pd.testing.assert_frame_equal(permuted[of_samples], rows[of_samples], check_exact=True)
    # What is said of the whole data set adds up in another order.
    pd.testing.assert_frame_equal(permuted, rows, rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_split_batches_change_nothing_beyond_rounding(rows: pd.DataFrame, tmp_path: Path, batch: int) -> None:
    split = audited(tmp_path, list(range(COUNT)), batch)
    scale = rows["value"].abs().clip(lower=1)
    pd.testing.assert_frame_equal(split.drop(columns="value"), rows.drop(columns="value"))
    pd.testing.assert_series_equal(split["value"] / scale, rows["value"] / scale, rtol=0, atol=1e-5)
