"""Audits of data that are read block by block: the same rows as of a tensor, and never all of them in memory."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import audit_toys as toys
import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import heatproof as hp
from heatproof.auditing import course, from_spec
from heatproof.auditing.finishing import finish
from heatproof.auditing.spec import parse
from heatproof.auditing.ways import Way
from heatproof.errors import FailureWarning, InputError, StoreError
from heatproof.runs import Store, read_manifest, read_samples
from heatproof.runs.status import Status
from heatproof.targets import Label

COUNT = 10
LABELS = torch.arange(COUNT) % 4
SETTINGS: dict[str, Any] = {
    "methods": ["gradient-x-input", "smoothgrad"], "checks": ["parameter-randomization", "degradation"], "batch": 3,
    "threads": 1, "progress": False,
}  # fmt: skip


def audited(data: Any, out: Path, **changes: Any) -> pd.DataFrame:
    return hp.audit(toys.network(), data, out=out, **{**SETTINGS, **changes}).rows()


@pytest.fixture(scope="module")
def of_tensor(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return audited(toys.images(COUNT), tmp_path_factory.mktemp("tensor"), targets=LABELS)


def test_any_form_of_data_gives_the_rows_of_the_tensor(tmp_path: Path, of_tensor: pd.DataFrame) -> None:
    images = toys.images(COUNT)
    np.save(tmp_path / "images.npy", images.numpy())
    kinds: dict[str, tuple[Any, Any]] = {
        "array": (images.numpy(), LABELS),
        "mapped": (np.load(tmp_path / "images.npy", mmap_mode="r"), LABELS),
        "data set": (TensorDataset(images, LABELS), Label("given")),
        "loader": (DataLoader(TensorDataset(images, LABELS), batch_size=4), Label("given")),
        "blocks": (hp.data.as_blocks(images, LABELS), Label("given")),
    }
    for name, (data, targets) in kinds.items():
        rows = audited(data, tmp_path / name, targets=targets)
        pd.testing.assert_frame_equal(rows, of_tensor, check_exact=True)
        assert read_manifest(tmp_path / name)["knowledge"]["n"] == COUNT


def test_two_processes_read_their_own_blocks(tmp_path: Path, of_tensor: pd.DataFrame) -> None:
    rows = audited(hp.data.as_blocks(toys.images(COUNT), LABELS), tmp_path, targets=Label("given"), workers=2)
    pd.testing.assert_frame_equal(rows, of_tensor, check_exact=True)


def test_samples_that_cannot_be_used_are_named_and_leave_the_others(tmp_path: Path) -> None:
    images = toys.images(COUNT).numpy()
    images[3:6] = np.nan  # a whole block
    images[8] = np.nan
    np.save(tmp_path / "images.npy", images)
    run = hp.audit(toys.network(), np.load(tmp_path / "images.npy", mmap_mode="r"), out=tmp_path / "run", **SETTINGS)
    manifest = run.manifest
    assert (manifest["status"], manifest["failures"]) == ("complete", [])
    assert sorted(name for name, _ in manifest["data"]["skipped"]) == ["3", "4", "5", "8"]
    assert set(run.rows()["sample"]) - {""} == {"0", "1", "2", "6", "7", "9"}
    assert [one["id"] for one in read_samples(run.path)] == ["0", "1", "2", "6", "7", "9"]


def test_a_block_that_cannot_be_read_is_a_failure_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        name, classes, identity = "broken", None, "broken"

        def __len__(self) -> int:
            return COUNT

        def read(self, start: int, stop: int) -> hp.data.Dataset:
            if start >= 6 and start < 9:
                raise OSError("the disk is gone")
            return hp.data.as_blocks(toys.images(COUNT), LABELS).read(start, stop)

    monkeypatch.setattr(course, "LOOKED_AT", 2)
    with pytest.warns(FailureWarning):
        run = hp.audit(toys.network(), Broken(), Label("given"), out=tmp_path, **{**SETTINGS, "batch": 1})
    (failure,) = run.manifest["failures"]
    assert (failure["error"], failure["count"]) == ("OSError: the disk is gone", 3)
    assert sorted(Store(tmp_path).finished()) == [-1, 0, 1, 2, 3, 4, 5, 9]


def test_of_more_samples_than_are_looked_at_it_is_known_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course, "LOOKED_AT", 3)
    run = hp.audit(toys.network(), toys.images(COUNT), LABELS, out=tmp_path, **SETTINGS)
    assert json.loads((tmp_path / "run.json").read_text())["knowledge"]["n"] == 3
    assert run.manifest["knowledge"]["n"] == COUNT
    right = toys.network()(toys.images(COUNT)).argmax(1) == LABELS
    assert run.manifest["knowledge"]["value"] == float(right.double().mean())


def test_data_that_changed_since_are_refused(tmp_path: Path) -> None:
    class Changing:
        name, classes, identity, factor = "changing", None, "the same", 1.0

        def __len__(self) -> int:
            return COUNT

        def read(self, start: int, stop: int) -> hp.data.Dataset:
            data = hp.data.as_blocks(toys.images(COUNT), LABELS).read(start, stop)
            return replace(data, inputs=data.inputs * self.factor) if start >= 3 else data

    data = Changing()
    audited(data, tmp_path, targets=Label("given"), checks=["calibration"])
    for path in (tmp_path / "rows").glob("0000002-*"):
        path.unlink()
    data.factor = 1.5
    with pytest.raises(StoreError, match=r"Expected the samples that block 2 had when it was begun \('6' and on\)"):
        audited(data, tmp_path, targets=Label("given"), checks=["calibration"])


def test_a_target_that_the_answer_does_not_have_is_refused_at_the_door(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Expected len to give floating values .*, but it gave int"):
        audited(toys.images(COUNT).numpy(), tmp_path, targets=len)
    assert list(tmp_path.iterdir()) == []


class TestFinishing:
    def test_a_spec_is_finished_by_anyone(self, tmp_path: Path) -> None:
        pictures = np.random.default_rng(0).integers(0, 255, (6, 12, 12), dtype=np.uint8)
        np.savez(tmp_path / "data.npz", x=pictures, y=np.arange(6) % 4)
        table = {
            "model": {"name": "audit_toys:network"},
            "data": {"name": "npz", "path": "data.npz"},
            "methods": ["random"],
            "checks": [{"name": "degradation", "tile": 4, "label": "removal"}],
            "batch": 2,
        }
        spec = parse(table, tmp_path)
        for shard in ((1, 2), (0, 2)):
            run = from_spec.run(spec, tmp_path / "run", threads=1, way=Way(shard=shard), progress=False)
        rows = run.rows()
        for path in (tmp_path / "run" / "rows").glob("summary-*"):
            path.unlink()
        assert len(run.rows()) < len(rows)
        for _ in range(2):
            assert finish(tmp_path / "run")["status"] == "complete"
            pd.testing.assert_frame_equal(run.rows(), rows, check_exact=True)

    def test_of_python_is_finished_by_python(self, tmp_path: Path) -> None:
        images = toys.images(COUNT)
        for place in ("1/2", "2/2"):
            audited(images, tmp_path, shard=place)
        for path in (tmp_path / "rows").glob("summary-*"):
            path.unlink()
        assert Status.of(tmp_path).sentences()[-1] == "What needs all blocks is not said yet: heatproof finish."
        with pytest.raises(StoreError, match=r"begun in Python, and its checks \(degradation\) are known there alone"):
            finish(tmp_path)
        audited(images, tmp_path)
        assert finish(tmp_path)["status"] == "complete"
        assert finish(tmp_path)["status"] == "complete"


class TestStatus:
    def test_says_how_far_a_run_is(self, tmp_path: Path) -> None:
        audited(toys.images(COUNT), tmp_path, shard="1/2")
        found = Status.of(tmp_path)
        assert (found.blocks, found.finished, found.answered, found.status) == (4, 2, 0.5, "incomplete")
        assert found.sentences() == [
            "2 of 4 blocks are finished (50% of all answers), of 10 samples; the run is incomplete.",
            "Nobody is at it.",
        ]

    def test_of_no_run_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"Expected a run of heatproof with a run\.json"):
            Status.of(tmp_path)
