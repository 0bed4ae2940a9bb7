"""002, Theorems 1, 3 and 4: similarities of maps with noise in them."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from heatproof.theory.drawing import Line, chart
from heatproof.theory.noisy_maps import MIXES, expected_mse, moments, mse_maximum, noise_similarity
from heatproof.theory.page import Claim, Section, spread, told, verdict

CLOSE = 0.05
MANY = 3.5 / 1.959964  # 3.5 standard errors: one interval of a page's dozens would miss by chance at 1.96
SSIMS, RANKS = ("ssim", "ssim-adebayo"), ("spearman", "spearman-absolute")
CELL = ["process", "mix", "measure", "share"]


def noise_in_maps(samples: int) -> Section:
    """002, Theorems 1, 3 and 4."""
    table = noise_similarity(samples=samples)
    last = table[table["share"] == 1.0]
    ssim, rank, mse = (table[table["measure"].isin(names)] for names in (SSIMS, RANKS, ("mse",)))
    gap = {name: part["value"] - part["bound"] for name, part in (("ssim", ssim), ("mse", mse))}
    closed = pd.DataFrame(
        [
            (process, mix, share, expected_mse(m), mse_maximum(m), float(part["value"].mean()))
            for (process, mix, _, share), part in _cells(mse)
            for m in [moments(process, mix, share)]
        ],
        columns=["process", "mix", "share", "expected", "maximum", "measured"],
    )
    zero_mean, half_normal = (
        last[(last["measure"] == "mse") & (last["mix"] == "replaced") & (last["process"] == process)]["value"]
        for process in ("normal", "half-normal")
    )
    worst_rank = max(abs(spread(part["value"])[0]) for _, part in _cells(rank[rank["share"] == 1.0]))
    claims = (
        Claim(
            source="002, Theorem 1",
            says="without covariance SSIM is at most C₂/(σ_A² + σ_B² + C₂)",
            verdict=verdict(_at_most(ssim[ssim["share"] == 1.0], gap["ssim"])),
            measured="SSIM of fully replaced or noisy maps minus its bound: "
            + _range(ssim[ssim["share"] == 1.0], gap["ssim"])
            + ", by process, mix and normalization",
        ),
        Claim(
            source="002, Theorem 3",
            says="the expected rank correlation is minimized, at 0, by zero covariance",
            verdict=verdict(_is_zero(rank[rank["share"] == 1.0])),
            measured=f"at most {worst_rank:.4f} in size at a share of 1, on average over samples",
        ),
        Claim(
            source="002, Theorem 4",
            says="the normalized MSE is at most 2 − 2μ_Aμ_B/√(E[A²]E[B²]) where σ_AB ≥ 0",
            verdict=verdict(_at_most(mse, gap["mse"])),
            measured=f"MSE minus its bound: {_range(mse, gap['mse'])}, over all shares",
        ),
        Claim(
            source="002, D",
            says="for means near 0 this is an MSE of 2 (0.73 for half-normal maps, by the same formula)",
            verdict=verdict(
                abs(float(zero_mean.mean()) - 2) < CLOSE and abs(float(half_normal.mean()) - 0.727) < CLOSE
            ),
            measured=f"{told(zero_mean)} and {told(half_normal)}",
        ),
        Claim(
            source="002, Theorems 1, 3, 4",
            says="so a process of pure noise looks best: every measure is the most favorable without covariance",
            verdict=verdict(all(_favors_noise(part) for _, part in table.groupby(["process", "mix", "measure"]))),
            measured="all "
            + ", ".join(sorted(table["measure"].unique()))
            + ", those without a theorem included: none is better at any smaller share, in any process and mix",
        ),
    )
    return Section(
        title="Noise mixed into a map",
        text=f"Maps of 64 × 64 pixels of four random processes, {samples} of each, against themselves with a share of "
        "noise: `added` (zero-mean noise, share of the energy) or `replaced` (pixels of an independent draw of the "
        "same process). Bounds come from each pair's own moments. The MSE follows its closed form, "
        f"2 − 2(σ_AB + μ_Aμ_B), to {float((closed['expected'] - closed['measured']).abs().max()):.3f} at worst.",
        claims=claims,
        tables={"noise": _summary(table), "noise-mse": closed},
        pictures={
            "noise-similarity": _curves(table, "smooth half-normal", "replaced", [*RANKS, *SSIMS, "ssim-flip", "hog"]),
            "noise-mse": _mse_chart(closed),
            "noise-ssim": _ssim_chart(ssim),
        },
    )


def _cells(table: pd.DataFrame) -> Iterator[tuple[Any, pd.DataFrame]]:
    return iter(table.groupby(CELL))


def _gaps(table: pd.DataFrame, gap: "pd.Series[float]") -> list[tuple[float, float]]:
    """Mean and half interval of a quantity in every cell."""
    return [spread(gap.loc[part.index]) for _, part in _cells(table)]


def _at_most(table: pd.DataFrame, gap: "pd.Series[float]") -> bool:
    """Whether no cell's mean is surely above 0 (a sum of squares has rounding where nothing varies)."""
    return all(mean <= 1e-9 + MANY * half for mean, half in _gaps(table, gap))


def _range(table: pd.DataFrame, gap: "pd.Series[float]") -> str:
    means = [mean for mean, _ in _gaps(table, gap)]
    return f"{min(means):z.3f} to {max(means):z.3f}"


def _is_zero(table: pd.DataFrame) -> bool:
    return all(abs(mean) <= MANY * half for mean, half in _gaps(table, table["value"]))


def _favors_noise(part: pd.DataFrame) -> bool:
    """Whether no smaller share is surely better than a share of 1."""
    sign = -1 if part["measure"].iloc[0] == "mse" else 1
    by_share = part.pivot(index="sample", columns="share", values="value")
    better = [spread(sign * (by_share[1.0] - by_share[share])) for share in by_share.columns[:-1]]
    return all(mean <= MANY * half for mean, half in better)


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means over samples with half intervals."""
    rows = [(*key, *spread(part["value"]), float(part["bound"].mean())) for key, part in _cells(table)]
    return pd.DataFrame(rows, columns=[*CELL, "mean", "half", "bound"])


def _curves(table: pd.DataFrame, process: str, mix: str, measures: Sequence[str]) -> str:
    lines = []
    for color, measure in enumerate(measures):
        part = table[(table["process"] == process) & (table["mix"] == mix) & (table["measure"] == measure)]
        points = [spread(one["value"]) for _, one in part.groupby("share")]
        low, high = [m - h for m, h in points], [m + h for m, h in points]
        x = sorted(float(share) for share in part["share"].unique())
        lines.append(Line(label=measure, x=x, y=[m for m, _ in points], low=low, high=high, color=color))
    return chart(lines, title=f"{process} maps, pixels {mix}", x="share of noise", y="similarity")


def _mse_chart(closed: pd.DataFrame) -> str:
    lines = []
    pairs = [(p, m) for p in ("normal", "half-normal") for m in MIXES]
    for color, (process, mix) in enumerate(pairs):
        part = closed[(closed["process"] == process) & (closed["mix"] == mix)]
        x = part["share"].tolist()
        lines.append(Line(label=f"{process}, {mix}", x=x, y=part["measured"].tolist(), color=color))
        label = f"{process}, {mix}: Theorem 4"
        lines.append(Line(label=label, x=x, y=part["maximum"].tolist(), dashed=True, color=color))
    return chart(lines, title="Normalized MSE and its maximum", x="share of noise", y="MSE")


def _ssim_chart(ssim: pd.DataFrame) -> str:
    lines = []
    part = ssim[(ssim["measure"] == "ssim") & (ssim["mix"] == "added")]
    for color, (process, one) in enumerate(part.groupby("process")):
        shares = one.groupby("share")
        x = sorted(one["share"].unique().tolist())
        lines.append(Line(label=str(process), x=x, y=shares["value"].mean().tolist(), color=color))
        label = f"{process}: Theorem 1, without covariance"
        lines.append(Line(label=label, x=x, y=shares["bound"].mean().tolist(), dashed=True, color=color))
    return chart(lines, title="SSIM with noise added", x="share of noise", y="SSIM")
