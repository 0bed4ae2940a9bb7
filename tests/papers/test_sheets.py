from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from heatproof.papers import Pick, Results
from heatproof.papers.accuracies import interval
from heatproof.papers.claims import beyond, falls
from heatproof.papers.measure import NoRowsError
from heatproof.papers.pictures import by_method, maps_in_grid, panels, rows_of, tile_of
from heatproof.papers.sanity.edges import only_edges
from heatproof.papers.sanity.regressor import slant
from heatproof.papers.sheets import figures, over_steps

RESULTS = Results(
    rows=pd.DataFrame(
        [
            (method, f"s{i}", value + i * step % 5 / 100)
            for method, value, step in (("a", 3.0, 1), ("b", 2.0, 2), ("c", 2.0, 2))
            for i in range(5)
        ],
        columns=["method", "sample", "value"],
    ).assign(check="c", metric="m", setting="", position=0.0, seed=0)
)


def of(method: str) -> Pick:
    return Pick(check="c", method=method, metric="m")


class TestTables:
    def test_a_cell_is_text_a_mean_or_a_dash(self) -> None:
        sheet = figures(
            name="t", caption="", step="x", lines={"one": ("0.5", of("a")), "two": ("–", of("z"))},
            columns=("method", "paper", "ours"), digits=1,
        )  # fmt: skip
        assert sheet.steps == ("x",)
        assert sheet.make(RESULTS).to_dict("list") == {
            "method": ["one", "two"], "paper": ["0.5", "–"], "ours": ["3.0 (3.0 to 3.0)", "–"],
        }  # fmt: skip

        ran = Results(rows=RESULTS.rows, manifest={"methods": [{"label": "z"}]})
        with pytest.raises(NoRowsError):  # it ran and did not fail: the pick is wrong
            sheet.make(ran)

    def test_a_line_a_step(self) -> None:
        other = Results(rows=RESULTS.rows.assign(value=RESULTS.rows["value"] + 4))
        sheet = over_steps(
            name="t", caption="", steps={"x": "X", "y": "Y"}, cells=[of("a")], columns=("network", "a"), digits=0
        )
        assert sheet.make(RESULTS, other).to_dict("list") == {"network": ["X", "Y"], "a": ["3 (3 to 3)", "7 (7 to 7)"]}


class TestClaims:
    @pytest.mark.parametrize(
        ("bounds", "verdict"),
        [
            ({"above": 2.9}, "holds"),
            ({"above": 3.1}, "does not hold"),
            ({"above": 3.02}, "cannot be told here"),
            ({"below": 3.1}, "holds"),
            ({"below": 2.9}, "does not hold"),
            ({"above": 2.9, "below": 3.1}, "holds"),
            ({"above": 2.9, "below": 2.95}, "does not hold"),
        ],
    )
    def test_beyond(self, bounds: dict[str, float], verdict: str) -> None:
        claim = beyond(where="", text="", paper="", step="x", pick=of("a"), **bounds)
        assert claim.answer(RESULTS).verdict == verdict

    def test_falls(self) -> None:
        def verdict(*methods: str) -> str:
            claim = falls(where="", text="", paper="", step="x", picks={m: of(m) for m in methods})
            told: str = claim.answer(RESULTS).verdict
            return told

        assert verdict("a", "b") == "holds"
        assert verdict("b", "a") == "does not hold"
        assert verdict("a", "b", "c") == "cannot be told here"  # of equal ones no spread is known
        assert verdict("b", "c", "a") == "does not hold"

    def test_wilson(self) -> None:
        # p = 0.5, n = 100: center 0.5, half-width z/(1 + z²/n)·√(1/400 + z²/40000) = 0.0962
        found = interval(0.5, 100)
        assert found.low == pytest.approx(0.40383, abs=1e-5)
        assert found.high == pytest.approx(0.59617, abs=1e-5)
        assert interval(1.0, 50).high == pytest.approx(1.0)


def test_panels_of_curves(tmp_path: Path) -> None:
    rows = pd.concat([RESULTS.rows.assign(position=p) for p in (1.0, 2.0)])
    draw = panels(of={"one": by_method(Pick(check="c", metric="m"), "ab"), "two": {"z": of("c")}}, x="x", y="y")
    draw(Results(rows=rows), tmp_path / "p.png")
    with pytest.raises(NoRowsError):
        panels(of={"": {"z": of("z")}}, x="x", y="y")(Results(rows=rows), tmp_path / "q.png")
    assert (tmp_path / "p.png").stat().st_size > 0
    assert callable(maps_in_grid(rows={"r": ["a"]}, columns=["c"]))


class TestStandIns:
    @pytest.mark.parametrize("s", [-1.0, 0.0, 0.5, 2.0])
    def test_the_slant_of_a_line_is_its_slope(self, s: float) -> None:
        image = torch.zeros(1, 1, 9, 28)
        for y in range(1, 8, 2):
            image[0, 0, y, int(14 + s * (y - 3))] = 0.7
        assert slant(image).item() == pytest.approx(s, abs=1e-12)

    def test_only_edges_are_left(self) -> None:
        image = torch.ones(1, 2, 8, 8)
        image[..., 4:] = 3.0
        left = only_edges(image)
        assert np.flatnonzero(left[0, 0, 2].numpy()).tolist() == [3, 4]
        assert torch.equal(left[..., 3:5], image[..., 3:5])


@pytest.mark.parametrize(("tile", "count"), [([[0.0, -2.0, 0.5], [0.0] * 3, [3.0, 0.0, 0.0]], 3), ([[0.0] * 2] * 2, 1)])
def test_a_picture_is_the_same_after_being_rows(tile: list[list[float]], count: int) -> None:
    rows = rows_of(torch.tensor(tile))
    assert len(rows) == count
    assert tile_of(rows).tolist() == tile
