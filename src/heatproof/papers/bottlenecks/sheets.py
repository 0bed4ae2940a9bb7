"""The tables of 004, its figures beside ours."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from heatproof.papers.bottlenecks.published import INITIAL, ORIGINAL, PER_SAMPLE, READOUT, TABLE_1, TABLE_2, TABLE_3
from heatproof.papers.measure import Pick, Results
from heatproof.papers.paper import Sheet
from heatproof.papers.sheets import BLANK, Cell, figures, published

RATIOS = {"degradation-8": "degradation", "degradation-14": "degradation", "bounding-box": "box-ratio"}
LEDGER = ("information", "top-5", "top-1")
TRAINED_READOUTS = ("1", "10", "100")
UNTRAINED = ("not trained here",) * len(LEDGER)


def measured(check: str, method: str) -> Pick:
    """A method's figure in a column of Table 1."""
    return Pick(check=check, method=method, metric=RATIOS[check], setting="")


def of_ledger(method: str, metric: str) -> Pick:
    """What a bottleneck lets through, or what the network knows behind it; "" is the network as it is."""
    return Pick(check="bottleneck-ledger", method=method, metric=metric)


def sheets(at_layers: Mapping[str, Sequence[str]], betas: Sequence[str]) -> tuple[Sheet, ...]:
    """Tables 1 to 4, and what stands in Figure 4 beside its maps."""
    depths = {
        f"{place}, β = {beta}/k": (of_ledger(method, "bits"), of_ledger(method, "probability"))
        for place, methods in at_layers.items()
        for beta, method in zip(betas, methods, strict=True)
    }
    return (
        figures(
            name="table-1",
            caption="Table 1, all 17 rows. The paper has no figures for PatternAttribution and LRP on ResNet-50.",
            step="table-1",
            lines={
                method: (*published(values), *(measured(check, method) for check in RATIOS))
                for method, values in TABLE_1.items()
            },
            columns=(
                "method", "ResNet-50, 8×8", "ResNet-50, 14×14", "VGG-16, 8×8", "VGG-16, 14×14", "ResNet-50, boxes",
                "VGG-16, boxes", "ours, 8×8", "ours, 14×14", "ours, boxes",
            ),
        ),
        _settings("table-2", "Table 2, settings of the per-sample bottleneck.", "iba-10", TABLE_2),
        _settings("table-3", "Table 3, settings of the readout bottleneck.", "iba-readout", TABLE_3),
        figures(
            name="table-4",
            caption="Table 4, what bottlenecks let through and what the network knows behind them: L_I/k in nats for "
            "an average element, and accuracies. Ours twice: with the noise of the published code, which the paper's "
            "figures were computed with, and by its equation 2.",
            step="ledger",
            lines=_table_4(),
            columns=(
                "bottleneck", "ResNet-50: L_I/k", "top-5", "top-1", "ours, published noise: L_I/k", "our top-5",
                "our top-1", "ours, eq. 2: L_I/k", "eq. 2: top-5", "eq. 2: top-1",
            ),
        ),
        figures(
            name="depths",
            caption="Fig. 4, 10: what passes at each depth, and the label's probability behind it.",
            step="depth",
            lines=depths,
            columns=("bottleneck", "bits", PROBABILITY),
        ),
    )  # fmt: skip


PROBABILITY = "probability of the label"


def _table_4() -> dict[str, Sequence[Cell]]:
    def ours(method: str) -> tuple[Pick, ...]:
        return tuple(of_ledger(method, metric) for metric in LEDGER)

    known = (BLANK, of_ledger("", "top-5"), of_ledger("", "top-1"))
    lines: dict[str, Sequence[Cell]] = {
        "none (Original)": (*published(ORIGINAL), *known, *known),
        "untrained (Initial)": (*published(INITIAL), *ours("untrained, published noise"), *ours("untrained")),
    }
    for beta, row in PER_SAMPLE.items():
        lines[f"per-sample, β = {beta}/k"] = (
            *published(row), *ours(f"iba-{beta}, published noise"), *ours(f"iba-{beta}"),
        )  # fmt: skip
    for beta, row in READOUT.items():
        read = ours(f"readout-{beta}, published noise") if beta in TRAINED_READOUTS else UNTRAINED
        lines[f"readout, β = {beta}/k"] = (*published(row), *read, *UNTRAINED)
    return lines


def _settings(name: str, caption: str, method: str, rows: Sequence[tuple[str, str, str, str]]) -> Sheet:
    return Sheet(name=name, caption=caption, steps=("table-1",), make=partial(_recipe, method=method, rows=tuple(rows)))


def _recipe(results: Results, *, method: str, rows: Sequence[tuple[str, str, str, str]]) -> pd.DataFrame:
    described = next(one for one in results.manifest["methods"] if one["label"] == method)
    fields = described["recipe"]
    cells = [(what, resnet, vgg, _told(fields[field])) for what, resnet, vgg, field in rows]
    return pd.DataFrame(cells, columns=["parameter", "ResNet-50", "VGG-16", "ours"])


def _told(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "as published"
    return "as published" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
