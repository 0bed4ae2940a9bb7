"""000's claims about surviving features, answered from rows made for them, and what its tables compute."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch

from heatproof.auditing import spec
from heatproof.methods import GradientXInput
from heatproof.papers import Results, get
from heatproof.papers.competition import _is_blank, _less_alike, _loses_energy
from heatproof.papers.competition.all_labels import likeness, maps, sums

STATES = [{"kind": "randomized", "group": "cascading he"}]


def results(metric: str, **by_method: list[list[float]]) -> Results:
    """Values by stage, from 0, and sample."""
    rows = [
        (method, float(stage), f"s{i}", value)
        for method, stages in by_method.items()
        for stage, values in enumerate(stages)
        for i, value in enumerate(values)
    ]
    frame = pd.DataFrame(rows, columns=["method", "position", "sample", "value"])
    frame = frame.assign(check="cascading", metric=metric, setting="cascading he", seed=0)
    return Results(rows=frame, manifest={"states": STATES})


@pytest.mark.parametrize(
    ("stages", "verdict"),
    [
        ([[0.5, 0.5, 0.5], [0.01, 0.02, 0.01], [0.03, 0.03, 0.031]], "holds"),
        ([[0.01, 0.01, 0.02], [0.01, 0.02, 0.01], [0.2, 0.21, 0.22]], "does not hold"),
        ([[0.01, 0.01, 0.02], [0.04, 0.06, 0.05], [0.01, 0.01, 0.02]], "cannot be told here"),
        (
            [[0.01, 0.01, 0.01], [0.01, 0.02, 0.01], [0.01, 0.01, 0.01]],
            "cannot be told here",
        ),  # competition empties the trained one as well
    ],
)
def test_a_map_is_blank_if_it_is_at_every_stage(stages: list[list[float]], verdict: str) -> None:
    found = _is_blank("cgi", "cascading", "surviving-share", results("surviving-share", cgi=stages))
    assert found.verdict == verdict
    assert "over 2 stages" in found.ours


def test_a_blank_map_is_like_nothing() -> None:
    alike = results(
        "spearman-absolute",
        cgi=[[math.nan] * 4, [math.nan, 0.02, 0.01, math.nan]],
        lrp=[[math.nan] * 4, [0.5, 0.51, 0.49, 0.5]],
    )
    zeros = results("zeros", cgi=[[0.0] * 4, [1.0, 0.9, 0.9, 0.0]], lrp=[[0.0] * 4] * 2)
    both = replace(alike, rows=pd.concat([alike.rows, zeros.rows]))
    found = _less_alike("cgi", "lrp", "cascading", "spearman-absolute", both)
    # of four maps one is blank, and one has no rank for another reason
    assert found.verdict == "holds"
    assert found.ours.startswith("spearman-absolute 0.01 (")
    assert "; 3 of 4 samples) against 0.50 (" in found.ours
    assert found.ours.endswith("1 blank maps counted as 0")


def test_energy_is_compared_as_a_ratio_of_means() -> None:
    found = _loses_energy(
        "cgi", "lrp", "cascading", results("relative-energy", cgi=[[1, 1], [2e-9, 4e-9]], lrp=[[1, 1], [4e-9, 8e-9]])
    )
    assert found == ("relative energy 3e-09 against 6e-09, a ratio of 0.50 (0.50 to 0.50)", "holds")


@pytest.fixture(scope="module")
def tiny() -> spec.AuditSpec:
    return spec.read(get("000").specs("tiny")["mnist"])


def test_tables_of_all_labels_are_gradient_x_input(tiny: spec.AuditSpec) -> None:
    net, inputs = tiny.model.load(tiny.folder), tiny.data.load().inputs[:32]
    table = maps(tiny)
    assert [*table["map"].unique()[:-1]] == ["input", *map(str, range(10))]
    shown = table[table["map"] == "input"]
    picture = torch.zeros(inputs.shape[2:]).index_put_(
        (torch.tensor(shown["row"].to_numpy()), torch.tensor(shown["column"].to_numpy())),
        torch.tensor(shown["value"].to_numpy(), dtype=torch.float32),
    )
    at = next(i for i, one in enumerate(inputs) if torch.equal(one.sum(0), picture))
    own = GradientXInput()(net, inputs[at : at + 1], torch.tensor([7])).sum(1)[0]
    seven = table[table["map"] == "7"]
    assert seven["value"].tolist() == pytest.approx(own[own != 0].tolist())
    first = GradientXInput()(net, inputs[:1].expand(10, -1, -1, -1), torch.arange(10))
    assert sums(tiny)["sum"].tolist() == pytest.approx(first.sum((1, 2, 3)).tolist(), abs=1e-4)


def test_likeness_leaves_out_the_label_itself(tiny: spec.AuditSpec) -> None:
    table = likeness(tiny)
    samples = table["sample"].nunique()
    assert len(table) == 9 * samples
    with torch.no_grad():
        targets = tiny.model.load(tiny.folder)(tiny.data.load().inputs[:samples]).argmax(1).tolist()
    assert all(targets[row.sample] != row.label for row in table.itertuples())
    assert (table["similarity"] < 1).all()
