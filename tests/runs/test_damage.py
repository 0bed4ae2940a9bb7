"""Damaged files of a run: every changed bit is noticed, said, and what it held is computed again."""

import random
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import heatproof as hp
from heatproof import artifacts
from heatproof.errors import DamagedError, HeatproofWarning, TornError
from heatproof.report.content import content
from heatproof.runs import read_maps, read_rows, read_samples, seal

X = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3)).eval()


def audited(folder: Path) -> Any:
    return hp.audit(
        network(), X, methods=["gradient-x-input", "grad-cam"], checks=["calibration", "parameter-randomization"],
        out=folder, batch=2, threads=1, gallery=3, progress=False,
    )  # fmt: skip


def rows(folder: Path) -> str:
    return read_rows(folder).to_csv(float_format="%a")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("whole") / "run"
    audited(folder)
    return folder


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "leases" not in path.parts)


def flipped(path: Path, generator: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    path.write_bytes(content)


def test_every_file_is_sealed(whole: Path) -> None:
    kinds = {path.parent.name if path.parent != whole else path.name for path in files(whole)}
    assert kinds >= {"rows", "maps", "samples", "workers", "run.json"}
    assert all(seal.is_whole(path.read_bytes(), path.name) for path in files(whole))


@pytest.mark.parametrize("times", [60, pytest.param(400, marks=pytest.mark.slow)])
def test_every_flipped_bit_is_noticed(whole: Path, times: int) -> None:
    generator = random.Random(times)
    for _ in range(times):
        path = generator.choice(files(whole))
        content = bytearray(path.read_bytes())
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        assert not seal.is_whole(bytes(content), path.name)
    assert seal.is_whole(path.read_bytes(), path.name)


def test_a_text_that_looks_like_a_seal_is_none() -> None:
    text = f'{{"title": "heatproof.seal: sha256:{"1" * 64}", "heatproof.seal": "{seal.UNSEALED}"}}'.encode()
    content = seal.sealed(text, "it")
    assert seal.is_whole(content, "folder/it")
    assert not seal.is_whole(content.replace(b"1" * 64, b"1" * 63 + b"2"), "it")
    assert not seal.is_whole(content, "another")
    with pytest.raises(TornError, match="Expected it as it was written"):
        seal.whole(b"{}", "it")


@pytest.mark.parametrize("kind", ["rows", "maps", "samples", "workers", "run.json"])
@pytest.mark.parametrize("how", ["flipped", "cut", "emptied"])
def test_what_was_damaged_is_computed_again(whole: Path, tmp_path: Path, kind: str, how: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    path = next(path for path in files(folder) if kind in (path.parent.name, path.name))
    if how == "flipped":
        flipped(path, random.Random(0))
    else:
        path.write_bytes(path.read_bytes()[:-20] if how == "cut" else b"")
    with pytest.warns(HeatproofWarning, match=rf"{path.name}.* changed since"):
        audited(folder)
    assert all(seal.is_whole(path.read_bytes(), path.name) for path in files(folder))
    assert rows(folder) == rows(whole)
    assert read_samples(folder) == read_samples(whole)
    (maps, inputs), (own, pictures) = read_maps(folder), read_maps(whole)
    assert maps.keys() == own.keys()
    assert all((maps[key] == own[key]).all() for key in own)
    assert inputs.keys() == pictures.keys()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert audited(folder).manifest["status"] == "complete"


def test_a_report_says_which_rows_are_left_out(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    path = next(path for path in files(folder) if path.parent.name == "rows")
    flipped(path, random.Random(1))
    with pytest.warns(HeatproofWarning, match=rf"rows/{path.name} changed since"):
        assert 0 < len(read_rows(folder)) < len(read_rows(whole))
    with pytest.warns(HeatproofWarning):
        said = str(content(folder))
    assert f"their rows are left out: rows/{path.name}" in said


@pytest.mark.parametrize("times", [40, pytest.param(400, marks=pytest.mark.slow)])
def test_a_flipped_bit_of_a_kept_fit_is_noticed_or_changes_nothing(tmp_path: Path, times: int) -> None:
    stored = artifacts.Stored({"a": torch.arange(64.0), "b": torch.ones(3, 3)}, {"epochs": 3, "name": "x"})
    path = tmp_path / "kept.safetensors"
    artifacts.write_tensors(path, stored, name="kept.safetensors")
    own, generator, noticed = path.read_bytes(), random.Random(times), 0
    for _ in range(times):
        path.write_bytes(own)
        flipped(path, generator)
        try:
            found = artifacts.read_tensors(path, name="kept.safetensors")
        except DamagedError:
            noticed += 1
            continue
        assert found.facts == stored.facts
        assert all(torch.equal(found.tensors[name], value) for name, value in stored.tensors.items())
    assert noticed > times * 0.8
