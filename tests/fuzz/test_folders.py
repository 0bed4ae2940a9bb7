"""Run folders that somebody or something has damaged: read, reported and gone on with."""

import random
import shutil
import warnings
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import limits
import pytest
import torch
from torch import nn

import heatproof as hp
from heatproof.runs import read_manifest, read_maps, read_rows, read_samples, seal

X = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3)).eval()


def audited(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return hp.audit(
            network(), X, methods=["gradient-x-input"], checks=["calibration"],
            out=folder, batch=2, threads=1, gallery=2, progress=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("whole") / "run"
    audited(folder)
    return folder


def damage(folder: Path, generator: random.Random) -> str:
    """Something happens to a file or two; what, in words."""
    said = []
    for _ in range(generator.randint(1, 2)):
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        path = generator.choice(paths)
        content = path.read_bytes()
        kind = generator.choice(["flip", "cut", "empty", "nonsense", "remove", "swap", "folder", "link", "more", "add"])
        said.append(f"{kind} {path.relative_to(folder)}")
        if kind == "flip" and content:
            place = generator.randrange(len(content))
            bit = bytes([content[place] ^ (1 << generator.randrange(8))])
            path.write_bytes(content[:place] + bit + content[place + 1 :])
        elif kind == "cut":
            path.write_bytes(content[: generator.randrange(len(content) + 1)])
        elif kind == "empty":
            path.write_bytes(b"")
        elif kind == "nonsense":
            path.write_bytes(generator.randbytes(100))
        elif kind == "remove":
            path.unlink()
        elif kind == "swap":
            path.write_bytes(generator.choice(paths).read_bytes())
        elif kind == "folder":
            path.unlink()
            path.mkdir()
        elif kind == "link":
            path.unlink()
            path.symlink_to(generator.choice(["/nowhere", path.name, "..", "/dev/null"]))
        elif kind == "more":
            path.write_bytes(content + b"\0")
        else:
            name = generator.choice(["foreign.txt", ".hidden", "a.tmp", "0000009-zz.parquet"])
            (path.parent / name).write_bytes(b"x")
    return ", ".join(said)


def gone_on(folder: Path, ended: list[Any]) -> None:
    ended.append(audited(folder))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("times", [12, pytest.param(500, marks=pytest.mark.slow)])
def test_no_damaged_folder_ends_in_an_error_that_is_not_ours(whole: Path, tmp_path: Path, times: int) -> None:
    generator, found, began = random.Random(times), Counter[str](), limits.memory()
    expected = read_rows(whole).to_csv(float_format="%a")
    again = 0
    for number in range(times):
        folder = tmp_path / f"run{number}"
        shutil.copytree(whole, folder, symlinks=True)
        what = damage(folder, generator)
        for call in (read_manifest, read_rows, read_maps, read_samples):
            if said := limits.wrong(partial(call, folder)):
                found[f"case {number}, {what}: {call.__name__}: {said}"] += 1
        ended: list[Any] = []
        if said := limits.wrong(partial(gone_on, folder, ended)):
            found[f"case {number}, {what}: audit: {said}"] += 1
        if ended:
            again += 1
            if read_rows(folder).to_csv(float_format="%a") != expected:
                found[f"case {number}, {what}: other rows"] += 1
            ours = [path for path in (folder / "rows").iterdir() if path.is_file() and len(path.name) > 20]
            if not all(seal.is_whole(path.read_bytes(), path.name) for path in ours):
                found[f"case {number}, {what}: a damaged file stays"] += 1
        if [path for path in folder.iterdir() if path.name.endswith(".tmp") and path.name != "a.tmp"]:
            found[f"case {number}, {what}: half written"] += 1
        shutil.rmtree(folder)
    assert not found, "\n".join(found)
    assert again > times * 0.6
    assert limits.memory() - began < limits.MEMORY
