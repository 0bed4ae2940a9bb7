"""The papers' effects in networks that learned permuted labels, looked for in the rows of this run."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from heatproof.auditing.bootstrap import Key, column
from heatproof.auditing.finding import paired_difference
from heatproof.auditing.labels import LABELS, NEAR_CHANCE, PERMUTED, TRUE, Trained, asked_of_labels
from heatproof.auditing.scorecard import chance_share, named
from heatproof.auditing.survival import CALIBRATION
from heatproof.report.effect import Effect, labels_of, registered_names, word

ABSOLUTE = "spearman-absolute"


def label_effects(rows: pd.DataFrame, manifest: Mapping[str, Any]) -> list[Effect]:
    """Every such effect that the run measured."""
    found = asked_of_labels(named(rows, manifest), {LABELS: LABELS, CALIBRATION: CALIBRATION})
    registered = registered_names(manifest)
    plain, cgi = (labels_of(registered, name) for name in ("gradient-x-input", "cgi"))
    outputs = int(manifest["model"]["outputs"])
    return [
        effect
        for run in found
        for part in (_guesses(run), _survives(run, plain), _loses(run, plain, cgi), _fewer(run, cgi, outputs))
        for effect in part
    ]


def _key(method: str, setting: str, metric: str) -> Key:
    return (LABELS, method, setting, 0.0, metric)


def _text(run: Trained, key: Key, said: str = "{}", *, share: bool = False) -> str:
    """A mean with its interval, within a sentence; nothing where it was not measured."""
    if key not in run.means:
        return ""
    scale, form, unit = (100, ".0f", " %") if share else (1, "z.2f", "")
    mean, low, high = (format(scale * value, form) for value in run.means[key][:3])
    return said.format(f"{mean}{unit} ({low} to {high})")


def _guesses(run: Trained) -> Iterator[Effect]:
    """Adebayo et al. 2018, B: a network on permuted labels is random on the test set."""
    names = ("training-accuracy", "test-accuracy", "chance-accuracy")
    keys = [_key("", PERMUTED, name) for name in names]
    if any(key not in run.means for key in keys):
        return
    trained, reached, chance = (run.means[key].mean for key in keys)
    again = run.means.get(_key("", TRUE, "test-accuracy"))
    yield Effect(
        title="A network that learned permuted labels by heart guesses on new samples",
        shows="shows" if abs(reached - chance) <= NEAR_CHANCE else "does not show",
        sentence=f"It gets {trained:.1%} of its training samples right and {reached:.1%} of new ones; chance is "
        f"{chance:.1%}." + ("" if again is None else f" The same network on the true labels gets {again.mean:.1%}."),
    )


def _survives(run: Trained, plain: list[str]) -> Iterator[Effect]:
    """Gupta & Arora 2019, 4.2 and Fig. 7: on permuted labels, gradient × input still draws the input."""
    for label in plain:
        key, masks = _key(label, PERMUTED, ABSOLUTE), (CALIBRATION, label, "map-vs-gaussian", 0.0, ABSOLUTE)
        similarity, noise = column(run.table, key), column(run.table, masks)
        if similarity is None:
            continue
        low, high = paired_difference(similarity, noise if noise is not None else similarity * 0)
        again, zeros = _key(label, TRUE, ABSOLUTE), _key(label, PERMUTED, "shared-zeros")
        against = _text(run, again, ", against {} on a network that learned the true ones again")
        shared = _text(run, zeros, " {} of the features are zero in both maps, which raises this number.", share=True)
        yield Effect(
            title="Gradient × input stays like itself when the labels mean nothing",
            shows=word(low, high),
            sentence=f"By absolute values its similarity to itself is {_text(run, key)} on permuted labels{against}."
            + shared,
        )


def _loses(run: Trained, plain: list[str], cgi: list[str]) -> Iterator[Effect]:
    """Gupta & Arora 2019, 4.2 and Fig. 7: competition removes the digit."""
    for ours, theirs in ((ours, theirs) for ours in cgi for theirs in plain):
        keys = _key(ours, PERMUTED, ABSOLUTE), _key(theirs, PERMUTED, ABSOLUTE)
        first, second = (column(run.table, key) for key in keys)
        if first is None or second is None:
            continue
        yield Effect(
            title="The CGI map is less like itself than gradient × input when the labels mean nothing",
            shows=word(*paired_difference(second, first)),
            sentence=f"Similarity to itself by absolute values on permuted labels: CGI {_text(run, keys[0])}, "
            f"gradient × input {_text(run, keys[1])}.",
        )


def _fewer(run: Trained, cgi: list[str], outputs: int) -> Iterator[Effect]:
    """The same in what is left of the map: of its features, and of its energy."""
    for label in cgi:
        for metric, noun, lead in (
            ("surviving-share", "features", "Fewer features survive"),
            ("surviving-energy", "energy", "Less energy survives"),
        ):
            keys = _key(label, "", metric), _key(label, PERMUTED, metric)
            before, after = (column(run.table, key) for key in keys)
            if before is None or after is None:
                continue
            learned = _text(run, _key(label, TRUE, metric), ", {} on true ones again", share=True)
            chance = f" Pure chance among {outputs} labels leaves {100 * chance_share(outputs):.2g} %."
            yield Effect(
                title=f"{lead} competition when the labels mean nothing",
                shows=word(*paired_difference(before, after)),
                sentence=f"Of the uncompeted map's own {noun}: {_text(run, keys[0], share=True)} on the model, "
                f"{_text(run, keys[1], share=True)} on permuted labels{learned}."
                + chance
                * (metric == "surviving-share"),
            )
