"""From findings to verdicts: columns decided together, conjunctions, sentences, and readings from elsewhere."""

from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from made_up import GROUP, PR, STAGES, manifest_of, one, randomized, read, rows_of

from heatproof.errors import InputError, StoreError
from heatproof.metrics import Metric
from heatproof.reading.base import READINGS, Judgement, Reading
from heatproof.reading.believable import needed
from heatproof.reading.rule import ALPHA, Estimate, Margin, decide, selected
from heatproof.reading.verdicts import COLUMNS, Verdicts

LEVELS = {"s": 0.05, "f": 0.05, "r": 1.0, "c": 0.0}
EDGES = "edge-detector"
DEGRADATION = Metric(name="degradation", chance=0.0, ideal=1.0, higher_is_better=True)


# --- columns decided together ---


def test_selection_is_benjamini_and_yekutielis() -> None:
    """The slow twin: the largest R of which R are decided at 1 − 0.05·R/m."""
    rng = np.random.default_rng(0)
    margin = Margin(good="above", yes=0.0, no=-1.0)
    for _ in range(20):
        means = rng.normal(0.5, 0.5, size=12)
        estimates = [Estimate(mean=m, low=m - 0.5, high=m + 0.5, n=20) for m in means]
        deciders = [decide(one, margin) for one in estimates]
        found = [r for r in range(1, 13) if sum(one(ALPHA * r / 12) in ("yes", "no") for one in deciders) >= r]
        assert selected(deciders) == pytest.approx(ALPHA * max(found, default=1) / 12)


def test_an_estimate_widens_with_the_quantiles_of_t() -> None:
    found = Estimate(mean=1.0, low=0.5, high=2.0, n=10)
    assert found.at(0.05) == pytest.approx((0.5, 2.0))
    # t with 9 degrees: 2.262 at 5 %, 3.250 at 1 %
    assert found.at(0.01) == pytest.approx((1 - 0.5 * 3.2498 / 2.2622, 1 + 3.2498 / 2.2622), rel=1e-4)


def test_equal_values_decide_nothing() -> None:
    margin = Margin(good="above", yes=0.0, no=0.0)
    assert decide(Estimate(mean=1.0, low=1.0, high=1.0, n=20), margin)(0.05) == "unknown"
    assert decide(Estimate(mean=1.0, low=0.9, high=1.1, n=4), margin)(0.05) == "unknown"
    assert decide(Estimate(mean=1.0, low=0.9, high=1.1, n=5), margin)(0.05) == "yes"


@pytest.mark.parametrize("samples", [5, 16])
def test_a_random_map_is_hardly_ever_green(samples: int) -> None:
    """Of 400 made-up audits of a random map beside a random control, at most 5 % call it faithful."""
    rng, green = np.random.default_rng(1), 0
    manifest = manifest_of(controls=["random"], checks={"degradation": (DEGRADATION,)})
    for _ in range(400):
        rows = pd.concat(
            rows_of("degradation", who, {"degradation": rng.normal(0, 0.3, samples)}, samples=samples)
            for who in ("m", "random")
        )
        green += one(read(rows, manifest), "faithful").answer == "yes"
    assert green / 400 <= 0.05


# --- believable ---


def judged(faithful: float = 0.7, **levels: Any) -> pd.DataFrame:
    steady = levels.pop("steady", 0.95)
    parts = [
        randomized({**LEVELS, **levels}, steady=steady),
        rows_of("degradation", "m", {"degradation": faithful}),
        rows_of("degradation", EDGES, {"degradation": 0.5}),
    ]
    return pd.concat(parts)


MANIFEST = manifest_of(controls=[EDGES], checks={"degradation": (DEGRADATION,)})


@pytest.mark.parametrize(
    ("rows", "answer", "word"),
    [
        (judged(), "yes", "passes every test that was run"),
        (judged(faithful=0.3), "no", "fails faithful"),
        (judged(s=0.8), "no", "fails depends"),
        (judged(steady=0.1), "no", "fails steady"),
        (judged(s=0.8, faithful=0.3, steady=0.1), "no", "fails steady, depends and faithful"),
        (judged(s=0.5), "unknown", "not shown: depends"),
        (randomized(LEVELS), "unknown", "not shown: faithful"),
        (randomized(LEVELS, steady=None), "unknown", "not shown: depends, steady and faithful"),
    ],
)
def test_believable_is_a_conjunction(rows: pd.DataFrame, answer: str, word: str) -> None:
    found = read(rows, MANIFEST).believable("m")
    assert (found.answer, found.word) == (answer, word)


def test_every_test_that_was_run_counts_also_one_that_is_not_needed() -> None:
    rows = pd.concat([judged(), rows_of("completeness", "m", {"completeness-gap": 1.0, "attribution-sum": 2.0})])
    manifest = manifest_of(controls=[EDGES], checks={"degradation": (DEGRADATION,), "completeness": ()})
    assert read(rows, manifest).believable("m").word == "fails complete"


def test_which_questions_are_needed_is_the_specs() -> None:
    verdicts = read(randomized(LEVELS), {**MANIFEST, "believable": ["depends"]})
    assert verdicts.believable("m").answer == "yes"


def test_a_question_that_is_asked_for_counts_though_it_usually_does_not() -> None:
    shares = [
        rows_of(PR, "m", {"surviving-share": level}, setting=GROUP, position=at)
        for level, at in ((0.2, 0), (0.6, STAGES))
    ]
    for asked, answer in ((["depends"], "yes"), (["depends", "competition"], "no")):
        found = read(pd.concat([randomized(LEVELS), *shares]), {**MANIFEST, "believable": asked}).believable("m")
        assert (found.answer, "competition" in found.margin) == (answer, answer == "no")


def test_what_is_told_only_nobody_can_be_asked_to_pass() -> None:
    with pytest.raises(InputError, match="but cost is told only; leave it out"):
        needed(["depends", "cost"])


def test_the_table_has_one_verdict_a_method_and_question() -> None:
    table = read(judged(), MANIFEST).table
    assert list(table.columns) == COLUMNS
    assert table[table["method"] == "m"]["question"].tolist() == [
        "steady",
        "depends",
        "faithful",
        "repeats",
        "believable",
    ]
    assert not table.duplicated(["method", "question"]).any()
    row = table[(table["method"] == "m") & (table["question"] == "depends")].iloc[0]
    assert (row["answer"], row["margin"]) == ("yes", "yes below 0.5, no at 0.5 or more")


def test_headlines() -> None:
    two = manifest_of(["m", "n"], controls=[EDGES], checks={"degradation": (DEGRADATION,)})
    other = judged(s=0.8).replace({"method": {"m": "n"}})
    other = other[other["method"] != EDGES]
    said = read(pd.concat([judged(), other]), two).headline
    assert said == "1 of 2 heatmaps passes every test that was run: m."
    assert read(judged(s=0.8), MANIFEST).headline == "The heatmap fails at least one test."
    assert read(randomized(LEVELS), MANIFEST).headline == (
        "Not one heatmap is shown to be believable: not run were faithful."
    )
    assert read(rows_of("degradation", EDGES, {"degradation": 0.5}), manifest_of([], controls=[EDGES])).headline == (
        "No heatmap was judged: every method is a control."
    )


def test_a_run_of_another_schema_is_refused_by_name() -> None:
    with pytest.raises(StoreError, match="schema 3, but this one has 1: it was made by another version"):
        Verdicts.of(randomized(LEVELS), {**MANIFEST, "schema": 1})


def test_a_question_from_elsewhere_is_one_registered_file(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(Reading):
        title: ClassVar[str] = "Odd?"
        reads: ClassVar[tuple[str, ...]] = ("oddity",)

        def judge(self, evidence, method):
            values = evidence.column("oddity", method, "odd")
            if values is not None:
                estimate = values.estimate(evidence.samples)
                yield Judgement(
                    method=method, question="odd", check="oddity", metric="odd", estimate=estimate,
                    decide=lambda _: "yes", tell=lambda _: ("odd indeed", "It is."),
                )  # fmt: skip

    monkeypatch.setattr(READINGS, "_factories", {**READINGS._factories, "odd": Odd})
    found = read(rows_of("oddity", "m", {"odd": 0.3}), manifest_of(checks={"oddity": ()}))
    assert one(found, "odd").word == "odd indeed"
    assert found.titles["odd"] == "Odd?"


def test_of_equal_answers_the_less_favorable_counts() -> None:
    """Of two randomizations that a map passes, that which leaves more of it; of two tests, the smaller lead."""
    second = "cascading uniform"
    states = [
        {"name": name, "kind": "randomized", "group": group, "label": "conv1", "index": STAGES, "complete": True}
        for name, group in (("a", GROUP), ("b", second))
    ]
    for levels in ((0.05, 0.3), (0.3, 0.05)):
        rows = pd.concat(
            randomized({**LEVELS, "s": s}, group=group) for group, s in zip((GROUP, second), levels, strict=True)
        )
        found = one(read(rows, manifest_of(states=states)), "depends")
        assert (found.word, found.setting) == ("depends in part", (GROUP, second)[levels.index(0.3)])
    sensitivity = Metric(name="sensitivity-n", chance=0.0, ideal=1.0, higher_is_better=True)
    manifest = manifest_of(controls=[EDGES], checks={"degradation": (DEGRADATION,), "sensitivity-n": (sensitivity,)})
    parts = [
        rows_of(check, who, {check: level})
        for check, ahead in (("degradation", 0.4), ("sensitivity-n", 0.2))
        for who, level in (("m", 0.5 + ahead), (EDGES, 0.5))
    ]
    found = one(read(pd.concat(parts), manifest), "faithful")
    assert (found.answer, found.check, found.mean) == ("yes", "sensitivity-n", pytest.approx(0.2))
