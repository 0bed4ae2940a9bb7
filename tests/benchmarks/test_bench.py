"""All benchmarks in their smallest form, and that figures of a busy machine are not written."""

import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="benchmarks are not part of the source distribution")


@pytest.fixture
def common(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import common

    yield common
    del sys.modules["common"]


@pytest.fixture
def every(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import all as every

    yield every
    for name in ("all", "common"):
        sys.modules.pop(name, None)


def test_the_smallest_cases_run(every, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["all.py", "--tiny"])
    with torch.random.fork_rng():
        every.main()
    titles = [line.removeprefix("# ") for line in capsys.readouterr().out.splitlines() if line.startswith("# ")]
    assert titles == [name for name, arguments in every.SCRIPTS.items() if arguments is not None]
    scripts = {path.stem for path in BENCHMARKS.glob("*.py")} - {"all", "common", "gpu"}
    assert set(every.SCRIPTS) == scripts


def test_a_script_that_fails_is_named(every, monkeypatch, tmp_path):
    ran = []

    def full(name, out, more):
        ran.append((name, out))
        return name != "cam"

    monkeypatch.setattr(every, "full", full)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(sys, "argv", ["all.py", "--only", "door", "cam", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="Not written: cam; see"):
        every.main()
    assert ran == [("door", tmp_path), ("cam", tmp_path), ("gpu", tmp_path)]


def test_figures_of_a_busy_machine_are_not_written(common, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(common, "load", lambda: 1.3)
    with pytest.raises(SystemExit, match=r"at most 1\.2\), but it is 1\.3: the figures are not written"):
        common.report("one", [{"case": "a", "seconds": 0.12345}], tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(common, "load", lambda: 1.2)
    common.report("one", [{"case": "a", "seconds": 0.12345}], tmp_path)
    text = (tmp_path / "one.md").read_text()
    assert "| a    | 0.123   |" in text
    assert common.processor() in text
    assert "load 1.2 on" in text
    assert (tmp_path / "one.csv").read_text() == "case,seconds\na,0.12345\n"
    assert capsys.readouterr().out.count("# one") == 2
