import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import audit_toys as toys
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.errors import AuditError, FailureWarning, InputError, StoreError
from heatproof.methods import GradientXInput
from heatproof.rows import COLUMNS
from heatproof.runs import files as files_module
from heatproof.runs import leases
from heatproof.runs.files import LocalFiles


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Bit for bit, NaN equal to NaN."""
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def labelled(inputs: Tensor, label: int = 0) -> hp.data.Dataset:
    ids = tuple(str(i) for i in range(len(inputs)))
    return hp.data.Dataset(name="labelled", inputs=inputs, targets=torch.full((len(inputs),), label), ids=ids)


def of(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    return rows[rows.method == method].reset_index(drop=True)


class TestRows:
    def test_have_the_schema_and_are_complete(self, tmp_path: Path) -> None:
        run = toys.run(tmp_path)
        rows = run.rows()
        assert tuple(rows) == COLUMNS[:-1]
        assert set(rows.role) == {"trained", "randomized", "chance", "floor", "replicate"}
        stages = rows[(rows.role == "randomized") & (rows.position > 0)].groupby("position").stage.unique()
        assert [list(names) for names in stages] == [["5"], ["3"], ["0"]]
        assert not rows.drop(columns="value").duplicated().any()
        assert run.manifest["status"] == "complete"
        cascade = rows[(rows.setting == "cascading he") & (rows.metric == "spearman")]
        # three layers, the last under three seeds, seven samples, four methods
        assert cascade.groupby(["method", "position"]).size().unstack().to_numpy().tolist() == [[7, 7, 21]] * 4

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
                    (rows.setting == "cascading he")
                    & (rows.metric == name)
                    & (rows.method == "gradient-x-input")
                    & (rows.position == stage.index)
                    & (rows.seed == 0)
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
        assert (spearman["edge-detector", "cascading he"] == 1.0).all()
        assert (spearman["edge-detector", "replicate"] == 1.0).all()
        assert spearman["random", "replicate"].abs().max() < 4 / 144**0.5  # 4 standard errors of 144 features

    def test_a_degenerate_map_is_nan_and_counted(self, tmp_path: Path) -> None:
        def blank(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
            return torch.zeros_like(inputs)

        rows = toys.run(tmp_path, methods={"blank": blank}, checks=["parameter-randomization"]).rows()
        similarity = rows[(rows.method == "blank") & rows.metric.isin(["spearman", "ssim", "mse"])]
        assert len(similarity) == 3 * 7 * (5 + 3 + 1 + 1)  # measures × samples × (stages, chances, floor, replicate)
        assert similarity.value.isna().all()

    def test_own_labels_are_explained_by_name(self, tmp_path: Path) -> None:
        check = hp.checks.ParameterRandomization(targets="own")
        model, inputs = toys.network(), toys.images()
        run = toys.run(tmp_path, methods=["gradient"], checks=[check], batch=7)
        last = hp.randomization.Cascading().stages(model, inputs[:1])[-1]
        with last:
            outputs = model(inputs)
        rows = run.rows()
        scores = rows[(rows.metric == "target-score") & (rows.position == 3) & (rows.seed == 0)]
        scores = scores.sort_values("sample").value.to_numpy()
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
        # the first block twice at the door, the order of layers, the probe
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
        assert len(asked) == 3 * (1 + 5 + 1 + 1)  # blocks × (trained, stages, floor, replicate of an unknown callable)
        assert costs["gradient-x-input"]["maps"] == 3 * 3 * 7  # samples × blocks × states, as in the first run
        rows = toys.run(tmp_path, methods=[*toys.METHODS, added]).rows()
        ours = rows[rows.method == "added"].drop(columns="method").reset_index(drop=True)
        theirs = rows[rows.method == "gradient-x-input"].drop(columns="method")
        theirs = theirs[~theirs.metric.isin(["score", "completeness-gap", "condition-number"])].reset_index(drop=True)
        same(ours, theirs)

    def test_a_dropped_method_leaves_the_rows_but_not_the_folder(self, tmp_path: Path) -> None:
        toys.run(tmp_path)
        assert set(toys.run(tmp_path, methods=["cgi"]).rows().method) == {"", "cgi"}
        assert set(toys.run(tmp_path).rows().method) == {"", *toys.METHODS}

    def test_interrupted_at_every_write_and_resumed_the_rows_are_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        undisturbed = toys.run(tmp_path / "whole").rows()
        create = LocalFiles.create
        left = 0

        def failing(files: LocalFiles, name: str, content: bytes) -> bool:
            nonlocal left
            left -= 1
            if left < 0:
                (files.root / f"{name}.1.2.tmp").write_bytes(b"half")
                raise KeyboardInterrupt
            return create(files, name, content)

        monkeypatch.setattr(LocalFiles, "create", failing)
        interruptions = 0
        while True:
            left = 4
            try:
                rows = toys.run(tmp_path / "torn").rows()
                break
            except KeyboardInterrupt:
                interruptions += 1
        assert interruptions > 2
        same(rows, undisturbed)
        assert not list((tmp_path / "torn").rglob("*.tmp"))

    def test_a_folder_may_be_moved(self, tmp_path: Path) -> None:
        first = toys.run(tmp_path / "here", shard="1/2")
        (tmp_path / "here").rename(tmp_path / "there")
        moved = toys.run(tmp_path / "there")
        assert moved.manifest["status"] == "complete"
        same(moved.rows(), toys.run(tmp_path / "alone").rows())
        assert first.path != moved.path
        same(hp.open(tmp_path / "there").rows(), moved.rows())
        with pytest.raises(StoreError, match=r"Expected a run of heatproof with a run\.json"):
            hp.open(tmp_path / "here")

    def test_batch_and_threads_are_those_the_run_began_with(self, tmp_path: Path) -> None:
        first = toys.run(tmp_path).rows()
        same(toys.run(tmp_path, batch=None, threads=None).rows(), first)
        with pytest.raises(StoreError, match=r"Expected batch = 3, as this run began with, but got 5"):
            toys.run(tmp_path, batch=5)

    def test_a_batch_larger_than_the_data_resumes(self, tmp_path: Path) -> None:
        first = toys.run(tmp_path, batch=64).rows()
        same(toys.run(tmp_path, batch=64).rows(), first)

    def test_a_method_that_always_fails_does_not_keep_the_others_from_finishing(self, tmp_path: Path) -> None:
        def broken(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
            raise ValueError("no luck")

        run = toys.run(tmp_path, methods=[broken, "gradient"], max_errors=1)
        assert set(run.rows().method) == {"", "gradient"}
        assert run.report().exists()

    def test_the_same_label_with_another_recipe_is_computed_anew(self, tmp_path: Path) -> None:
        class Scaled:
            def __init__(self, factor: float) -> None:
                self.factor = factor

            def explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
                return inputs * self.factor + 1

        toys.run(tmp_path / "a", methods={"m": Scaled(1.0).explain}, checks=["calibration"])
        changed = toys.run(tmp_path / "a", methods={"m": Scaled(-1.0).explain}, checks=["calibration"]).rows()
        same(changed, toys.run(tmp_path / "b", methods={"m": Scaled(-1.0).explain}, checks=["calibration"]).rows())

    def test_two_models_never_answer_for_each_other(self, tmp_path: Path) -> None:
        rows = toys.run(tmp_path).rows()
        with pytest.raises(StoreError, match=r"belongs to another: model differ\. Choose another folder"):
            toys.run(tmp_path, model=toys.network(seed=1))
        with pytest.raises(StoreError, match=r"data differ"):
            toys.run(tmp_path, inputs=toys.images() * 0.5)
        same(toys.run(tmp_path).rows(), rows)

    def test_a_model_that_computes_something_else_is_refused_although_its_tensors_agree(self, tmp_path: Path) -> None:
        class Switched(nn.Module):
            factor: ClassVar[list[float]] = [1.0]  # a list: code may count in it, so no fingerprint reads it

            def __init__(self) -> None:
                super().__init__()
                self.net = toys.network()

            def forward(self, x: Tensor) -> Tensor:
                out: Tensor = self.net(x) * Switched.factor[0]
                return out

        toys.run(tmp_path, model=Switched().eval(), checks=["calibration"])
        Switched.factor[0] = 1.5
        with pytest.raises(StoreError, match="give the outputs that it gave when this run began"):
            toys.run(tmp_path, model=Switched().eval(), checks=["calibration"])

    def test_one_process_at_a_time(self, tmp_path: Path) -> None:
        toys.run(tmp_path, checks=["calibration"])
        with (
            leases.alone(LocalFiles(tmp_path), "run", "somebody"),
            pytest.raises(StoreError, match=r"another process is writing to it \(process \d+ on .*\); wait for it"),
        ):
            toys.run(tmp_path, checks=["calibration"])
        assert toys.run(tmp_path, checks=["calibration"]).manifest["status"] == "complete"


SCRIPT = """
import sys
from pathlib import Path
from typing import ClassVar
import audit_toys as toys
toys.run(Path(sys.argv[1]), inputs=toys.images(60))
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
    return hits, toys.run(folder, inputs=toys.images(60)).rows()


def test_killed_and_resumed_the_rows_are_bit_identical(tmp_path: Path) -> None:
    hits, rows = _kills(tmp_path / "killed", 2)
    assert hits == 2
    same(rows, toys.run(tmp_path / "whole", inputs=toys.images(60)).rows())


@pytest.mark.slow
def test_killed_ten_times_the_rows_are_bit_identical(tmp_path: Path) -> None:
    hits, rows = _kills(tmp_path / "killed", 10)
    assert hits == 10
    same(rows, toys.run(tmp_path / "whole", inputs=toys.images(60)).rows())


class TestFailures:
    def test_a_failing_method_is_recorded_and_the_rest_goes_on(self, tmp_path: Path) -> None:
        def broken(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
            raise ValueError("no luck")

        run = toys.run(tmp_path, methods=["gradient", broken], checks=["calibration"])
        assert run.manifest["status"] == "incomplete"
        assert [(f["error"], f["count"]) for f in run.manifest["failures"]] == [("ValueError: no luck", 3)]
        assert set(run.rows().method) == {"", "gradient"}

    def test_a_warning_in_python_names_them(self, tmp_path: Path) -> None:
        def broken(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
            raise ValueError("no luck\nand many details")

        with pytest.warns(FailureWarning) as said:
            hp.audit(
                toys.network(), toys.images(), methods=[broken], checks=["calibration"], batch=3, progress=False,
                out=tmp_path,
            )  # fmt: skip
        (warning,) = said
        assert str(warning.message) == (
            "1 failure in this audit, whose rows are missing or NaN:\n"
            "  broken failed 3 times, first (trained, 7 samples): ValueError: no luck"
        )
        assert warning.filename == __file__

    def test_too_many_failures_stop_the_audit_and_keep_what_is_done(self, tmp_path: Path) -> None:
        def broken(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
            raise ValueError(f"no luck with {inputs.sum():.3f}")

        with pytest.raises(AuditError, match=r"Stopped after 2 different failures \(1 are allowed\).*no luck"):
            toys.run(tmp_path, methods=["gradient", broken], checks=["calibration"], max_errors=1)
        assert hp.runs.read_manifest(tmp_path)["status"] == "incomplete"
        assert toys.run(tmp_path, methods=["gradient"], checks=["calibration"]).manifest["status"] == "complete"

    def test_a_full_disk_says_so_and_leaves_no_half_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(fd: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(files_module.os, "fsync", full)
        with pytest.raises(StoreError, match=r"Could not write .*: No space left on device\. What was finished"):
            toys.run(tmp_path)
        assert not list(tmp_path.rglob("*.tmp"))


class TestForeignMethods:
    """Any callable may be audited, and none may spoil the others."""

    @staticmethod
    def usual(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        inputs.requires_grad_()
        model(inputs).gather(1, targets[:, None]).sum().backward()
        assert inputs.grad is not None
        return inputs.grad

    def test_code_that_calls_backward_gives_the_gradient_in_every_state(self, tmp_path: Path) -> None:
        model = toys.network()
        rows = toys.run(tmp_path, model=model, methods={"usual": self.usual, "gradient": "gradient"}).rows()
        ours, theirs = (rows[rows.method == name].reset_index(drop=True) for name in ("gradient", "usual"))
        ours = ours[ours.metric != "score"].reset_index(drop=True)
        same(ours.drop(columns="method"), theirs.drop(columns="method"))
        assert all(parameter.grad is None for parameter in model.parameters())

    def test_inputs_changed_in_place_harm_nobody(self, tmp_path: Path) -> None:
        def greedy(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
            return inputs.mul_(0) + torch.rand_like(inputs)

        rows = toys.run(tmp_path / "with", methods=[greedy, "gradient"]).rows()
        alone = toys.run(tmp_path / "without", methods=["gradient"]).rows()
        same(
            rows[rows.method == "gradient"].reset_index(drop=True),
            alone[alone.method == "gradient"].reset_index(drop=True),
        )

    def test_one_that_changes_the_model_fails_and_the_model_is_put_back(self, tmp_path: Path) -> None:
        def vandal(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
            with torch.no_grad():
                next(model.parameters()).mul_(0)
            return torch.rand_like(inputs)

        run = toys.run(tmp_path / "with", methods=[vandal, "gradient"])
        (failure,) = run.manifest["failures"]
        assert "Expected a method that leaves the model as it is, but it changed 0.weight." in failure["error"]
        rows, alone = run.rows(), toys.run(tmp_path / "without", methods=["gradient"]).rows()
        same(
            rows[rows.method == "gradient"].reset_index(drop=True),
            alone[alone.method == "gradient"].reset_index(drop=True),
        )

    def test_draws_from_the_global_generator_repeat_and_leave_no_trace(self, tmp_path: Path) -> None:
        def drawing(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
            return torch.rand_like(inputs)

        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = toys.run(tmp_path / "a", methods=[drawing]).rows()
        assert torch.equal(before, torch.get_rng_state())
        torch.manual_seed(2)
        same(toys.run(tmp_path / "b", methods=[drawing]).rows(), first)
        spearman = first[(first.metric == "spearman") & (first.method == "drawing")].set_index("setting").value
        assert (spearman["cascading he"] == 1.0).all()  # the same noise in every state
        assert spearman["replicate"].abs().max() < 4 / 144**0.5  # other noise: 4 standard errors

    @pytest.mark.parametrize("wrong", ["shape", "type"])
    def test_what_does_not_broadcast_to_the_inputs_is_named(self, tmp_path: Path, wrong: str) -> None:
        def odd(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
            return inputs[..., :5] if wrong == "shape" else inputs.long()

        (failure,) = toys.run(tmp_path, methods=[odd], checks=["calibration"]).manifest["failures"]
        assert "Expected floating attributions that broadcast to (3, 1, 12, 12), but got" in failure["error"]


class TestTheDoor:
    """Everything is refused before the folder is touched."""

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"inputs": torch.rand(3, 2, 12, 12)}, r"inputs that the model runs on, but on \(3, 2, 12, 12\)"),
            ({"inputs": torch.rand(3, 1, 9, 9)}, r"inputs that the model runs on, but on \(3, 1, 9, 9\)"),
            ({"batch": 0}, 'Expected batch to be a whole number from 1 on or "measured", but got 0'),
            ({"features": "pixel"}, "name of a feature, but got 'pixel'; did you mean 'pixels'"),
            ({"features": hp.features.Tiles}, "features such as .*Tiles.size=8., but got the class Tiles"),
            ({"threads": -1}, "Expected threads to be a whole number from 1 on"),
            ({"gallery": -1}, "Expected gallery to be a whole number from 0 on"),
            ({"max_errors": "many"}, "Expected max_errors to be a whole number from 0 on, but got 'many'"),
            ({"checks": [hp.methods.Gradient()]}, r"Expected a check or the name of one, but got Gradient\(\)"),
            ({"methods": [hp.checks.Calibration()]}, "Expected a method or the name of one, but got Calibration"),
            ({"methods": {5: "gradient"}}, "Expected labels to be text, but got 5"),
            ({"inputs": torch.zeros(3, 1, 12, 12, dtype=torch.uint8)}, "Expected inputs in float32 or float64"),
            ({"inputs": torch.full((3, 1, 12, 12), torch.nan)}, r"Expected finite inputs, but samples \[0, 1, 2\]"),
            ({"targets": torch.full((7,), 9)}, "Expected targets between 0 and 3, the model's last output, but got 9"),
            ({"targets": torch.zeros(7)}, r"Expected targets \(7,\) of torch.int64"),
            ({"methods": ["gradient-x-imput"]}, "did you mean 'gradient-x-input'"),
            ({"checks": ["calibrations"]}, "did you mean 'calibration'"),
            ({"methods": []}, "Expected at least one method"),
            ({"labels": torch.rand(7)}, r"labels of torch.int64 from 0 on, .* but got torch.float32; say outputs='sca"),
            ({"labels": torch.full((7,), -1)}, "labels of torch.int64 from 0 on, as one .* is right, but got -1"),
            ({"methods": ["cgi", "cgi"]}, "Expected every label once, but got 'cgi' twice"),
            ({"ids": ["a"] * 7}, r"but \['a'\] occur more than once"),
            (
                {"training_data": labelled(torch.rand(2, 1, 9, 9))},
                r"Expected training data like the samples, \(1, 12, 12\) each, but labelled has \(1, 9, 9\)",
            ),
            (
                {"training_data": labelled(torch.rand(2, 1, 12, 12), label=4)},
                "Expected training labels below the model's 4 outputs, but labelled has label 4",
            ),
            ({"model": toys.network().train()}, "Expected a model in eval mode"),
            (
                {"checks": [hp.checks.ParameterRandomization(similarities=("hog",))]},
                r"12×12",
            ),
        ],
    )
    def test_refuses_and_says_why(self, tmp_path: Path, changes: dict[str, object], message: str) -> None:
        out = tmp_path / "run"
        with pytest.raises(InputError, match=message):
            toys.run(out, **changes)
        assert not out.exists()

    def test_a_file_in_the_place_of_the_folder_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("precious")
        with pytest.raises(StoreError, match="but it is a file"):
            toys.run(tmp_path / "file")
        with pytest.raises(StoreError, match=r"Expected to write to .*file/sub, but cannot"):
            toys.run(tmp_path / "file" / "sub")

    @pytest.mark.parametrize("name", ["thesis.txt", "notes.tmp"])
    def test_a_folder_of_other_files_is_left_alone(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("precious")
        with pytest.raises(StoreError, match="holds other files; choose another"):
            toys.run(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_a_layout_in_memory_changes_no_bit(self, tmp_path: Path) -> None:
        strided = toys.images().permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        wide = torch.rand(7, 2, 12, 12)
        wide[:, :1] = strided
        same(toys.run(tmp_path / "a").rows(), toys.run(tmp_path / "b", inputs=wide[:, :1]).rows())

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
