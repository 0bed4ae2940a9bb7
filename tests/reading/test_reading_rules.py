"""The other questions: a table of cases each, and the rule once more by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from made_up import GROUP, PR, SAMPLES, STAGES, manifest_of, one, randomized, read, rows_of

from heatproof.metrics import Metric
from heatproof.reading.competition import chance_share
from heatproof.reading.shares import in_words

LEVELS = {"s": 0.05, "f": 0.05, "r": 1.0, "c": 0.0}
EDGES = "edge-detector"


# --- repeats, steady ---


@pytest.mark.parametrize(
    ("r", "c", "answer", "word"),
    [
        (1.0, 0.0, "yes", "repeats exactly"),
        (0.8, 0.0, "yes", "repeats"),
        (0.3, 0.0, "no", "noisy"),
        (0.03, 0.0, "no", "is noise"),
        (0.52, 0.0, "unknown", "cannot be told"),
        (0.97, 0.95, "no", "noisy"),  # against what permuting its features leaves
    ],
)
def test_repeats(r: float, c: float, answer: str, word: str) -> None:
    spread = 0.0 if r == 1 else 0.1 if r == 0.52 else 0.005
    found = one(read(randomized({**LEVELS, "r": r, "c": c}, spread=spread)), "repeats")
    assert (found.answer, found.word) == (answer, word)


@pytest.mark.parametrize(
    ("steady", "answer", "word"),
    [(0.9, "yes", "steady"), (0.2, "no", "not steady"), (0.51, "unknown", "cannot be told")],
)
def test_steady(steady: float, answer: str, word: str) -> None:
    found = one(read(randomized(LEVELS, steady=steady)), "steady")
    assert (found.answer, found.word) == (answer, word)


def test_a_map_that_nothing_moves_is_steady() -> None:
    parts = [
        rows_of("steadiness", "m", {"spearman": level, "spearman-absolute": level}, setting=setting, spread=0.0)
        for setting, level in (("parameters", 1.0), ("parameters chance", 0.0))
    ]
    found = one(read(pd.concat(parts)), "steady")
    assert (found.answer, found.why) == ("yes", "It gives the very same map.")


BOTH = ("spearman", "spearman-absolute")


def nudged(level: float, *, setting: str = "inputs", far: float = 0.01, spread: float = 0.03) -> pd.DataFrame:
    """What is left where the input changes, and how far the outputs moved."""
    return pd.concat(
        [
            rows_of("steadiness", "m", dict.fromkeys(BOTH, level), setting=setting, spread=spread),
            rows_of("steadiness", "", {"outputs-moved": far}, setting=setting, spread=0.0),
        ]
    )


@pytest.mark.parametrize(
    ("parameters", "inputs", "far", "answer", "setting"),
    [
        (0.9, 0.9, 0.01, "yes", "parameters"),
        (0.9, 0.2, 0.01, "no", "inputs"),  # keyed by a hash of the input, say
        (0.2, 0.9, 0.01, "no", "parameters"),
        (0.9, 0.51, 0.01, "unknown", "inputs"),
        (0.9, 0.2, 0.08, "unknown", "inputs"),  # something happened
    ],
)
def test_steady_is_so_under_both_changes(
    parameters: float, inputs: float, far: float, answer: str, setting: str
) -> None:
    found = read(pd.concat([randomized(LEVELS, steady=parameters), nudged(inputs, far=far)]))
    assert (one(found, "steady").answer, one(found, "steady").setting) == (answer, setting)
    # and what depends is withheld whatever the change was that it jumps under
    assert one(found, "depends").answer == ("yes" if answer == "yes" else "unknown")


def test_the_very_same_map_is_steady_under_each_change_alone() -> None:
    same = pd.concat([randomized(LEVELS, steady=0.9), nudged(1.0, spread=0.0)])
    assert [f.why for f in read(same).findings if f.setting == "inputs"] == ["It gives the very same map."]


def test_max_sensitivity_is_shown_with_its_interval_and_judges_nothing() -> None:
    most = rows_of("steadiness", "m", {"max-sensitivity": 3.0}, setting="ball")
    found = read(pd.concat([randomized(LEVELS), most]))
    (shown,) = (f for f in found.findings if f.metric == "max-sensitivity")
    assert (shown.answer, shown.word, shown.question, shown.n) == ("", "3", "steady", SAMPLES)
    assert shown.low < 3.0 < shown.high
    assert one(found, "steady").answer == "yes"


# --- more than the picture ---


def likeness(level: float, control: str = EDGES, chance: float = 0.0) -> pd.DataFrame:
    both = ("spearman", "spearman-absolute")
    return pd.concat(
        rows_of("input-controls", "m", dict.fromkeys(both, value), setting=setting)
        for setting, value in ((control, level), (f"{control} chance", chance))
    )


@pytest.mark.parametrize(
    ("level", "chance", "answer", "word"),
    [
        (0.2, 0.0, "yes", "is more"),
        (0.8, 0.0, "no", "is the picture"),
        (-0.8, 0.0, "no", "is the picture"),  # with its signs turned it is no other picture
        (0.51, 0.0, "unknown", "cannot be told"),
        (0.8, 0.75, "yes", "is more"),  # zeros that the input makes are chance
    ],
)
def test_more_than_the_picture(level: float, chance: float, answer: str, word: str) -> None:
    found = one(
        read(likeness(level, chance=chance), manifest_of(checks={"input-controls": ()})), "more-than-the-picture"
    )
    assert (found.answer, found.word) == (answer, word)


@pytest.mark.parametrize(
    ("levels", "steady", "answer", "why"),
    [
        ({}, 0.95, "yes", "of its similarity to itself is left"),
        ({"r": 0.3}, 0.95, "unknown", "is not shown to repeat"),
        ({}, 0.1, "unknown", "is not shown to be steady"),
        ({}, 0.51, "unknown", "is not shown to be steady"),
        ({"s": 1.0}, 1.0, "unknown", "made with no network itself"),
        ({"s": 0.8}, 0.95, "yes", "of its similarity to itself is left"),  # it hardly depends, and does look
    ],
)
def test_noise_is_unlike_every_picture(levels: dict, steady: float, answer: str, why: str) -> None:
    rows = randomized({**LEVELS, **levels}, steady=steady, spread=0.0 if levels.get("s") == 1 else 0.03)
    found = one(
        read(pd.concat([rows, likeness(0.1)]), manifest_of(checks={"input-controls": ()})), "more-than-the-picture"
    )
    assert found.answer == answer
    assert why in found.why
    assert found.word == ("is more" if answer == "yes" else "is other")


def test_the_likest_control_counts_and_the_method_s_own_name_does_not() -> None:
    rows = pd.concat([likeness(0.2), likeness(0.7, "input-x-edges"), likeness(1.0, "m")])
    found = one(read(rows, manifest_of(checks={"input-controls": ()})), "more-than-the-picture")
    assert (found.answer, found.setting) == ("no", "input-x-edges")


def test_a_control_is_no_candidate_for_more_than_the_picture() -> None:
    rows = likeness(0.3).replace({"method": {"m": EDGES}, "setting": {EDGES: "input-x-edges"}})
    rows = rows.replace({"setting": {f"{EDGES} chance": "input-x-edges chance"}})
    verdicts = read(rows, manifest_of([], controls=[EDGES], checks={"input-controls": ()}))
    found = one(verdicts, "more-than-the-picture", EDGES)
    assert (found.answer, found.word, found.margin) == ("", "0.30", "")
    assert found.why.startswith("30 % (29 to 31 %) of its similarity to itself is left in the likest map")
    assert found.why.endswith("input-x-edges. It is a control: it is made with no network itself.")
    assert "more-than-the-picture" not in verdicts.believable(EDGES).margin


def test_noise_has_no_scale_to_be_like_a_picture_on() -> None:
    """r and c are one: the quotient was in the thousands, with an interval of as much on both sides."""
    rows = pd.concat([randomized({**LEVELS, "r": 0.01}), likeness(0.01)])
    found = one(read(rows, manifest_of(checks={"input-controls": ()})), "more-than-the-picture")
    assert (found.answer, found.word, math.isnan(found.mean), math.isnan(found.low)) == (
        "unknown", "cannot be told", True, True,
    )  # fmt: skip
    assert found.why == "Two runs on the same network agree no better than by chance."
    assert (found.n, found.missing) == (SAMPLES, 0)


def test_a_map_that_never_looks_and_is_noise_has_no_share() -> None:
    rows = randomized({"s": 1.0, "r": 0.01, "c": 0.0}, spread=0.0)
    rows.loc[rows["setting"] == "replicate", "value"] += np.tile([0.02, -0.02], SAMPLES)
    found = one(read(rows), "depends")
    assert (found.answer, found.word, math.isnan(found.mean)) == ("no", "never looks at the model", True)
    assert found.why.endswith("has no number: two runs on the same network agree no better than by chance.")


def test_a_measure_that_tells_nothing_withholds_a_yes_and_no_no() -> None:
    """The absolute values permuted are as alike as 0.95, and the interval is wide: there is no share by them."""
    for level, answer in ((0.9, "unknown"), (0.2, "no")):
        parts = [
            rows_of("steadiness", "m", {"spearman": value}, setting=setting)
            for setting, value in (("parameters", level), ("parameters chance", 0.0))
        ]
        parts += [
            rows_of("steadiness", "m", {"spearman-absolute": value}, setting=setting, spread=0.1)
            for setting, value in (("parameters", 0.97), ("parameters chance", 0.95))
        ]
        found = one(read(pd.concat(parts)), "steady")
        assert found.answer == answer
        if answer == "unknown":
            assert found.why.startswith("On these samples its features permuted are as alike as 0.95")


# --- words for shares ---


@pytest.mark.parametrize(
    ("mean", "low", "high", "words"),
    [
        (0.414, 0.35, 0.48, "41 % (35 to 48 %)"),
        (0.03, -0.1, 0.08, "3 % (0 to 8 %)"),
        (-0.2, -0.45, 0.02, "nothing (at most 2 %)"),
        (-0.4, -0.5, -0.3, "nothing"),
        (1.04, 0.9, 1.2, "100 % (90 to 100 %)"),
        (5.9, 4.2, 7.9, "100 %"),
        (math.nan, math.nan, math.nan, "an unknown share"),
    ],
)
def test_shares_are_told_as_what_is_left(mean: float, low: float, high: float, words: str) -> None:
    assert in_words(mean, low, high) == words


# --- faithful ---

DEGRADATION = Metric(name="degradation", chance=0.0, ideal=1.0, higher_is_better=True)
BLURRED = Metric(name="probability", low=0.0, high=1.0, higher_is_better=False)


def degraded(
    ours: float, control: float | None, metric: str = "degradation", check: str = "degradation"
) -> pd.DataFrame:
    parts = [rows_of(check, "m", {metric: ours}, position=4)]
    parts += [] if control is None else [rows_of(check, EDGES, {metric: control}, position=4)]
    return pd.concat(parts)


@pytest.mark.parametrize(
    ("ours", "control", "answer", "word"),
    [
        (0.7, 0.5, "yes", "better than the input alone"),
        (0.4, 0.58, "no", "no better than the input alone"),
        (0.5, 0.5, "no", "no better than the input alone"),  # all of the interval within a twentieth
        (0.7, None, "unknown", "cannot be told"),
    ],
)
def test_faithful_is_better_than_the_best_control(ours: float, control: float | None, answer: str, word: str) -> None:
    manifest = manifest_of(controls=[EDGES], checks={"degradation": (DEGRADATION,)})
    found = one(read(degraded(ours, control), manifest), "faithful")
    assert (found.answer, found.word) == (answer, word)
    if control is not None:
        assert found.mean == pytest.approx(ours - control, abs=1e-9)
        assert f"the best map made with no network, {EDGES}, reaches {control:.2f}" in found.why


def test_maps_without_a_value_are_said_so_and_held_against_nothing() -> None:
    manifest = manifest_of(controls=[EDGES], checks={"degradation": (DEGRADATION,)})
    for ours, control in ((math.nan, 0.5), (0.7, math.nan)):
        found = one(read(degraded(ours, control), manifest), "faithful")
        assert found.answer == "unknown"
        assert "nan" not in found.why
    assert found.why.endswith("the run has no control to hold that against: add edge-detector, say, to its methods.")
    assert "No sample gives a value of degradation" in one(read(degraded(math.nan, 0.5), manifest), "faithful").why


def test_a_wide_difference_tells_nothing() -> None:
    manifest = manifest_of(controls=[EDGES], checks={"degradation": (DEGRADATION,)})
    levels = {"m": [0.9, 0.1] * 4, EDGES: [0.2, 0.7] * 4}
    rows = pd.concat(rows_of("degradation", who, {"degradation": level}, samples=8) for who, level in levels.items())
    assert one(read(rows, manifest), "faithful").answer == "unknown"


def test_lower_is_better_where_the_metric_says_so_and_the_original_is_no_merit() -> None:
    manifest = manifest_of(controls=[EDGES], checks={"blurred-patch": (BLURRED,)})
    rows = degraded(0.2, 0.5, "probability", "blurred-patch")
    whole = pd.concat([rows_of("blurred-patch", who, {"probability": 0.9}) for who in ("m", EDGES)])
    found = one(read(pd.concat([rows, whole]), manifest), "faithful")
    assert (found.answer, found.mean) == ("yes", pytest.approx(0.3))


def test_a_control_is_shown_and_not_judged() -> None:
    manifest = manifest_of(controls=[EDGES], checks={"degradation": (DEGRADATION,)})
    found = one(read(degraded(0.7, 0.5), manifest), "faithful", EDGES)
    assert (found.answer, found.word) == ("", "0.50")


def test_one_check_that_refutes_is_not_outvoted() -> None:
    manifest = manifest_of(controls=[EDGES], checks={"degradation": (DEGRADATION,), "sensitivity-n": (
        Metric(name="sensitivity-n", chance=0.0, ideal=1.0, higher_is_better=True),)})  # fmt: skip
    rows = pd.concat([degraded(0.4, 0.58), degraded(0.9, 0.1, "sensitivity-n", "sensitivity-n")])
    assert one(read(rows, manifest), "faithful").answer == "no"


# --- localizes ---


def boxes(ratio: float, hits: list[float], area: float = 0.05, control: float = 0.1, samples: int = 20) -> pd.DataFrame:
    parts = [
        rows_of("bounding-box", "m", {"box-ratio": ratio, "pointing-game": hits}, samples=samples),
        rows_of("bounding-box", EDGES, {"box-ratio": control, "pointing-game": [0.0] * samples}, samples=samples),
        rows_of("bounding-box", "", {"box-area": [area] * samples}, samples=samples),
        rows_of(
            "bounding-box", "", {"box-ratio": 0.1, "pointing-game": [0.0] * samples}, setting="center", samples=samples
        ),
    ]
    return pd.concat(parts)


BOXES = {"bounding-box": (
    Metric(name="box-ratio", low=0.0, high=1.0, ideal=1.0, higher_is_better=True),
    Metric(name="pointing-game", low=0.0, high=1.0, ideal=1.0, higher_is_better=True),
    Metric(name="box-area"),
)}  # fmt: skip


@pytest.mark.parametrize(
    ("ratio", "hits", "answer"),
    [(0.6, [1.0] * 20, "yes"), (0.6, [0.0] * 20, "yes"), (0.08, [0.0] * 20, "no"), (0.1, [1.0] + [0.0] * 19, "no")],
)
def test_localizes_by_the_share_of_pixels_and_a_hit_withholds_nothing(ratio: float, hits: list, answer: str) -> None:
    found = one(read(boxes(ratio, hits), manifest_of(controls=[EDGES], checks=BOXES)), "localizes")
    assert (found.answer, found.metric) == (answer, "box-ratio")


@pytest.mark.parametrize(
    ("hits", "area", "word"),
    [
        # Five misses at 5 % boxes happen to 77 % of random maps: .95^5.
        ([0.0] * 5, 0.05, "cannot be told"),
        ([0.0] * 20, 0.05, "cannot be told"),
        # Twenty misses at 20 % boxes happen to 1.2 %.
        ([0.0] * 20, 0.2, "points elsewhere"),
        ([1.0] * 12 + [0.0] * 8, 0.05, "points at it"),
    ],
)
def test_hits_are_counted_by_exact_tests(hits: list[float], area: float, word: str) -> None:
    n = len(hits)
    rows = boxes(0.6, hits, area, samples=n)
    found = read(rows, manifest_of(controls=[EDGES], checks=BOXES)).findings
    (pointing,) = (f for f in found if f.metric == "pointing-game" and f.method == "m")
    assert pointing.word == word
    assert (pointing.mean, pointing.n) == (pytest.approx(sum(hits) / n), n)


# --- complete ---


@pytest.mark.parametrize(
    ("gap", "answer", "word"),
    [(0.001, "yes", "complete"), (0.8, "no", "not complete"), (0.0101, "unknown", "cannot be told")],
)
def test_complete_is_judged_against_the_promise(gap: float, answer: str, word: str) -> None:
    """ΣR = 2, promised is ΣR − gap, whatever the score is."""
    rng = np.random.default_rng(0)
    gaps = gap * 2 * rng.uniform(0.9, 1.1, SAMPLES)
    rows = rows_of("completeness", "m", {"completeness-gap": gaps, "attribution-sum": 2 + gaps, "target-score": 100.0})
    found = one(read(rows, manifest_of(checks={"completeness": ()})), "complete")
    assert (found.answer, found.word) == (answer, word)
    assert found.mean == pytest.approx(np.abs(gaps).mean() / 2)


def test_a_method_that_promises_no_sum_is_not_judged() -> None:
    rows = rows_of("completeness", "m", {"attribution-sum": 2.0})
    found = one(read(rows, manifest_of(checks={"completeness": ()})), "complete")
    assert (found.answer, found.word) == ("", "promises no sum")


def test_what_a_method_says_of_its_sum_counts_where_the_check_was_not_run() -> None:
    own = {"conservation-gap": 0.5, "score": 3.0, "baseline-score": 1.0}
    found = one(read(rows_of(PR, "m", own, setting=GROUP, spread=0.01)), "complete")
    assert (found.answer, found.mean) == ("no", pytest.approx(0.25, rel=0.01))


# --- competition, cost ---


@pytest.mark.parametrize(
    ("before", "after", "answer", "word"),
    [
        (0.6, 0.2, "yes", "less survives randomized"),
        (0.3, 0.3, "no", "as much survives randomized"),
        (0.2, 0.6, "no", "more survives randomized"),
    ],
)
def test_competition(before: float, after: float, answer: str, word: str) -> None:
    rows = pd.concat([
        rows_of(PR, "m", {"surviving-share": level}, setting=GROUP, position=position)
        for level, position in ((before, 0), (after, STAGES))
    ])  # fmt: skip
    found = one(read(rows), "competition")
    assert (found.answer, found.word) == (answer, word)
    assert "pure chance leaves 20 %" in found.why


@pytest.mark.parametrize(("labels", "share"), [(1, 1.0), (2, 0.75), (10, 0.1998046875), (1000, 0.002)])
def test_chance_share_of_competition(labels: int, share: float) -> None:
    assert chance_share(labels) == pytest.approx(share)


def test_cost_is_told_against_the_cheapest_that_looks_at_the_model() -> None:
    costs = {"m": {"seconds": 6.0, "maps": 3}, "n": {"seconds": 1.0, "maps": 2}, EDGES: {"seconds": 0.01, "maps": 1}}
    manifest = manifest_of(["m", "n"], controls=[EDGES], costs=costs)
    found = one(read(rows_of(PR, "m", {"zeros": 0.0}), manifest), "cost")
    assert (found.answer, found.mean, found.word) == ("", pytest.approx(2.0), "4.0 ×")


# --- a check that has no reading of its own ---


def test_what_a_metric_declares_is_all_that_a_check_needs() -> None:
    metrics = (
        Metric(name="good", chance=0.2, ideal=1.0, higher_is_better=True, text="Share of something."),
        Metric(name="shown", unit="bits"),
        Metric(name="alike", chance=0.0, higher_is_better=False, itself=1.0),
    )
    manifest = manifest_of(checks={"their-check": metrics})
    rows = rows_of("their-check", "m", {"good": 0.6, "shown": 3.0, "alike": 0.5})
    found = {f.metric: f for f in read(rows, manifest).findings if f.question == "their-check"}
    assert (found["good"].answer, found["good"].word) == ("yes", "better than chance")
    assert found["good"].low < 0.6 < found["good"].high
    assert (found["shown"].answer, found["shown"].word, found["shown"].mean) == ("", "3.00", pytest.approx(3.0))
    assert found["alike"].answer == ""  # a similarity alone is no merit
    assert read(rows, manifest).titles["their-check"] == "Their check"


@pytest.mark.parametrize(("level", "better", "word"), [
    (0.2, True, "no better than chance"), (0.1, True, "no better than chance"), (0.1, False, "better than chance"),
])  # fmt: skip
def test_declared_directions(level: float, better: bool, word: str) -> None:
    metric = Metric(name="x", chance=0.2, ideal=1.0 if better else 0.0, higher_is_better=better)
    rows = rows_of("their-check", "m", {"x": level}, spread=0.01)
    (found,) = (f for f in read(rows, manifest_of(checks={"their-check": (metric,)})).findings if f.metric == "x")
    assert found.word == word


def test_a_metric_without_a_value_says_so() -> None:
    metrics = (Metric(name="x", unit="bits", text="Something."), Metric(name="y", text="Large."))
    rows = rows_of("their-check", "m", {"x": [math.nan] * SAMPLES, "y": [31000.0, 29000.0] * 20})
    found = {f.metric: f for f in read(rows, manifest_of(checks={"their-check": metrics})).findings}
    assert (found["x"].word, found["x"].why) == ("no value", "Something. No sample has a value: all are degenerate.")
    assert found["y"].why == "Large. Mean 30000."


def test_nothing_measured_is_no_finding() -> None:
    assert read(rows_of(PR, "m", {"zeros": [math.nan] * SAMPLES})).findings == []
