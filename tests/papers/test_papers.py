import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from heatproof.auditing import spec
from heatproof.errors import InputError, UnknownNameError
from heatproof.papers import PAPERS, Measured, Pick, Results, get, run
from heatproof.papers.claims import all_near, higher
from heatproof.papers.measure import NoRowsError, measured
from heatproof.papers.paper import Answer, Claim, Paper, all_of, answer, explained, positive
from heatproof.papers.run import claims
from heatproof.reading import Verdicts
from heatproof.report.effects import effects
from heatproof.runs import read_manifest, read_rows
from reference.contradictions import of_claims, of_effects


def rows(*entries: tuple[str, str, str, float, float]) -> Results:
    """Rows (method, setting, sample, position, value) of one check and metric."""
    frame = pd.DataFrame(entries, columns=["method", "setting", "sample", "position", "value"])
    states = [{"kind": "randomized", "group": "cascading he"}]
    return Results(rows=frame.assign(check="c", metric="m", seed=0), manifest={"states": states})


ROWS = (
    ("a", "cascading he", "s1", 0.0, 1.0),
    ("a", "cascading he", "s2", 0.0, 3.0),
    ("a", "cascading he", "s1", 1.0, 5.0),
    ("a", "cascading he", "s2", 1.0, 5.0),
    ("a", "cascading he", "s1", 2.0, 7.0),
    ("a", "cascading he", "s2", 2.0, math.nan),
    ("a", "cascading he floor", "s1", 2.0, 100.0),
    ("b", "cascading he", "s1", 0.0, 2.0),
    ("b", "cascading he", "s2", 0.0, 4.0),
    ("b", "", "", 0.0, 99.0),
)
TWO = rows(*ROWS)


def at(method: str, position: float | str) -> Pick:
    return Pick(check="c", method=method, metric="m", setting="stages", position=position)


class TestFigures:
    def test_means_by_position(self) -> None:
        assert TWO.mean(at("a", "first")).value == 2.0
        assert TWO.mean(at("a", 1.0)) == Measured(5.0, 5.0, 5.0, 2)

    def test_later_positions_are_averaged_within_a_sample(self) -> None:
        random = {(0, "s1"): 6.0, (0, "s2"): 5.0}
        assert TWO.values(at("a", "later")).to_dict() == random
        stages = rows(*(row for row in ROWS if row[3] > 0))  # similarities have no row of the trained network
        assert stages.values(at("a", "later")).to_dict() == random

    def test_one_sample_has_no_interval(self) -> None:
        found = TWO.mean(at("a", "last"))
        assert (found.value, found.n) == (7.0, 1)
        assert math.isnan(found.low)
        assert found.text() == "7.00 (1 of 2 samples)"

    @pytest.mark.parametrize(("itself", "mean", "n"), [(1.0, 5 / 3, 3), (0.0, 2.5, 2)])
    def test_a_map_that_went_blank_is_like_nothing(self, itself: float, mean: float, n: int) -> None:
        # s3 is blank where the trained map has a pattern; s4 was blank before, and has no chance of its own.
        stages = [
            ("a", "cascading he", f"s{i}", 1.0, value) for i, value in enumerate((2.0, 3.0, math.nan, math.nan), 1)
        ]
        by_chance = [("a", "cascading he chance", f"s{i}", 2.0, v) for i, v in enumerate((0.0, 0.0, 0.0, math.nan), 1)]
        run = rows(*stages, *by_chance)
        checks = [{"label": "c", "id": "c", "metrics": [{"name": "m", "itself": itself}]}]
        found = replace(run, manifest={**run.manifest, "checks": checks}).mean(at("a", 1.0))
        assert (found.value, found.n, found.degenerate) == (pytest.approx(mean), n, 4 - n)

    def test_open_positions_are_paired(self) -> None:
        # s2 has no value at the last position of a, so b's there does not count for it either
        stages = [("b", "cascading he", s, p, v) for p, v in ((1.0, 1.0), (2.0, 3.0)) for s in ("s1", "s2")]
        both = rows(*((m, k, s, p, v) for m, k, s, p, v in ROWS if m == "a" and k == "cascading he" and p > 0), *stages)
        a, b = (Pick(check="c", method=method, metric="m", setting="stages") for method in "ab")
        found = both.difference(a, b)
        assert (found.value, found.n) == (((5 + 7) / 2 - 2 + 5 - 1) / 2, 2)

    def test_an_open_setting_is_an_error(self) -> None:
        with pytest.raises(InputError, match="Expected one setting for Pick"):
            TWO.mean(Pick(check="c", method="a"))

    def test_nothing_measured_is_not_judged(self) -> None:
        values = pd.DataFrame({"v": [math.nan, 1.0]}, index=pd.MultiIndex.from_product([[0], ["s1", "s2"]]))
        values.index.names = ["seed", "sample"]
        assert measured(values, lambda means: means[:, 0]).n == 1

    def test_combinations_are_paired(self) -> None:
        a, b = (at(method, "first") for method in ("a", "b"))
        assert TWO.difference(b, a) == Measured(1.0, 1.0, 1.0, 2)
        assert TWO.combined([b, a], lambda means: means[:, 0] / means[:, 1]).value == 1.5

    def test_a_figure_of_nothing_is_an_error(self) -> None:
        with pytest.raises(NoRowsError, match=r"Expected rows for Pick.*its checks are \['c'\]"):
            TWO.mean(Pick(check="d"))

    def test_intervals_cover_the_mean_as_often_as_they_say(self) -> None:
        drawn = np.random.default_rng(0).normal(size=(200, 40))
        hits = 0
        for values in drawn:
            found = rows(*(("a", "cascading he", f"s{i:02}", 0.0, v) for i, v in enumerate(values))).mean(
                Pick(check="c")
            )
            hits += found.low <= 0 <= found.high
        # 190 expected; 174 is 5 standard deviations below what 40 samples' percentile intervals give, 0.935
        assert 174 <= hits <= 200

    def test_text(self) -> None:
        assert Measured(0.1234, 0.1, 0.2, 5).text() == "0.12 (0.10 to 0.20)"
        assert Measured(0.1234, 0.1, 0.2, 5).text(percent=True) == "12 % (10 to 20)"
        assert Measured(math.nan, math.nan, math.nan, 0).text() == "not measured"
        assert Measured(2.5e9, 1.0, math.inf, 5).text() == "2.5e+09 (1.00 to inf)"


class TestVerdicts:
    @pytest.mark.parametrize(
        ("low", "high", "verdict"),
        [
            (0.1, 0.2, "holds"),
            (-0.2, -0.1, "does not hold"),
            (-0.1, 0.1, "cannot be told here"),
            (math.nan, math.nan, "cannot be told here"),
        ],
    )
    def test_a_whole_interval_decides(self, low: float, high: float, verdict: str) -> None:
        assert positive(Measured((low + high) / 2, low, high, 9)) == verdict

    def test_few_samples_and_equal_ones_tell_nothing(self) -> None:
        assert positive(Measured(0.15, 0.1, 0.2, 4)) == "cannot be told here"
        assert positive(Measured(0.15, 0.15, 0.15, 9)) == "cannot be told here"
        assert Measured(0.15, 0.15, 0.15, 9).text() == "0.15 (all of 9 samples)"

    @pytest.mark.parametrize(
        ("low", "high", "n", "verdict"),
        [
            (-0.1, 0.1, 5, "holds"),
            (-0.1, 0.1, 4, "cannot be told here"),
            (0.15, 0.3, 9, "does not hold"),
            (-0.3, -0.15, 9, "does not hold"),
            (0.0, 0.3, 9, "cannot be told here"),
            (0.0, 0.0, 9, "holds"),  # equality needs no spread
            (0.2, 0.2, 9, "does not hold"),
            (math.nan, math.nan, 9, "cannot be told here"),
        ],
    )
    def test_equality_is_claimed_from_inside_a_margin_alone(
        self, low: float, high: float, n: int, verdict: str
    ) -> None:
        assert all_near([Measured((low + high) / 2, low, high, n)], 0.0, 0.125) == verdict

    def test_parts(self) -> None:
        assert all_of(["holds", "holds"]) == "holds"
        assert all_of(["holds", "cannot be told here"]) == "cannot be told here"
        assert all_of(["cannot be told here", "does not hold", "holds"]) == "does not hold"

    def test_what_did_not_run_cannot_be_told(self) -> None:
        claim = Claim(where="", text="", paper="", steps=("mnist", "vgg"), answer=lambda *_: Answer("", "holds"))
        told = answer(claim, {"mnist": TWO})
        assert told == Answer("needs vgg, which this scale does not run", "cannot be told here")

    def test_what_failed_cannot_be_told(self) -> None:
        claim = higher(where="", text="", paper="", step="mnist", one=at("a", "first"), other=at("z", "first"))
        failed = replace(TWO, manifest={**TWO.manifest, "failures": [{"method": "z", "check": "", "error": "no rule"}]})
        told = answer(claim, {"mnist": failed})
        assert told == Answer("not measured: z failed", "cannot be told here")
        with pytest.raises(NoRowsError, match="Expected rows for Pick"):
            answer(claim, {"mnist": TWO})

    def test_a_reason_is_given_where_a_claim_does_not_hold(self) -> None:
        five = rows(*(("ab"[k], "cascading he", f"s{i}", 0.0, k + i * (k + 1) / 9) for i in range(5) for k in (0, 1)))
        one, other = at("a", "first"), at("b", "first")
        up, down = (
            higher(where="", text="", paper="", step="mnist", one=x, other=y) for x, y in ((other, one), (one, other))
        )
        paper = Paper(id="9", title="", authors="", claims=(*explained("because", up, down), down))
        table = claims(paper, {"mnist": five})
        assert [*table["verdict"]] == ["holds", "does not hold", "does not hold"]
        assert [*table["why"]] == ["", "because", ""]


class TestPapers:
    @pytest.mark.parametrize("name", sorted(PAPERS))
    def test_every_spec_is_one(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for variable in ("HEATPROOF_DATA", "HEATPROOF_WEIGHTS", "HEATPROOF_IMAGENET"):
            monkeypatch.setenv(variable, "somewhere")
        paper = get(name)
        assert "small" in paper.scales()
        for scale in paper.scales():
            for path in paper.specs(scale).values():
                assert spec.read(path).title.startswith(name)

    @pytest.mark.parametrize("name", sorted(PAPERS))
    def test_every_claim_can_be_told_at_some_scale(self, name: str) -> None:
        paper = get(name)
        steps = {
            scale: {*paper.specs(scale), *(table.name for table in paper.tables_at(scale))} for scale in paper.scales()
        }
        for claim in paper.claims:
            assert any(set(claim.steps) <= known for known in steps.values()), claim.text

    def test_unknown_names(self) -> None:
        with pytest.raises(UnknownNameError, match="did you mean '000'"):
            get("0000")
        with pytest.raises(UnknownNameError, match="did you mean 'small'"):
            get("000").specs("smal")


def test_a_tiny_run_ends_in_a_page_and_is_gone_on_with(tmp_path: Path) -> None:
    page = run(get("000"), "tiny", tmp_path, threads=1, progress=False)
    text = page.read_text(encoding="utf-8")
    assert page == tmp_path / "results" / "README.md"
    answers = pd.read_csv(tmp_path / "results" / "claims.csv")
    told = answers[answers.verdict != "cannot be told here"]
    assert len(answers) == len(get("000").claims)
    assert not told.empty
    for one in told.itertuples():
        assert f"| {one.ours} | {one.verdict} |" in text
    for name in ("mnist.toml", "mnist-scorecard.csv", "mnist-trained.png", "mnist-cascading.png"):
        assert (tmp_path / "results" / name).stat().st_size > 0
    assert (tmp_path / "mnist" / "report.html").is_file()
    card = pd.read_csv(tmp_path / "results" / "mnist-scorecard.csv", keep_default_na=False)
    said = dict(zip(answers.claim, answers.verdict, strict=True))
    assert [*of_claims(get("000"), said, {"mnist": card})] == []
    verdicts = Verdicts.of(read_rows(tmp_path / "mnist"), read_manifest(tmp_path / "mnist"))
    assert [*of_effects(effects(verdicts), verdicts.frame)] == []
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "mnist" / "rows").iterdir()}
    assert run(get("000"), "tiny", tmp_path, threads=1, progress=False).read_text(encoding="utf-8") == text
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "mnist" / "rows").iterdir()} == before
