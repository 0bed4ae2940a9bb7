"""Verdicts on rows whose answer is known by construction."""

import tracemalloc
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heatproof.auditing import bootstrap, scorecard
from heatproof.auditing.finding import paired_difference
from heatproof.auditing.survival import JUDGED, Survival, combine, survival

GROUP, STAGES, SAMPLES = "cascading truncated-normal", 3, 40
COLUMNS = ["check", "method", "setting", "position", "sample", "metric", "value", "seed", "cell"]
PR = "parameter-randomization"


def rows_for(
    levels: dict[str, float | list[float]],
    *,
    metrics: tuple[str, ...] = ("spearman", "spearman-absolute"),
    method: str = "m",
    spread: float = 0.03,
    samples: int = SAMPLES,
) -> pd.DataFrame:
    """Rows with a given mean of s, f, r, c (a list gives the samples' values themselves)."""
    places = {
        "s": (PR, GROUP, STAGES),
        "f": (PR, f"{GROUP} floor", STAGES),
        "r": (PR, "replicate", 0),
        "c": ("calibration", "map-vs-gaussian", 0),
    }
    rng = np.random.default_rng(5)
    found = []
    for metric in metrics:
        for name, level in levels.items():
            check, setting, position = places[name]
            fixed = isinstance(level, list) or level == 1
            values = np.broadcast_to(level, samples) + (0 if fixed else spread * rng.standard_normal(samples))
            found += [
                (check, method, setting, float(position), f"s{i}", metric, v, 0, "x") for i, v in enumerate(values)
            ]
    return pd.DataFrame(found, columns=COLUMNS)


def manifest(**more: Any) -> dict[str, Any]:
    states = [{"kind": "trained", "group": "", "index": 0}]
    states += [
        {"kind": "randomized", "group": GROUP, "index": k, "complete": k == STAGES} for k in range(1, STAGES + 1)
    ]
    return {
        "methods": [{"label": "m", "name": "m", "controls": False}],
        "checks": [],
        "states": states,
        "model": {"outputs": 10},
        "costs": {},
        **more,
    }


def verdict(levels: dict[str, float | list[float]], **options: Any) -> dict[str, Any]:
    table = scorecard.findings(rows_for(levels, **options), manifest())
    return scorecard.primary(table, manifest())["m"]


@pytest.mark.parametrize(
    ("levels", "word"),
    [
        ({"s": 0.05, "f": 0.05, "r": 1, "c": 0.0}, "depends"),
        ({"s": 0.30, "f": 0.05, "r": 1, "c": 0.0}, "depends in part"),  # above floor (i)
        ({"s": 0.80, "f": 0.90, "r": 1, "c": 0.0}, "hardly depends"),
        ({"s": 0.50, "f": 0.90, "r": 1, "c": 0.0}, "depends in part"),  # the interval holds one half
        ({"s": 0.60, "f": 0.60, "r": 0.60, "c": 0.0}, "does not depend"),
        ({"s": 1, "f": 1, "r": 1, "c": 0.0}, "never looks at the model"),
        ({"s": 0.00, "f": 0.00, "r": 0.00, "c": 0.0}, "is noise"),
        ({"s": 1, "f": 1, "r": 0.02, "c": 0.0}, "is noise"),  # the same draws on both models
        ({"s": 0.05, "f": 0.05, "r": 0.6, "c": 0.0}, "depends"),
        ({"s": 0.35, "f": 0.35, "r": 0.6, "c": 0.0}, "hardly depends"),  # 0.35 of a possible 0.6
        ({"s": 0.05, "f": 0.05, "r": 1}, "depends"),  # random masks were not part of the audit: 0
    ],
)
def test_verdict_follows_the_rule(levels: dict[str, float | list[float]], word: str) -> None:
    assert verdict(levels)["verdict"] == word


@pytest.mark.parametrize(
    ("levels", "reason"),
    [
        ({"s": 0.05, "f": 0.05, "c": 0.0}, "the method's own noise was not measured"),
        ({"s": 0.05, "r": 1, "c": 0.0}, "two random networks were not compared"),
        ({"s": 0.05, "f": 0.05, "r": 1}, "its map was not compared with random masks"),
    ],
)
def test_a_yardstick_that_failed_is_never_taken_for_the_most_favorable_one(
    levels: dict[str, float | list[float]], reason: str
) -> None:
    metrics = [{"name": name} for name in ("spearman", "spearman-absolute")]
    run = manifest(checks=[{"label": "masks", "name": "calibration", "metrics": metrics}])
    found = scorecard.primary(scorecard.findings(rows_for(levels), run), run)["m"]
    assert found["verdict"] == "cannot be told"
    assert found["sentence"] == f"Not enough to go by: {reason}."


def dead(**more: Any) -> dict[str, Any]:
    run = manifest()
    run["states"][-1] |= {"dead": "its outputs are not finite", "remedy": "initializer='he'", **more}
    return run


BLANK: dict[str, float | list[float]] = {"s": [float("nan")] * 40, "f": 0.0, "r": 1, "c": 0.0}
DEATH = "The randomized network is dead: its outputs are not finite; set initializer='he'."


def test_a_dead_network_is_why_nothing_can_be_told() -> None:
    found = scorecard.findings(rows_for(BLANK), dead())
    one = scorecard.primary(found, dead())["m"]
    assert (one["verdict"], one["tone"], one["sentence"]) == ("network is dead", "unknown", DEATH)
    headline = f"Whether these heatmaps depend on what this network learned cannot be judged. {DEATH}"
    assert scorecard.headline(found, dead()) == headline
    assert scorecard.primary(scorecard.findings(rows_for(BLANK), manifest()), manifest())["m"]["verdict"] == (
        "cannot be told"
    )


def test_a_verdict_on_a_dead_network_says_so() -> None:
    found = scorecard.findings(rows_for({"s": 0.05, "f": 0.05, "r": 1, "c": 0.0}), dead())
    one = scorecard.primary(found, dead())["m"]
    assert one["verdict"] == "depends"
    assert one["sentence"].endswith(DEATH)


@pytest.mark.parametrize(
    ("trained", "random", "word"),
    [(0.0, 0.5, "network is dead"), (0.0, 0.4, "cannot be told"), (0.6, 0.6, "cannot be told")],
)
def test_explained_outputs_that_turn_zero_are_dead(trained: float, random: float, word: str) -> None:
    network = [
        (PR, "", GROUP, float(position), f"s{i}", "dead-target", float(i < share * SAMPLES), 0, "x")
        for position, share in ((0, trained), (STAGES, random))
        for i in range(SAMPLES)
    ]
    rows = pd.concat([rows_for(BLANK), pd.DataFrame(network, columns=COLUMNS)])
    one = scorecard.primary(scorecard.findings(rows, manifest()), manifest())["m"]
    assert one["verdict"] == word
    if word == "network is dead":
        assert one["sentence"] == (
            "The randomized network is dead: 50 % of its explained outputs are exactly zero; set initializer='he'."
        )


def test_a_network_that_is_still_trained_is_not_judged() -> None:
    run = dead(dead="", complete=False, agreement=0.98)
    found = scorecard.findings(rows_for({"s": 0.9, "f": 0.05, "r": 1, "c": 0.0}), run)
    assert set(found["question"]) == {"similarity", "noise"}
    said = found[found["question"] == "similarity"]["sentence"]
    assert said.str.startswith(
        "Shown, not judged: fully randomized, its outputs still correlate by 0.98 with the trained ones. "
    ).all()


def test_every_similarity_stands_beside_its_floors_and_calibration() -> None:
    levels: dict[str, float | list[float]] = {"s": [0.3] * 6, "f": [0.2] * 6, "r": [0.9] * 6, "c": [0.01] * 6}
    rows = rows_for(levels, metrics=("spearman", "ssim", "hog[cell=8]"), samples=6)
    found = scorecard.findings(rows, manifest())
    told = found[found["question"] == "similarity"].set_index("metric")["sentence"]
    beside = (
        "Beside it: two random networks 0.20, two runs on the trained one 0.90, a Gaussian mask 0.01, "
        "a uniform mask not compared."
    )
    assert told.to_dict() == {
        "spearman": f"By this measure: depends in part. {beside}",
        "ssim": f"Shown, not judged. {beside}",
        "hog[cell=8]": f"Shown, not judged. {beside}",
    }


def test_edge_detector_is_named_a_failure() -> None:
    assert "it fails" in verdict({"s": 1, "f": 1, "r": 1, "c": 0.0})["sentence"]


def test_noise_is_named_noise() -> None:
    found = verdict({"s": 0.0, "f": 0.0, "r": 0.0, "c": 0.0})
    assert found["tone"] == "noise"
    assert found["sentence"].endswith("a low similarity here is only noise.")


@pytest.mark.parametrize("samples", [1, 3, 4])
def test_too_few_samples_cannot_tell(samples: int) -> None:
    found = verdict({"s": 0.0, "f": 0.0, "r": 1, "c": 0.0}, samples=samples)
    assert found["verdict"] == "cannot be told"
    assert f"only {samples} of {samples} samples" in found["sentence"]


def test_wide_interval_cannot_tell() -> None:
    values = [0.0, 1.0, 0.0, 1.0, 0.5, 0.5]
    found = verdict({"s": values, "f": values, "r": 1, "c": 0.0}, samples=6)
    assert found["verdict"] == "cannot be told"


def test_nan_is_counted_and_half_of_it_cannot_tell() -> None:
    values = [float("nan")] * 21 + [0.0] * 19
    found = verdict({"s": values, "f": 0.0, "r": 1, "c": 0.0})
    assert (found["verdict"], found["n"], found["nan"]) == ("cannot be told", 19, 21)
    values = [float("nan")] * 5 + [0.0] * 35
    found = verdict({"s": values, "f": [0.0] * 40, "r": 1, "c": 0.0})
    assert (found["verdict"], found["n"], found["nan"]) == ("depends", 35, 5)


def test_measures_that_disagree_give_depends_in_part() -> None:
    signed = rows_for({"s": 0.0, "f": 0.0, "r": 1, "c": 0.0}, metrics=("spearman",))
    absolute = rows_for({"s": 0.9, "f": 0.9, "r": 1, "c": [0.0] * 40}, metrics=("spearman-absolute",), spread=0.01)
    found = scorecard.primary(scorecard.findings(pd.concat([signed, absolute]), manifest()), manifest())["m"]
    assert (found["verdict"], found["metric"]) == ("depends in part", "spearman-absolute")
    assert found["sentence"].startswith(
        "What counts for and against: depends; where the map is strong: hardly depends. 90 % ("
    )


@pytest.mark.parametrize(
    ("metric", "missing"),
    [
        ("spearman", "What counts for and against: depends; where the map is strong: not measured."),
        ("spearman-absolute", "What counts for and against: not measured; where the map is strong: depends."),
    ],
)
def test_one_measure_alone_gives_at_most_depends_in_part(metric: str, missing: str) -> None:
    found = verdict({"s": 0.05, "f": 0.05, "r": 1, "c": 0.0}, metrics=(metric,))
    assert (found["verdict"], found["tone"]) == ("depends in part", "mid")
    assert found["sentence"].startswith(missing)


def graded(word: str) -> Survival:
    return Survival(
        verdict=word, reason="", similarity=0, floor=0, replicate=1, calibration=0, share=0, low=0, high=0, n=9
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("depends", "depends"), "depends"),
        (("depends", "cannot be told"), "depends in part"),
        (("hardly depends", "does not depend"), "hardly depends"),
        (("is noise", "never looks at the model"), "never looks at the model"),
        (("is noise", "cannot be told"), "cannot be told"),
        (("depends",), "depends in part"),
        (("hardly depends",), "hardly depends"),
    ],
)
def test_combination_of_measures(words: tuple[str, ...], expected: str) -> None:
    assert combine({name: graded(word) for name, word in zip(JUDGED, words, strict=False)}) == expected


def test_survival_is_measured_between_chance_and_the_replicate() -> None:
    rows = rows_for({"s": [0.4] * 9, "f": [0.4] * 9, "r": [0.7] * 9, "c": [0.1] * 9}, samples=9)
    grade = survival(bootstrap.per_sample(rows), "m", GROUP, STAGES, "spearman")
    assert (grade.share, grade.low, grade.high) == pytest.approx((0.5, 0.5, 0.5))


def test_bootstrap_interval_is_that_of_resampling_one_by_one() -> None:
    """The slow twin: the same draws of samples, one mean at a time."""
    values = np.random.default_rng(2).exponential(size=12)
    means = bootstrap.resampled_means(values[:, None])[:, 0]
    seed = int.from_bytes(sha256(b"scorecard bootstrap 12").digest()[:8], "big")
    counts = np.random.default_rng(seed).multinomial(12, [1 / 12] * 12, size=bootstrap.RESAMPLES)
    slow = [np.mean([v for v, times in zip(values, row, strict=True) for _ in range(times)]) for row in counts]
    np.testing.assert_allclose(means, slow, rtol=1e-12)
    low, high = bootstrap.bounds(means[:, None])
    assert (low[0], high[0]) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])))


def test_bootstrap_in_parts_is_the_bootstrap_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).integers(-99, 99, size=(300, 3)).astype(np.float64)  # sums without rounding
    whole = bootstrap.resampled_means(values)
    monkeypatch.setattr(bootstrap, "WEIGHTS", 300 * 7)
    bootstrap._counts.cache_clear()
    parts = bootstrap.resampled_means(values)
    bootstrap._counts.cache_clear()
    np.testing.assert_array_equal(parts, whole)


def test_bootstrap_of_many_samples_stays_small() -> None:
    values = np.zeros((2_000, 1))
    bootstrap._counts.cache_clear()
    tracemalloc.start()
    bootstrap.resampled_means(values)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    bootstrap._counts.cache_clear()
    assert most < 40e6  # 4000 × 2000 draws as float64 are 64 MB


def test_bootstrap_covers_the_mean_as_often_as_it_says() -> None:
    values = np.random.default_rng(3).normal(size=(60, 1000))
    low, high = bootstrap.bounds(bootstrap.resampled_means(values))
    covered = float(((low < 0) & (high > 0)).mean())
    assert covered == pytest.approx(0.94, abs=0.02)  # percentile intervals of 60 are a little narrow


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=20), st.floats(-3, 3))
def test_interval_moves_with_its_values(values: list[float], shift: float) -> None:
    column = np.array(values)[:, None]
    low, high = bootstrap.bounds(bootstrap.resampled_means(column))
    moved_low, moved_high = bootstrap.bounds(bootstrap.resampled_means(column + shift))
    assert moved_low[0] == pytest.approx(low[0] + shift, abs=1e-9)
    assert moved_high[0] == pytest.approx(high[0] + shift, abs=1e-9)


def seeded(values: np.ndarray, *, metric: str = "spearman") -> pd.DataFrame:
    """Rows of `values` (seeds, samples) at the last stage."""
    base = rows_for({"s": [0.0] * values.shape[1]}, metrics=(metric,), samples=values.shape[1])
    return pd.concat([base.assign(seed=10 + s, value=row) for s, row in enumerate(values)])


def effects_of(seeds: int, samples: int, *, columns: int, of_seeds: float, seed: int = 1) -> np.ndarray:
    """(seeds, samples, columns): an effect of the seed and one of the sample, and noise of its own; all of mean 0."""
    rng = np.random.default_rng(seed)
    return (
        of_seeds * rng.normal(size=(seeds, 1, columns))
        + rng.normal(size=(1, samples, columns))
        + 0.5 * rng.normal(size=(seeds, samples, columns))
    )


def test_seeds_and_samples_are_resampled_one_by_one() -> None:
    """The slow twin: draws of samples and of one seed less than there are, all products of both, one mean at a time."""
    values = np.random.default_rng(2).exponential(size=(3, 5))
    values[1, 2] = np.nan
    means = bootstrap.resampled_means(values[:, :, None])[:, 0]
    of_samples = int.from_bytes(sha256(b"scorecard bootstrap 5").digest()[:8], "big")
    of_seeds = int.from_bytes(sha256(b"scorecard bootstrap of 3 seeds").digest()[:8], "big")
    samples = np.random.default_rng(of_samples).multinomial(5, [1 / 5] * 5, size=bootstrap.RESAMPLES)
    seeds = np.random.default_rng(of_seeds).multinomial(2, [1 / 3] * 3, size=bootstrap.RESAMPLES)
    for b in range(200):
        drawn = [
            values[s, i]
            for s in range(3)
            for i in range(5)
            for _ in range(int(seeds[b, s]) * int(samples[b, i]))
            if np.isfinite(values[s, i])
        ]
        assert means[b] == pytest.approx(np.mean(drawn) if drawn else np.nan, nan_ok=True)


@pytest.mark.parametrize("seeds", [2, 3, 6])
def test_spread_of_seeds_is_that_of_their_mean(seeds: int) -> None:
    # Seeds alone differ: the variance of their mean is s²/S, without bias however few there are.
    effect = np.random.default_rng(seeds).normal(size=seeds)
    draws = bootstrap.resampled_means(np.repeat(effect[:, None, None], 4, axis=1))[:, 0]
    assert draws.mean() == pytest.approx(effect.mean(), abs=0.05 * effect.std())
    assert draws.var() == pytest.approx(effect.var(ddof=1) / seeds, rel=0.05)


def test_intervals_cover_the_mean_over_seeds_and_samples() -> None:
    values = effects_of(5, 60, columns=600, of_seeds=0.3)

    def covered(stack: np.ndarray) -> float:
        low, high = bootstrap.bounds(bootstrap.resampled_means(stack))
        return float(((low < 0) & (high > 0)).mean())

    assert covered(values) == pytest.approx(0.93, abs=0.02)  # five seeds: a little narrow
    assert covered(values.mean(0)) < 0.85  # as if no other seed could be drawn


def test_one_seed_is_resampled_as_its_samples_alone() -> None:
    values = np.random.default_rng(0).normal(size=(20, 3))
    np.testing.assert_array_equal(bootstrap.resampled_means(values[None]), bootstrap.resampled_means(values))


def test_interval_holds_seeds_that_differ() -> None:
    apart = np.array([0.2, 0.8])[:, None] + np.zeros((2, 6))
    (found,) = bootstrap.intervals(seeded(apart)).values()
    assert tuple(found) == pytest.approx((0.5, 0.2, 0.8, 6, 0))
    gone = apart.copy()
    gone[1] = np.nan  # a dead network: what is left is one seed's
    (found,) = bootstrap.intervals(seeded(gone)).values()
    assert tuple(found) == pytest.approx((0.2, 0.2, 0.2, 6, 6))


def test_what_two_quantities_share_by_seed_cancels() -> None:
    rng = np.random.default_rng(3)
    shift = np.array([0.0, 0.5, 1.0])[:, None]
    first, second = shift + rng.normal(size=(3, 30)), shift + rng.normal(size=(3, 30))
    table = bootstrap.per_sample(pd.concat([seeded(first, metric="a"), seeded(second - 1, metric="b")]))
    low, high = paired_difference(*(table[key] for key in table.columns))
    assert 0 < low < first.mean() - second.mean() + 1 < high
    (alone,) = bootstrap.intervals(seeded(first)).values()
    assert high - low < 1.1 < alone.high - alone.low  # which has the seeds' own spread in it


def test_a_trained_networks_value_stands_beside_every_seed() -> None:
    several, one = seeded(np.array([[1.0, 2.0], [3.0, np.nan]]), metric="a"), seeded(np.array([[5.0, 6.0]]), metric="b")
    table = bootstrap.per_sample(pd.concat([several, one]))
    a, b = (bootstrap.column(table, key) for key in table.columns)
    assert a is not None
    assert b is not None
    together = bootstrap.aligned({"a": a, "b": b})
    assert together.reset_index().to_numpy().tolist() == [
        [10, "s0", 1.0, 5.0],
        [10, "s1", 2.0, 6.0],
        [11, "s0", 3.0, 5.0],
    ]
    assert bootstrap.count(together) == 2


def test_verdict_counts_samples_and_not_seeds() -> None:
    rows = rows_for({"s": 0.05, "f": 0.05, "r": 1, "c": 0.0}, samples=4)
    twice = pd.concat([rows, rows[rows["setting"].str.startswith(GROUP)].assign(seed=1)])
    found = scorecard.primary(scorecard.findings(twice, manifest()), manifest())["m"]
    assert found["verdict"] == "cannot be told"
    assert "only 4 of 4 samples" in found["sentence"]


def test_seeds_that_disagree_make_a_verdict_less_sure() -> None:
    rows = rows_for({"s": 0.05, "f": 0.05, "r": 1, "c": 0.0})
    drawn = (rows["setting"] == GROUP) & (rows["metric"].isin(JUDGED))
    other = rows[rows["setting"].str.startswith(GROUP)].assign(seed=1)
    other.loc[other["setting"] == GROUP, "value"] += 0.9
    alike = pd.concat([rows, rows[rows["setting"].str.startswith(GROUP)].assign(seed=1)])
    assert drawn.any()
    for run, word in ((alike, "depends"), (pd.concat([rows, other]), "cannot be told")):
        found = scorecard.primary(scorecard.findings(run, manifest()), manifest())["m"]
        assert found["verdict"] == word


def test_many_columns_give_the_same_bits_as_one() -> None:
    rows = pd.concat([rows_for({"s": 0.1 * k}, method=f"m{k}", samples=6) for k in range(3)])
    whole, alone = bootstrap.intervals(rows), bootstrap.intervals(rows[rows["method"] == "m1"])
    assert {key: whole[key] for key in alone} == alone


@pytest.mark.parametrize(("labels", "share"), [(1, 1.0), (2, 0.75), (10, 0.1998046875), (1000, 0.002)])
def test_chance_share_of_competition(labels: int, share: float) -> None:
    assert scorecard.chance_share(labels) == pytest.approx(share)


def test_competition_is_compared_with_chance_and_with_the_trained_map() -> None:
    rows = rows_for({"s": 0.0, "f": 0.0}, metrics=("surviving-share",))
    trained = rows[rows["setting"] == GROUP].assign(position=0.0, value=0.6)
    drawn = rows[rows["setting"] == GROUP].assign(value=0.2)
    found = scorecard.findings(pd.concat([trained, drawn]), manifest())
    (one,) = found[found["question"] == "competition"].to_dict("records")
    assert one["verdict"] == "less survives randomized"
    assert one["sentence"] == (
        "Competition leaves 60 % of the features trained, 20 % fully randomized; pure chance leaves 20 %."
    )
    found = scorecard.findings(pd.concat([trained, drawn.assign(value=0.6)]), manifest())
    assert list(found[found["question"] == "competition"]["verdict"]) == ["as much survives randomized"]


@pytest.mark.parametrize("metric", ["completeness-gap", "conservation-gap"])
def test_completeness_is_relative_to_the_score(metric: str) -> None:
    base = rows_for({"c": [0.5] * 8}, metrics=("x",), samples=8)
    gap = base.assign(check=PR, setting=GROUP, metric=metric, value=-0.5)
    score = base.assign(check=PR, setting=GROUP, metric="target-score", method="", value=-5.0)
    found = scorecard.findings(pd.concat([gap, score]), manifest())
    (one,) = found[found["question"] == "complete"].to_dict("records")
    assert (one["mean"], one["verdict"]) == (pytest.approx(0.1), "not complete")


def test_completeness_is_relative_to_the_difference_from_the_baseline() -> None:
    # S(x) = 5 and S(x̄) = 4.9: a gap of 0.5 is five times what the map should sum to, and not a tenth of the score.
    base = rows_for({"c": [0.5] * 8}, metrics=("x",), samples=8).assign(check=PR, setting=GROUP)
    said = {"completeness-gap": 0.5, "score": 5.0, "baseline-score": 4.9, "condition-number": 40.0}
    parts = [base.assign(metric=name, value=value) for name, value in said.items()]
    explained = base.assign(metric="target-score", method="", value=5.0)
    found = scorecard.findings(pd.concat([*parts, explained]), manifest())
    (one,) = found[found["question"] == "complete"].to_dict("records")
    assert (one["mean"], one["verdict"]) == (pytest.approx(5.0), "not complete")
    assert one["sentence"] == "Its sum misses what it should explain by 500 % of that, at a condition number of 40."


def completeness_rows(**values: float) -> pd.DataFrame:
    """Rows of the check of completeness, the same value for eight samples."""
    base = rows_for({"c": [0.5] * 8}, metrics=("x",), samples=8).assign(check="completeness", setting="")
    score = base.assign(metric="target-score", method="", value=5.0)
    parts = [base.assign(metric=name.replace("_", "-"), value=value) for name, value in values.items()]
    return pd.concat([score, *parts])


def test_a_method_that_promises_no_sum_is_not_called_incomplete() -> None:
    found = scorecard.findings(completeness_rows(attribution_sum=0.1, score_gap=-4.9), manifest())
    (one,) = found[found["question"] == "complete"].to_dict("records")
    assert (one["verdict"], one["tone"], one["n"]) == ("promises no sum", "plain", 0)
    assert np.isnan(one["mean"])
    assert one["sentence"] == "It does not say what its maps should sum to."


def test_completeness_over_labels_is_told() -> None:
    rows = completeness_rows(
        attribution_sum=4.0, score_gap=-1.0, completeness_gap=-1.0, label_slope=0.8, label_correlation=0.97
    )
    (one,) = scorecard.findings(rows, manifest()).query("question == 'complete'").to_dict("records")
    assert (one["verdict"], one["mean"]) == ("not complete", pytest.approx(0.2))  # 4 where 5 was promised
    assert one["sentence"] == (
        "Its sum misses what it should explain by 20 % of that. "
        "From label to label its sums follow with slope 0.80 and correlation 0.97."
    )


def around(level: float, spread: float = 0.03, samples: int = SAMPLES) -> list[float]:
    """Values with exactly this mean."""
    return (level + spread * np.linspace(-1, 1, samples)).tolist()


@pytest.mark.parametrize(
    ("level", "spread", "samples", "answer"),
    [
        (0.4, 0.03, 40, ("better than chance", "good")),
        (-0.4, 0.03, 40, ("worse than chance", "bad")),
        (0.0, 0.03, 40, ("as good as chance", "bad")),
        (0.0, 0.9, 40, ("cannot be told", "unknown")),  # its interval spans chance, and much else
        (0.4, 0.03, 4, ("cannot be told", "unknown")),
    ],
)
def test_sensitivity_is_judged_against_chance(
    level: float, spread: float, samples: int, answer: tuple[str, str]
) -> None:
    rows = rows_for({"c": around(level, spread, samples)}, metrics=("sensitivity-n",), samples=samples)
    both = pd.concat([rows.assign(position=n, value=rows["value"] + shift) for n, shift in ((1.0, 0.1), (9.0, -0.1))])
    metric = {"name": "sensitivity-n", "chance": 0.0, "ideal": 1.0, "higher_is_better": True}
    checks = [{"label": "eights", "name": "sensitivity-n", "metrics": [metric]}]
    found = scorecard.findings(both.assign(check="eights", setting=""), manifest(checks=checks))
    (one,) = found[found["question"] == "faithful"].to_dict("records")
    assert (one["verdict"], one["tone"]) == answer
    assert (one["check"], one["n"], one["mean"]) == ("eights", samples, pytest.approx(level))


def test_two_checks_of_one_kind_answer_apart() -> None:
    metric = {"name": "degradation", "chance": 0.0, "ideal": None, "higher_is_better": True}
    recipe = {"class": "heatproof.checks.degradation.Degradation", "of": "probability"}
    checks = [{"label": label, "name": label, "recipe": recipe, "metrics": [metric]} for label in ("tiles", "pixels")]
    values = {"tiles": 0.3, "pixels": 0.0}
    rows = [
        rows_for({"c": around(level)}, metrics=("degradation",)).assign(check=label, setting="")
        for label, level in values.items()
    ]
    found = scorecard.findings(pd.concat(rows), manifest(checks=checks))
    faithful = found[found["question"] == "faithful"].set_index("check")["verdict"]
    assert dict(faithful) == {"tiles": "better than chance", "pixels": "as good as chance"}
    checks[1]["recipe"] = {**recipe, "of": "score"}  # in units of the score nothing says how near is near
    found = scorecard.findings(pd.concat(rows), manifest(checks=checks))
    assert dict(found[found["question"] == "faithful"].set_index("check")["verdict"])["pixels"] == "cannot be told"


def rows_of(check: str, metric: str, levels: dict[tuple[str, str], float], position: float = 0.0) -> pd.DataFrame:
    parts = [
        rows_for({"c": around(level)}, metrics=(metric,), method=method).assign(
            check=check, setting=setting, position=position
        )
        for (method, setting), level in levels.items()
    ]
    return pd.concat(parts)


@pytest.mark.parametrize(
    ("ours", "center", "answer"),
    [
        (0.7, 0.5, ("beats the center", "good")),
        (0.5, 0.7, ("better than chance", "mid")),
        (0.2, 0.5, ("as good as chance", "bad")),
        (0.1, 0.5, ("worse than chance", "bad")),
    ],
)
def test_boxes_are_found_better_than_by_chance_and_by_the_middle(
    ours: float, center: float, answer: tuple[str, str]
) -> None:
    rows = pd.concat(
        [
            rows_of("boxes", "box-area", {("", ""): 0.2}),
            rows_of("boxes", "box-ratio", {("m", ""): ours, ("", "center"): center}),
        ]
    )
    checks = [{"label": "boxes", "name": "bounding-box", "metrics": []}]
    found = scorecard.findings(rows, manifest(checks=checks))
    (one,) = found[found["question"] == "localizes"].to_dict("records")
    assert (one["verdict"], one["tone"]) == answer
    assert "of its highest pixels lie in the object's boxes; a random map has 0.20" in one["sentence"]


def test_blurred_patches_are_judged_against_a_random_map_where_there_is_one() -> None:
    start = rows_of("blurred-patch", "probability", {("", ""): 0.9, ("m", ""): 0.9, ("noise", ""): 0.9})
    blurred = rows_of("blurred-patch", "probability", {("m", ""): 0.3, ("noise", ""): 0.6}, position=1.0)
    methods = [{"label": "m", "name": "m", "controls": False}, {"label": "noise", "name": "random", "controls": True}]
    checks = [{"label": "blurred-patch", "name": "blurred-patch", "metrics": []}]
    rows = pd.concat([start, blurred])
    found = scorecard.findings(rows, manifest(methods=methods, checks=checks))
    faithful = found[found["question"] == "faithful"].set_index("method")
    assert faithful["verdict"].to_dict() == {"m": "better than chance", "noise": ""}
    assert faithful["mean"]["m"] == pytest.approx(0.3)  # the original is no merit of a method
    assert faithful["sentence"]["m"].endswith("; a random map leaves 0.60.")
    found = scorecard.findings(rows[rows["method"] != "noise"], manifest(checks=checks))
    assert set(found[found["question"] == "faithful"]["verdict"]) == {""}


def test_rise_of_entropy_is_told_beside_that_of_noise_and_not_judged() -> None:
    name = "efficient-parameter-randomization"
    rows = rows_of(name, "entropy-rise", {("m", ""): 0.2, ("m", "gaussian"): 0.5, ("m", "replicate"): 0.01})
    found = scorecard.findings(rows, manifest(checks=[{"label": name, "name": name, "metrics": []}]))
    (one,) = found[found["question"] == "complexity"].to_dict("records")
    assert (one["mean"], one["verdict"], one["tone"]) == (pytest.approx(0.2), "", "plain")
    assert one["sentence"].startswith("With every layer random the entropy of its values rises by 0.20 (0.19 to 0.21)")
    assert one["sentence"].endswith("of itself; a map of pure noise would have 0.50 more.")


def test_check_with_other_fields_is_known_by_its_class() -> None:
    checks = [
        {"label": "a", "name": None, "recipe": {"class": "heatproof.checks.sensitivity_n.SensitivityN"}},
        {"label": "b", "name": "bounding-box", "recipe": {"class": "heatproof.checks.bounding_box.BoundingBox"}},
        {"label": "c", "name": None, "recipe": {"class": "elsewhere.SensitivityN"}},
    ]
    assert scorecard.names_of({"checks": checks}) == {"a": "sensitivity-n", "b": "bounding-box", "c": "c"}


def test_value_of_the_whole_data_set_is_no_sample() -> None:
    rows = rows_for({"s": 0.05, "f": 0.05, "r": 1, "c": 0.0}, samples=5)
    pooled = rows.iloc[:1].assign(sample="", metric="pooled", value=0.5)
    assert len(bootstrap.per_sample(pd.concat([rows, pooled]))) == 5


def test_cost_is_a_ratio_to_the_cheapest_method_that_looks_at_the_model() -> None:
    methods = [{"label": label, "name": label, "controls": label == "c"} for label in "abc"]
    costs = {"a": {"maps": 10, "seconds": 1.0}, "b": {"maps": 10, "seconds": 30.0}, "c": {"maps": 10, "seconds": 0.01}}
    found = scorecard.findings(rows_for({"s": 0.0}), manifest(methods=methods, costs=costs))
    cost = found[found["question"] == "cost"].set_index("method")["verdict"]
    assert dict(cost) == {"a": "1.0 ×", "b": "30 ×", "c": "< 0.1 ×"}
    assert found[found["question"] == "cost"]["mean"].tolist() == [0.1, 3.0, 0.001]  # seconds a map of one sample


def test_headline_leaves_controls_out() -> None:
    methods = [{"label": label, "name": label, "controls": label == "c"} for label in "abc"]
    fails = {"s": 1, "f": 1, "r": 1}
    passes = {"s": 0.0, "f": 0.0, "r": 1}
    rows = pd.concat([rows_for(passes, method="a"), rows_for(fails, method="b"), rows_for(passes, method="c")])
    found = scorecard.findings(rows, manifest(methods=methods))
    assert (
        scorecard.headline(found, manifest(methods=methods)) == "1 of 2 heatmaps depends on what this network learned."
    )


def test_worst_randomization_counts_and_one_that_cannot_tell_does_not() -> None:
    states = [
        {"kind": "randomized", "group": group, "index": STAGES, "complete": True}
        for group in (GROUP, "cascading he", "cascading dead")
    ]
    three = manifest(states=states)
    good = rows_for({"s": 0.0, "f": [0.05] * SAMPLES, "r": 1})
    bad = rows_for({"s": 0.9, "f": 0.9}).replace(
        {"setting": {GROUP: "cascading he", f"{GROUP} floor": "cascading he floor"}}
    )
    dead = rows_for({"s": [float("nan")] * SAMPLES}).replace({"setting": {GROUP: "cascading dead"}})
    found = scorecard.findings(pd.concat([good, bad, dead]), three)
    verdicts = found[found["question"] == "parameters"].set_index("setting")["verdict"]
    assert dict(verdicts) == {GROUP: "depends", "cascading he": "hardly depends", "cascading dead": "cannot be told"}
    assert scorecard.primary(found, three)["m"]["setting"] == "cascading he"


@pytest.mark.parametrize("group", ["independent he", "cascading he", "bottom-up he"])
def test_randomization_that_leaves_a_layer_trained_is_shown_and_not_judged(group: str) -> None:
    run = manifest(states=[{"kind": "randomized", "group": group, "index": STAGES, "complete": False}])
    rows = rows_for({"s": 0.0, "f": 0.0, "r": 1, "c": 0.0}).replace(
        {"setting": {GROUP: group, f"{GROUP} floor": f"{group} floor"}}
    )
    found = scorecard.findings(rows, run)
    assert scorecard.groups(run) == []
    assert scorecard.primary(found, run) == {}
    assert scorecard.headline(found, run).endswith("not judged: no randomization ended with every layer random.")
    told = found[found["question"] == "similarity"]["sentence"]
    assert told.str.startswith("Shown, not judged: this randomization never has every layer random. Beside it: ").all()
    everything = manifest(states=[{**run["states"][0], "complete": True}])  # such as the only layer of a network
    assert scorecard.primary(scorecard.findings(rows, everything), everything)["m"]["verdict"] == "depends"


def test_run_without_randomization_claims_nothing() -> None:
    bare = manifest(states=[])
    found = scorecard.findings(rows_for({"c": 0.0}), bare)
    assert "was not measured" in scorecard.headline(found, bare)
    assert len(scorecard.findings(rows_for({"c": 0.0}).iloc[:0], manifest())) == 0


def test_a_measure_with_other_fields_is_shown_under_its_own_name() -> None:
    names = scorecard.similarities(["mse", "hog[cell=8]", "zeros", "ssim", "hog[cell=4]", "mse"])
    assert list(names.items()) == [
        ("ssim", "SSIM"),
        ("hog[cell=4]", "HOG[cell=4]"),
        ("hog[cell=8]", "HOG[cell=8]"),
        ("mse", "MSE"),
    ]
