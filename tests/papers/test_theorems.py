"""The papers' theorems as tables and claims: what is summarized, what is judged, what is drawn."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from heatproof.checks.network_structure import HIGH, LOW
from heatproof.checks.network_structure import overtaking as one_by_one
from heatproof.papers import Paper, Results, get
from heatproof.papers.measure import over_samples
from heatproof.papers.paper import answer
from heatproof.papers.shortcomings.activations import overtaking
from heatproof.papers.shortcomings.evidence import dominant, monotone
from heatproof.papers.shortcomings.noise import noise, summary
from heatproof.papers.shortcomings.overtaking import in_layers
from heatproof.theory import noise_similarity


def verdicts(paper: Paper, **tables: pd.DataFrame) -> dict[str, str]:
    """What the claims about these tables come to, by their text."""
    results = {name.replace("_", "-"): Results(rows=rows) for name, rows in tables.items()}
    asked = [claim for claim in paper.claims if results.keys() >= {*claim.steps}]
    return {claim.text: answer(claim, results).verdict for claim in asked}


def test_a_mean_over_samples_averages_within_a_sample_first() -> None:
    rows = pd.DataFrame({"sample": [0, 0, 0, 1], "value": [1.0, 2.0, 3.0, 8.0]})
    found = over_samples(rows, "value")
    assert (found.value, found.n) == (5.0, 2)
    # t with one degree of freedom: 12.706 standard errors of 3
    assert (found.low, found.high) == pytest.approx((5 - 12.7062 * 3, 5 + 12.7062 * 3), rel=1e-5)


def test_noise_is_summarized_by_paired_differences() -> None:
    table = noise_similarity(
        ("spearman", "mse"), processes=("half-normal",), mixes=("replaced",), shares=(0.0, 0.5, 1.0), side=12, samples=4
    )
    found = summary(table).set_index(["measure", "share"])
    for (measure, share), row in found.iterrows():
        part = table[(table["measure"] == measure) & (table["share"] == share)].sort_values("sample")
        alone = table[(table["measure"] == measure) & (table["share"] == 1.0)].sort_values("sample")
        values, ends = part["value"].to_numpy(), alone["value"].to_numpy()
        gaps, losses = values - part["bound"].to_numpy(), (values - ends) * (-1 if measure == "mse" else 1)
        for column, expected in (("value", values), ("gap", gaps), ("loss", losses)):
            assert row[column] == pytest.approx(expected.mean(), abs=1e-12)
            assert row[f"{column}_error"] == pytest.approx(expected.std(ddof=1) / 2, abs=1e-12)
    assert found.loc[("mse", 1.0), "maximum"] == pytest.approx(2 - 4 / math.pi)
    assert found.loc[("mse", 0.5), "expected"] == pytest.approx(2 - 4 / math.pi - (1 - 2 / math.pi))
    assert math.isnan(found.loc[("spearman", 1.0), "maximum"])


def test_overtaking_of_many_means_is_that_of_each() -> None:
    values = np.random.default_rng(0).normal(0.5, 1, size=(4, 5, len(HIGH) + len(LOW)))
    values[0, 0, 3:6] = 0.0
    values[1, 1] = -np.abs(values[1, 1])
    values[2, 2, 1] = 0.0
    found = overtaking(values)
    for index in np.ndindex(found.shape):
        *at, h, low = index
        one = one_by_one(values[(*at, h)], values[(*at, len(HIGH) + low)], HIGH[h], LOW[low])
        assert found[index] == pytest.approx(one, abs=1e-12, nan_ok=True)


def test_a_bound_that_is_exceeded_does_not_hold() -> None:
    row = {"small": 1, "large": 1, "factor": 1.0, "measured": 0.25, "low": 0.24, "high": 0.26, "exact": 0.25}
    for bound, expected in ((0.25, "holds"), (0.2, "does not hold")):
        assert set(verdicts(get("002"), overtaking=pd.DataFrame([{**row, "bound": bound}])).values()) == {expected}


@pytest.mark.slow
def test_every_theorem_is_told_and_drawn(tmp_path: Path) -> None:
    few: dict[str, Callable[[], pd.DataFrame]] = {
        "noise": lambda: noise(samples=12),
        "overtaking-layers": lambda: in_layers(samples=6),
        "monotonicity": lambda: monotone(samples=4),
        "dominance": lambda: dominant(samples=4),
    }
    paper = get("002")
    results = {table.name: Results(rows=few.get(table.name, table.compute)()) for table in paper.tables}
    told = verdicts(paper, **{name.replace("-", "_"): one.rows for name, one in results.items()})
    assert len(told) == 13
    assert [text for text, verdict in told.items() if verdict != "holds"] == [
        "only large positive biases would be an exception, if biases get explanation scores"
    ]
    drawn = [picture for picture in paper.pictures if {*picture.steps} <= results.keys()]
    assert len(drawn) == 5
    for picture in drawn:
        picture.draw(*(results[step] for step in picture.steps), file=tmp_path / f"{picture.name}.png")
        assert (tmp_path / f"{picture.name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_simulation_holds() -> None:
    paper = get("000")
    (table,) = (one for one in paper.tables if one.name == "simulation")
    assert [*verdicts(paper, simulation=table.compute()).values()] == ["holds"] * 5
