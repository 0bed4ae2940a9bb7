"""Whether maps depend on the parameters: rows whose answers are known by construction."""

import numpy as np
import pandas as pd
import pytest
from made_up import GROUP, PR, STAGES, manifest_of, one, randomized, read, rows_of

from heatproof.reading.rule import Estimate, more_samples
from heatproof.reading.survival import graded
from heatproof.reading.surviving import MARGIN

LEVELS = {"s": 0.05, "f": 0.05, "r": 1.0, "c": 0.0}


@pytest.mark.parametrize(
    ("levels", "answer", "word"),
    [
        ({}, "yes", "depends"),
        ({"s": 0.3}, "yes", "depends in part"),
        ({"s": 0.1}, "yes", "depends, perhaps in part"),
        ({"s": 0.7}, "no", "hardly depends"),
        ({"s": 0.95}, "no", "does not depend"),
        ({"s": 1.0, "spread": 0.0}, "no", "never looks at the model"),
        ({"s": 0.5}, "unknown", "cannot be told"),
        # The scale is the map's own: between chance and what it reaches with itself.
        ({"s": 0.3, "r": 0.4}, "no", "hardly depends"),
        ({"s": 0.3, "r": 0.9, "c": 0.28}, "yes", "depends"),
        ({"s": 0.8, "c": 0.78}, "yes", "depends, perhaps in part"),
        # What two random networks share is told and excuses nothing.
        ({"s": 0.7, "f": 0.7}, "no", "hardly depends"),
        ({"s": 0.3, "f": 0.3}, "yes", "depends in part"),
        # A method that does not repeat says nothing by changing.
        ({"s": 0.02, "r": 0.03}, "unknown", "is noise"),
        ({"s": 0.98, "c": 0.97}, "unknown", "cannot be told"),
    ],
)
def test_cases(levels: dict, answer: str, word: str) -> None:
    spread = levels.pop("spread", 0.03)
    found = one(read(randomized({**LEVELS, **levels}, spread=spread)), "depends")
    assert (found.answer, found.word) == (answer, word)


def test_survival_is_the_slow_twins() -> None:
    """u = (mean|s| − mean|c|)/(mean|r| − mean|c|), one sample after the other."""
    rng = np.random.default_rng(0)
    s, r, c = rng.uniform(-0.6, 0.6, 30), rng.uniform(0.7, 0.9, 30), rng.uniform(-0.1, 0.2, 30)
    rows = randomized({"s": s, "f": s, "r": r, "c": c}, samples=30)
    found = one(read(rows), "depends")
    twin = {}
    for metric, size in (("spearman", abs), ("spearman-absolute", float)):
        means = [sum(size(float(v)) for v in values) / 30 for values in (s, r, c)]
        twin[metric] = (means[0] - means[2]) / (means[1] - means[2])
    assert found.metric == max(twin, key=lambda name: twin[name])
    assert found.mean == pytest.approx(max(twin.values()))
    assert found.low < found.mean < found.high


def test_a_turned_map_is_the_same_picture() -> None:
    signs = np.where(np.arange(40) % 2, 0.97, -0.97)
    rows = pd.concat(
        [
            randomized({**LEVELS, "s": signs}, metrics=("spearman",)),
            randomized({**LEVELS, "s": 0.97}, metrics=("spearman-absolute",), steady=None),
        ]
    )
    found = one(read(rows), "depends")
    assert (found.answer, found.word) == ("no", "does not depend")


def test_a_map_that_went_blank_lost_everything_and_two_blank_ones_have_no_value() -> None:
    gone = [np.nan if i % 2 else 0.6 for i in range(40)]
    found = one(read(randomized({**LEVELS, "s": gone, "f": 0.6}, spread=0.0)), "depends")
    assert found.mean == pytest.approx(0.3)
    assert (found.n, found.missing) == (40, 0)
    both = one(read(randomized({**LEVELS, "s": gone, "c": [np.nan if i % 2 else 0.0 for i in range(40)]})), "depends")
    assert (both.mean, both.n, both.missing) == (pytest.approx(0.6), 20, 20)


def test_too_few_samples_tell_nothing() -> None:
    found = one(read(randomized(LEVELS, samples=4)), "depends")
    assert (found.answer, found.word) == ("unknown", "cannot be told")
    assert "4 samples are fewer than 5, the least" in found.why
    few = [0.05 if i < 9 else np.nan for i in range(40)]
    chance = [0.0 if i < 9 else np.nan for i in range(40)]
    found = one(read(randomized({**LEVELS, "s": few, "c": chance})), "depends")
    assert "only 9 of 40 samples have a similarity (a blank map has none)" in found.why


def test_an_unknown_says_how_many_samples_would_tell() -> None:
    found = one(read(randomized({**LEVELS, "s": 0.45}, samples=12, spread=0.2)), "depends")
    assert found.answer == "unknown"
    estimate = Estimate(mean=found.mean, low=found.low, high=found.high, n=12)
    # the interval shrinks with the root of the number: 12 · (half/distance)²
    half = max(found.high - found.mean, found.mean - found.low)
    assert more_samples(estimate, MARGIN) == int(np.ceil(12 * (half / abs(found.mean - 0.5)) ** 2))
    assert f"about {more_samples(estimate, MARGIN)} samples would tell" in found.why


def test_the_measure_under_which_more_survives_counts() -> None:
    rows = pd.concat(
        [
            randomized(LEVELS, metrics=("spearman",)),
            randomized({**LEVELS, "s": 0.8}, metrics=("spearman-absolute",), steady=None),
        ]
    )
    found = one(read(rows), "depends")
    assert (found.answer, found.word, found.metric) == ("no", "hardly depends", "spearman-absolute")
    assert "What counts for and against: depends; where the map is strong: hardly depends." in found.why


@pytest.mark.parametrize("metric", ["spearman", "spearman-absolute"])
def test_one_measure_alone_refutes_and_does_not_show(metric: str) -> None:
    alone = one(read(randomized(LEVELS, metrics=(metric,))), "depends")
    assert (alone.answer, alone.word) == ("unknown", "cannot be told")
    assert "only one of the two measures was taken" in alone.why
    assert one(read(randomized({**LEVELS, "s": 0.8}, metrics=(metric,))), "depends").answer == "no"


@pytest.mark.parametrize(
    ("left_out", "said"),
    [("c", "not compared with itself permuted"), ("r", "own noise was not measured")],
)
def test_a_yardstick_that_failed_is_never_taken_for_the_most_favorable_one(left_out: str, said: str) -> None:
    levels = {name: level for name, level in LEVELS.items() if name != left_out}
    found = one(read(randomized(levels)), "depends")
    assert (found.answer, found.word) == ("unknown", "cannot be told")
    assert said in found.why


# --- what it takes beside the rows ---


@pytest.mark.parametrize(
    ("steady", "word", "why"),
    [
        (None, "changes", "whether it stays the same where nothing happened was not tested (check steadiness)"),
        (0.1, "changes, as it always does", "where nothing happened it changes, too"),
        (0.51, "changes", "where nothing happened it may change, too"),
    ],
)
def test_a_map_that_may_jump_anyway_says_nothing_by_jumping(steady: float | None, word: str, why: str) -> None:
    found = one(read(randomized(LEVELS, steady=steady)), "depends")
    assert (found.answer, found.word) == ("unknown", word)
    assert why in found.why
    assert one(read(randomized({**LEVELS, "s": 0.8}, steady=steady)), "depends").answer == "no"


def states(*entries: dict) -> list[dict]:
    last = {"kind": "randomized", "label": "conv1", "index": STAGES, "complete": True, "group": GROUP}
    return [{"name": f"state {k}", **last, **entry} for k, entry in enumerate(entries)]


def test_a_dead_network_is_said_and_counts_for_nothing_beside_others() -> None:
    dead = {"dead": "its outputs are all zero", "remedy": "initializer='he'"}
    found = read(randomized(LEVELS), manifest_of(states=states(dead)))
    said = "The randomized network is dead: its outputs are all zero; set initializer='he'."
    assert (one(found, "depends").answer, one(found, "depends").word) == ("unknown", "network is dead")
    assert one(found, "depends").why == said
    assert found.headline.endswith(said)
    other = states({**dead, "group": "cascading truncated-normal"}, {})
    rows = pd.concat([randomized(LEVELS), randomized(LEVELS, group="cascading truncated-normal", steady=None)])
    assert one(read(rows, manifest_of(states=other)), "depends").word == "depends"


def test_blank_outputs_of_half_of_the_samples_are_a_dead_network() -> None:
    target = [
        rows_of(PR, "", {"dead-target": level}, setting=GROUP, position=position, spread=0.0)
        for position, level in ((0, 0.0), (STAGES, [i % 2 for i in range(40)]))
    ]
    found = one(read(pd.concat([randomized(LEVELS), *target])), "depends")
    assert found.word == "network is dead"
    assert "50 % of its explained outputs are exactly zero; set another seed or initializer" in found.why


def test_a_randomization_that_leaves_something_trained_is_shown_and_not_judged() -> None:
    found = one(read(randomized(LEVELS), manifest_of(states=states({"complete": False}))), "depends")
    assert (found.answer, found.word) == ("unknown", "not judged")
    assert found.why == "Shown: this randomization never has every layer random."
    found = one(read(randomized(LEVELS), manifest_of(states=states({"complete": False, "agreement": 0.91}))), "depends")
    assert found.why == "Shown: fully randomized, its outputs still correlate by 0.91 with the trained ones."


def test_the_worst_of_several_randomizations_counts() -> None:
    rows = pd.concat([randomized(LEVELS), randomized({**LEVELS, "s": 0.8}, group="cascading uniform", steady=None)])
    found = one(read(rows, manifest_of(states=states({}, {"group": "cascading uniform"}))), "depends")
    assert (found.answer, found.setting) == ("no", "cascading uniform")


def test_a_method_without_meaning_on_a_changed_network_is_left_out() -> None:
    manifest = manifest_of()
    manifest["methods"][0]["learns"] = [{"changed": "exclude", "because": "patterns are of these weights"}]
    found = one(read(randomized({**LEVELS, "s": [np.nan] * 40, "c": [np.nan] * 40}), manifest), "depends")
    assert (found.answer, found.word) == ("unknown", "excluded")
    assert found.why == "Left out where the network is changed: patterns are of these weights."


def test_seeds_that_disagree_make_it_less_sure() -> None:
    def seeded(level: float) -> pd.DataFrame:
        return pd.concat([randomized(LEVELS), randomized({**LEVELS, "s": level}, steady=None, seed=1)])

    assert one(read(seeded(0.05)), "depends").word == "depends"
    apart = one(read(seeded(0.9)), "depends")
    assert (apart.answer, apart.word) == ("unknown", "cannot be told")
    assert apart.low < 0 < 1 < apart.high  # two seeds, t = 12.7


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.1, 0.09, "depends"), (-0.1, 0.3, "depends, perhaps in part"), (0.1, 0.3, "depends in part"),
        (0.3, 0.6, "cannot be told"), (0.5, 0.95, "hardly depends"), (0.9, 1.1, "does not depend"),
    ],
)  # fmt: skip
def test_words_say_both_ends_of_an_interval(low: float, high: float, word: str) -> None:
    assert graded(low, high) == word
