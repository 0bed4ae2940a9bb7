"""No page says two things of one map: effects and claims beside the verdicts on the same rows."""

import numpy as np
import pandas as pd
import pytest
from made_up import GROUP, PR, STAGES, manifest_of, one, randomized, read, rows_of

from heatproof.papers import Pick, Results
from heatproof.papers.measure import STAGES as OF_STAGES
from heatproof.papers.survives import changes, is_gone, keeps_more, stays
from heatproof.reading import Verdicts
from heatproof.report.effects import effects
from heatproof.rows import chance_of
from reference.contradictions import of_effects

LEVELS = (0.02, 0.09, 0.11, 0.3, 0.45, 0.5, 0.55, 0.7, 0.92, 1.0)
PLAIN = {"label": "gradient-x-input", "name": "gradient-x-input", "recipe": {"class": "GradientXInput"}}
CGI = {"label": "cgi", "name": "cgi", "recipe": {"class": "h.Competitive", "method": {"class": "h.GradientXInput"}}}
EDGES = {"label": "edge-detector", "name": "edge-detector", "recipe": {"class": "EdgeDetector"}, "controls": True}


def run_of(seed: int, *, steady: float | None = 0.95) -> tuple[pd.DataFrame, dict]:
    """Gradient × input, CGI and an edge detector whose maps survive by levels drawn at random, some of them blank."""
    rng = np.random.default_rng(seed)
    samples, parts = int(rng.choice([6, 12, 40])), []
    for method in ("gradient-x-input", "cgi"):
        s, c = rng.choice(LEVELS, 2)
        levels = {"s": s, "r": float(rng.choice([1.0, 0.9])), "c": 0.4 * c, "f": 0.1}
        spread = float(rng.choice([0.02, 0.15]))
        ours = randomized(levels, method=method, steady=steady, samples=samples, spread=spread)
        gone = (ours["setting"] == GROUP) & (ours["sample"] < f"s{int(rng.choice([0, 2])):03}")
        ours.loc[gone, "value"] = np.nan  # blank where the trained map is not
        parts.append(ours)
    for position, level in ((0.0, 0.3), (float(STAGES), float(rng.choice([0.1, 0.28, 0.3, 0.4])))):
        shares = dict.fromkeys(("surviving-share", "surviving-energy"), level)
        parts.append(rows_of(PR, "cgi", shares, setting=GROUP, position=position, samples=samples, spread=0.05))
    parts.append(randomized({"s": 1.0, "r": 1.0, "c": 0.0}, method="edge-detector", samples=samples, spread=0.0))
    return pd.concat(parts, ignore_index=True), {**manifest_of(), "methods": [PLAIN, CGI, EDGES]}


@pytest.mark.parametrize("seed", range(60))
def test_effects_have_the_verdicts_words(seed: int) -> None:
    rows, manifest = run_of(seed, steady=(0.95, 0.1, None)[seed % 3])
    verdicts = Verdicts.of(rows, manifest)
    found = effects(verdicts)
    assert len(found) == 5
    answers = {
        (method, question): verdicts.by_question(method)[question]
        for method, question in (("gradient-x-input", "depends"), ("cgi", "depends"), ("cgi", "competition"))
    }
    card = verdicts.frame.assign(answer=[_told(one) for one in verdicts.findings])
    assert [*of_effects(found, card)] == []
    shows = {effect.title: effect.shows for effect in found}
    assert shows["An edge detector does not change at all, and fails"] == "shows"
    for effect in found[:1]:
        assert effect.sentence.startswith(answers["gradient-x-input", "depends"].why)


def _told(finding: object) -> str:
    """What a verdict says of change: a map that always changes is one that changes."""
    return "yes" if finding.word.startswith("changes") else finding.answer  # type: ignore[attr-defined]


def pick(metric: str, method: str = "m") -> Pick:
    return Pick(check=PR, method=method, metric=metric, setting=OF_STAGES, position="last")


@pytest.mark.parametrize("metric", ["spearman", "spearman-absolute"])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("spread", [0.02, 0.2])
def test_claims_have_the_verdicts_words(level: float, spread: float, metric: str) -> None:
    levels = {"s": level, "r": 1.0, "c": 0.05, "f": 0.0}
    rows = randomized(levels, spread=0.0 if level == 1.0 else spread, samples=12)
    results, verdict = Results(rows=rows, manifest=manifest_of()), one(read(rows), "depends")
    words = {"where": "", "text": "", "paper": "", "step": "x"}
    kept, changed, gone = (kind(**words, of=pick(metric)).answer(results) for kind in (stays, changes, is_gone))
    by_answer = {"no": "holds", "yes": "does not hold", "unknown": "cannot be told here"}
    if verdict.metric == metric:
        assert kept.verdict == by_answer[verdict.answer]
    assert {kept.verdict, changed.verdict} in ({"holds", "does not hold"}, {"cannot be told here"})
    if gone.verdict == "holds":
        assert (changed.verdict, verdict.word) == ("holds", "depends") or verdict.metric != metric
    if verdict.metric == metric:
        assert f"{round(100 * verdict.mean)} % " in kept.ours or verdict.mean <= 0


def test_a_blank_map_has_lost_everything() -> None:
    rows = randomized({"s": 0.9, "r": 1.0, "c": 0.0}, samples=12)
    blank = (rows["setting"] == GROUP) & (rows["sample"] >= "s004")
    rows.loc[blank, "value"] = np.nan
    results, verdict = Results(rows=rows, manifest=manifest_of()), one(read(rows), "depends")
    found = stays(where="", text="", paper="", step="x", of=pick("spearman-absolute")).answer(results)
    assert verdict.mean == pytest.approx(0.9 * 4 / 12, abs=0.02)
    assert f"{round(100 * verdict.mean)} % (" in found.ours
    assert found.ours.endswith("8 blank maps counted as 0")
    empty = rows.assign(value=rows["value"].where(~rows["setting"].isin([chance_of(GROUP)]), np.nan))
    untold = stays(where="", text="", paper="", step="x", of=pick("spearman-absolute"))
    told = untold.answer(Results(rows=empty, manifest=manifest_of()))
    assert (told.verdict, told.ours[:14]) == ("cannot be told here", "not to be told")


def test_maps_that_do_not_repeat_are_compared_with_none() -> None:
    levels = {"gradient-x-input": {"s": 0.5, "r": 0.06, "c": 0.05}, "cgi": {"s": 0.02, "r": 1.0, "c": 0.0}}
    rows = pd.concat([randomized(one, method=method, spread=0.01) for method, one in levels.items()])
    manifest = {**manifest_of(), "methods": [PLAIN, CGI]}
    verdicts = Verdicts.of(rows, manifest)
    assert verdicts.by_question("gradient-x-input")["depends"].answer == "unknown"
    shows = {effect.title: effect.shows for effect in effects(verdicts)}
    compared = "The CGI map is less like itself than gradient × input when the network is random"
    assert shows[compared] == "cannot be told"
    plain, cgi = (pick("spearman-absolute", method) for method in levels)
    claim = keeps_more(where="", text="", paper="", step="x", one=plain, other=cgi)
    told = claim.answer(Results(rows=rows, manifest=manifest))
    assert (told.verdict, told.ours.endswith("; not to be told: is noise")) == ("cannot be told here", True)


def test_more_survives_is_the_slow_twins() -> None:
    """u − u′ with u = (mean|s| − mean|c|)/(mean|r| − mean|c|), over samples that both have, blank maps as 0."""
    rng = np.random.default_rng(0)
    values = {name: rng.uniform(low, high, 20) for name, low, high in
              (("s", -0.6, 0.6), ("r", 0.7, 0.9), ("c", -0.1, 0.2))}  # fmt: skip
    theirs = {name: column[::-1] * 0.8 for name, column in values.items()}
    values["s"][3] = np.nan
    rows = pd.concat([randomized(values, samples=20), randomized(theirs, method="n", samples=20)])
    results = Results(rows=rows, manifest=manifest_of(["m", "n"]))
    for metric, size in (("spearman", abs), ("spearman-absolute", float)):
        claim = keeps_more(
            where="", text="", paper="", step="x", one=pick(metric), other=pick(metric, "n"), names=("one", "other")
        )
        twin = []
        for columns in (values, theirs):
            s, r, c = (sum(size(float(np.nan_to_num(v))) for v in columns[name]) / 20 for name in "src")
            twin.append((s - c) / (r - c))
        said = claim.answer(results).ours
        assert f"difference {100 * (twin[0] - twin[1]):z.0f} % (" in said
        assert said.endswith("; 1 blank maps counted as 0")


def test_what_is_left_of_more_than_the_picture_is_that_verdicts() -> None:
    check = "input-controls"
    for level, verdict in ((0.8, "holds"), (0.2, "does not hold")):
        both = dict.fromkeys(("spearman", "spearman-absolute"), level)
        rows = pd.concat([
            rows_of(check, "m", both, setting="noise"),
            rows_of(check, "m", dict.fromkeys(both, 0.05), setting=chance_of("noise")),
        ])  # fmt: skip
        manifest = manifest_of(checks={check: ()})
        of = Pick(check=check, method="m", metric="spearman-absolute", setting="noise")
        told = stays(where="", text="", paper="", step="x", of=of).answer(Results(rows=rows, manifest=manifest))
        finding = one(read(rows, manifest), "more-than-the-picture")
        assert (told.verdict, finding.answer) == (verdict, "no" if verdict == "holds" else "yes")
