"""The gallery shows networks that were trained anew beside the trained one."""

import pandas as pd

from heatproof.reading.table import Table
from heatproof.report.columns import columns_of
from heatproof.report.gallery import scores_of


def state(name: str, kind: str, group: str, seed: int = 0) -> dict[str, object]:
    return {"name": name, "kind": kind, "group": group, "seed": seed, "index": 0, "label": f"trained on {name}"}


STATES = [
    state("trained", "trained", ""),
    *(state(f"permuted labels/seed{seed}", "retrained", "permuted-labels", seed) for seed in (3, 4)),
    *(state(f"true labels/seed{seed}", "retrained", "true-labels", seed) for seed in (3, 4)),
]


def columns() -> list[dict[str, object]]:
    return columns_of({"states": STATES}, {str(one["name"]) for one in STATES})


def test_columns_are_those_of_the_first_seed_under_one_name() -> None:
    found = [(c["state"], c["group"], c["index"]) for c in columns()]
    assert found == [
        ("trained", "", 0),
        ("permuted labels/seed3", "networks trained anew", 1),
        ("true labels/seed3", "networks trained anew", 2),
    ]


def test_what_was_not_kept_has_no_column() -> None:
    found = columns_of({"states": STATES}, {"trained", "true labels/seed3"})
    assert [(c["state"], c["index"]) for c in found] == [("trained", 0), ("true labels/seed3", 1)]


def test_the_number_under_a_map_is_its_similarity_on_this_sample() -> None:
    rows = pd.DataFrame(
        {
            "check": "data-randomization", "method": "m", "setting": setting, "position": 0.0, "sample": sample,
            "metric": "spearman", "value": value, "seed": 3,
        }
        for setting, sample, value in (
            ("permuted-labels", "a", 0.25), ("true-labels", "a", 0.75), ("permuted-labels", "b", 0.5),
            ("permuted-labels floor", "a", 0.125),
        )
    )  # fmt: skip
    found = scores_of(Table.of(rows), ["ssim", "spearman"], columns(), {"m": True}, "a")
    assert found == {"m": {"networks trained anew/1": 0.25, "networks trained anew/2": 0.75}}
