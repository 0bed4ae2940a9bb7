"""Who is at what: told by signs of life, never by comparing clocks."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from heatproof.errors import StoreError
from heatproof.runs import leases
from heatproof.runs.files import LocalFiles
from heatproof.runs.leases import GONE, Lease, Watch


def left_by(files: LocalFiles, name: str, **said: Any) -> None:
    """A lease of somebody else."""
    about = {"holder": "x", "host": "elsewhere", "boot": "b", "pid": 1, "start": "1", "beats": 0}
    files.replace(f"leases/{name}.json", json.dumps(about | said).encode())


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path)


def test_is_taken_once_and_left(files: LocalFiles) -> None:
    with Lease(files, "block", "a") as one:
        assert one.take()
        assert not Lease(files, "block", "b").take()
        assert leases.held(files) == ["block"]
    assert leases.held(files) == []
    assert Lease(files, "block", "b").take()


def test_of_a_process_that_is_gone_is_free_at_once(files: LocalFiles) -> None:
    script = (
        "import os, sys; from pathlib import Path; from heatproof.runs.files import LocalFiles;"
        "from heatproof.runs.leases import Lease; Lease(LocalFiles(Path(sys.argv[1])), 'run', 'a').take(); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", script, str(files.root)], check=False)
    assert leases.held(files) == ["run"]
    start = time.monotonic()
    with leases.alone(files, "run", "b"):
        pass
    assert time.monotonic() - start < 5


def test_a_process_number_that_came_again_is_somebody_else(files: LocalFiles) -> None:
    with Lease(files, "run", "a") as mine:
        mine.take()
        said = json.loads(files.read("leases/run.json"))
    left_by(files, "run", **{**said, "start": "0"})
    assert Watch(files).free("run")


def test_elsewhere_it_is_held_as_long_as_it_changes(files: LocalFiles) -> None:
    now = 0.0
    watch = Watch(files, clock=lambda: now)
    left_by(files, "run")
    assert not watch.free("run")
    for beat in range(5):  # changes, and is seen after long
        now += 10 * GONE
        left_by(files, "run", beats=beat + 1)
        assert watch.surely_held("run")
        assert not watch.free("run")
    now += GONE - 1
    assert not watch.free("run")
    now += 2
    assert watch.free("run")
    assert leases.held(files) == []


def test_a_clock_that_jumps_back_frees_and_holds_nothing(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    left_by(files, "run")
    os.utime(files.root / "leases" / "run.json", (0, 0))  # fifty years old by its time
    watch = Watch(files)
    assert not watch.free("run")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    with Lease(files, "block", "a") as one:
        assert one.take()
        assert not watch.free("run")


def test_alone_waits_for_who_gives_no_sign_and_refuses_who_does(
    files: LocalFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "GONE", 0.3)
    monkeypatch.setattr(leases, "BEAT", 0.1)
    left_by(files, "run")
    with leases.alone(files, "run", "b"):
        assert json.loads(files.read("leases/run.json"))["holder"] == "b"
        with pytest.raises(StoreError, match=rf"another process is writing to it \(process {os.getpid()} on"):
            leases.alone(files, "run", "c")


def test_many_that_are_gone_are_waited_for_together(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "GONE", 0.5)
    monkeypatch.setattr(leases, "BEAT", 0.1)
    for number in range(20):
        left_by(files, f"block-{number}")
    start = time.monotonic()
    leases.wait_for(files, *leases.held(files))
    assert time.monotonic() - start < 20 * 0.5
    assert leases.held(files) == []


def test_a_torn_lease_is_nobodys(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "GONE", 0.2)
    monkeypatch.setattr(leases, "BEAT", 0.1)
    files.replace("leases/run.json", b"{")
    with leases.alone(files, "run", "b"):
        pass
