"""Every claim and table of every paper can be made from rows of the kind that its specs give."""

from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from paper_picks import picked

from heatproof.papers import PAPERS, Pick, Results
from heatproof.papers.measure import STAGES
from heatproof.papers.paper import Verdict, answer
from heatproof.rows import SCHEMA, chance_of

GROUP = "cascading he"
STATES = [{"name": "all", "kind": "randomized", "group": GROUP, "index": 2, "complete": True}]
IDS = {"completeness": "completeness", "data-randomization": "data-randomization", "input-controls": "input-controls"}


def manifest_of(picks: list[Pick]) -> dict[str, Any]:
    """What the manifest of a run with these rows says."""
    checks = dict.fromkeys(pick.check for pick in picks)
    labels = dict.fromkeys(["iba-10", "iba-readout", *(pick.method for pick in picks if pick.method)])
    return {
        "schema": SCHEMA,
        "states": STATES,
        "model": {"outputs": 10},
        "methods": [{"label": label, "name": label, "recipe": {}} for label in labels],
        "checks": [
            {"label": one, "id": IDS.get(one, "parameter-randomization"), "recipe": {}, "metrics": []} for one in checks
        ],
    }


def rows_for(picks: list[Pick], seed: int) -> pd.DataFrame:
    """Made-up values of five samples for each pick, at the positions that picks name, and their yardsticks."""
    chance = np.random.default_rng(seed)
    found = {}
    for pick in picks:
        setting = GROUP if pick.setting == STAGES else pick.setting or ""
        for position in {0.0, 1.0, 2.0} | ({pick.position} if isinstance(pick.position, float) else set()):
            for place in (setting, chance_of(setting), "replicate") if setting else (setting,):
                for sample in range(5):
                    key = (pick.check, pick.method or "", pick.metric or "m", place, position, f"s{sample}", 0)
                    found[key] = 1.0 if place == "replicate" else chance.normal(scale=0.1)
    names = ["check", "method", "metric", "setting", "position", "sample", "seed"]
    return pd.DataFrame([(*key, value) for key, value in found.items()], columns=[*names, "value"])


@pytest.mark.parametrize("name", ["001", "003", "004"])
def test_claims_and_tables_can_be_made(name: str) -> None:
    paper = PAPERS[name]
    tables = {table.name for table in paper.tables} - {"edges", "edge-maps"}
    by_step: dict[str, list[Pick]] = {}
    for step, pick in picked(paper):
        by_step.setdefault(step, []).append(pick)
    if name == "003":  # gaps are picked by a function
        for found in by_step.values():
            labels = {pick.method for pick in found} | {"deeplift", "deeplift-complete"}
            found += [
                Pick(check="completeness", method=label, metric=metric, setting="")
                for label in labels
                for metric in ("attribution-sum", "completeness-gap")
            ]
    results = {
        step: Results(rows=rows_for(found, i), manifest=manifest_of(found))
        for i, (step, found) in enumerate(by_step.items())
    }
    for claim in paper.claims:
        told = answer(claim, results)
        assert told.verdict in get_args(Verdict)
        assert "not measured" not in told.ours
        if not tables & {*claim.steps}:
            assert "does not run" not in told.ours, claim.text
    for sheet in paper.sheets:
        if sheet.name not in ("table-2", "table-3"):  # these read recipes
            cells = sheet.make(*(results[step] for step in sheet.steps))
            assert len(cells) > 0
            assert cells.map(lambda cell: isinstance(cell, str)).all(axis=None)
