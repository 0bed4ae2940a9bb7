"""Why competition between labels takes away what they share, and not all of it: a simulation."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from heatproof.draws import generator
from heatproof.errors import InputError

DELTAS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)


class Drawn(NamedTuple):
    """Two gradients and an input, each (samples, n) float64; the first n/2 coordinates are shared features."""

    first: Tensor
    second: Tensor
    inputs: Tensor


def competition(
    deltas: Sequence[float] = DELTAS,
    *,
    dimensions: int = 10_000,
    samples: int = 100,
    cosine: float = 0.5,
    seed: int = 0,
) -> pd.DataFrame:
    """What competition leaves of a logit δ in features that two labels share, and in those that they do not.

    g₁ = (h₁, ξ₁) and g₂ = (h₂, ξ₂) are gradients of two labels, all halves of N(0, 1/n) coordinates, but
    cos(h₁, h₂) = `cosine` and ‖h₂‖ = ‖h₁‖; x ~ N(0, I/n) given g₁·x ≥ δ. g₁⊙x keeps a coordinate where it is positive
    and at least that of g₂⊙x, or negative and at most that (Algorithm 1). With s the sum of what is kept in a half,
    c = s / (δ/2): `c1` in the shared half, `c2` in the other.

    Columns: delta, sample, `logit` g₁·x, `shared` (h₁, 0)·x (about δ/2), `rival` (h₂, 0)·x (about cos·δ/2), c1, c2. Of
    one sample everything but the size of x along g₁ is the same for every δ.

    Raises: InputError unless every δ is positive, `dimensions` even, and the cosine between −1 and 1.

    Source: Gupta & Arora 2019, section 3.1, Fig. 11 and 12. Their n, and the δ of the figures, are not printed.
    """
    rows = []
    for delta in deltas:
        drawn = draw(delta, dimensions=dimensions, samples=samples, cosine=cosine, seed=seed)
        scores, rivals = drawn.first * drawn.inputs, drawn.second * drawn.inputs
        kept = torch.where(survives(scores, rivals), scores, 0.0)
        half = dimensions // 2
        columns = {
            "delta": [delta] * samples,
            "sample": range(samples),
            "logit": scores.sum(1).tolist(),
            "shared": scores[:, :half].sum(1).tolist(),
            "rival": rivals[:, :half].sum(1).tolist(),
            "c1": (kept[:, :half].sum(1) / (delta / 2)).tolist(),
            "c2": (kept[:, half:].sum(1) / (delta / 2)).tolist(),
        }
        rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True)


def limit(cosine: float) -> float:
    """The constant that c tends to with n, for every δ alike, in a half where the gradients have this cosine.

    With G a standard normal coordinate of √n·g₁, the rival's leaves it in place with probability Φ(k|G|), where
    k = √((1 − cos)/(1 + cos)), and c = E[G² Φ(k|G|)] = 1/2 + (arctan k + k/(1 + k²))/π: 0.804 for a cosine of 1/2,
    0.909 for unrelated gradients, 1 for opposite ones.

    Derivation (ours): given G, whether it survives does not depend on the size of x, and x = δG + noise; the terms
    that are odd in G cancel, and δ stands before all others.
    """
    if not -1 <= cosine <= 1:
        raise InputError(f"Expected a cosine from -1 to 1, but got {cosine}.")
    if cosine == -1:
        return 1.0
    k = math.sqrt((1 - cosine) / (1 + cosine))
    return 0.5 + (math.atan(k) + k / (1 + k * k)) / math.pi


def survives(scores: Tensor, rivals: Tensor) -> Tensor:
    """Where a label's scores win against one rival's (Algorithm 1 of two labels)."""
    return ((scores > 0) & (scores >= rivals)) | ((scores < 0) & (scores <= rivals))


def draw(delta: float, *, dimensions: int, samples: int, cosine: float, seed: int) -> Drawn:
    """Gradients and inputs of `competition` for one δ."""
    if not delta > 0:
        raise InputError(f"Expected delta > 0, but got {delta}; without a logit there is nothing to keep.")
    if dimensions < 4 or dimensions % 2:
        raise InputError(f"Expected an even number of at least 4 dimensions, but got {dimensions}.")
    if not -1 <= cosine <= 1:
        raise InputError(f"Expected a cosine from -1 to 1, but got {cosine}.")
    streams = [generator(seed, "competition", dimensions, sample) for sample in range(samples)]
    normal = torch.stack([torch.randn(3, dimensions, generator=s, dtype=torch.float64) for s in streams])
    uniform = torch.cat([torch.rand(1, generator=s, dtype=torch.float64) for s in streams])
    first, second, noise = (normal / math.sqrt(dimensions)).unbind(1)
    second = _turned(first, second, cosine)
    size = first.norm(dim=1, keepdim=True)
    along = first / size
    cut = delta / size[:, 0] * math.sqrt(dimensions)
    component = truncated(cut, uniform)[:, None] / math.sqrt(dimensions)
    inputs = noise - (noise * along).sum(1, keepdim=True) * along + component * along
    return Drawn(first, second, inputs)


def truncated(cut: Tensor, uniform: Tensor) -> Tensor:
    """The standard normal given that it is at least `cut` ≥ 0, at the upper quantile `uniform` in [0, 1).

    By bisection of log P(X ≥ x) = log(1 − u) + log P(X ≥ cut), which is exact also 20σ away, where rejection would
    never end.
    """
    wanted = torch.log1p(-uniform) + torch.special.log_ndtr(-cut)
    low, high = cut.clone(), (cut.square() - 2 * torch.log1p(-uniform)).sqrt()
    for _ in range(100):
        middle = (low + high) / 2
        below = torch.special.log_ndtr(-middle) > wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def _turned(first: Tensor, second: Tensor, cosine: float) -> Tensor:
    """`second` with a first half of the length of `first`'s and exactly this cosine to it."""
    half = first.shape[1] // 2
    h, other = first[:, :half], second[:, :half]
    rest = other - (other * h).sum(1, keepdim=True) / h.square().sum(1, keepdim=True) * h
    rest = rest / rest.norm(dim=1, keepdim=True) * h.norm(dim=1, keepdim=True)
    turned = cosine * h + math.sqrt(1 - cosine * cosine) * rest
    return torch.cat([turned, second[:, half:]], 1)
