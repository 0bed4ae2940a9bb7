"""Progress in a notebook: one line that is written over, without widgets and without a warning."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import audit_toys as toys
import pytest

import heatproof as hp
from heatproof.auditing import lines
from heatproof.auditing.lines import OneLine


class ZMQInteractiveShell:
    """What a notebook's kernel calls itself."""


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=ZMQInteractiveShell))


def test_a_notebook_is_told_from_a_terminal(notebook: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines.in_notebook()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert not lines.in_notebook()


def test_an_audit_says_one_line_and_takes_it_away(
    notebook: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(lines, "EVERY", 0.0)
    hp.audit(
        toys.network(), toys.images(3), methods=["gradient", "random"], checks=["parameter-randomization"],
        out=tmp_path / "run", threads=1,
    )  # fmt: skip
    said = capsys.readouterr()
    assert "\n" not in said.out + said.err
    assert "gradient " in said.out
    assert " 100 %" in said.out
    assert said.out.endswith(" \r")
    assert said.err == ""


def test_nothing_is_said_where_nothing_is_asked_for(
    notebook: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    hp.audit(
        toys.network(), toys.images(3), methods=["gradient"], checks=["completeness"], out=tmp_path / "run", threads=1,
        progress=False,
    )  # fmt: skip
    said = capsys.readouterr()
    assert said.out + said.err == ""


def test_a_line_is_written_over_a_longer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "EVERY", 0.0)
    monkeypatch.setattr(lines.time, "monotonic", iter([0.0, 0.0, 10.0, 20.0]).__next__)
    stream = io.StringIO()
    line = OneLine(stream=stream)
    task = line.add_task("attributions", total=4.0)
    line.start()
    line.update(task, advance=1.0, description="a long name")
    line.update(task, advance=1.0, description="short")
    line.stop()
    assert stream.getvalue() == ("\ra long name 25 %, 30 s left\rshort 50 %, 20 s left      \r" + " " * 27 + "\r")


def test_what_a_user_completes_is_all_there_is() -> None:
    assert {"audit", "open", "methods", "checks", "targets", "readings", "errors", "__version__"} <= set(dir(hp))
    for name in dir(hp):
        assert getattr(hp, name) is not None
    assert sorted(hp.__all__) == dir(hp)
