"""What an audit would take, said before it is run."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import heatproof as hp
from heatproof.auditing import from_spec, worker
from heatproof.auditing import settings as audit_settings
from heatproof.auditing.forecast import forecast
from heatproof.auditing.spec import read
from heatproof.cli import app

SPEC = """
methods = ["gradient", {name = "smoothgrad", samples = 50}]
checks = ["calibration"]
batch = 2
[model]
name = "nets:net"
[data]
name = "npz"
path = "data.npz"
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(
        "import torch\ndef net():\n    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4))\n"
    )
    pictures = np.random.default_rng(0).integers(0, 255, (6, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", x=pictures, y=np.arange(6) % 4)
    (tmp_path / "audit.toml").write_text(SPEC)
    return tmp_path / "audit.toml"


def test_counts_blocks_maps_and_passes_and_names_what_is_dear(spec: Path, tmp_path: Path) -> None:
    found = forecast(read(spec), tmp_path / "run")
    assert (found.samples, found.blocks, found.missing_blocks, found.states) == (6, 3, 3, 1)
    assert (found.maps, found.passes) == (12, 6 * (1 + 50))
    assert found.shares == {"gradient": pytest.approx(1 / 51), "smoothgrad": pytest.approx(50 / 51)}
    assert found.sentences()[-1].startswith("smoothgrad takes 98% of it: leave it out, or give it fewer")
    assert found.hours(1) == pytest.approx(3 * found.hours(3))
    assert found.hours(3) == found.hours(64)
    assert not (tmp_path / "run").exists()


def test_of_a_run_it_counts_what_is_left(spec: Path, tmp_path: Path) -> None:
    from_spec.run(read(spec), tmp_path / "run", threads=1, progress=False)
    found = forecast(read(spec), tmp_path / "run")
    assert (found.missing_blocks, found.maps, found.passes, found.hours(1)) == (0, 0, 0, 0.0)


def test_what_a_faster_batch_would_be_is_said(spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def paced(bound: object, portion: object, size: int, clock: object) -> float:
        tried.append(size)
        return {2: 0.01, 6: 0.05}.get(size, float(size))

    monkeypatch.setattr(audit_settings, "_pass", paced)
    monkeypatch.setattr(audit_settings, "MOST_ROWS", 5)
    assert not any("as fast" in line for line in forecast(read(spec), tmp_path / "run").sentences())
    assert tried == []  # the spec says its batch
    spec.write_text(SPEC.replace("batch = 2\n", ""))
    found = forecast(read(spec), tmp_path / "run")
    assert found.batch == 5
    assert found.rates == {1: 1.0, 2: 200.0, 4: 1.0, 5: 1.0}
    assert "Passes of 2 samples are 200.0 × as fast as of 5 here: batch = 2." in found.sentences()


def test_is_a_verb(spec: Path) -> None:
    done = CliRunner().invoke(app, ["plan", str(spec), "--json", "--workers", "2"])
    said = json.loads(done.stdout)
    assert (said["samples"], said["maps"]) == (6, 12)
    told = CliRunner().invoke(app, ["plan", str(spec)]).stdout.splitlines()
    assert told[0] == f"6 samples in 3 blocks of 2; {said['questions']} questions in 1 states."


def test_status_and_finish_are_verbs(spec: Path, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    first = CliRunner().invoke(app, ["audit", str(spec), "--out", run, "--shard", "1/2", "--threads", "1"])
    assert first.exit_code == 0, first.output
    assert CliRunner().invoke(app, ["status", run]).stdout.startswith("2 of 3 blocks are finished (67% of all answers)")
    assert CliRunner().invoke(app, ["audit", str(spec), "--out", run, "--take", "--threads", "1"]).exit_code == 0
    said = json.loads(CliRunner().invoke(app, ["status", run, "--json"]).stdout)
    assert (said["status"], said["finished"], said["workers"]) == ("complete", 3, [])
    done = CliRunner().invoke(app, ["finish", run])
    assert done.exit_code == 0, done.output
    assert done.stdout.strip().endswith("report.html")


def test_before_the_first_block_a_slow_network_runs_three_blocks_and_few_rows(monkeypatch, tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    seen: list[int] = []

    def slow(_module: torch.nn.Module, given: tuple[torch.Tensor]) -> None:
        seen.append(len(given[0]))
        if len(given[0]) == 24:
            time.sleep(0.11)

    def block(*_: object) -> None:
        before.extend(seen)
        return iter(())

    before: list[int] = []
    model.eval().register_forward_pre_hook(slow)
    monkeypatch.setattr(worker, "run_block", block)
    checks = ["parameter-randomization", "sensitivity-n", "degradation"]
    hp.audit(
        model, torch.randn(24, 1, 8, 8), methods=["gradient"], checks=checks, batch=24, progress=False, out=tmp_path
    )
    assert before.count(24) == 3  # how many outputs, what is explained, which weights are used
    assert sum(before) - 3 * 24 <= 17
