"""Samples a block and threads: settled once, by the samples' size or by a measurement, and obeyed by all."""

from pathlib import Path
from typing import Any

import audit_toys as toys
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from heatproof.auditing import settings
from heatproof.auditing.asked import Asked
from heatproof.auditing.samples import Tensors
from heatproof.auditing.settings import Settings, chosen, measured, settings_of
from heatproof.auditing.spec import parse
from heatproof.auditing.ways import Actors, Way
from heatproof.errors import InputError
from heatproof.runs import read_manifest

SETTINGS: dict[str, Any] = {"methods": ["gradient-x-input", "smoothgrad"], "checks": ["parameter-randomization"]}
SOURCE = Tensors(inputs=toys.images(200))


def asked(**changes: Any) -> Asked:
    return Asked(methods={}, checks={}, **changes)


def paced(monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float]) -> list[int]:
    """Passes take so long, by their size; the sizes that were tried."""
    tried: list[int] = []

    def fake(bound: nn.Module, portion: Any, size: int, clock: Any) -> float:
        tried.append(size)
        return seconds.get(size, float(size))

    monkeypatch.setattr(settings, "_pass", fake)
    return tried


class TestMeasured:
    @pytest.mark.parametrize(
        ("rates", "usual", "expected"),
        [
            ({1: 10.0, 2: 20.0, 4: 21.0, 8: 19.0}, 8, 8),  # as good as the best
            ({1: 10.0, 2: 20.0, 4: 22.0, 8: 12.0}, 8, 4),
            ({1: 10.0, 2: 20.0, 4: 10.0, 8: 20.0}, 4, 2),  # both as near: the smaller
            ({1: 10.0, 2: 20.0}, 8, 8),  # nobody has tried the usual one
            ({}, 8, 8),
        ],
    )
    def test_the_usual_size_unless_another_is_surely_faster(
        self, rates: dict[int, float], usual: int, expected: int
    ) -> None:
        assert chosen(rates, usual) == expected

    def test_sizes_take_turns_and_the_fastest_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tried = paced(monkeypatch, {})
        assert measured(toys.network(), SOURCE, 48) == dict.fromkeys((1, 2, 4, 8, 16, 32, 48, 64), 1.0)
        assert tried == [1, *3 * [1, 2, 4, 8, 16, 32, 48, 64]]

    def test_it_ends_when_time_is_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tried = paced(monkeypatch, {1: 0.0})
        monkeypatch.setattr(settings, "SECONDS", 0.0)
        assert measured(toys.network(), SOURCE, 8) == {}
        assert tried == [1]

    def test_what_does_not_fit_into_memory_is_left_out(self) -> None:
        class Small(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = toys.network()

            def forward(self, x: Tensor) -> Tensor:
                if len(x) > 8:
                    raise torch.OutOfMemoryError("CUDA out of memory.")
                out: Tensor = self.net(x)
                return out

        rates = measured(Small().eval(), SOURCE, 64)
        assert list(rates) == [1, 2, 4, 8]
        assert all(rate > 0 for rate in rates.values())

    def test_nothing_is_measured_unless_it_is_asked_for_or_in_one_block(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tried = paced(monkeypatch, {})
        assert settings_of(None, asked(threads=1), toys.network(), SOURCE) == Settings(batch=64, threads=1)
        few = Tensors(inputs=toys.images(7))
        assert settings_of(None, asked(threads=1, batch="measured"), toys.network(), few).batch == 7
        assert tried == []

    def test_a_run_keeps_it_and_its_workers_obey(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        images = toys.images(70)
        paced(monkeypatch, {4: 0.01})
        toys.run(tmp_path / "said", inputs=images, **SETTINGS, batch=4)
        toys.run(tmp_path / "measured", inputs=images, **SETTINGS, batch="measured", shard="1/2")
        found = read_manifest(tmp_path / "measured")["settings"]
        assert (found["compute_batch"], found["rates"]["4"], found["rates"]["64"]) == (4, 400.0, 1.0)
        tried = paced(monkeypatch, {16: 0.01})
        run = toys.run(tmp_path / "measured", inputs=images, **SETTINGS, batch="measured", workers=1)
        assert tried == []
        assert run.manifest["settings"] == found
        one, other = (pd.read_parquet(tmp_path / name / "rows") for name in ("said", "measured"))
        order = ["question", "sample", "metric", "position", "seed"]
        one, other = (rows.sort_values(order, ignore_index=True) for rows in (one, other))
        pd.testing.assert_frame_equal(one, other, check_exact=True)

    def test_a_spec_may_ask_for_it(self) -> None:
        table = {"model": {"name": "demo-cnn"}, "data": {"name": "demo"}, "methods": ["gradient"],
                 "checks": ["calibration"], "batch": "measured"}  # fmt: skip
        assert parse(table).batch == "measured"
        with pytest.raises(InputError, match="batch"):
            parse({**table, "batch": "measure"})

    def test_nothing_else_is(self) -> None:
        with pytest.raises(InputError, match="a whole number from 1 on or \"measured\", but got 'fast'"):
            asked(batch="fast")


class TestThreads:
    @pytest.mark.parametrize(
        ("way", "expected"),
        [
            (Way(), 8),
            (Way(devices=("", "", "")), 2),
            (Way(devices=("",) * 16), 1),
            (Way(take=True), 8),
            (Way(actors=Actors(workers=3)), 2),
            (Way(actors=Actors(workers=3, cpus=4)), 4),
            (Way(actors=Actors(workers=3, cpus=0.5)), 1),
            (Way(actors=Actors(workers=3, address="auto")), 1),
        ],
    )
    def test_of_all_workers_are_no_more_than_there_are_cores(
        self, way: Way, expected: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
        assert settings_of(None, asked(batch=3), toys.network(), SOURCE, way).threads == expected
        assert settings_of(None, asked(batch=3, threads=5), toys.network(), SOURCE, way).threads == 5

    def test_are_those_that_the_run_began_with(self) -> None:
        before = {"settings": {"compute_batch": 3, "threads": 4}}
        way = Way(devices=("", ""))
        assert settings_of(before, asked(), toys.network(), SOURCE, way) == Settings(batch=3, threads=4)
