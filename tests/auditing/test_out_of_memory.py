"""Memory that runs out: a failure that says what to do, or smaller passes and rows that say so."""

from pathlib import Path
from typing import Any

import audit_toys as toys
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import heatproof as hp
from heatproof import cli
from heatproof.auditing.shrinking import out_of_memory
from heatproof.runs import Store, read_manifest, read_rows

KEYS = ["check", "method", "setting", "role", "stage", "position", "metric", "seed", "sample"]
SETTINGS: dict[str, Any] = {
    "methods": ["gradient-x-input", "smoothgrad"],
    "checks": ["parameter-randomization", "degradation"],
    "batch": 3,
}
ERRORS = {
    "device": lambda: torch.OutOfMemoryError("CUDA out of memory."),
    "host": lambda: MemoryError("no more"),
    "allocator": lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
}


class Small(nn.Module):
    """A network for which memory suffices for `most` rows a pass, and `most_with_gradient` where one is wanted."""

    def __init__(self, most: int = 1000, most_with_gradient: int = 1000, error: str = "device") -> None:
        super().__init__()
        self.net, self.error = toys.network(), error
        self.most, self.most_with_gradient = most, most_with_gradient
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > (self.most_with_gradient if torch.is_grad_enabled() else self.most):
            raise ERRORS[self.error]()
        return self.net(x)


def audited(out: Path, model: nn.Module, **changes: Any) -> hp.auditing.Run:
    return toys.run(out, model=model, **{**SETTINGS, **changes})


def values(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.drop(columns="question", errors="ignore").set_index(KEYS).sort_index()


def alike(run: hp.auditing.Run, undisturbed: pd.DataFrame) -> pd.DataFrame:
    """Rows as of an undisturbed run; gives the marks."""
    rows = read_rows(run.path)
    marks = rows[rows.metric == "shrunk"]
    ours, theirs = values(rows[rows.metric != "shrunk"]), values(undisturbed)
    pd.testing.assert_index_equal(ours.index, theirs.index)
    np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-5, atol=1e-6)
    return marks


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return read_rows(audited(tmp_path_factory.mktemp("enough"), Small()).path)


class TestShrunk:
    @pytest.mark.parametrize("error", ERRORS)
    def test_rows_are_those_of_an_undisturbed_run_and_marked(
        self, tmp_path: Path, undisturbed: pd.DataFrame, error: str
    ) -> None:
        # Passes of up to 128 rows: the 3 of a block are possible, and of more those of 8 and fewer.
        run = audited(tmp_path, Small(8, 8, error), shrink_on_oom=True)
        assert (run.manifest["status"], run.manifest["failures"]) == ("complete", [])
        marks = alike(run, undisturbed)
        told = {(one["method"], one["check"]): one["rows"] for one in run.manifest["shrunk"]}
        both = {(method, "degradation"): 8 for method in SETTINGS["methods"]}
        assert told == {("smoothgrad", ""): 8, **both}
        assert set(marks[marks.check == "degradation"].method) == set(SETTINGS["methods"])
        assert set(marks[marks.check == "parameter-randomization"].method) == {"smoothgrad"}
        assert set(marks.value) == {8.0}
        of = marks[(marks.method == "smoothgrad") & (marks.check == "parameter-randomization")]
        rows = read_rows(run.path)
        every = rows[(rows.method == "smoothgrad") & (rows.check == "parameter-randomization")]
        assert (set(of.question), len(of)) == (set(every.question), 7 * every.question.nunique())

    def test_a_gradient_takes_fewer_samples_than_a_block_has(self, tmp_path: Path, undisturbed: pd.DataFrame) -> None:
        run = audited(tmp_path, Small(1000, 1), shrink_on_oom=True)
        marks = alike(run, undisturbed)
        told = {(one["method"], one["check"]): one["rows"] for one in run.manifest["shrunk"]}
        assert told == {("gradient-x-input", ""): 1, ("smoothgrad", ""): 1}
        assert set(marks.method) == {"gradient-x-input", "smoothgrad"}
        assert set(marks.value) == {1.0}
        assert Store(tmp_path).workers()[-1]["shrunk"] == run.manifest["shrunk"]
        page = run.report().read_text()
        assert "smoothgrad: ran out of memory and took 1 row a pass; the bits of its rows that" in page

    def test_side_inputs_go_with_their_samples(self, tmp_path: Path) -> None:
        class Scaled(Small):
            def forward(self, x: Tensor, scale: Tensor) -> Tensor:
                return super().forward(x) * scale[:, None]

        scale = torch.linspace(0.5, 2.0, 7)
        settings: dict[str, Any] = {"methods": ["gradient-x-input"], "checks": ["parameter-randomization"]}
        enough = audited(tmp_path / "enough", hp.Bound(Scaled(), given={"scale": scale}), **settings)
        model = hp.Bound(Scaled(1000, 1), given={"scale": scale})
        marks = alike(audited(tmp_path / "little", model, shrink_on_oom=True, **settings), read_rows(enough.path))
        assert set(marks.value) == {1.0}

    def test_processes_are_told(self, tmp_path: Path, undisturbed: pd.DataFrame) -> None:
        marks = alike(audited(tmp_path, Small(1000, 1), shrink_on_oom=True, workers=1), undisturbed)
        assert set(marks.method) == {"gradient-x-input", "smoothgrad"}

    def test_with_enough_memory_nothing_is_marked(self, tmp_path: Path, undisturbed: pd.DataFrame) -> None:
        run = audited(tmp_path, Small(), shrink_on_oom=True)
        assert run.manifest["shrunk"] == []
        pd.testing.assert_frame_equal(read_rows(run.path), undisturbed, check_exact=True)


class TestFailed:
    def test_a_failure_names_the_flag(self, tmp_path: Path) -> None:
        run = audited(tmp_path, Small(8, 8), checks=["parameter-randomization"])
        (failed,) = run.manifest["failures"]
        assert failed["method"] == "smoothgrad"
        assert failed["error"] == (
            "OutOfMemoryError: CUDA out of memory. Out of memory: --shrink-on-oom (shrink_on_oom=True) tries again "
            "with fewer rows a pass, and marks the rows."
        )

    def test_one_row_is_too_large(self, tmp_path: Path) -> None:
        run = audited(tmp_path, Small(1000, 0), shrink_on_oom=True, checks=["parameter-randomization"])
        assert {one["method"] for one in run.manifest["failures"]} == {"gradient-x-input", "smoothgrad"}
        for one in run.manifest["failures"]:
            assert one["error"].endswith(
                "a pass of 1 row is too large, too; choose a smaller batch (in another folder) or a larger device."
            )

    def test_a_callable_takes_all_samples_of_a_block_together(self, tmp_path: Path) -> None:
        def own(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
            x = inputs.requires_grad_()
            return torch.autograd.grad(model(x).sum(), x)[0]

        run = audited(tmp_path, Small(1000, 2), shrink_on_oom=True, methods={"own": own}, checks=["input-controls"])
        (failed,) = run.manifest["failures"]
        assert "somebody else's method or a check takes a block's samples together; choose a smaller" in failed["error"]

    def test_what_else_is_raised_is_no_lack_of_memory(self) -> None:
        assert not out_of_memory(RuntimeError("no luck"))
        wrapped = ValueError("wrapped")
        wrapped.__cause__ = MemoryError()
        assert out_of_memory(wrapped)


@pytest.mark.parametrize("flag", [(), ("--shrink-on-oom",)])
def test_a_spec_is_run_so_from_the_command_line(tmp_path: Path, flag: tuple[str, ...]) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\nfrom heatproof.zoo import DemoCNN\n"
        "class Small(DemoCNN):\n    def forward(self, x):\n"
        "        if torch.is_grad_enabled() and len(x) > 1:\n            raise torch.OutOfMemoryError('full')\n"
        "        return super().forward(x)\n"
    )
    (tmp_path / "small.toml").write_text(
        'methods = ["gradient"]\nchecks = ["calibration"]\nbatch = 2\n'
        '[model]\nname = "net:Small"\n[data]\nname = "demo"\nlimit = 2\n'
    )
    command = ["audit", str(tmp_path / "small.toml"), "--threads", "1", *flag]
    assert CliRunner().invoke(cli.app, command, catch_exceptions=False).exit_code == 0
    manifest = read_manifest(tmp_path / "runs" / "small")
    assert [one["method"] for one in manifest["failures"]] == ([] if flag else ["gradient"])
    assert manifest["shrunk"] == ([{"method": "gradient", "check": "", "rows": 1}] if flag else [])
