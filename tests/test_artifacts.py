import multiprocessing
import time

import pytest

from heatproof import artifacts
from heatproof.errors import StoreError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def read(path):
    return path.read_text() or None


def write(value, path):
    path.write_text(value)


def fail():
    raise AssertionError("made again")


def test_a_value_is_made_once_and_then_read(cache):
    assert artifacts.kept("a.txt", read=read, make=lambda: "one", write=write) == "one"
    assert artifacts.kept("a.txt", read=read, make=fail, write=write) == "one"
    assert (cache / "a.txt").read_text() == "one"


def test_a_damaged_file_is_made_again(cache):
    cache.mkdir()
    (cache / "a.txt").touch()
    assert artifacts.kept("a.txt", read=read, make=lambda: "two", write=write) == "two"


def test_what_fails_keeps_nothing_and_locks_nobody_out(cache):
    with pytest.raises(AssertionError, match="made again"):
        artifacts.kept("a.txt", read=read, make=fail, write=write)
    assert not (cache / "a.txt").exists()
    assert artifacts.kept("a.txt", read=read, make=lambda: "three", write=write) == "three"


def test_a_write_that_fails_leaves_no_file(cache):
    def half(value, path):
        path.write_text(value)
        raise OSError("disk full")

    with pytest.raises(StoreError, match=r"disk full.*set HEATPROOF_CACHE to a folder that can be written"):
        artifacts.kept("a.txt", read=read, make=lambda: "four", write=half)
    assert [path.name for path in cache.iterdir() if path.suffix == ".txt"] == []


def slow(out):
    def make():
        out.put("made")
        time.sleep(0.2)
        return "five"

    assert artifacts.kept("a.txt", read=read, make=make, write=write) == "five"


def test_processes_that_want_the_same_wait_for_the_one_that_makes_it():
    context = multiprocessing.get_context("fork")
    out = context.Queue()
    processes = [context.Process(target=slow, args=(out,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert out.get() == "made"
    assert out.empty()


def test_where_values_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.delenv("HEATPROOF_CACHE", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert artifacts.folder() == tmp_path / "heatproof"
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "mine"))
    assert artifacts.folder() == tmp_path / "mine"
