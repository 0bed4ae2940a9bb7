"""Whether maps depend on the labels: rows whose answers are known by construction."""

import pandas as pd
import pytest
from made_up import manifest_of, one, read, rows_of

CHECK = "data-randomization"
BOTH = ("spearman", "spearman-absolute")


def retrained(permuted: float, true: float | None, chance: float = 0.0, test: float = 0.1) -> pd.DataFrame:
    settings = {"permuted-labels": permuted, "true-labels": true, "permuted-labels chance": chance}
    parts = [
        rows_of(CHECK, "m", dict.fromkeys(BOTH, level), setting=setting)
        for setting, level in settings.items()
        if level is not None
    ]
    network = {"test-accuracy": test, "chance-accuracy": 0.1, "training-accuracy": 1.0}
    parts.append(rows_of(CHECK, "", network, setting="permuted-labels", spread=0.0))
    parts += [
        rows_of("steadiness", "m", dict.fromkeys(BOTH, level), setting=setting)
        for setting, level in (("parameters", 0.95), ("parameters chance", 0.0))
    ]
    return pd.concat(parts)


@pytest.mark.parametrize(
    ("permuted", "true", "answer", "word"),
    [
        (0.05, 0.8, "yes", "depends"),
        (0.3, 0.8, "yes", "depends in part"),
        (0.7, 0.8, "no", "hardly depends"),
        (0.8, 0.8, "no", "does not depend"),
        (0.02, 0.03, "unknown", "cannot be told"),
        (0.02, None, "unknown", "cannot be told"),
    ],
)
def test_cases(permuted: float, true: float | None, answer: str, word: str) -> None:
    found = one(read(retrained(permuted, true), manifest_of(checks={CHECK: ()})), "labels")
    assert (found.answer, found.word) == (answer, word)
    if (permuted, true) == (0.02, 0.03):
        assert "where the true labels were learned again its map is no more like itself" in found.why
    if true is None:
        assert "no network learned the true labels again" in found.why


def test_networks_that_did_not_guess_are_said() -> None:
    found = one(read(retrained(0.05, 0.8, test=0.3), manifest_of(checks={CHECK: ()})), "labels")
    assert "gets 30 % of new samples right, not 10 ± 3 %" in found.why
    found = one(read(retrained(0.05, 0.8, test=0.11), manifest_of(checks={CHECK: ()})), "labels")
    assert "of new samples right" not in found.why
