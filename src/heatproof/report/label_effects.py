"""The papers' effects in networks that learned permuted labels, looked for in the rows of this run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from heatproof.reading.competition import chance_share
from heatproof.reading.evidence import Evidence
from heatproof.reading.labels import CHECK as LABELS
from heatproof.reading.labels import NEAR_CHANCE, PERMUTED, TRUE
from heatproof.reading.values import Interval, Key, Values
from heatproof.report.effect import Effect, compared, labels_of, registered_names
from heatproof.rows import chance_of

ABSOLUTE = "spearman-absolute"


@dataclass(frozen=True, kw_only=True)
class _Trained:
    """What the data randomization of a run measured."""

    table: Mapping[Key, Values]
    means: Mapping[Key, Interval]


def label_effects(evidence: Evidence) -> list[Effect]:
    """Every such effect that the run measured."""
    info = evidence.info
    if not any(key[0] == LABELS for key in evidence.by_id.values):
        return []
    run = _Trained(table=evidence.by_id.values, means=evidence.means)
    registered = registered_names(info.manifest)
    plain, cgi = (labels_of(registered, name) for name in ("gradient-x-input", "cgi"))
    parts = (_guesses(run), _survives(run, plain), _loses(run, plain, cgi), _fewer(run, cgi, info.outputs))
    return [effect for part in parts for effect in part]


def _key(method: str, setting: str, metric: str) -> Key:
    return (LABELS, method, setting, 0.0, metric)


def _text(run: _Trained, key: Key, said: str = "{}", *, share: bool = False) -> str:
    """A mean with its interval, within a sentence; nothing where it was not measured."""
    if key not in run.means:
        return ""
    scale, form, unit = (100, ".0f", " %") if share else (1, "z.2f", "")
    mean, low, high = (format(scale * value, form) for value in run.means[key][:3])
    return said.format(f"{mean}{unit} ({low} to {high})")


def _guesses(run: _Trained) -> Iterator[Effect]:
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


def _survives(run: _Trained, plain: list[str]) -> Iterator[Effect]:
    """Gupta & Arora 2019, 4.2 and Fig. 7: on permuted labels, gradient × input still draws the input."""
    for label in plain:
        key = _key(label, PERMUTED, ABSOLUTE)
        similarity, chance = run.table.get(key), run.table.get(_key(label, chance_of(PERMUTED), ABSOLUTE))
        if similarity is None or chance is None:
            continue
        again, zeros = _key(label, TRUE, ABSOLUTE), _key(label, PERMUTED, "shared-zeros")
        against = _text(run, again, ", against {} on a network that learned the true ones again")
        shared = _text(run, zeros, " {} of the features are zero in both maps, which raises this number.", share=True)
        yield Effect(
            title="Gradient × input stays like itself when the labels mean nothing",
            shows=compared(similarity, chance),
            sentence=f"By absolute values its similarity to itself is {_text(run, key)} on permuted labels{against}."
            + shared,
        )


def _loses(run: _Trained, plain: list[str], cgi: list[str]) -> Iterator[Effect]:
    """Gupta & Arora 2019, 4.2 and Fig. 7: competition removes the digit."""
    for ours, theirs in ((ours, theirs) for ours in cgi for theirs in plain):
        keys = _key(ours, PERMUTED, ABSOLUTE), _key(theirs, PERMUTED, ABSOLUTE)
        first, second = (run.table.get(key) for key in keys)
        if first is None or second is None:
            continue
        yield Effect(
            title="The CGI map is less like itself than gradient × input when the labels mean nothing",
            shows=compared(second, first),
            sentence=f"Similarity to itself by absolute values on permuted labels: CGI {_text(run, keys[0])}, "
            f"gradient × input {_text(run, keys[1])}.",
        )


def _fewer(run: _Trained, cgi: list[str], outputs: int) -> Iterator[Effect]:
    """The same in what is left of the map: of its features, and of its energy."""
    for label in cgi:
        for metric, noun, lead in (
            ("surviving-share", "features", "Fewer features survive"),
            ("surviving-energy", "energy", "Less energy survives"),
        ):
            keys = _key(label, "", metric), _key(label, PERMUTED, metric)
            before, after = (run.table.get(key) for key in keys)
            if before is None or after is None:
                continue
            learned = _text(run, _key(label, TRUE, metric), ", {} on true ones again", share=True)
            chance = f" Pure chance among {outputs} labels leaves {100 * chance_share(outputs):.2g} %."
            yield Effect(
                title=f"{lead} competition when the labels mean nothing",
                shows=compared(before, after),
                sentence=f"Of the uncompeted map's own {noun}: {_text(run, keys[0], share=True)} on the model, "
                f"{_text(run, keys[1], share=True)} on permuted labels{learned}."
                + chance
                * (metric == "surviving-share"),
            )
