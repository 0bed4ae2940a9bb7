"""The same rows, whoever computes the blocks and however often they are killed."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import audit_toys as toys
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.auditing.ways import Way, parsed
from heatproof.errors import AuditError, FailureWarning, InputError, StoreError
from heatproof.runs import Store, leases, read_manifest, read_rows
from heatproof.runs.files import LocalFiles

SETTINGS: dict[str, Any] = {"methods": ["gradient-x-input", "smoothgrad"], "checks": ["parameter-randomization"]}
COUNT = 20
SCRIPT = """
import sys
from pathlib import Path
import audit_toys as toys
import test_ways
if __name__ == "__main__":
    way = {"take": True} if sys.argv[2] == "take" else {"shard": sys.argv[2]} if "/" in sys.argv[2] else {}
    if sys.argv[2] == "processes":
        way = {"workers": 2}
    test_ways.audited(Path(sys.argv[1]), **way)
"""


def audited(out: Path, **changes: Any) -> hp.auditing.Run:
    return toys.run(out, inputs=toys.images(COUNT), **{**SETTINGS, **changes})


def started(out: Path, way: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(out), way], cwd=Path(__file__).parent)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return audited(tmp_path_factory.mktemp("alone")).rows()


def same(run: Path, undisturbed: pd.DataFrame) -> None:
    """Bit for bit, none lost and none twice, for heatproof's reader and for any other."""
    manifest = read_manifest(run)
    assert (manifest["status"], manifest["failures"]) == ("complete", [])
    pd.testing.assert_frame_equal(read_rows(run).drop(columns="question"), undisturbed, check_exact=True)
    plain = pd.concat(pd.read_parquet(path) for path in (run / "rows").glob("*.parquet"))
    assert len(plain) == len(undisturbed)


class TestOneResult:
    def test_two_processes(self, tmp_path: Path, undisturbed: pd.DataFrame) -> None:
        run = audited(tmp_path, workers=2)
        same(tmp_path, undisturbed)
        computed = [worker["blocks"] for worker in Store(tmp_path).workers()]
        assert (computed[0], sum(computed)) == (0, 7)
        assert run.manifest["costs"]["smoothgrad"]["maps"] == 21 * 8

    @pytest.mark.slow
    def test_devices_are_given_one_process_each(self, tmp_path: Path, undisturbed: pd.DataFrame) -> None:
        audited(tmp_path, devices=["cpu"])
        same(tmp_path, undisturbed)

    def test_three_shards(self, tmp_path: Path, undisturbed: pd.DataFrame) -> None:
        for place in (2, 3, 1):
            assert read_manifest(audited(tmp_path, shard=f"{place}/3").path)["status"] == (
                "complete" if place == 1 else "incomplete"
            )
        same(tmp_path, undisturbed)

    def test_one_that_takes(self, tmp_path: Path, undisturbed: pd.DataFrame) -> None:
        audited(tmp_path, take=True)
        same(tmp_path, undisturbed)

    @pytest.mark.slow
    def test_two_that_take(self, tmp_path: Path, undisturbed: pd.DataFrame) -> None:
        both = [started(tmp_path, "take") for _ in range(2)]
        assert [one.wait(timeout=120) for one in both] == [0, 0]
        same(tmp_path, undisturbed)
        assert sum(worker["blocks"] for worker in Store(tmp_path).workers()) == 7
        assert leases.held(LocalFiles(tmp_path)) == []

    def test_one_after_the_other(self, tmp_path: Path, undisturbed: pd.DataFrame) -> None:
        audited(tmp_path, shard="1/3")
        audited(tmp_path, take=True)
        audited(tmp_path)
        same(tmp_path, undisturbed)


def killed(out: Path, ways: list[str], kills: int, seed: int) -> None:
    """Audits, of which one is killed at a random moment and started again, so many times; then all may finish."""
    rng = random.Random(seed)
    running = [started(out, way) for way in ways]
    try:
        for _ in range(kills):
            time.sleep(rng.uniform(0.5, 4.0))
            which = rng.randrange(len(ways))
            children = subprocess.run(["pgrep", "-P", str(running[which].pid)], capture_output=True, text=True)
            victims = [running[which].pid, *map(int, children.stdout.split())]
            victim = rng.choice(victims)
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            if victim == running[which].pid or running[which].poll() is not None:
                running[which].wait()
                running[which] = started(out, ways[which])
        for one in running:
            one.wait(timeout=180)
    finally:
        for one in running:
            one.kill()
            one.wait()


WAYS = pytest.mark.parametrize(
    "ways", [["local"], ["take", "take"], ["processes"]], ids=["local", "take x 2", "processes x 2"]
)


@WAYS
def test_killed_at_random_the_rows_are_the_same(tmp_path: Path, ways: list[str], undisturbed: pd.DataFrame) -> None:
    killed(tmp_path, ways, 5, seed=0)
    audited(tmp_path)
    same(tmp_path, undisturbed)


@pytest.mark.slow
@WAYS
def test_killed_fifty_times_the_rows_are_the_same(tmp_path: Path, ways: list[str], undisturbed: pd.DataFrame) -> None:
    for round_ in range(10):
        killed(tmp_path / str(round_), ways, 5, seed=round_)
        audited(tmp_path / str(round_))
        same(tmp_path / str(round_), undisturbed)


class Deadly(nn.Module):
    """Ends the process that runs it on a sample of the second block, if that process is not the first one."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.home, self.hit = toys.network(), os.getpid(), toys.images(COUNT)[4:5]

    def forward(self, x: Tensor) -> Tensor:
        if os.getpid() != self.home and bool((x == self.hit).flatten(1).all(1).any()):
            os._exit(9)
        out: Tensor = self.net(x)
        return out


class TestWhatGoesWrong:
    @pytest.mark.slow
    def test_a_block_that_kills_three_workers_is_recorded_and_the_run_goes_on(self, tmp_path: Path) -> None:
        run = audited(tmp_path, model=Deadly().eval(), workers=2)
        (failure,) = run.manifest["failures"]
        assert failure["error"] == "ProcessDied: 3 processes ended (with status 9) while they were at block 1."
        assert sorted(Store(tmp_path).finished()) == [0, 2, 3, 4, 5, 6]
        assert audited(tmp_path, model=Deadly().eval()).manifest["status"] == "complete"

    @pytest.mark.slow
    def test_what_fails_everywhere_is_tried_once_a_block_by_all(self, tmp_path: Path) -> None:
        run = audited(tmp_path, methods={"broken": toys.broken, "gradient": "gradient"}, workers=2)
        (failure,) = run.manifest["failures"]
        assert (failure["error"], failure["count"]) == ("ValueError: no luck", 7 * 8)
        assert len(failure["samples"]) == COUNT

    @pytest.mark.slow
    def test_too_much_that_fails_stops_all(self, tmp_path: Path) -> None:
        with pytest.raises(AuditError, match=r"Stopped after 1 different failures \(0 are allowed\); the last: V"):
            audited(tmp_path, methods={"broken": toys.broken}, workers=2, max_errors=0)

    def test_what_does_not_pickle_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="Expected an audit that can be sent to another process, but pickling it"):
            audited(tmp_path, methods={"local": lambda model, inputs, targets: inputs}, workers=2)

    def test_a_device_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="Expected devices of this machine, but 'cuda:99' is none"):
            audited(tmp_path, devices=["cuda:99"])

    def test_a_run_that_is_shared_is_not_changed(self, tmp_path: Path) -> None:
        audited(tmp_path, shard="1/2")
        with pytest.raises(StoreError, match=r"asks what .* was begun with.*run it once alone"):
            audited(tmp_path, shard="2/2", methods=["gradient"])

    def test_alone_means_alone(self, tmp_path: Path) -> None:
        audited(tmp_path, shard="1/2")
        with (
            leases.alone(LocalFiles(tmp_path), "worker-x", "x"),
            pytest.raises(StoreError, match="another process is wr"),
        ):
            audited(tmp_path)
        with (
            leases.alone(LocalFiles(tmp_path), leases.RUN, "x"),
            pytest.raises(StoreError, match="another process is w"),
        ):
            audited(tmp_path, take=True)
        with (
            leases.alone(LocalFiles(tmp_path), "shard-2-of-2", "x"),
            pytest.raises(StoreError, match="another process"),
        ):
            audited(tmp_path, shard="2/2")

    def test_another_version_is_refused_unless_mixed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        audited(tmp_path, shard="1/2")
        monkeypatch.setattr(torch, "__version__", "2.99.0")
        with pytest.raises(StoreError, match=r"Expected the version of torch that this run began with .*got 2\.99"):
            audited(tmp_path, shard="2/2")
        assert audited(tmp_path, shard="2/2", mixed=True).manifest["status"] == "complete"

    @pytest.mark.slow
    def test_sigterm_leaves_a_run_that_goes_on(self, tmp_path: Path, undisturbed: pd.DataFrame) -> None:
        one = started(tmp_path, "processes")
        while not list((tmp_path / "rows").glob("*.parquet")):
            time.sleep(0.01)
        one.terminate()
        assert one.wait(timeout=60) != 0
        assert leases.held(LocalFiles(tmp_path)) == []
        audited(tmp_path)
        same(tmp_path, undisturbed)


class TestSaying:
    @pytest.mark.parametrize(
        ("text", "environment", "expected"),
        [
            ("3/16", {}, (2, 16)),
            ("auto", {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_MIN": "1"}, (4, 8)),
            ("auto", {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "8"}, (5, 8)),
            ("auto/4", {"JOB_COMPLETION_INDEX": "3"}, (3, 4)),
            ("auto", {"RANK": "1", "WORLD_SIZE": "2"}, (1, 2)),
        ],
    )
    def test_a_shard(self, text: str, environment: dict[str, str], expected: tuple[int, int]) -> None:
        assert parsed(text, environment) == expected

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("3", "Expected a shard such as 3/16, auto or auto/16, but got '3'"),
            ("0/4", "Expected a shard from 1/4 to 4/4, but got 0/4"),
            ("5/4", "Expected a shard from 1/4 to 4/4, but got 5/4"),
            ("auto", r"Expected a scheduler's variables for the shard \(SLURM_ARRAY_TASK_ID with .*but found none"),
        ],
    )
    def test_what_is_no_shard(self, text: str, said: str) -> None:
        with pytest.raises(InputError, match=said):
            parsed(text, {})

    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            ({"take": True, "shard": "1/2", "out": "x"}, "either a shard or take"),
            ({"take": True, "workers": 2, "out": "x"}, "either processes or a shard or take"),
            ({"take": True}, "a folder that all processes share"),
            ({"workers": 2, "devices": ["cpu"]}, r"one worker a device \(1\), but got workers = 2"),
            ({"workers": 0}, "workers to be a whole number from 1 on"),
            ({"devices": "cuda:0"}, r"write \['cuda:0'\]"),
        ],
    )
    def test_what_does_not_go_together(self, asked: dict[str, Any], said: str) -> None:
        with pytest.raises(InputError, match=said):
            Way.of(**asked)


@pytest.mark.slow
def test_the_warning_names_the_caller(tmp_path: Path) -> None:
    with pytest.warns(FailureWarning) as said:
        hp.audit(
            toys.network(), toys.images(), methods=[toys.broken], checks=["calibration"], batch=3, progress=False,
            out=tmp_path, workers=1,
        )  # fmt: skip
    assert said[0].filename == __file__
