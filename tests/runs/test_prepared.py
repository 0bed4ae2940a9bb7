"""What is made once for a run goes to machines with another cache folder through the run's own."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from heatproof import artifacts
from heatproof.errors import DamagedError, HeatproofWarning
from heatproof.runs import leases
from heatproof.runs.files import LocalFiles
from heatproof.runs.prepared import Prepared
from heatproof.runs.status import _at_work
from heatproof.runs.store import PREPARED, Store


def read(path: Path) -> str | None:
    text = path.read_text()
    if text.startswith("torn"):
        raise DamagedError("it is torn")
    return text or None


def write(value: str, path: Path) -> None:
    path.write_text(value)


def fail() -> str:
    raise AssertionError("made again")


def kept(run: Path, cache: Path, make: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is kept, for a machine with this cache folder."""
    monkeypatch.setenv("HEATPROOF_CACHE", str(cache))
    with artifacts.handed_on(Prepared(LocalFiles(run), leases.fresh())):
        return artifacts.kept("a.txt", read=read, make=make, write=write)


def test_who_has_another_cache_reads_what_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    assert kept(run, tmp_path / "a", lambda: "one", monkeypatch) == "one"
    assert kept(run, tmp_path / "b", fail, monkeypatch) == "one"
    assert (tmp_path / "b" / "a.txt").read_text() == "one"
    assert leases.held(LocalFiles(run)) == []
    assert not artifacts.is_handed_on()


def test_what_was_in_a_cache_before_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "a"))
    artifacts.kept("a.txt", read=read, make=lambda: "one", write=write)
    assert kept(run, tmp_path / "a", fail, monkeypatch) == "one"
    assert kept(run, tmp_path / "b", fail, monkeypatch) == "one"


def test_what_is_damaged_there_is_made_anew_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    LocalFiles(run).create(f"{PREPARED}/a.txt", b"torn")
    with pytest.warns(HeatproofWarning, match="it is torn. It counts as absent"):
        assert kept(run, tmp_path / "a", lambda: "one", monkeypatch) == "one"
    assert kept(run, tmp_path / "b", fail, monkeypatch) == "one"


def test_a_cache_that_cannot_be_written_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    assert kept(run, tmp_path / "a", lambda: "one", monkeypatch) == "one"

    def refuse(path: Path) -> Any:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(artifacts, "whole", refuse)
    assert kept(run, tmp_path / "b", fail, monkeypatch) == "one"


def test_two_at_once_make_it_once(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path)
    told: list[str] = []

    def first() -> None:
        with Prepared(files, "first").alone("a"):
            told.append("begun")
            while len(told) < 2:
                time.sleep(0.01)
            time.sleep(0.2)
            Prepared(files, "first").write("a", b"made")
            told.append("made")

    one = threading.Thread(target=first)
    one.start()
    while not told:
        time.sleep(0.01)
    (line,) = _at_work(Store(tmp_path))
    assert line.endswith("is at what the blocks wait for.")
    told.append("waiting")
    second = Prepared(files, "second", wait=lambda _: time.sleep(0.01))
    with second.alone("a"):
        assert told == ["begun", "waiting", "made"]
        assert second.read("a") == b"made"
    one.join()
    second.clear()
    assert second.read("a") is None
