import errno
import multiprocessing
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from heatproof import artifacts
from heatproof.errors import DamagedError, HeatproofWarning, StoreError


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


STORED = artifacts.Stored({"a": torch.arange(3.0), "b": torch.ones(1, 2, dtype=torch.float64)}, {"epochs": 3})


def values(stored):
    return {name: tensor.tolist() for name, tensor in stored.tensors.items()}, dict(stored.facts)


def kept_tensors(make=fail):
    return artifacts.kept_tensors("a.safetensors", read=lambda found: found, make=make, parts=lambda found: found)


def test_tensors_with_facts_are_kept_and_read(cache):
    assert artifacts.found_tensors("a.safetensors", lambda found: found) is None
    assert kept_tensors(lambda: STORED) is STORED
    assert values(kept_tensors()) == values(STORED)
    assert values(artifacts.found_tensors("a.safetensors", lambda found: found)) == values(STORED)
    assert [path.name for path in cache.glob("[!.]*")] == ["a.safetensors"]


def altered(path, **metadata):
    """The same tensors with other metadata."""
    with safe_open(path, framework="pt") as file:
        about = {**file.metadata(), **metadata}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    save_file(tensors, path, {key: value for key, value in about.items() if value is not None})


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flipped, "its content has changed since it was written"),
        (lambda path: altered(path, heatproof='{"epochs": 4}'), "its content has changed since it was written"),
        (lambda path: altered(path, name="b.safetensors"), "its content has changed since it was written"),
        (lambda path: artifacts.write_tensors(path, STORED, name="b.safetensors"), "it was written as 'b.safetensors'"),
        (lambda path: altered(path, heatproof="[3]"), "it cannot be read as tensors with facts"),
        (lambda path: altered(path, heatproof=None), "it cannot be read as tensors with facts"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "it cannot be read as tensors with facts"),
    ],
)
def test_damaged_tensors_count_as_absent_and_are_named(cache, damage, reason):
    kept_tensors(lambda: STORED)
    damage(cache / "a.safetensors")
    with pytest.warns(HeatproofWarning, match=rf"a\.safetensors' as it was kept, but {reason}") as said:
        assert artifacts.found_tensors("a.safetensors", lambda found: found) is None
    assert len(said) == 1
    with pytest.warns(HeatproofWarning, match=reason) as said:
        assert kept_tensors(lambda: STORED) is STORED
    assert len(said) == 1
    assert values(kept_tensors()) == values(STORED)


@pytest.mark.parametrize("key", ["heatproof", "facts"])
def test_tensors_that_predate_digests_are_read_as_they_are(cache, key):
    cache.mkdir()
    save_file(dict(STORED.tensors), cache / "a.safetensors", {key: '{"epochs": 3}'})
    assert values(kept_tensors()) == values(STORED)


def test_what_is_something_else_is_told():
    assert artifacts.matching(STORED, STORED.tensors, ["epochs"]) is STORED
    with pytest.raises(DamagedError, match="it holds something else: a differ"):
        artifacts.matching(STORED, {**STORED.tensors, "a": torch.ones(4)}, ["epochs"])
    with pytest.raises(DamagedError, match="it holds something else: epochs, seconds differ"):
        artifacts.matching(STORED, STORED.tensors, ["seconds"])


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_may_only_be_read_is_read_and_what_it_lacks_is_made_once(cache, monkeypatch, number):
    artifacts.kept("there.txt", read=read, make=lambda: "kept", write=write)
    made = []

    def refused(*_, **__):
        raise OSError(number, "it may only be read")

    monkeypatch.setattr(artifacts.FileLock, "acquire", refused)
    assert artifacts.kept("there.txt", read=read, make=fail, write=write) == "kept"
    monkeypatch.setattr(artifacts, "whole", refused)

    def make():
        made.append(1)
        return "new"

    with pytest.warns(HeatproofWarning, match="to keep new.txt in .*, but it may only be read"):
        assert artifacts.kept("new.txt", read=read, make=make, write=write) == "new"
    assert artifacts.kept("new.txt", read=read, make=make, write=write) == "new"
    assert made == [1]
    artifacts._unkept.clear()


def test_no_lock_is_left(cache):
    artifacts.kept("a.txt", read=read, make=lambda: "one", write=write)
    with pytest.raises(AssertionError, match="made again"):
        artifacts.kept("b.txt", read=read, make=fail, write=write)
    assert [path.name for path in cache.iterdir()] == ["a.txt"]


def test_the_folder_may_be_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HEATPROOF_CACHE", "~/mine")
    assert artifacts.folder() == tmp_path / "mine"
