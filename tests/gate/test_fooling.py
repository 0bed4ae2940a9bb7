"""Ways to get a gate open that it must not be opened by."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_gate import changed, copy
from torch import nn
from typer.testing import CliRunner

import heatproof as hp
from heatproof import cli
from heatproof.errors import HeatproofError, HeatproofWarning, InputError, StoreError, UnknownNameError
from heatproof.gate import Outcome, check

ANYTHING = ["grad-cam: believable"]
KEPT = "nothing that was surely yes in the baseline is lost"


def rows_changed(run: Path, tmp_path: Path, change) -> Path:
    import synthetic

    folder = copy(run, tmp_path, "rows")
    synthetic.write_rows(folder, change(pd.read_parquet(folder / "rows" / "all.parquet")))
    return folder


@pytest.mark.parametrize(
    ("require", "said"),
    [
        ("box-ratio < 30", r"none is above 1; for percent write 30 %"),
        ("box-ratio <= 1", r"none is above 1"),
        ("box-ratio >= 0", r"none is below 0"),
        ("grad-cam: box-ratio > -1", r"none is below 0"),
    ],
)
def test_a_bound_that_every_value_keeps_is_refused(whole: Path, require: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check(whole, [require])
    assert [one.kept for one in check(whole, ["random: box-ratio > 0", "random: box-ratio < 1"])[1:]] == [True, True]


def test_a_bound_on_the_accuracy_that_every_network_keeps_is_refused(whole: Path, tmp_path: Path) -> None:
    known = {"measure": "accuracy", "value": 0.5, "low": 0.4, "high": 0.6, "n": 16, "sentence": "x"}
    with pytest.raises(InputError, match="for percent write 90 %"):
        check(copy(whole, tmp_path, knowledge=known), ["accuracy < 90"])


@pytest.mark.parametrize(
    ("require", "said"),
    [
        ("bounding-bx/box-ratio > 0.3", "a check in this run, but got 'bounding-bx'; did you mean 'bounding-box'"),
        ("anything/accuracy > 0.1", "a check in this run, but got 'anything'"),
        ("accuracy@anything > 0.1", "a metric in this run, but got 'accuracy'"),
        ("gradient: spearman@replicat > 0.1", "a setting in this run, but got 'replicat'; did you mean 'replicate'"),
        ("grad-cam: not believeable", "did you mean 'believable'"),
    ],
)
def test_misspelled_names_are_errors(whole: Path, require: str, said: str) -> None:
    with pytest.raises(UnknownNameError, match=said):
        check(whole, [require])


@pytest.mark.parametrize(
    "require", ["box-ratio > nan", "box-ratio > -inf", "grad-cam believable", "grad-cam:", "%", "> 1"]
)
def test_what_is_no_number_and_no_question_is_refused(whole: Path, require: str) -> None:
    with pytest.raises(InputError, match="Expected a requirement such as"):
        check(whole, [require])


def test_one_text_is_no_list_and_a_number_no_requirement(whole: Path) -> None:
    with pytest.raises(InputError, match=r"Expected a list of requirements, but got the text 'a: believable'"):
        check(whole, "a: believable")
    with pytest.raises(InputError, match="Expected a requirement such as 'grad-cam: believable', but got 3"):
        check(whole, [3])  # type: ignore[list-item]


def test_values_that_are_missing_are_counted(whole: Path, tmp_path: Path) -> None:
    def few(rows: pd.DataFrame) -> pd.DataFrame:
        some = (rows["metric"] == "box-ratio") & (rows["method"] == "gradient")
        rows.loc[rows[some].index[3:], "value"] = np.nan
        return rows

    (_, one) = check(rows_changed(whole, tmp_path, few), ["gradient: box-ratio > 0.1"])
    assert one.why.endswith(" 3 of 16 samples.") or "3 of 16 samples. " in one.why

    def none(rows: pd.DataFrame) -> pd.DataFrame:
        rows.loc[rows["metric"] == "box-ratio", "value"] = np.nan
        return rows

    (_, one) = check(rows_changed(whole, tmp_path / "none", none), ["gradient: box-ratio > 0.1"])
    assert not one.kept
    assert "No interval can be had" in one.why


def test_a_run_without_rows_keeps_nothing(whole: Path, tmp_path: Path) -> None:
    empty = rows_changed(whole, tmp_path, lambda rows: rows.iloc[:0])
    wanted = ["grad-cam: believable", "grad-cam: not depends", "grad-cam: box-ratio > 0.1"]
    assert not any(one.kept for one in check(empty, wanted))
    assert not any(one.kept for one in check(empty, [], baseline=whole))


def test_a_run_of_which_samples_were_left_out_keeps_nothing(whole: Path, tmp_path: Path) -> None:
    skipped = {**json.loads((whole / "manifest.json").read_text())["data"], "skipped": [["a.jpg", "not readable"]]}
    folder = copy(whole, tmp_path, "skipped", data=skipped)
    assert check(folder, ANYTHING)[0].why == "1 of the data's files were left out, first a.jpg: not readable"
    assert not check(folder, ANYTHING)[0].kept
    assert check(folder, ANYTHING, allow_failures=True)[0].kept


def test_a_damaged_run_keeps_nothing(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
    methods, run = ["gradient-x-input", "edge-detector"], tmp_path / "run"
    hp.audit(net, torch.rand(8, 1, 4, 4), methods=methods, checks=["degradation"], out=run, progress=False)
    assert check(run, ["gradient-x-input: degradation > -9"])[0].kept
    for path in (run / "rows").iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.warns(HeatproofWarning, match="a disk or a copy has damaged"):
            assert not check(run, ["gradient-x-input: degradation > -9"], allow_failures=True)[0].kept


def test_a_baseline_that_says_nothing_guards_nothing(whole: Path, tmp_path: Path) -> None:
    (_, one) = check(whole, [], baseline=copy(whole, tmp_path, "open", status="incomplete"))
    assert one == Outcome(KEPT, False, "The baseline is incomplete; run its audit again to go on.")
    (_, one) = check(whole, [], baseline=rows_changed(whole, tmp_path, lambda rows: rows.iloc[:0]))
    assert one == Outcome(KEPT, False, "Nothing was surely yes in the baseline, so it guards nothing.")
    with pytest.raises(StoreError):
        check(whole, [], baseline=tmp_path / "nowhere")


def test_a_baseline_of_other_samples_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, images = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval(), torch.rand(24, 1, 4, 4)

    def audited(name: str, inputs: torch.Tensor, net: nn.Module = net) -> Path:
        methods, checks = ["gradient-x-input", "edge-detector"], ["degradation"]
        hp.audit(net, inputs, methods=methods, checks=checks, out=tmp_path / name, progress=False)
        return tmp_path / name

    run, retrained = (
        audited("run", images),
        audited("retrained", images, nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()),
    )
    assert check(run, [], baseline=retrained)[1].requirement == KEPT  # another network is what a gate is for
    with pytest.raises(InputError, match=r"the same samples, but 12 of the 12 samples of .* are among the 24 of"):
        check(run, [], baseline=audited("half", images[:12]))
    with pytest.raises(InputError, match=r"the same samples, but 0 of the 24 samples of "):
        check(run, [], baseline=audited("other", 1 - images))


def test_belief_that_needs_less_than_in_the_baseline_is_told(whole: Path, tmp_path: Path) -> None:
    easier = copy(whole, tmp_path, "easier", believable=["steady"])
    told = {one.requirement: one for one in check(easier, [], baseline=whole)}
    assert not told["belief needs what it needed in the baseline"].kept
    assert "here not depends, faithful" in told["belief needs what it needed in the baseline"].why


def test_a_gate_that_could_not_be_asked_leaves_no_older_file_of_outcomes(whole: Path, tmp_path: Path) -> None:
    junit = tmp_path / "gate.xml"
    asked = ["check", str(whole), "--junit", str(junit), "--require"]
    assert CliRunner().invoke(cli.app, [*asked, "grad-cam: believable"]).exit_code == 0
    done = CliRunner().invoke(cli.app, [*asked, "gradcam: believable"])
    assert isinstance(done.exception, HeatproofError)
    suite = ET.fromstring(junit.read_text())[0]
    assert (suite.attrib["errors"], suite.attrib["failures"]) == ("1", "0")
    error = suite[0].find("error")
    assert error is not None
    assert "did you mean 'grad-cam'" in error.attrib["message"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('run = "{run}"\nrequire = "grad-cam: believable"\n', "to be a list of texts, but got 'grad-cam: believable'"),
        ('run = "{run}"\nrequire = ["grad-cam: believable"]\nallow_failures = "false"\n', "to be true or false"),
        ('run = "{run}"\n', "Expected something to require, or a baseline"),
        ('run = "nowhere"\nrequire = ["a: believable"]\n', "nowhere"),
        ("run = \n", "Invalid value"),
    ],
)
def test_gate_files_that_ask_nothing_are_errors(whole: Path, tmp_path: Path, text: str, said: str) -> None:
    from heatproof.pytest_plugin import GateFile

    gate = tmp_path / "mine.heatproof.toml"
    gate.write_text(text.replace("{run}", str(whole)))
    made = GateFile.__new__(GateFile)
    made.path = gate
    with pytest.raises(GateFile.CollectError, match=said):
        list(made.collect())


def test_a_regression_counts_whatever_else_was_gained(whole: Path, tmp_path: Path) -> None:
    worse = changed(whole, tmp_path, "degradation", "", -1.0)
    assert any(not one.kept for one in check(worse, ["grad-cam: believable"], baseline=whole))
