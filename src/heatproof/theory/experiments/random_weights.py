"""002, Theorem 2: small activations against large ones."""

import math

import pandas as pd
import torch

from heatproof.theory.drawing import Line, chart
from heatproof.theory.experiments.demo import BLOCK, demo_images
from heatproof.theory.page import Claim, Section, verdict
from heatproof.theory.random_weights import overtaking, overtaking_in


def small_against_large(samples: int) -> Section:
    """002, Theorem 2, E and I."""
    table = overtaking()
    averages = overtaking(average=True)
    net, inputs = demo_images(samples)
    layers = overtaking_in(net, torch.split(inputs, BLOCK))
    speaks = layers.dropna(subset="bound")
    by_layer = layers.groupby(["position", "layer"], sort=True)
    lines = []
    for color, ((small, large), part) in enumerate(table.groupby(["small", "large"])):
        x = [math.log2(k) for k in part["factor"]]
        label = f"|X_S| = {small}, |X_L| = {large}"
        low, high = part["low"].tolist(), part["high"].tolist()
        lines.append(Line(label=label, x=x, y=part["measured"].tolist(), low=low, high=high, color=color))
        lines.append(Line(label=f"{label}: bound", x=x, y=part["bound"].tolist(), dashed=True, color=color))
    return Section(
        title="Small activations against large ones",
        text="Weights are drawn 100,000 times for each case. On the demo's trained network the largest tenth of what a "
        f"layer reads stands against the lowest half, for {samples} images and 2,000 draws each.",
        claims=(
            Claim(
                source="002, Theorem 2",
                says="the probability of overtaking is at most that of a Cauchy variable to exceed K, with "
                "γ = √(|X_S|/|X_L|)",
                verdict=verdict(bool((table["low"] <= table["bound"]).all()) and _exact_below(table)),
                measured=f"measured / bound from {(table['measured'] / table['bound']).min():.2f} to "
                f"{(table['measured'] / table['bound']).max():.2f} in {len(table)} cases, 1 where both sets are one "
                "activation each",
            ),
            Claim(
                source="002, eq. 41",
                says="for averages γ is inverted",
                verdict=verdict(bool((averages["low"] <= averages["bound"]).all()) and _exact_below(averages)),
                measured=f"measured / bound from {(averages['measured'] / averages['bound']).min():.2f} to "
                f"{(averages['measured'] / averages['bound']).max():.2f}",
            ),
            Claim(
                source="002, Theorem 2, on a network",
                says="the bound holds for what a layer reads",
                verdict=verdict(_exact_below(speaks), known=len(speaks) > 0),
                measured=f"in {int((speaks['exact'] <= speaks['bound'] + 1e-12).sum())} of {len(speaks)} layers and "
                f"images; {len(layers) - len(speaks)} have a set of negative values or nothing large, where it says "
                "nothing",
            ),
            Claim(
                source="002, I",
                says="in practice these probabilities are small (judged: below one quarter on average in every layer)",
                verdict=verdict(float(by_layer["exact"].mean().max()) < 0.25),
                measured="; ".join(
                    f"{layer}: {part['measured'].mean():.3f}, bound {part['bound'].mean():.3f}"
                    for (_, layer), part in by_layer
                ),
            ),
        ),
        tables={"overtaking": table, "overtaking-averages": averages, "overtaking-layers": layers},
        pictures={
            "overtaking": chart(
                lines, title="Small activations outweigh large ones", x="log₂ K, K times as large", y="probability"
            )
        },
    )


def _exact_below(table: pd.DataFrame) -> bool:
    return bool((table["exact"] <= table["bound"] + 1e-12).all())
