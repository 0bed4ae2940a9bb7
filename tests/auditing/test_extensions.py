"""What is not ours stands in report, verdicts and curves by itself."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import audit_toys as toys
import pandas as pd
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import heatproof as hp
from heatproof import cli
from heatproof.checks import Check, Maps, Scores
from heatproof.methods.base import Explanation, Method
from heatproof.metrics import Metric
from heatproof.report.content import content
from heatproof.similarity import Similarity


@dataclass(frozen=True, kw_only=True)
class Brightness(Check):
    """How much of a map is positive: ten lines of somebody else's."""

    def metrics(self, study):
        return (Metric(name="positive-share", low=0.0, high=1.0, chance=0.5, ideal=1.0, higher_is_better=True),)

    def rows(self, block, state, method, maps: Maps, kept, shared):
        yield Scores(metric="positive-share", values=(maps.values > 0).flatten(1).double().mean(1))


@dataclass(frozen=True, kw_only=True)
class Cosine(Similarity):
    """A similarity from elsewhere."""

    def fits(self, grid):
        return None

    @property
    def metric(self) -> Metric:
        return Metric(name="cosine", title="Cosine", low=-1.0, high=1.0, itself=1.0, text="The maps' cosine.")

    def parts(self, maps: Tensor):
        return (maps.double().flatten(1),)

    def score(self, first, second):
        return torch.cosine_similarity(first[0], second[0])


@dataclass(frozen=True, kw_only=True)
class Told(Method):
    """A method that says a number of its own."""

    def _explain(self, model, inputs, targets):
        return Explanation(inputs * 1.0, {"temper": inputs.flatten(1).double().mean(1)})


@dataclass(frozen=True, kw_only=True)
class Tidier(hp.checks.ParameterRandomization):
    """A subclass is judged as what it derives from."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return hp.audit(
        toys.network(), toys.images(12), out=tmp_path_factory.mktemp("theirs") / "run", progress=False,
        methods={"told": Told(), "gradient": "gradient"},
        checks={"mine": Brightness(), "tidier": Tidier(similarities=("spearman", "spearman-absolute", Cosine()))},
    )  # fmt: skip


def test_a_check_from_elsewhere_is_read_from_what_it_declares(run: Any) -> None:
    found = run.verdicts().set_index(["method", "question"]).loc[("gradient", "mine")]
    assert found["answer"] in ("yes", "no", "unknown")
    assert found["low"] < found["mean"] < found["high"]
    page = run.report().read_text()
    assert "Mine" in page  # its column
    assert "positive-share" in page


def test_a_similarity_from_elsewhere_has_its_curve_and_its_name(run: Any) -> None:
    curves = content(run.path)["curves"]["cascading he"]["lines"]["cosine"]["gradient"]
    assert curves[0][:2] == [0, 1.0]  # the map against itself, as its metric says
    assert content(run.path)["data"]["metrics"]["cosine"] == "Cosine"


def test_a_diagnostic_from_elsewhere_stands_among_the_rows(run: Any) -> None:
    rows = run.rows()
    assert (rows["metric"] == "temper").sum() > 0
    data = content(run.path)["data"]
    assert data["panels"]["temper"] == "Temper"  # a panel of its own
    trained, *stages = data["curves"]["cascading he"]["lines"]["temper"]["told"]
    assert trained[0] == 0
    assert [point[0] for point in stages] == [1, 2, 3]
    assert all(low < mean < high for _, mean, low, high, *_ in (trained, *stages))


def test_what_is_not_ours_stands_in_the_command_line_and_in_csv(run: Any, tmp_path: Path) -> None:
    said = CliRunner().invoke(cli.app, ["report", str(run.path), "--json"], catch_exceptions=False).stdout
    (mine,) = (v for v in json.loads(said)["verdicts"] if (v["method"], v["question"]) == ("gradient", "mine"))
    assert mine["word"] in ("better than chance", "no better than chance", "cannot be told")
    assert mine["low"] < mine["mean"] < mine["high"]
    run.findings().to_csv(tmp_path / "findings.csv", index=False)
    found = pd.read_csv(tmp_path / "findings.csv").set_index(["method", "check", "question"])
    assert found.loc[("gradient", "mine", "mine"), ["metric", "word"]].tolist() == ["positive-share", mine["word"]]
    assert found.loc[("told", "tidier", "depends"), "word"] == "never looks at the model"


def test_a_subclass_of_a_check_is_judged_as_one(run: Any) -> None:
    found = run.verdicts().set_index(["method", "question"])
    assert found.loc[("told", "depends"), "word"] == "never looks at the model"
    assert run.manifest["checks"][1]["id"] == "parameter-randomization"
