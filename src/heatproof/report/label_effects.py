"""The papers' effects in networks that learned permuted labels, looked for in the rows of this run."""

from collections.abc import Iterator

from heatproof.reading.base import Finding
from heatproof.reading.competition import MARGIN, chance_share
from heatproof.reading.labels import CHECK as LABELS
from heatproof.reading.labels import PERMUTED, TRUE, grade, measured, warning
from heatproof.reading.shares import percent
from heatproof.reading.values import Values
from heatproof.reading.verdicts import Verdicts
from heatproof.report.effect import (
    SOME,
    Effect,
    Names,
    compared,
    labels_of,
    less_survives,
    stays,
    text,
)


def label_effects(verdicts: Verdicts, registered: Names) -> Iterator[Effect]:
    """Every such effect that the run measured."""
    plain, cgi = (labels_of(registered, name) for name in ("gradient-x-input", "cgi"))
    for check in verdicts.evidence.info.of(LABELS):
        yield from _guesses(verdicts, check.label)
        yield from _survives(verdicts, check.label, plain)
        yield from _loses(verdicts, check.label, plain, cgi)
        yield from _fewer(verdicts, check.label, cgi)


def _verdict(verdicts: Verdicts, check: str, label: str) -> Finding | None:
    """The verdict on a method by this check."""
    ours = (one for one in verdicts.findings if (one.method, one.question, one.check) == (label, "labels", check))
    return next(ours, None)


def _column(verdicts: Verdicts, check: str, method: str, setting: str, metric: str) -> Values | None:
    return verdicts.evidence.column(check, method, metric, setting=setting)


def _guesses(verdicts: Verdicts, check: str) -> Iterator[Effect]:
    """Adebayo et al. 2018, B: a network on permuted labels is random on the test set."""
    names = ("training-accuracy", "test-accuracy", "chance-accuracy")
    trained, reached, chance = (_column(verdicts, check, "", PERMUTED, name) for name in names)
    if trained is None or reached is None or chance is None:
        return
    again = _column(verdicts, check, "", TRUE, "test-accuracy")
    yield Effect(
        title="A network that learned permuted labels by heart guesses on new samples",
        shows="does not show" if warning(verdicts.evidence, check) else "shows",
        sentence=f"It gets {trained.mean:.1%} of its training samples right and {reached.mean:.1%} of new ones; chance "
        f"is {chance.mean:.1%}."
        + ("" if again is None else f" The same network on the true labels gets {again.mean:.1%}."),
    )


def _survives(verdicts: Verdicts, check: str, plain: list[str]) -> Iterator[Effect]:
    """Gupta & Arora 2019, 4.2 and Fig. 7: on permuted labels, gradient × input still draws the input."""
    for label in plain:
        if (verdict := _verdict(verdicts, check, label)) is None:
            continue
        zeros = _column(verdicts, check, label, PERMUTED, "shared-zeros")
        shared = ""
        if zeros is not None and zeros.mean >= SOME:
            shared = f" {text(zeros, share=True)} of the features are zero in both maps."
        yield Effect(
            title="Gradient × input stays like itself when the labels mean nothing",
            shows=stays(verdict),
            sentence=f"{verdict.why}{shared}",
        )


def _loses(verdicts: Verdicts, check: str, plain: list[str], cgi: list[str]) -> Iterator[Effect]:
    """Gupta & Arora 2019, 4.2 and Fig. 7: competition removes the digit."""
    for label, other in ((label, other) for label in cgi for other in plain):
        ours, theirs = (_verdict(verdicts, check, one) for one in (label, other))
        if ours is None or theirs is None:
            continue
        first, second = ((one, measured(verdicts.evidence, check, one.method, one.metric)) for one in (ours, theirs))
        shows, sentence = less_survives(verdicts.evidence, first, second, grade)
        yield Effect(
            title="The CGI map is less like itself than gradient × input when the labels mean nothing",
            shows=shows,
            sentence=sentence,
        )


def _fewer(verdicts: Verdicts, check: str, cgi: list[str]) -> Iterator[Effect]:
    """The same in what is left of the map: of its features, and of its energy."""
    outputs = verdicts.evidence.info.outputs
    for label in cgi:
        for metric, noun, lead in (
            ("surviving-share", "features", "Fewer features survive"),
            ("surviving-energy", "energy", "Less energy survives"),
        ):
            before, after = (_column(verdicts, check, label, setting, metric) for setting in ("", PERMUTED))
            if before is None or after is None:
                continue
            again = _column(verdicts, check, label, TRUE, metric)
            learned = "" if again is None else f", {text(again, share=True)} on true ones again"
            chance = f" Pure chance among {outputs} labels leaves {percent(chance_share(outputs))}."
            yield Effect(
                title=f"{lead} competition when the labels mean nothing",
                shows=compared(before, after, MARGIN),
                sentence=f"Of the uncompeted map's own {noun}: {text(before, share=True)} on the model, "
                f"{text(after, share=True)} on permuted labels{learned}." + chance * (metric == "surviving-share"),
            )
