"""The papers' effects, looked for in the rows of this run. Where one does not show, the sentence says so."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from heatproof.reading.competition import chance_share
from heatproof.reading.depends import CHECK as RANDOMIZATION
from heatproof.reading.evidence import Evidence
from heatproof.reading.picture import CHECK as CONTROLS
from heatproof.reading.survival import EXACT
from heatproof.reading.values import Interval, Key, Values
from heatproof.report.effect import SOME, Effect, Names, compared, labels_of, registered_names
from heatproof.report.label_effects import label_effects
from heatproof.rows import chance_of


def effects(evidence: Evidence) -> list[Effect]:
    """Every published effect that the run measured: on random parameters, and on permuted labels."""
    return [*_random_effects(evidence), *label_effects(evidence)]


def _random_effects(evidence: Evidence) -> list[Effect]:
    """Those in the first randomization that ends with all layers random."""
    info = evidence.info
    if not info.complete_randomizations:
        return []
    group = info.complete_randomizations[0]
    view = _View(
        table=evidence.by_id.values,
        means=evidence.means,
        group=group,
        stage=info.last_stage(group),
        labels=info.outputs,
    )
    registered = registered_names(info.manifest)
    return [*_input_survives(view, registered), *_competition(view, registered), *_never_changes(view, registered)]


@dataclass(frozen=True, kw_only=True)
class _View:
    table: Mapping[Key, Values]
    means: Mapping[Key, Interval]
    group: str
    stage: float
    labels: int

    def key(self, method: str, metric: str, position: float | None = None) -> Key:
        return (RANDOMIZATION, method, self.group, self.stage if position is None else position, metric)

    def column(self, key: Key) -> Values | None:
        found = self.table.get(key)
        return None if found is None or found.n < 2 else found

    def text(self, key: Key, *, share: bool = False) -> str:
        scale, form, unit = (100, ".0f", " %") if share else (1, "z.2f", "")
        mean, low, high = (format(scale * value, form) for value in self.means[key][:3])
        return f"{mean}{unit} ({low} to {high})"


def _input_survives(view: _View, registered: Names) -> Iterator[Effect]:
    """Gupta & Arora 2019, section 4.1: with random weights, gradient × input still draws the input."""
    for label in labels_of(registered, "gradient-x-input"):
        key = view.key(label, "spearman-absolute")
        similarity = view.column(key)
        permuted = (RANDOMIZATION, label, chance_of(view.group), view.stage, "spearman-absolute")
        chance, control = view.column(permuted), (CONTROLS, label, "input-x-random-gradient", 0.0, "spearman-absolute")
        if similarity is None or chance is None:
            continue
        against = f", against {view.text(permuted)} for itself permuted"
        if view.column(control) is not None:
            against += f" and {view.text(control)} for input × random gradient, which knows no network"
        zeros = view.key(label, "shared-zeros")
        shared = f" {view.text(zeros, share=True)} of the features are zero in both maps, which raises this number."
        yield Effect(
            title="Gradient × input stays like itself when the network is random",
            shows=compared(similarity, chance),
            sentence=f"By absolute values its similarity to itself is {view.text(key)}{against}."
            + (shared if view.column(zeros) is not None and view.means[zeros].mean >= SOME else ""),
        )


def _competition(view: _View, registered: Names) -> Iterator[Effect]:
    """Gupta & Arora 2019, sections 3 and 4.1: competition leaves less of the map when the network is random."""
    for label in labels_of(registered, "cgi"):
        for metric, noun, lead in (
            ("surviving-share", "features", "Fewer features survive"),
            ("surviving-energy", "energy", "Less energy survives"),
        ):
            trained, random = view.key(label, metric, 0.0), view.key(label, metric)
            before, after = view.column(trained), view.column(random)
            if before is None or after is None:
                continue
            chance = f" Pure chance among {view.labels} labels leaves {100 * chance_share(view.labels):.2g} %."
            yield Effect(
                title=f"{lead} competition when the network is random",
                shows=compared(before, after),
                sentence=f"Trained {view.text(trained, share=True)}, fully randomized {view.text(random, share=True)}"
                f" of the uncompeted map's own {noun}." + (chance if noun == "features" else ""),
            )
        for plain in labels_of(registered, "gradient-x-input"):
            ours, theirs = view.key(label, "spearman-absolute"), view.key(plain, "spearman-absolute")
            first, second = view.column(ours), view.column(theirs)
            if first is None or second is None:
                continue
            yield Effect(
                title="The CGI map is less like itself than gradient × input when the network is random",
                shows=compared(second, first),
                sentence=f"Similarity to itself by absolute values: CGI {view.text(ours)}, "
                f"gradient × input {view.text(theirs)}.",
            )


def _never_changes(view: _View, registered: Names) -> Iterator[Effect]:
    """Adebayo et al. 2018, Fig. 10: an edge detector draws a convincing map and fails."""
    for label in labels_of(registered, "edge-detector"):
        similarity = view.column(view.key(label, "spearman"))
        if similarity is not None:
            told = view.text(view.key(label, "spearman"))
            same = bool((similarity.array[np.isfinite(similarity.array)] >= EXACT).all())
            yield Effect(
                title="An edge detector does not change at all, and fails",
                shows="shows" if same else "does not show",
                sentence=f"Its similarity to itself is {told} after full randomization: "
                "it draws outlines and knows nothing of the network.",
            )
