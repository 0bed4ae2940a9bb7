"""What does not grow with a run: what a resume looks into, memory, and what is asked."""

import runpy
from pathlib import Path
from typing import Any

import finished_runs as runs
import pytest

from heatproof.auditing import course
from heatproof.runs import Store, read_manifest
from heatproof.runs.store import ROWS

FIGURES = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "scale_figures.py"))
WAYS: list[dict[str, Any]] = [{}, {"workers": 2}, {"take": True}, {"shard": "1/2"}]


class TestAFinishedRun:
    @pytest.mark.parametrize("way", WAYS, ids=["here", "processes", "take", "shard"])
    def test_is_resumed_by_as_many_looks_into_files_however_many_there_are(
        self, tmp_path: Path, way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(course, "MENDED", 30)  # files that are looked into for damage
        monkeypatch.setattr(course, "LOOKED_AT", 8)
        looks = []
        for blocks in (20, 200):
            runs.finished(blocks, tmp_path / str(blocks))
            with runs.counted() as found:
                runs.audit(blocks, tmp_path / str(blocks), **way)
            looks.append(found)
            assert read_manifest(tmp_path / str(blocks))["status"] == "complete"
        assert looks[0] == looks[1]
        assert looks[0]["read"] < 20

    def test_that_misses_one_block_computes_that_one(self, tmp_path: Path) -> None:
        runs.finished(50, tmp_path)
        before = runs.audit(50, tmp_path).rows()
        store = Store(tmp_path)
        store.files.remove(next(part for part in store.parts(ROWS) if part.block == 17).name)
        workers = len(store.workers())
        assert runs.audit(50, tmp_path).manifest["status"] == "complete"
        assert [worker["blocks"] for worker in store.workers()[workers:]] == [1]
        assert len(runs.audit(50, tmp_path).rows()) == len(before)


@pytest.mark.slow
def test_100_000_finished_blocks_are_resumed_in_seconds() -> None:
    found = FIGURES["measured"]("resume", 100_000)
    assert found["files read"] < 20
    assert found["CPU seconds"] < 10


@pytest.mark.slow
def test_memory_does_not_grow_with_the_samples() -> None:
    small, large = (FIGURES["measured"]("memory", images) for images in (200, 20_000))
    assert large["run.json, bytes"] - small["run.json, bytes"] <= 2 * len("20000")
    assert large["peak, MiB"] - small["peak, MiB"] < 300
