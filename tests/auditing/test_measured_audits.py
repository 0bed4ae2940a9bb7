"""Series and volumes from a specification to the report, with the names of their axes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heatproof.auditing import from_spec
from heatproof.auditing.run import Run
from heatproof.auditing.spec import read

NETWORKS = """
import torch
from torch import nn


def series():
    torch.manual_seed(0)
    conv = nn.Conv1d(2, 4, 3, padding=1)
    return nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2))


def volumes():
    torch.manual_seed(0)
    conv = nn.Conv3d(1, 4, 3, padding=1)
    return nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    (tmp_path / "measured_networks.py").write_text(NETWORKS)
    np.savez(tmp_path / "ecg.npz", x=draw.random((4, 2, 20)), y=np.array(["ill", "well", "ill", "well"]))
    np.save(tmp_path / "scans.npy", draw.random((3, 3, 6, 5)))
    (tmp_path / "labels.txt").write_text("0\n1\n0\n")
    return tmp_path


def audited(folder: Path, model: str, data: str) -> Run:
    asked = 'methods = ["gradient-x-input", "grad-cam"]\nchecks = ["completeness", "degradation"]\nthreads = 1\n'
    (folder / "spec.toml").write_text(f'{asked}[model]\nname = "measured_networks:{model}"\n[data]\n{data}\n')
    return from_spec.run(read(folder / "spec.toml"), folder / "run", progress=False)


def test_series(folder: Path) -> None:
    data = 'name = "series"\npath = "ecg.npz"\nleads = ["II", "<V1>"]\nrate = 10'
    run = audited(folder, "series", data)
    manifest: Any = run.manifest
    assert not manifest["failures"]
    assert manifest["data"]["grid"] == [20]
    assert manifest["data"]["classes"] == ["ill", "well"]
    assert manifest["data"]["axes"] == {"leads": ["II", "<V1>"], "rate": 10.0, "spacing": [], "unit": ""}
    page = run.report().read_text(encoding="utf-8")
    assert "map over 20 positions below 2 leads" in page
    assert ">II</text>" in page
    assert ">&lt;V1&gt;</text>" in page
    assert "leads II, &lt;V1&gt;; 10 positions a second" in page


def test_volumes(folder: Path) -> None:
    data = 'name = "volumes"\npath = "scans.npy"\nlabel_file = "labels.txt"\nspacing = [3, 0.5, 0.5]'
    run = audited(folder, "volumes", data)
    assert not run.manifest["failures"]
    assert run.manifest["data"]["grid"] == [3, 6, 5]
    assert run.manifest["data"]["axes"] == {"leads": [], "rate": None, "spacing": [3.0, 0.5, 0.5], "unit": "mm"}
    assert "3 × 0.5 × 0.5 mm between positions" in run.report().read_text(encoding="utf-8")
