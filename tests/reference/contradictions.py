"""Where a page says two things of one map: the papers' effects and claims beside the verdicts on the same rows."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import pandas as pd

from heatproof.papers import survives
from heatproof.papers.measure import STAGES, Pick
from heatproof.papers.paper import Paper
from heatproof.report.effect import Effect

# What an effect's word leaves to the verdict on the same question.
STAYS: Mapping[str, set[str]] = {"shows": {"no"}, "does not show": {"yes", "unknown"}, "cannot be told": {"unknown"}}
LESS: Mapping[str, set[str]] = {"shows": {"yes"}, "does not show": {"no"}, "cannot be told": {"unknown"}}
EFFECTS = {
    "Gradient × input stays like itself when the network is random": ("gradient-x-input", "depends", "", STAYS),
    "Gradient × input stays like itself when the labels mean nothing": ("gradient-x-input", "labels", "", STAYS),
    "An edge detector does not change at all, and fails": ("edge-detector", "depends", "", STAYS),
    "Fewer features survive competition when the network is random": ("cgi", "competition", "surviving-share", LESS),
    "Less energy survives competition when the network is random": ("cgi", "competition", "surviving-energy", LESS),
}
COMPARED = "The CGI map is less like itself than gradient × input when "
# What a claim's word leaves to the verdict where both are by the same measure; the verdict's interval may be wider.
BY_KIND: Mapping[object, Mapping[str, set[str]]] = {
    survives.stayed: {"holds": {"no", "unknown"}, "does not hold": {"yes", "unknown"}},
    survives._changed: {"holds": {"yes", "unknown"}, "does not hold": {"no", "unknown"}},
    survives._gone: {"holds": {"yes", "unknown"}},
}


def of_effects(effects: Iterable[Effect], card: pd.DataFrame) -> Iterator[str]:
    """Effects that say another thing than the scorecard: a frame of findings, one check of a kind or the worst."""
    card = card.fillna({"answer": ""})
    for effect in effects:
        if effect.title in EFFECTS:
            method, question, metric, leaves = EFFECTS[effect.title]
            found = card[(card["method"] == method) & (card["question"] == question)]
            found = found[found["metric"] == metric] if metric else found
            answers = [*found["answer"]]
            worst = next((one for one in ("no", "unknown", "yes") if one in answers), "")
            if worst not in leaves[effect.shows]:
                yield f"{effect.title}: {effect.shows}, but {method} {worst or 'nothing'}"
        elif effect.title.startswith(COMPARED):
            question = "depends" if effect.title.endswith("random") else "labels"
            means = {
                method: max(card[(card["method"] == method) & (card["question"] == question)]["mean"], default=0.0)
                for method in ("cgi", "gradient-x-input")
            }
            more = means["gradient-x-input"] - means["cgi"]
            if (effect.shows, more > 0) in (("shows", False), ("does not show", True)):
                yield f"{effect.title}: {effect.shows}, but {means}"


def of_claims(paper: Paper, verdicts: Mapping[str, str], cards: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """Claims that say another thing than the scorecard of their step, by text and by step."""
    for claim in paper.claims:
        said, step = verdicts.get(claim.text, ""), claim.steps[0]
        if said in ("", "cannot be told here") or step not in cards or not isinstance(claim.answer, partial):
            continue
        given = claim.answer.keywords
        pick = given.get("of")
        if not isinstance(pick, Pick) or pick.position not in (None, "last"):
            continue
        kind = given.get("verdict", survives.stayed)
        question = {STAGES: "depends", "permuted-labels": "labels"}.get(pick.setting or "", "more-than-the-picture")
        card = cards[step]
        at = (card["method"] == pick.method) & (card["check"] == pick.check) & (card["question"] == question)
        for row in card[at & (card["metric"] == pick.metric)].itertuples():
            judged = question != "more-than-the-picture" or row.setting == pick.setting
            changed = row.answer == "unknown" and str(row.word).startswith("changes")
            answer = "yes" if changed else row.answer
            if judged and answer not in BY_KIND[kind].get(said, {answer}):
                yield f"{paper.id} {claim.text}: {said}, but {pick.method} {row.answer}: {row.word}"
    for claim in paper.claims:
        yield from _of_completeness(paper, claim, verdicts, cards)


def _of_completeness(paper: Paper, claim: object, verdicts: Mapping[str, str], cards: Mapping[str, pd.DataFrame]):  # type: ignore[no-untyped-def]
    answer = claim.answer  # type: ignore[attr-defined]
    if not (isinstance(answer, partial) and answer.func.__name__ == "_is_complete"):
        return
    said, step = verdicts.get(claim.text, ""), claim.steps[0]  # type: ignore[attr-defined]
    if step not in cards or said in ("", "cannot be told here"):
        return
    card, wanted = cards[step], answer.keywords.get("complete", True)
    for row in card[(card["method"] == answer.keywords["method"]) & (card["question"] == "complete")].itertuples():
        if row.answer in ("yes", "no") and (row.answer == "yes") != ((said == "holds") == wanted):
            yield f"{paper.id} {claim.text}: {said}, but {row.word}"  # type: ignore[attr-defined]
