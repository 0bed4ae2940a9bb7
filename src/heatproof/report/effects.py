"""The papers' effects, looked for in the rows of this run. Where one does not show, the sentence says so.

What a question of the scorecard asks, too, has its verdict's answer, so that no page says two things of one map.
"""

from collections.abc import Iterator

from heatproof.reading.base import Finding
from heatproof.reading.depends import grade, measured
from heatproof.reading.evidence import Evidence
from heatproof.reading.picture import CHECK as CONTROLS
from heatproof.reading.support import NEVER
from heatproof.reading.values import Values
from heatproof.reading.verdicts import Verdicts
from heatproof.report.effect import (
    SOME,
    UNTOLD,
    Effect,
    Names,
    labels_of,
    less_survives,
    registered_names,
    shown,
    stays,
    text,
)
from heatproof.report.label_effects import label_effects

DEPENDS, COMPETITION = "depends", "competition"


def effects(verdicts: Verdicts) -> list[Effect]:
    """Every published effect that the run measured: on random parameters, and on permuted labels."""
    registered = registered_names(verdicts.evidence.info.manifest)
    parts = (_input_survives, _less_survives_competition, _competition_loses, _never_changes)
    found = [effect for part in parts for effect in part(verdicts, registered)]
    return [*found, *label_effects(verdicts, registered)]


def _verdict(verdicts: Verdicts, label: str) -> Finding | None:
    """The verdict on a method in a randomization that ends with all layers random."""
    found = verdicts.by_question(label).get(DEPENDS)
    return found if found and found.setting in verdicts.evidence.info.complete_randomizations else None


def _input_survives(verdicts: Verdicts, registered: Names) -> Iterator[Effect]:
    """Gupta & Arora 2019, section 4.1: with random weights, gradient × input still draws the input."""
    evidence = verdicts.evidence
    for label in labels_of(registered, "gradient-x-input"):
        if (verdict := _verdict(verdicts, label)) is None:
            continue
        control, zeros = _of_control(evidence, label), _of_last_stage(evidence, verdict, "shared-zeros")
        against = shared = ""
        if control is not None:
            against = f" Input × random gradient, which knows no network, has a similarity of {text(control)} to it."
        if zeros is not None and zeros.mean >= SOME:
            shared = f" {text(zeros, share=True)} of the features are zero in both maps."
        yield Effect(
            title="Gradient × input stays like itself when the network is random",
            shows=stays(verdict),
            sentence=f"{verdict.why}{against}{shared}",
        )


def _of_control(evidence: Evidence, label: str) -> Values | None:
    columns = (
        evidence.column(check.label, label, "spearman-absolute", setting="input-x-random-gradient")
        for check in evidence.info.of(CONTROLS)
    )
    return next((values for values in columns if values is not None), None)


def _of_last_stage(evidence: Evidence, verdict: Finding, metric: str) -> Values | None:
    stage = evidence.info.last_stage(verdict.setting)
    return evidence.column(verdict.check, verdict.method, metric, setting=verdict.setting, position=stage)


def _less_survives_competition(verdicts: Verdicts, registered: Names) -> Iterator[Effect]:
    """Gupta & Arora 2019, sections 3 and 4.1: competition leaves less of the map when the network is random."""
    for label in labels_of(registered, "cgi"):
        for metric, lead in (
            ("surviving-share", "Fewer features survive"),
            ("surviving-energy", "Less energy survives"),
        ):
            ours = [one for one in verdicts.findings if (one.method, one.question) == (label, COMPETITION)]
            for verdict in [one for one in ours if one.metric == metric][:1]:
                yield Effect(
                    title=f"{lead} competition when the network is random",
                    shows=shown(verdict.answer),
                    sentence=verdict.why,
                )


def _competition_loses(verdicts: Verdicts, registered: Names) -> Iterator[Effect]:
    """Gupta & Arora 2019, section 4.1: competition removes the picture that gradient × input keeps."""
    for label in labels_of(registered, "cgi"):
        for plain in labels_of(registered, "gradient-x-input"):
            ours, theirs = _verdict(verdicts, label), _verdict(verdicts, plain)
            if ours is None or theirs is None:
                continue
            first, second = (
                (one, measured(verdicts.evidence, one.check, one.method, one.setting, one.metric))
                for one in (ours, theirs)
            )
            shows, sentence = less_survives(verdicts.evidence, first, second, grade)
            yield Effect(
                title="The CGI map is less like itself than gradient × input when the network is random",
                shows=shows,
                sentence=sentence,
            )


def _never_changes(verdicts: Verdicts, registered: Names) -> Iterator[Effect]:
    """Adebayo et al. 2018, Fig. 10: an edge detector draws a convincing map and fails."""
    for label in labels_of(registered, "edge-detector"):
        if (verdict := _verdict(verdicts, label)) is None:
            continue
        same = "shows" if verdict.word == NEVER else UNTOLD if verdict.answer == "unknown" else "does not show"
        yield Effect(
            title="An edge detector does not change at all, and fails",
            shows=same,
            sentence=f"{verdict.why} It draws outlines.",
        )
