"""002, Theorem 2: how likely small activations outweigh large ones under random weights."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from heatproof.papers.measure import Results, over_samples
from heatproof.papers.paper import Answer, Claim, Picture, Table, all_of, positive, verdict
from heatproof.papers.pictures import Line, chart
from heatproof.theory import overtaking, overtaking_in
from heatproof.zoo import demo

BLOCK = 25
DRAWS = 200  # the probability itself is exact; they only check it
SMALL = 0.25


def in_layers(samples: int = 100) -> pd.DataFrame:
    """`heatproof.theory.overtaking_in` on the demo's network: 200 draws of weights a layer and image."""
    net, data = demo()
    return overtaking_in(net, torch.split(data.inputs[:samples], BLOCK), draws=DRAWS)


def _bound(results: Results) -> Answer:
    rows = results.rows
    ratio = rows["measured"] / rows["bound"]
    below = bool((rows["low"] <= rows["bound"]).all() and (rows["exact"] <= rows["bound"] + 1e-12).all())
    told = (
        f"measured / bound from {ratio.min():.2f} to {ratio.max():.2f} in {len(rows)} cases of 100,000 draws, about 1"
    )
    return Answer(f"{told} where both sets are one activation each", verdict(below))


def _bound_in_layers(results: Results) -> Answer:
    known = results.rows.dropna(subset="bound")
    drawn = (results.rows["measured"] - results.rows["exact"]).abs()
    below = known["exact"] <= known["bound"] + 1e-12
    told = (
        f"in {int(below.sum())} of {len(known)} layers and images; {len(results.rows) - len(known)} have a set of "
        f"negative values or nothing large, where it says nothing; {DRAWS} draws each agree to {drawn.mean():.3f}"
    )
    return Answer(told, verdict(bool(below.all())) if len(known) else "cannot be told here")


def _small(results: Results) -> Answer:
    known = results.rows.dropna(subset="bound")
    exact = {str(layer): over_samples(rows, "exact") for layer, rows in known.groupby("layer", sort=False)}
    worst = max(exact, key=lambda layer: exact[layer].value)
    bound = over_samples(known[known["layer"] == worst], "bound")
    told = f"{over_samples(known, 'exact').text(digits=3)} over {len(exact)} layers, most in {worst}: "
    return Answer(
        f"{told}{exact[worst].text(digits=3)} (bound {bound.text(digits=3)}); asked is below {SMALL} in every layer",
        all_of([positive(figure.below(SMALL)) for figure in exact.values()]),
    )


def _draw(results: Results, file: Path) -> None:
    lines = []
    for color, ((small, large), rows) in enumerate(results.rows.groupby(["small", "large"])):
        name, x = f"|X_S| = {small}, |X_L| = {large}", np.log2(rows["factor"]).tolist()
        lines.append(Line(name, x, [*rows["measured"]], [*rows["low"]], [*rows["high"]], color=color))
        lines.append(Line(f"{name}: bound", x, [*rows["bound"]], style="theory", color=color))
    chart(file, {"": lines}, x="log₂ K, K times as large", y="probability of overtaking")


TABLES = (
    Table(name="overtaking", compute=overtaking),
    Table(name="overtaking-averages", compute=partial(overtaking, average=True)),
    Table(name="overtaking-layers", compute=in_layers),
)
CLAIMS = tuple(
    Claim(where=where, text=text, paper=words, steps=(step,), answer=answer)
    for where, text, words, step, answer in (
        (
            "Theorem 2",
            "sums: overtaking is at most as probable as that a Cauchy variable exceeds K, γ = √(|X_S|/|X_L|)",
            "proved",
            "overtaking",
            _bound,
        ),
        ("eq. 41", "averages: the same with γ inverted", "“an inverted parameter”", "overtaking-averages", _bound),
        (
            "Theorem 2",
            "it holds for what layers read (the demo's network)",
            "proved",
            "overtaking-layers",
            _bound_in_layers,
        ),
        (
            "I",
            "in practice these probabilities are small: the lowest half against the highest tenth (the demo's network)",
            "“this shows that in practice these probabilities are small”",
            "overtaking-layers",
            _small,
        ),
    )
)
PICTURE = Picture(
    name="overtaking",
    caption="overtaking: how probably small activations outweigh those K times as large, and its bound (Theorem 2).",
    steps=("overtaking",),
    draw=_draw,
)
