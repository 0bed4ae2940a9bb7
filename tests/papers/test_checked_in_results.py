"""Every result that is checked in was read by this rule, and its files say one thing of each map."""

from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest

from heatproof.papers import PAPERS
from heatproof.papers.shortcomings import evidence, noise, overtaking
from heatproof.reading.base import Finding
from heatproof.report.effect import Effect
from reference.contradictions import of_claims, of_effects

RESULTS = Path(__file__).parents[2] / "docs" / "results"
# Claims that no interval decides: proofs, and accuracies on the very same images.
OF_PROOFS = {
    claim.text for claim in (*noise.CLAIMS, *evidence.CLAIMS, *(one for one in overtaking.CLAIMS if one.where != "I"))
}
EXACT = {
    name: {claim.text for claim in paper.claims if claim.steps == ("accuracies",)} | OF_PROOFS
    for name, paper in PAPERS.items()
}
CARDS = sorted(RESULTS.glob("*/*scorecard.csv"))


@pytest.mark.parametrize("file", CARDS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_checked_in_scorecards_are_of_this_rule(file: Path) -> None:
    card = pd.read_csv(file, keep_default_na=False)
    assert [*card.columns] == [*(field.name for field in fields(Finding)), "tone"]


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*/effects.csv")), ids=lambda path: path.parent.name)
def test_checked_in_effects_say_what_their_scorecard_says(file: Path) -> None:
    if file.stat().st_size <= 1:
        return
    card = pd.read_csv(file.parent / "scorecard.csv", keep_default_na=False)
    changed = card["word"].str.startswith("changes")
    card = card.assign(answer=card["answer"].mask(changed, "yes"), mean=pd.to_numeric(card["mean"]))
    found = [Effect(**row) for row in pd.read_csv(file, keep_default_na=False).to_dict("records")]
    assert [*of_effects(found, card)] == []


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_checked_in_claims_say_what_their_scorecards_say(name: str) -> None:
    table = pd.read_csv(RESULTS / name / "claims.csv", keep_default_na=False)
    page = (RESULTS / name / "README.md").read_text(encoding="utf-8").replace("\\|", "|")
    cards = {path.stem.removesuffix("-scorecard"): path for path in RESULTS.glob(f"{name}/*-scorecard.csv")}
    said = dict(zip(table["claim"], table["verdict"], strict=True))
    for row in table.itertuples():
        if "which this scale does not run" not in row.ours:
            assert f"| {row.ours} | {row.verdict or ''}" in page
    if cards:  # read by this rule
        assert [*table["claim"]] == [claim.text for claim in PAPERS[name].claims]
        assert "earlier rule" not in page
    else:
        assert "These runs were read by an earlier rule." in page
        assert {text for text, verdict in said.items() if verdict} <= EXACT[name]
    found = {step: pd.read_csv(path, keep_default_na=False) for step, path in cards.items()}
    assert [*of_claims(PAPERS[name], said, found)] == []
