"""002, Theorem 2 and I: what the layers of a network read."""

import torch

from heatproof.theory.experiments.random_weights import exact_below
from heatproof.theory.experiments.subject import BLOCK, Subject
from heatproof.theory.page import Claim, Section, verdict
from heatproof.theory.random_weights import overtaking_in


def overtaking_in_layers(subject: Subject) -> Section:
    """002, Theorem 2 and I."""
    layers = overtaking_in(subject.net, torch.split(subject.inputs, BLOCK))
    speaks = layers.dropna(subset="bound")
    by_layer = speaks.groupby(["position", "layer"], as_index=False)[["exact", "bound"]].mean()
    drawn = layers["measured"].notna()
    worst = by_layer.iloc[int(by_layer["exact"].argmax())]
    return Section(
        title=f"{subject.name}: overtaking in its layers",
        text=f"The largest tenth of what a layer reads against the lowest half, for {len(subject.inputs)} images. The "
        "probability that it is outweighed is computed exactly, and by 2,000 draws of weights where a layer reads few "
        f"enough values ({drawn.mean():.0%} of layers and images; they differ by "
        f"{float((layers['measured'] - layers['exact']).abs().max()):.3f} at most).",
        claims=(
            Claim(
                source="002, Theorem 2, on a network",
                says="the bound holds for what a layer reads",
                verdict=verdict(exact_below(speaks), known=len(speaks) > 0),
                measured=f"in {int((speaks['exact'] <= speaks['bound'] + 1e-12).sum())} of {len(speaks)} layers and "
                f"images; {len(layers) - len(speaks)} have a set of negative values or nothing large, where it says "
                "nothing",
            ),
            Claim(
                source="002, I",
                says="in practice these probabilities are small (judged: below one quarter on average in every layer)",
                verdict=verdict(float(by_layer["exact"].max()) < 0.25),
                measured=f"on average {by_layer['exact'].mean():.3f} over {len(by_layer)} layers (bound "
                f"{by_layer['bound'].mean():.3f}); most in {worst['layer']}: {worst['exact']:.3f} (bound "
                f"{worst['bound']:.3f})",
            ),
        ),
        tables={f"overtaking-{subject.name}": by_layer},
    )
