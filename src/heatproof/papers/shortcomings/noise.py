"""002, Theorems 1, 3 and 4: similarities of maps with noise in them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from heatproof.papers.measure import Results
from heatproof.papers.paper import Answer, Claim, Picture, Table, verdict
from heatproof.papers.pictures import Line, chart
from heatproof.theory import noise_similarity
from heatproof.theory.noisy_maps import MIXES, expected_mse, moments, mse_maximum

CLOSE = 0.05
MANY = 3.5  # standard errors: of dozens of intervals one would miss by chance at 1.96
SSIMS, RANKS = ("ssim", "ssim-adebayo"), ("spearman", "spearman-absolute")
SHOWN = ("smooth half-normal", "replaced")
CELL = ["process", "mix", "measure", "share"]


def noise(samples: int = 100) -> pd.DataFrame:
    """Means over samples, each with its standard error, by process, mix, measure and share of noise.

    `value` of the measure; `gap`, the value minus its bound where a theorem has one; `loss`, by how much noise alone
    would be the more favorable; of the MSE its closed form `expected`, and the `maximum` by Theorem 4.
    """
    return summary(noise_similarity(samples=samples))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """`noise` of the rows of `heatproof.theory.noise_similarity`."""
    alone = table[table["share"] == 1.0].set_index([*CELL[:3], "sample"])["value"].rename("alone")
    table = table.join(alone, on=[*CELL[:3], "sample"])
    worse = np.where(table["measure"] == "mse", -1.0, 1.0)  # a greater distance, but a smaller similarity, is favorable
    table["gap"] = table["value"] - table["bound"]
    table["loss"] = worse * (table["value"] - table["alone"])
    grouped = table.groupby(CELL)[["value", "bound", "gap", "loss"]]
    means, errors = grouped.mean(), grouped.sem()[["value", "gap", "loss"]].add_suffix("_error")
    found = means.join(errors).reset_index()
    of_mse = found["measure"] == "mse"
    known = [
        moments(process, mix, share)
        for process, mix, share in zip(found["process"], found["mix"], found["share"], strict=True)
    ]
    found["expected"] = pd.Series([expected_mse(one) for one in known]).where(of_mse)
    found["maximum"] = pd.Series([mse_maximum(one) for one in known]).where(of_mse)
    return found


def _of(results: Results, measures: Sequence[str], share: float | None = None) -> pd.DataFrame:
    rows = results.rows[results.rows["measure"].isin(measures)]
    return rows if share is None else rows[rows["share"] == share]


def _range(rows: pd.DataFrame, column: str) -> str:
    """The least and the greatest mean of a column, each with its 95 % interval."""
    ordered = rows.sort_values(column)
    means, errors = ordered[column].tolist(), ordered[f"{column}_error"].tolist()
    return " to ".join(f"{means[k]:z.4f} ± {1.96 * errors[k]:.4f}" for k in (0, -1))


def _at_most_zero(rows: pd.DataFrame, column: str) -> bool:
    """Whether no mean is surely above 0 (a sum of squares has rounding where nothing varies)."""
    return bool((rows[column] <= 1e-9 + MANY * rows[f"{column}_error"]).all())


def _theorem_1(results: Results) -> Answer:
    rows = _of(results, SSIMS, 1.0)
    told = f"SSIM minus its bound at a share of 1: {_range(rows, 'gap')}, by process, mix and normalization"
    return Answer(told, verdict(_at_most_zero(rows, "gap")))


def _theorem_3(results: Results) -> Answer:
    rows = _of(results, RANKS, 1.0)
    zero = bool((rows["value"].abs() <= MANY * rows["value_error"]).all())
    return Answer(f"at a share of 1: {_range(rows, 'value')}, by process and mix", verdict(zero))


def _theorem_4(results: Results) -> Answer:
    rows = _of(results, ("mse",))
    far = float((rows["value"] - rows["expected"]).abs().max())
    told = f"MSE minus its bound: {_range(rows, 'gap')}, over all shares; its closed form is met to {far:.3f}"
    return Answer(told, verdict(_at_most_zero(rows, "gap")))


def _means(results: Results) -> Answer:
    rows = _of(results, ("mse",), 1.0).query("mix == 'replaced' and process in ['normal', 'half-normal']")
    told, close = [], []
    columns = rows[["process", "value", "value_error", "maximum"]]
    for process, value, error, maximum in columns.itertuples(index=False, name=None):
        told.append(f"{process} {value:.3f} ± {1.96 * error:.3f} (the formula {maximum:.3f})")
        close.append(abs(value - maximum) + 1.96 * error < CLOSE)
    return Answer(f"{', '.join(told)}; asked is ± {CLOSE}", verdict(all(close)))


def _noise_wins(results: Results) -> Answer:
    rows = results.rows[results.rows["share"] < 1.0]
    surest = float((rows["loss"] / rows["loss_error"]).min())
    names = ", ".join(sorted(rows["measure"].unique()))
    told = (
        f"at every smaller share, in every process and mix, noise alone is the more favorable by {names}, those "
        f"without a theorem included; least sure by {surest:.1f} standard errors (below −{MANY} would refute it)"
    )
    return Answer(told, verdict(bool((rows["loss"] >= -1e-9 - MANY * rows["loss_error"]).all())))


def _line(rows: pd.DataFrame, label: str, color: int) -> Line:
    half = 1.96 * rows["value_error"]
    low, high = rows["value"] - half, rows["value"] + half
    return Line(label, [*rows["share"]], [*rows["value"]], [*low], [*high], color=color)


def _draw_similarities(results: Results, file: Path) -> None:
    process, mix = SHOWN
    rows = results.rows[(results.rows["process"] == process) & (results.rows["mix"] == mix)]
    names = [name for name in rows["measure"].unique() if name != "mse"]
    lines = [_line(rows[rows["measure"] == name], name, color) for color, name in enumerate(names)]
    chart(file, {"": lines}, x="share of noise", y="similarity")


def _draw_mse(results: Results, file: Path) -> None:
    lines = []
    for color, (process, mix) in enumerate((p, m) for p in ("normal", "half-normal") for m in MIXES):
        rows = _of(results, ("mse",)).query("process == @process and mix == @mix")
        lines.append(_line(rows, f"{process}, {mix}", color))
        name = f"{process}, {mix}: Theorem 4"
        lines.append(Line(name, [*rows["share"]], [*rows["maximum"]], style="theory", color=color))
    chart(file, {"": lines}, x="share of noise", y="normalized MSE")


def _draw_ssim(results: Results, file: Path) -> None:
    lines = []
    for color, (process, rows) in enumerate(_of(results, ("ssim",)).query("mix == 'added'").groupby("process")):
        lines.append(_line(rows, str(process), color))
        name = f"{process}: Theorem 1, without covariance"
        lines.append(Line(name, [*rows["share"]], [*rows["bound"]], style="theory", color=color))
    chart(file, {"": lines}, x="share of added noise", y="SSIM")


TABLE = Table(name="noise", compute=noise)
CLAIMS = tuple(
    Claim(where=where, text=text, paper=words, steps=("noise",), answer=answer)
    for where, text, words, answer in (
        ("Theorem 1", "without covariance SSIM is at most C₂/(σ_A² + σ_B² + C₂)", "proved", _theorem_1),
        ("Theorem 3", "without covariance the expected rank correlation is minimal, 0", "proved", _theorem_3),
        ("Theorem 4", "the normalized MSE is at most 2 − 2μ_Aμ_B/√(E[A²]E[B²]) where σ_AB ≥ 0", "proved", _theorem_4),
        ("D", "for means near 0 noise has an MSE of 2", "“this would result in a MSE of 2”", _means),
        (
            "Theorems 1, 3, 4",
            "a process of pure noise looks best by every measure",
            "“a zero covariance attribution map yields the best results among all statistical processes with "
            "non-negative covariances”",
            _noise_wins,
        ),
    )
)
PICTURES = tuple(
    Picture(name=f"noise-{name}", caption=f"noise: {caption}", steps=("noise",), draw=draw)
    for name, caption, draw in (
        ("similarities", f"{SHOWN[0]} maps against themselves with pixels {SHOWN[1]}.", _draw_similarities),
        ("mse", "the normalized MSE and its maximum (Theorem 4).", _draw_mse),
        ("ssim", "SSIM with noise added, and its bound without covariance (Theorem 1).", _draw_ssim),
    )
)
