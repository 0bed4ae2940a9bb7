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
    lines = capsys.readouterr().out.splitlines()
    titles = [line.removeprefix("# ").removesuffix("_tiny") for line in lines if line.startswith("# ")]
    assert titles == [name for name, script in every.SCRIPTS.items() if script.tiny is not None]
    scripts = {path.stem for path in BENCHMARKS.glob("*.py")} - {"all", "common", "gpu"}
    assert set(every.SCRIPTS) == scripts


def test_a_script_that_fails_is_named(every, monkeypatch, tmp_path):
    ran = []

    def full(name, out, arguments=""):
        ran.append((name, out, arguments))
        return name != "cam"

    monkeypatch.setattr(every, "full", full)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(sys, "argv", ["all.py", "--only", "door", "cam", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="Not written: cam; see what they said above, and run them again: --only cam"):
        every.main()
    assert ran == [("door", tmp_path, ""), ("cam", tmp_path, "--repeats 3"), ("gpu", tmp_path, "")]


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


def test_the_load_is_one_core_and_what_others_use(common, monkeypatch):
    spent = iter([(107.0, 13.0, 60.0), (100.5, 10.5, 60.0)])
    monkeypatch.setattr(common, "_BEGAN", (95.0, 5.0, 50.0))
    monkeypatch.setattr(common, "_spent", lambda: next(spent))
    assert common.load() == pytest.approx(1 + (12 - 8) / 10)  # whatever this process used itself, on however many cores
    assert common.load() == pytest.approx(1)
    monkeypatch.setattr(common, "_spent", lambda: None)
    monkeypatch.setattr(common.os, "getloadavg", lambda: (0.7, 0, 0), raising=False)
    assert common.load() == 0.7


def test_growth_is_drawn_and_fitted(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import growth

    sizes = [10, 20, 40]
    assert growth.slope(sizes, [0.5 * size**1.25 for size in sizes]) == pytest.approx(1.25)
    growth.draw({"images": (sizes, [1.0, 2.0, 4.0])}, tmp_path)
    drawn = (tmp_path / "growth.svg").read_text()
    assert "<!-- images: exponent 1.00 -->" in drawn
    for name in ("growth", "common"):
        sys.modules.pop(name, None)
