"""A gate is judged by intervals, fails closed, and says why."""

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from heatproof import cli
from heatproof.errors import InputError, StoreError, UnknownNameError
from heatproof.gate import Outcome, changes, check, junit, parse
from heatproof.gate.gate import COMPLETE
from heatproof.reading import Verdicts
from heatproof.runs import read


def copy(run: Path, tmp_path: Path, name: str = "copy", **values: Any) -> Path:
    folder = Path(shutil.copytree(run, tmp_path / name))
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return folder


def changed(run: Path, tmp_path: Path, check_id: str, setting: str, factor: float, name: str = "changed") -> Path:
    """The run with the values of one check's setting multiplied, of the gradient alone."""
    import synthetic

    folder = copy(run, tmp_path, name)
    rows = pd.read_parquet(folder / "rows" / "all.parquet")
    some = (rows["check"] == check_id) & (rows["setting"] == setting) & (rows["method"] == "gradient")
    rows.loc[some, "value"] *= factor
    synthetic.write_rows(folder, rows)
    return folder


def kept(run: Path, *require: str, **rest: Any) -> dict[str, bool]:
    return {one.name: one.kept for one in check(run, require, **rest)}


@pytest.mark.parametrize(
    ("text", "method", "question", "denied"),
    [
        ("grad-cam: believable", "grad-cam", "believable", False),
        ("my: own: faithful", "my: own", "faithful", False),
        ("gradient: not depends", "gradient", "depends", True),
        ("a: more than the picture", "a", "more-than-the-picture", False),
    ],
)
def test_answers_are_required_by_method_and_question(text: str, method: str, question: str, denied: bool) -> None:
    found = parse(text)
    assert (found.method, found.question, found.denied, found.metric) == (method, question, denied, "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("box-ratio > 0.3", ("", "", "box-ratio", "", ">", 0.3)),
        ("accuracy>=90 %", ("", "", "accuracy", "", ">=", 0.9)),
        ("grad-cam: bounding-box/box-ratio <= 1e-1", ("grad-cam", "bounding-box", "box-ratio", "", "<=", 0.1)),
        ("x: spearman@replicate < -0.5", ("x", "", "spearman", "replicate", "<", -0.5)),
    ],
)
def test_numbers_are_required_of_metrics(text: str, expected: tuple[Any, ...]) -> None:
    found = parse(text)
    assert (found.method, found.check, found.metric, found.setting, found.operator, found.number) == expected


@pytest.mark.parametrize("text", ["", "believable", "grad-cam:", "box-ratio >", "> 0.3", "grad-cam: box ratio? > x"])
def test_what_is_no_requirement_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="Expected a requirement such as 'grad-cam: believable'"):
        parse(text)


def test_interval_decides_and_a_bound_inside_of_it_is_not_kept() -> None:
    above = parse("m > 0.3")
    assert above.holds(0.31, 0.5) is True
    assert above.holds(0.1, 0.3) is False
    assert above.holds(0.2, 0.4) is None
    assert parse("m <= 0.3").holds(0.1, 0.3) is True
    assert parse("m >= 0.3").holds(0.3, 0.5) is True
    assert parse("m < 0.3").holds(0.3, 0.5) is False


def test_answers_are_kept_where_they_are_sure(whole: Path) -> None:
    assert kept(
        whole, "grad-cam: believable", "smoothgrad: believable", "guided-backprop: not depends", "cgi: not depends"
    ) == {
        COMPLETE: True,
        "grad-cam: believable": True,
        "smoothgrad: believable": False,  # cannot be told
        "guided-backprop: not depends": True,
        "cgi: not depends": False,
    }
    (_, untold) = check(whole, ["smoothgrad: repeats"])
    assert untold.why.endswith("About 78 samples would tell.")


def test_metrics_are_of_every_method_that_is_no_control(whole: Path) -> None:
    outcomes = check(whole, ["box-ratio > 0.4"])[1:]
    found = {one.method: one.kept for one in outcomes}
    assert found == {
        "gradient": True, "gradient-x-input": True, "cgi": True, "smoothgrad": True, "guided-backprop": False,
        "grad-cam": True,
    }  # fmt: skip
    assert outcomes[0].name == "box-ratio > 0.4 (gradient)"
    assert outcomes[0].why.startswith("bounding-box: 0.6")
    assert kept(whole, "random: box-ratio < 0.3")["random: box-ratio < 0.3"]


def test_a_value_on_the_bound_cannot_be_told_and_says_so(whole: Path) -> None:
    mean = check(whole, ["gradient: box-ratio > 0"])[1].why.split()[1].rstrip(",")
    (_, one) = check(whole, [f"gradient: box-ratio > {mean}"])
    assert not one.kept
    assert one.why.endswith("The interval reaches over the bound: more samples would tell.")


def test_accuracy_is_of_the_network_and_not_kept_where_it_was_not_measured(whole: Path, tmp_path: Path) -> None:
    known = {"measure": "accuracy", "value": 0.98, "low": 0.9, "high": 1.0, "n": 16, "sentence": "x"}
    folder = copy(whole, tmp_path, knowledge=known)
    assert kept(folder, "accuracy > 80 %", "accuracy > 95 %") == {
        COMPLETE: True,
        "accuracy > 80 %": True,
        "accuracy > 95 %": False,
    }
    (_, one) = check(copy(whole, tmp_path, "none", knowledge={}), ["accuracy > 0.1"])
    assert (one.kept, one.why) == (False, "How often the network is right was not measured: give true labels.")


def test_unfinished_and_failing_runs_keep_nothing(whole: Path, tmp_path: Path) -> None:
    (first, *_) = check(copy(whole, tmp_path, status="incomplete"), ["gradient: believable"])
    assert (first.kept, first.why) == (False, "The run is incomplete; run the same audit again to go on.")
    failed = [{"method": "cgi", "state": "", "check": "", "samples": [], "error": "E: x"}]
    folder = copy(whole, tmp_path, "failed", failures=failed)
    assert check(folder, ["gradient: believable"])[0] == Outcome(COMPLETE, False, "cgi failed: E: x")
    assert check(folder, ["gradient: believable"], allow_failures=True)[0].kept


def test_what_was_not_asked_is_not_kept(run_without_faithful: Path) -> None:
    (_, one, two) = check(run_without_faithful, ["gradient: faithful", "gradient: believable"])
    assert (one.kept, one.why) == (False, "It was not asked in this run.")
    assert not two.kept


@pytest.fixture
def run_without_faithful(tmp_path: Path) -> Path:
    import synthetic

    return synthetic.write_run(tmp_path / "plain")


@pytest.mark.parametrize(
    ("require", "message"),
    [
        ("gradcam: believable", "did you mean 'grad-cam'"),
        ("grad-cam: believeable", "did you mean 'believable'"),
        ("box-rato > 0.3", "did you mean 'box-ratio'"),
    ],
)
def test_unknown_names_are_errors_and_not_kept_silently(whole: Path, require: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        check(whole, [require])


def test_nothing_required_is_an_error(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected something to require, or a baseline"):
        check(whole, [])
    with pytest.raises(StoreError):
        check(tmp_path, ["a: believable"])


def test_baseline_blocks_what_was_sure_and_is_not_any_more(whole: Path, tmp_path: Path) -> None:
    assert kept(whole, baseline=whole) == {COMPLETE: True, "nothing that was surely yes in the baseline is lost": True}
    worse = changed(whole, tmp_path, "degradation", "", -1.0)
    outcomes = check(worse, [], baseline=whole)
    lost = {one.name for one in outcomes if not one.kept}
    assert lost == {"gradient: believable, as in the baseline", "gradient: faithful, as in the baseline"}
    (one,) = (one for one in outcomes if "faithful" in one.name)
    assert "It was “better than the input alone” and is “no better than the input alone”" in one.why
    assert one.why.endswith("surely apart).")
    assert all(one.kept for one in check(whole, [], baseline=worse))  # what is gained blocks nothing


def test_a_method_that_is_gone_is_lost(whole: Path, tmp_path: Path) -> None:
    manifest = json.loads((whole / "manifest.json").read_text())
    folder = copy(whole, tmp_path, methods=[m for m in manifest["methods"] if m["label"] != "grad-cam"])
    assert "grad-cam: believable, as in the baseline" in {
        one.name for one in check(folder, [], baseline=whole) if not one.kept
    }


def test_changes_say_what_differs_and_whether_it_surely_does(whole: Path, tmp_path: Path) -> None:
    before, after = read(whole, Verdicts.of), read(changed(whole, tmp_path, "bounding-box", "", 1.2), Verdicts.of)
    assert changes(before, before) == []
    found = {(one.method, one.question): one for one in changes(before, after)}
    assert set(found) == {("gradient", "localizes")}
    one = found["gradient", "localizes"]
    assert (one.before, one.after, one.surely) == ("yes", "yes", True)


def test_junit_has_a_case_for_each_outcome() -> None:
    text = junit([Outcome("a: b", True, "fine"), Outcome("m > 1", False, "low \x00<", "x")], "demo")
    suite = ET.fromstring(text)[0]
    assert suite.attrib["tests"] == "2"
    assert suite.attrib["failures"] == "1"
    assert [case.attrib["name"] for case in suite] == ["a: b", "m > 1 (x)"]
    failure = suite[1].find("failure")
    assert failure is not None
    assert failure.attrib["message"] == "low <"


def test_command_says_it_by_its_status(whole: Path, tmp_path: Path) -> None:
    def status(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli.app, ["check", str(whole), *arguments], env={"COLUMNS": "400"})
        return done.exit_code, done.output

    code, said = status("--require", "grad-cam: believable")
    assert code == 0
    assert "● grad-cam: believable: Passes every test that was run." in said
    code, said = status("--require", "cgi: believable", "--junit", str(tmp_path / "out.xml"))
    assert code == 1
    assert "1 of 2 not kept." in said
    assert 'failures="1"' in (tmp_path / "out.xml").read_text()
    code, said = status("--require", "cgi: believable", "--json")
    assert code == 1
    assert json.loads(said[: said.rindex("}") + 1])["kept"] is False
    assert CliRunner().invoke(cli.app, ["check", str(whole), "--require", "x"]).exception is not None


def test_pytest_runs_a_gate_file(whole: Path, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    import subprocess
    import sys

    gate = tmp_path / "mine.heatproof.toml"

    def ran(text: str) -> tuple[int, str]:
        gate.write_text(text)
        plugin = [
            "-p",
            "no:heatproof",
            "-p",
            "heatproof.pytest_plugin",
            "-p",
            "no:cacheprovider",
            "-q",
            "--rootdir",
            str(tmp_path),
        ]
        command = [sys.executable, "-m", "pytest", *plugin, str(gate)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        return done.returncode, done.stdout

    code, said = ran(f'run = "{whole}"\nrequire = ["grad-cam: believable", "cgi: believable"]\n')
    assert code == 1
    assert "2 passed" in said
    assert "mine.heatproof.toml::cgi: believable" in said
    assert "Fails more-than-the-picture." in said
    code, said = ran(f'runs = "{whole}"\n')
    assert code == 2
    assert "Expected the name of a key of a gate, but got 'runs'; did you mean 'run'?" in said


def test_plug_in_costs_a_test_session_nothing_but_itself() -> None:
    import subprocess
    import sys

    code = "import sys, heatproof.pytest_plugin; print([m for m in ('pandas', 'torch', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
