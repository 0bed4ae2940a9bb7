"""002, Theorem 2: small activations against large ones."""

import math

import pandas as pd

from heatproof.theory.drawing import Line, chart
from heatproof.theory.page import Claim, Section, verdict
from heatproof.theory.random_weights import overtaking


def small_against_large(samples: int) -> Section:
    """002, Theorem 2 and E; the number of samples does not matter here."""
    table = overtaking()
    averages = overtaking(average=True)
    lines = []
    for color, ((small, large), part) in enumerate(table.groupby(["small", "large"])):
        x = [math.log2(k) for k in part["factor"]]
        label = f"|X_S| = {small}, |X_L| = {large}"
        low, high = part["low"].tolist(), part["high"].tolist()
        lines.append(Line(label=label, x=x, y=part["measured"].tolist(), low=low, high=high, color=color))
        lines.append(Line(label=f"{label}: bound", x=x, y=part["bound"].tolist(), dashed=True, color=color))
    return Section(
        title="Small activations against large ones",
        text="Activations made for the theorem; weights are drawn 100,000 times for each case.",
        claims=(
            Claim(
                source="002, Theorem 2",
                says="the probability of overtaking is at most that of a Cauchy variable to exceed K, with "
                "γ = √(|X_S|/|X_L|)",
                verdict=verdict(bool((table["low"] <= table["bound"]).all()) and exact_below(table)),
                measured=f"measured / bound from {(table['measured'] / table['bound']).min():.2f} to "
                f"{(table['measured'] / table['bound']).max():.2f} in {len(table)} cases, 1 where both sets are one "
                "activation each",
            ),
            Claim(
                source="002, eq. 41",
                says="for averages γ is inverted",
                verdict=verdict(bool((averages["low"] <= averages["bound"]).all()) and exact_below(averages)),
                measured=f"measured / bound from {(averages['measured'] / averages['bound']).min():.2f} to "
                f"{(averages['measured'] / averages['bound']).max():.2f}",
            ),
        ),
        tables={"overtaking": table, "overtaking-averages": averages},
        pictures={
            "overtaking": chart(
                lines, title="Small activations outweigh large ones", x="log₂ K, K times as large", y="probability"
            )
        },
    )


def exact_below(table: pd.DataFrame) -> bool:
    """Whether no exact probability is above its bound."""
    return bool((table["exact"] <= table["bound"] + 1e-12).all())
