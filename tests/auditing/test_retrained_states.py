"""An audit whose states are networks trained anew: prepared first, kept, and no audit is lost where that fails."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import audit_toys as toys
import pandas as pd
import pytest
import torch
from safetensors import safe_open

import heatproof as hp
from heatproof.auditing import Run
from heatproof.auditing.spec import parse
from heatproof.checks import DataRandomization
from heatproof.checks.retraining import Retrained
from heatproof.data import Dataset
from heatproof.errors import InputError
from heatproof.randomization import He
from heatproof.testing.snapshots import Before
from heatproof.zoo import Training, TrainingError

LABELS = DataRandomization(
    training=Training(learning_rate=0.01, epochs=300, batch_size=16, stop_at=1.0), similarities=("spearman",)
)
SETTINGS = "(learning_rate 0.01, epochs 300, batch_size 16, stop_at 1.0)"  # what differs from a check as it comes


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def samples(count: int = 20) -> Dataset:
    inputs = torch.rand(count, 1, 12, 12, generator=torch.Generator().manual_seed(4))
    ids = tuple(str(i) for i in range(count))
    return Dataset(name="noise", inputs=inputs, targets=torch.arange(count) % 4, ids=ids)


def stored_maps(path: Path) -> set[tuple[str, str, str]]:
    """The state, method and sample of each map in a run's folder."""
    names: set[tuple[str, str, str]] = set()
    for file in (path / "maps").glob("*.safetensors"):
        if file.stem != "inputs":
            with safe_open(file, framework="np") as opened:
                names |= {tuple(json.loads(name)) for name in opened.keys()}  # noqa: SIM118  # no mapping
    return names


def run(out: Path, check: DataRandomization = LABELS, **changes: object) -> Run:
    checks = {"labels": check, "calibration": "calibration"}
    settings = {"checks": checks, "methods": ("gradient-x-input", "edge-detector"), "training_data": samples()}
    return toys.run(out, **{**settings, **changes})


def test_rows_are_what_the_parts_give_by_hand(tmp_path: Path) -> None:
    model, inputs = toys.network(), toys.images()
    before = Before(model)
    finished = run(tmp_path / "run", batch=7, model=model)
    assert list(before.changes()) == []
    assert finished.manifest["status"] == "complete"
    assert finished.manifest["failures"] == []
    rows = finished.rows()
    targets = model(inputs).argmax(1)
    method = hp.methods.GradientXInput()
    trained = method(model, inputs, targets).sum(1)
    study = hp.testing.playing.stage(model, inputs, targets, {}, training=samples()).study()
    for state in LABELS.states(study)[1:]:
        with state.open(model):
            maps = method(model, inputs, targets).sum(1)
        found = rows[(rows.setting == state.group) & (rows.metric == "spearman") & (rows.method == "gradient-x-input")]
        expected = hp.similarity.Spearman()(trained, maps)
        assert found.value.tolist() == expected.tolist()
    edges = rows[(rows.method == "edge-detector") & (rows.check == "labels") & (rows.metric == "spearman")]
    edges = edges[edges.role != "chance"]
    assert len(edges) == 14
    assert (edges.value > 1 - 1e-12).all()


def test_maps_of_retrained_networks_are_kept_for_the_gallery(tmp_path: Path) -> None:
    finished = run(tmp_path / "run", gallery=2)
    names = {state["name"]: state["kind"] for state in finished.manifest["states"]}
    permuted, true = (f"{labels} labels {SETTINGS}/seed0" for labels in ("permuted", "true"))
    assert names[permuted] == names[true] == "retrained"
    maps = stored_maps(finished.path)
    shown = {key for key in maps if key[0] == permuted}
    assert shown == {(permuted, m, s) for m in ("gradient-x-input", "edge-detector") for s in "01"}


def test_two_checks_with_one_seed_keep_their_networks_apart(tmp_path: Path) -> None:
    wider = replace(LABELS, test_share=0.3)
    both = run(tmp_path / "both", checks={"a": LABELS, "b": wider}, gallery=1)
    trained_anew = [state for state in both.manifest["states"] if state["kind"] == "retrained"]
    assert len(trained_anew) == len({state["name"] for state in trained_anew}) == 4
    maps = {key[0] for key in stored_maps(both.path)}
    assert maps == {"trained", *(state["name"] for state in trained_anew)}
    alone = run(tmp_path / "alone", checks={"b": wider}).rows()
    rows = both.rows()
    pd.testing.assert_frame_equal(rows[rows.check == "b"].reset_index(drop=True), alone, check_exact=True)


def test_an_accuracy_that_is_not_reached_costs_that_check_alone(tmp_path: Path) -> None:
    hopeless = DataRandomization(training=Training(epochs=1), similarities=("spearman",))
    finished = run(tmp_path / "run", hopeless)
    manifest, rows = finished.manifest, finished.rows()
    assert manifest["status"] == "incomplete"
    assert [(f["check"], f["state"], f["count"]) for f in manifest["failures"]] == [
        ("labels", "permuted labels (epochs 1, batch_size 64, stop_at None)/seed0", 1),
        ("labels", "true labels (epochs 1, batch_size 64, stop_at None)/seed0", 1),
    ]
    assert "TrainingError: Expected Sequential to reach 95.00%" in manifest["failures"][0]["error"]
    assert set(rows[rows.check == "labels"].setting) == {""}
    assert set(rows.check) == {"labels", "calibration"}
    again = run(tmp_path / "run", hopeless)  # what failed is tried again, and recorded once
    assert len(again.manifest["failures"]) == 2
    pd.testing.assert_frame_equal(again.rows(), rows, check_exact=True)


def test_one_network_that_cannot_be_trained_costs_its_rows_and_what_is_compared_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Retrained._made

    def made(self: Retrained) -> object:
        if self.permuted and self.seed == 0:
            raise TrainingError("not learned")
        return usual(self)

    monkeypatch.setattr(Retrained, "_made", made)
    finished = run(tmp_path / "run", replace(LABELS, seeds=(0, 1)))
    first, *others = finished.manifest["failures"]
    assert (first["state"], first["count"], first["error"]) == (
        f"permuted labels {SETTINGS}/seed0", 1, "TrainingError: not learned",
    )  # fmt: skip
    assert [other["method"] for other in others] == ["gradient-x-input", "edge-detector"]
    (said,) = {other["error"] for other in others}
    assert said.startswith(f"AuditError: Expected maps in state 'permuted labels {SETTINGS}/seed0' to compare with")
    rows = finished.rows()
    similar = rows[(rows.check == "labels") & (rows.metric == "spearman")]
    assert set(zip(similar.setting, similar.seed, strict=True)) == {("true-labels", 0), ("true-labels", 1)}
    networks = rows[rows.metric == "training-accuracy"]
    assert set(zip(networks.setting, networks.seed, strict=True)) == {
        ("permuted-labels", 1), ("true-labels", 0), ("true-labels", 1),
    }  # fmt: skip


def test_training_is_announced_with_the_most_that_it_can_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(tmp_path / "run", progress=True)
    assert "2 networks to train first, " in capsys.readouterr().err
    assert first.manifest["estimate"]["seconds of preparation at most"] > 0
    study = hp.testing.playing.stage(toys.network(), toys.images(), torch.zeros(7).long(), {}, training=samples())
    again = DataRandomization(**{**vars(LABELS), "seeds": (0, 1)})
    passes = {state.name: state.preparation() for state in again.states(study.study())}
    whole = (3 * 300 + 1) * 16 + 4  # epochs, samples to train on and to test on
    assert passes == {
        "trained": 0,
        f"permuted labels {SETTINGS}/seed0": 0,
        f"permuted labels {SETTINGS}/seed1": whole,
        f"true labels {SETTINGS}/seed0": 0,
        f"true labels {SETTINGS}/seed1": whole,
    }
    other = run(tmp_path / "other", progress=True)
    assert "to train first" not in capsys.readouterr().err
    assert "seconds of preparation at most" not in other.manifest["estimate"]


def test_a_finished_run_trains_nothing(tmp_path: Path, cache: Path) -> None:
    rows = run(tmp_path / "run").rows()
    for path in cache.glob("labels-*.safetensors"):
        path.unlink()
    again = run(tmp_path / "run").rows()
    pd.testing.assert_frame_equal(again, rows, check_exact=True)
    assert [*cache.glob("labels-*.safetensors")] == []


CODE = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_retrained_states import LABELS, run
run(Path({out!r}))
"""


@pytest.mark.slow
def test_killed_in_training_and_resumed_the_rows_are_bit_identical(tmp_path: Path, cache: Path) -> None:
    expected = run(tmp_path / "whole").rows()
    fresh = tmp_path / "other cache"
    code = CODE.format(tests=str(Path(__file__).parent), out=str(tmp_path / "run"))
    environment = {**os.environ, "HEATPROOF_CACHE": str(fresh)}
    child = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    while not [*fresh.glob(".labels-*.lock")]:  # it has begun to train
        assert child.poll() is None, "expected it to run still"
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert [*fresh.glob("labels-*.safetensors")] == []
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(Run(tmp_path / "run").rows(), expected, check_exact=True)


def test_no_training_data_is_refused_at_the_door(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected training data for data-randomization, but got none"):
        run(tmp_path / "run", training_data=None)


class TestSpec:
    def spec(self, **training: object) -> dict[str, object]:
        check = {"name": "data-randomization", "training": training, "seeds": [0, 1], "initializer": "he"}
        return {
            "model": {"name": "heatproof.zoo:demo_cnn"},
            "data": {"name": "demo"},
            "training_data": {"name": "demo", "part": "train"},
            "methods": ["gradient"],
            "checks": [check],
        }

    def test_a_table_says_what_differs_from_the_checks_own_training(self) -> None:
        _, check = parse(self.spec(epochs=40, learning_rate=1)).checks["data-randomization"]
        expected = Training(learning_rate=1.0, epochs=40, batch_size=32, stop_at=0.98)
        assert check == DataRandomization(training=expected, seeds=(0, 1), initializer=He())

    def test_errors_name_the_field(self) -> None:
        with pytest.raises(InputError, match=r"field of field 'training' of check .*did you mean 'epochs'"):
            parse(self.spec(epoch=3))
        with pytest.raises(InputError, match=r"field 'epochs' of field 'training' of check .* to be int, but got 2\.5"):
            parse(self.spec(epochs=2.5))
        with pytest.raises(InputError, match="without weight_decay"):
            parse(self.spec(weight_decay=0.1))
