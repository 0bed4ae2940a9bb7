"""Whether maps depend on the labels: rows whose answers are known by construction."""

from typing import Any

import pandas as pd
import pytest

from heatproof.auditing import scorecard
from heatproof.auditing.bootstrap import intervals
from heatproof.auditing.finding import paired_difference
from heatproof.report.label_effects import label_effects

SPEARMANS = ("spearman", "spearman-absolute")
# Similarity on permuted labels, and where the true labels were learned again.
KNOWN = {
    "reads the labels": (0.0, 0.9),
    "keeps a part": (0.3, 0.9),
    "keeps most": (0.8, 0.9),
    "keeps all": (0.9, 0.9),
    "never repeats": (0.0, 0.02),
    "an edge detector": (1.0, 1.0),
}
VERDICTS = {
    "reads the labels": "depends",
    "keeps a part": "depends in part",
    "keeps most": "hardly depends",
    "keeps all": "does not depend",
    "never repeats": "cannot be told",
    "an edge detector": "never looks at the model",
}


def row(method: str, setting: str, sample: int, metric: str, value: float, seed: int = 0) -> dict[str, Any]:
    return {
        "check": "labels", "method": method, "setting": setting, "position": 0.0, "sample": str(sample),
        "metric": metric, "value": value, "seed": seed, "cell": "c",
    }  # fmt: skip


def rows_of(known: dict[str, tuple[float, float]], *, accuracy: float = 0.11, samples: int = 40) -> pd.DataFrame:
    found = []
    for sample in range(samples):
        for setting, reached in (("permuted-labels", accuracy), ("true-labels", 0.9)):
            for metric, value in (("test-accuracy", reached), ("chance-accuracy", 0.1), ("training-accuracy", 0.99)):
                found.append(row("", setting, sample, metric, value))
        for method, values in known.items():
            for metric in SPEARMANS:
                for k, (setting, value) in enumerate(zip(("permuted-labels", "true-labels"), values, strict=True)):
                    spread = 0.0 if value == 1 else 0.05 * (-1) ** (sample // (k + 1))  # of mean 0, and not paired
                    found.append(row(method, setting, sample, metric, value + spread))
    return pd.DataFrame(found)


def manifest_of(methods: list[str], **names: str) -> dict[str, Any]:
    return {
        "methods": [{"label": m, "name": names.get(m, m), "recipe": {}, "controls": False} for m in methods],
        "checks": [
            {"label": "labels", "name": "data-randomization", "recipe": {}, "metrics": [], "notes": []},
        ],
        "states": [{"name": "trained", "kind": "trained", "group": "", "seed": 0, "index": 0}],
        "model": {"outputs": 10},
        "costs": {},
    }


def verdicts(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    methods = [m for m in dict.fromkeys(rows.method) if m]
    found = scorecard.findings(rows, manifest_of(methods))
    return {record["method"]: record for record in found[found.question == "labels"].to_dict("records")}


def test_the_answers_are_those_that_were_built_in() -> None:
    found = verdicts(rows_of(KNOWN))
    assert {method: record["verdict"] for method, record in found.items()} == VERDICTS
    assert {record["check"] for record in found.values()} == {"labels"}
    assert {record["setting"] for record in found.values()} == {"permuted-labels"}


def test_the_sentence_has_both_numbers() -> None:
    found = verdicts(rows_of(KNOWN))
    said = found["keeps a part"]["sentence"]
    assert said.startswith("33 % (3")
    assert "of its similarity to itself needs no labels: 0.30 on permuted labels, 0.90 where the true ones" in said
    assert "no more like itself (0.0" in found["never repeats"]["sentence"]
    assert found["an edge detector"]["sentence"] == "Exactly the same map whatever labels the network learned."


def test_two_measures_that_disagree_are_told_apart() -> None:
    rows = rows_of({"m": (0.0, 0.9)})
    strong = (rows.metric == "spearman-absolute") & (rows.setting == "permuted-labels")
    rows.loc[strong, "value"] += 0.8
    record = verdicts(rows)["m"]
    assert record["verdict"] == "depends in part"
    assert record["metric"] == "spearman-absolute"
    lead = "What counts for and against: depends; where the map is strong: hardly depends. "
    assert record["sentence"].startswith(f"{lead}By the latter, 89 % (8")
    assert "of its similarity to itself needs no labels: 0.80 on permuted labels" in record["sentence"]


def test_what_two_permutations_share_is_no_dependence_on_the_input() -> None:
    """0.3 of 0.9 is above random masks, and not above two networks that both know nothing of the labels."""
    rows = rows_of({"m": (0.3, 0.9)})
    floor = [row("m", "permuted-labels floor", k, metric, 0.5, seed=1) for k in range(40) for metric in SPEARMANS]
    again = rows.assign(seed=1)
    assert verdicts(pd.concat([rows, again]))["m"]["verdict"] == "depends in part"
    assert verdicts(pd.concat([rows, again, pd.DataFrame(floor)]))["m"]["verdict"] == "depends"


def test_a_network_that_does_not_guess_is_a_warning() -> None:
    said = "The network on permuted labels gets 20 % of new samples right, not 10 ± 3 %"
    assert said in verdicts(rows_of(KNOWN, accuracy=0.2))["keeps all"]["sentence"]
    assert "of new samples" not in verdicts(rows_of(KNOWN, accuracy=0.13))["keeps all"]["sentence"]


def test_few_samples_or_a_missing_network_cannot_be_told() -> None:
    assert verdicts(rows_of(KNOWN, samples=3))["reads the labels"]["verdict"] == "cannot be told"
    rows = rows_of({"m": (0.0, 0.9)})
    record = verdicts(rows[rows.setting == "permuted-labels"])["m"]
    assert record["verdict"] == "cannot be told"
    assert record["sentence"] == "Not enough to go by: one of the networks was not trained."


def test_every_similarity_is_shown_with_its_paired_difference() -> None:
    rows = rows_of({"m": (0.3, 0.9)})
    found = scorecard.findings(rows, manifest_of(["m"]))
    shown = found[found.question == "similarity on labels"]
    assert list(zip(shown.metric, shown.setting, strict=True)) == [
        (metric, setting) for metric in SPEARMANS for setting in ("permuted-labels", "true-labels")
    ]
    part = rows[(rows.method == "m") & (rows.metric == "spearman")].set_index(["seed", "sample"])
    true, permuted = (part[part.setting == name]["value"] for name in ("true-labels", "permuted-labels"))
    low, high = paired_difference(true, permuted)
    expected = f"{(true - permuted).mean():.2f} ({low:.2f} to {high:.2f})."
    assert shown.sentence.iloc[0] == f"True minus permuted labels, sample by sample: {expected}"
    means = intervals(rows)
    assert shown["mean"].iloc[0] == means["labels", "m", "permuted-labels", 0.0, "spearman"].mean


def test_the_headline_counts_labels_where_no_parameter_was_randomized() -> None:
    found = scorecard.findings(rows_of(KNOWN), manifest_of(list(KNOWN)))
    assert scorecard.headline(found, manifest_of(list(KNOWN))) == (
        "1 of 6 heatmaps depends on the labels that this network learned."
    )


@pytest.mark.parametrize(("kept", "shows"), [(0.7, "shows"), (0.0, "does not show")])
def test_the_papers_effects(kept: float, shows: str) -> None:
    rows = rows_of({"plain": (kept, 0.9), "ours": (0.2, 0.9)})
    extra = [
        row("ours", setting, k, "surviving-share", value)
        for k in range(40)
        for setting, value in (("", 0.4), ("permuted-labels", 0.2 if kept else 0.6), ("true-labels", 0.4))
    ]
    manifest = manifest_of(["plain", "ours"], plain="gradient-x-input", ours="cgi")
    manifest["methods"][1]["recipe"] = {
        "class": "heatproof.methods.competition.Competitive",
        "method": {"class": "heatproof.methods.backward.GradientXInput"},
    }
    found = label_effects(pd.concat([rows, pd.DataFrame(extra)]), manifest)
    assert [effect.shows for effect in found] == ["shows", shows, shows, shows]
    assert found[0].sentence == (
        "It gets 99.0% of its training samples right and 11.0% of new ones; chance is 10.0%. "
        "The same network on the true labels gets 90.0%."
    )
    assert "40 % (40 to 40) on the model, " in found[3].sentence
    assert "Pure chance among 10 labels leaves 20 %." in found[3].sentence
