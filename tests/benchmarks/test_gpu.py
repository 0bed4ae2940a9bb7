"""The run for an accelerator, in its small form on the CPU: every part gives rows, and a page."""

import json
import sys
from pathlib import Path

import pytest
import torch

from heatproof.testing.waits import waits

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="benchmarks are not part of the source distribution")


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    yield gpu
    for name in [name for name in sys.modules if name in ("gpu", "common") or name.startswith("gpu_parts")]:
        del sys.modules[name]


def test_every_part_runs_in_small(gpu, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--tiny", "--out", str(tmp_path)])
    with torch.random.fork_rng():
        gpu.main()
    rows = [json.loads(line) for line in (tmp_path / "gpu.jsonl").read_text().splitlines()]
    assert [row for row in rows if "failed" in row or "skipped" in row] == []
    assert list(dict.fromkeys(row["part"] for row in rows)) == list(gpu.PARTS)
    alike = [row for row in rows if "float32" in row]  # both sides are this CPU
    assert alike
    assert all((row["float32"], row["float64"], row["support"]) == (0, 0, 1) for row in alike)
    text = (tmp_path / "gpu.md").read_text()
    assert [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")] == [*gpu.TITLES.values()]
    assert "| LRP epsilon-plus" in text
    assert len(capsys.readouterr().out.splitlines()) == len(rows)
    again = tmp_path / "again"
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--read", str(tmp_path / "gpu.jsonl"), "--out", str(again)])
    gpu.main()
    assert (again / "gpu.md").read_text() == text


def test_time_that_is_up_is_said(gpu):
    rows = list(gpu.lines(gpu.Bench(torch.device("cpu"), True, 0.0), gpu.PARTS))
    assert rows == [{"part": part, "skipped": "no time left"} for part in gpu.PARTS]


def test_waits_are_counted_by_the_line_that_makes_them():
    from heatproof.refusals import check_samples

    with waits() as seen:
        check_samples(torch.ones(2, 3), None)
    assert sum(seen.values()) == 1
    assert next(iter(seen)).startswith("refusals.py:")
