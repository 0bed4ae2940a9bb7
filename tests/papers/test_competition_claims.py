"""000's claims about surviving features, answered from rows made for them, and what its tables compute."""

import pandas as pd
import pytest
import torch

from heatproof.auditing import spec
from heatproof.methods import GradientXInput
from heatproof.papers import Results, get
from heatproof.papers.competition import _is_blank, _loses_energy
from heatproof.papers.competition.all_labels import likeness, maps, sums

UNTOLD, REFUTED = "cannot be told here", "does not hold"
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
        ([[0.5, 0.4, 0.5, 0.6, 0.5], [0.01, 0.02, 0.01, 0.01, 0.01], [0.03, 0.03, 0.031, 0.03, 0.03]], "holds"),
        (
            [[0.01, 0.01, 0.02, 0.01, 0.01], [0.01, 0.02, 0.01, 0.01, 0.01], [0.2, 0.21, 0.22, 0.2, 0.2]],
            "does not hold",
        ),
        ([[0.5, 0.4, 0.5, 0.6, 0.5], [0.04, 0.06, 0.05, 0.05, 0.05], [0.01, 0.01, 0.02, 0.01, 0.01]], UNTOLD),
        # competition empties the trained one as well
        ([[0.01, 0.01, 0.02, 0.01, 0.01], [0.01, 0.02, 0.01, 0.01, 0.01], [0.01, 0.01, 0.02, 0.01, 0.01]], UNTOLD),
    ],
)
def test_a_map_is_blank_if_it_is_at_every_stage(stages: list[list[float]], verdict: str) -> None:
    found = _is_blank("cgi", "cascading", "surviving-share", results("surviving-share", cgi=stages))
    assert found.verdict == verdict
    assert "over 2 stages" in found.ours


def test_energy_is_compared_as_a_ratio_of_means() -> None:
    found = _loses_energy(
        "cgi",
        "lrp",
        "cascading",
        results(
            "relative-energy",
            cgi=[[1] * 5, [2e-9, 4e-9, 3e-9, 2e-9, 4e-9]],
            lrp=[[1] * 5, [4e-9, 8e-9, 6e-9, 4e-9, 8e-9]],
        ),
    )
    # The ratio is one half whatever samples are drawn: no spread of it is known.
    assert found == ("relative energy 3e-09 against 6e-09, a ratio of 0.50 (all of 5 samples)", UNTOLD)


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
