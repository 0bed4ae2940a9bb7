import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import audit_toys as toys
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.auditing import store as store_module
from heatproof.errors import AuditError, InputError, StoreError
from heatproof.methods import GradientXInput


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Bit for bit, NaN equal to NaN."""
    pd.testing.assert_frame_equal(one, other, check_exact=True)


class TestRows:
    def test_have_the_schema_and_are_complete(self, tmp_path: Path) -> None:
        run = toys.run(tmp_path)
        rows = run.rows()
        assert list(rows) == ["check", "method", "setting", "position", "sample", "metric", "value", "seed"]
        assert not rows.drop(columns="value").duplicated().any()
        assert run.manifest["status"] == "complete"
        cascade = rows[(rows.setting == "cascading truncated-normal") & (rows.metric == "spearman")]
        # three layers, seven samples, four methods
        assert cascade.groupby(["method", "position"]).size().unstack().to_numpy().tolist() == [[7, 7, 7]] * 4

    def test_are_what_the_parts_give_by_hand(self, tmp_path: Path) -> None:
        model, inputs = toys.network(), toys.images()
        rows = toys.run(tmp_path, batch=7).rows()
        targets = model(inputs).argmax(1)
        method = hp.methods.get("gradient-x-input")
        trained = method(model, inputs, targets).sum(1)
        for stage in hp.randomization.Cascading().stages(model, inputs[:1]):
            with stage:
                maps = method(model, inputs, targets).sum(1)
            for name in ("spearman", "spearman-absolute", "ssim", "mse"):
                here = rows[
                    (rows.setting == "cascading truncated-normal")
                    & (rows.metric == name)
                    & (rows.method == "gradient-x-input")
                    & (rows.position == stage.index)
                ].sort_values("sample")
                expected = hp.similarity.get(name)(trained, maps)
                assert torch.equal(torch.tensor(here.value.to_numpy()), expected)

    def test_a_measure_that_does_not_fit_the_maps_is_a_stated_blank(self, tmp_path: Path) -> None:
        run = toys.run(tmp_path)
        assert "hog" not in set(run.rows().metric)
        notes = run.manifest["checks"][0]["notes"]
        assert len(notes) == 1
        assert notes[0].startswith("hog is left out:")

    def test_an_edge_detector_never_changes_and_noise_never_repeats(self, tmp_path: Path) -> None:
        rows = toys.run(tmp_path).rows()
        spearman = rows[rows.metric == "spearman"].set_index(["method", "setting"]).value
        assert (spearman["edge-detector", "cascading truncated-normal"] == 1.0).all()
        assert (spearman["edge-detector", "replicate"] == 1.0).all()
        assert spearman["random", "replicate"].abs().max() < 4 / 144**0.5  # 4 standard errors of 144 features

    def test_a_degenerate_map_is_nan_and_counted(self, tmp_path: Path) -> None:
        def blank(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
            return torch.zeros_like(inputs)

        rows = toys.run(tmp_path, methods={"blank": blank}, checks=["parameter-randomization"]).rows()
        similarity = rows[(rows.method == "blank") & rows.metric.isin(["spearman", "ssim", "mse"])]
        assert len(similarity) == 3 * 7 * (3 + 1 + 1)  # measures × samples × (stages, floor, replicate)
        assert similarity.value.isna().all()

    def test_own_labels_are_explained_by_name(self, tmp_path: Path) -> None:
        check = hp.checks.ParameterRandomization(targets="own")
        model, inputs = toys.network(), toys.images()
        run = toys.run(tmp_path, methods=["gradient"], checks=[check], batch=7)
        last = hp.randomization.Cascading().stages(model, inputs[:1])[-1]
        with last:
            outputs = model(inputs)
        rows = run.rows()
        scores = rows[(rows.metric == "target-score") & (rows.position == 3)].sort_values("sample").value.to_numpy()
        assert torch.allclose(torch.tensor(scores), outputs.amax(1).double().detach())

    def test_tables_and_sequences_work_without_images(self, tmp_path: Path) -> None:
        model = nn.Sequential(nn.Linear(9, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
        inputs = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
        run = hp.audit(
            model, inputs, methods=["cgi", "random"], checks=["parameter-randomization", "input-controls"],
            out=tmp_path, progress=False,
        )  # fmt: skip
        assert set(run.rows().metric) >= {"spearman", "mse"}
        assert "edge-detector is left out: it needs images (C, H, W)." in run.manifest["checks"][1]["notes"]


class TestResuming:
    def test_a_finished_run_computes_nothing(self, tmp_path: Path) -> None:
        calls: list[int] = []

        class Counting(nn.Module):
            def __init__(self, net: nn.Module) -> None:
                super().__init__()
                self.net = net

            def forward(self, x: Tensor) -> Tensor:
                calls.append(len(x))
                out: Tensor = self.net(x)
                return out

        counting = Counting(toys.network()).eval()
        rows = toys.run(tmp_path, model=counting).rows()
        computing = len(calls)
        calls.clear()
        same(toys.run(tmp_path, model=counting).rows(), rows)
        # predictions for 7 samples by 3, the first block at the door, the order of layers, the probe twice
        assert len(calls) < 12 < computing

    def test_an_added_method_computes_its_own_cells_only(self, tmp_path: Path) -> None:
        toys.run(tmp_path)
        before = {path: path.read_bytes() for path in (tmp_path / "rows").iterdir()}
        asked: list[int] = []

        def added(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
            asked.append(len(inputs))
            return GradientXInput()(model, inputs, targets)

        costs = toys.run(tmp_path, methods=[*toys.METHODS, added]).manifest["costs"]
        assert {path: path.read_bytes() for path in before} == before
        assert len(asked) == 3 * (1 + 3 + 1 + 1)  # blocks × (trained, stages, floor, replicate of an unknown callable)
        assert costs["gradient-x-input"]["maps"] == 3 * 3 * 5  # samples × blocks × states, as in the first run
        rows = toys.run(tmp_path, methods=[*toys.METHODS, added]).rows()
        ours = rows[rows.method == "added"].drop(columns="method").reset_index(drop=True)
        theirs = rows[rows.method == "gradient-x-input"].drop(columns="method")
        theirs = theirs[~theirs.metric.isin(["score", "completeness-gap"])].reset_index(drop=True)
        same(ours, theirs)

    def test_a_dropped_method_leaves_the_rows_but_not_the_folder(self, tmp_path: Path) -> None:
        toys.run(tmp_path)
        assert set(toys.run(tmp_path, methods=["cgi"]).rows().method) == {"", "cgi"}
        assert set(toys.run(tmp_path).rows().method) == {"", *toys.METHODS}

    def test_interrupted_at_every_write_and_resumed_the_rows_are_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        undisturbed = toys.run(tmp_path / "whole").rows()
        write = store_module._write
        left = 0

        def failing(path: Path, writer: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                path.with_name(f"{path.name}.tmp").write_bytes(b"half")
                raise KeyboardInterrupt
            write(path, writer)

        monkeypatch.setattr(store_module, "_write", failing)
        interruptions = 0
        while True:
            left = 4
            try:
                rows = toys.run(tmp_path / "torn").rows()
                break
            except KeyboardInterrupt:
                interruptions += 1
        assert interruptions > 5
        same(rows, undisturbed)
        assert not list((tmp_path / "torn").rglob("*.tmp"))

    def test_batch_and_threads_are_those_the_run_began_with(self, tmp_path: Path) -> None:
        first = toys.run(tmp_path).rows()
        same(toys.run(tmp_path, batch=None, threads=None).rows(), first)
        with pytest.raises(StoreError, match=r"Expected batch = 3, as this run began with, but got 5"):
            toys.run(tmp_path, batch=5)

    def test_two_models_never_answer_for_each_other(self, tmp_path: Path) -> None:
        rows = toys.run(tmp_path).rows()
        with pytest.raises(StoreError, match=r"belongs to another: model differ\. Choose another folder"):
            toys.run(tmp_path, model=toys.network(seed=1))
        with pytest.raises(StoreError, match=r"data differ"):
            toys.run(tmp_path, inputs=toys.images() * 0.5)
        same(toys.run(tmp_path).rows(), rows)

    def test_a_model_that_computes_something_else_is_refused_although_its_tensors_agree(self, tmp_path: Path) -> None:
        class Switched(nn.Module):
            factor = 1.0

            def __init__(self) -> None:
                super().__init__()
                self.net = toys.network()

            def forward(self, x: Tensor) -> Tensor:
                out: Tensor = self.net(x) * Switched.factor
                return out

        toys.run(tmp_path, model=Switched().eval(), checks=["calibration"])
        Switched.factor = 1.5
        with pytest.raises(StoreError, match="give the outputs that it gave when this run began"):
            toys.run(tmp_path, model=Switched().eval(), checks=["calibration"])

    def test_one_process_at_a_time(self, tmp_path: Path) -> None:
        toys.run(tmp_path, checks=["calibration"])
        holder = store_module.Store(tmp_path)
        holder.open()
        with pytest.raises(StoreError, match="another process is writing to it"):
            toys.run(tmp_path, checks=["calibration"])
        holder.close()


SCRIPT = """
import sys
from pathlib import Path
import audit_toys as toys
toys.run(Path(sys.argv[1]), inputs=toys.images(120))
"""


def _kills(folder: Path, kills: int) -> tuple[int, pd.DataFrame]:
    """Kill an audit at random moments of its computing, then let it finish: kills that hit, and the rows."""
    rng = random.Random(0)
    hits = 0
    while hits < kills:
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], cwd=Path(__file__).parent)
        rows = folder / "rows"
        before = len(list(rows.glob("*.parquet"))) if rows.exists() else 0
        while process.poll() is None and (len(list(rows.glob("*.parquet"))) if rows.exists() else 0) <= before:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.08))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        hits += 1
    return hits, toys.run(folder, inputs=toys.images(120)).rows()


def test_killed_and_resumed_the_rows_are_bit_identical(tmp_path: Path) -> None:
    hits, rows = _kills(tmp_path / "killed", 2)
    assert hits == 2
    same(rows, toys.run(tmp_path / "whole", inputs=toys.images(120)).rows())


@pytest.mark.slow
def test_killed_ten_times_the_rows_are_bit_identical(tmp_path: Path) -> None:
    hits, rows = _kills(tmp_path / "killed", 10)
    assert hits == 10
    same(rows, toys.run(tmp_path / "whole", inputs=toys.images(120)).rows())


class TestFailures:
    def test_a_failing_method_is_recorded_and_the_rest_goes_on(self, tmp_path: Path) -> None:
        def broken(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
            raise ValueError("no luck")

        run = toys.run(tmp_path, methods=["gradient", broken], checks=["calibration"])
        assert run.manifest["status"] == "incomplete"
        assert [f["error"] for f in run.manifest["failures"]] == ["ValueError: no luck"] * 3
        assert set(run.rows().method) == {"", "gradient"}

    def test_too_many_failures_stop_the_audit_and_keep_what_is_done(self, tmp_path: Path) -> None:
        def broken(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
            raise ValueError("no luck")

        with pytest.raises(AuditError, match=r"Stopped after 2 failures \(at most 1 are allowed\).*no luck"):
            toys.run(tmp_path, methods=["gradient", broken], checks=["calibration"], max_errors=1)
        assert json.loads((tmp_path / "manifest.json").read_text())["status"] == "incomplete"
        assert toys.run(tmp_path, methods=["gradient"], checks=["calibration"]).manifest["status"] == "complete"

    def test_a_full_disk_says_so_and_leaves_no_half_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(fd: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(store_module.os, "fsync", full)
        with pytest.raises(StoreError, match=r"Could not write .*: No space left on device\. What was finished"):
            toys.run(tmp_path)
        assert not list(tmp_path.rglob("*.tmp"))


class TestTheDoor:
    """Everything is refused before the folder is touched."""

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"inputs": torch.rand(3, 2, 12, 12)}, "expected input"),
            ({"inputs": torch.zeros(3, 1, 12, 12, dtype=torch.uint8)}, "Expected inputs in float32 or float64"),
            ({"inputs": torch.full((3, 1, 12, 12), torch.nan)}, r"Expected finite inputs, but samples \[0, 1, 2\]"),
            ({"targets": torch.full((7,), 9)}, "Expected targets between 0 and 3, the model's last output, but got 9"),
            ({"targets": torch.zeros(7)}, r"Expected targets \(7,\) of torch.int64"),
            ({"methods": ["gradient-x-imput"]}, "did you mean 'gradient-x-input'"),
            ({"checks": ["calibrations"]}, "did you mean 'calibration'"),
            ({"methods": []}, "Expected at least one method"),
            ({"methods": ["cgi", "cgi"]}, "Expected every label once, but got 'cgi' twice"),
            ({"ids": ["a"] * 7}, r"but \['a', 'a', 'a', 'a', 'a'\] occur more than once"),
            ({"model": toys.network().train()}, "Expected a model in eval mode"),
            (
                {"checks": [hp.checks.ParameterRandomization(similarities=("hog",))]},
                r"12×12",
            ),
        ],
    )
    def test_refuses_and_says_why(self, tmp_path: Path, changes: dict[str, object], message: str) -> None:
        out = tmp_path / "run"
        with pytest.raises((InputError, RuntimeError), match=message):
            toys.run(out, **changes)
        assert not out.exists()

    def test_a_folder_of_other_files_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("precious")
        with pytest.raises(StoreError, match="holds other files; choose another"):
            toys.run(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_the_model_is_as_it_was_afterwards(self, tmp_path: Path) -> None:
        model = toys.network()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        state = torch.get_rng_state()
        threads = torch.get_num_threads()
        toys.run(tmp_path, model=model)
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert all(p.grad is None and p.requires_grad for p in model.parameters())
        assert torch.equal(state, torch.get_rng_state())
        assert torch.get_num_threads() == threads
