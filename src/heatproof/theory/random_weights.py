"""How likely small activations outweigh large ones under random weights: a bound, and weights drawn against it."""

import math
from collections.abc import Iterable, Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from heatproof.checks.network_structure import watching
from heatproof.draws import generator
from heatproof.errors import InputError
from heatproof.models import Bound, forward
from heatproof.propagation.independence import check_independent
from heatproof.shares import wilson

SIZES = ((1, 1), (10, 10), (100, 10), (10, 100))
FACTORS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
CHUNK = 2**24  # weights in memory at once
DRAWN = 10_000  # the most activations of a network that weights are drawn for


def overtaking(
    sizes: Sequence[tuple[int, int]] = SIZES,
    factors: Sequence[float] = FACTORS,
    *,
    draws: int = 100_000,
    average: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Theorem 2 on activations made for it: all of X_L at least K times as large as all of X_S.

    x_S is uniform on [0, 1] with one value at 1, x_L on [K, 2K] with one at K. `measured` is the share of draws of
    weights w ~ N(0, 1) in which Σ w_s x_s ≥ Σ w_l x_l, among those with a positive right side, with its binomial 95 %
    interval (`low`, `high`); `exact` is that probability for these activations, ½ − arctan(1/γ₁)/π with
    γ₁² = Σ x_s²/Σ x_l²; `bound` what Theorem 2 knows from K and the numbers alone, ½ − arctan(K/γ₂)/π with
    γ₂² = |X_S|/|X_L|. `average` compares means instead of sums: γ₂ is inverted (eq. 41).

    Columns: small, large, factor, measured, low, high, exact, bound.

    Source: Binder et al. 2023, Theorem 2 and E.
    """
    rows = []
    for small, large in sizes:
        for factor in factors:
            stream = generator(seed, "overtaking", small, large, factor)
            x_small = torch.rand(small, generator=stream, dtype=torch.float64)
            x_large = factor * (1 + torch.rand(large, generator=stream, dtype=torch.float64))
            x_small[0], x_large[0] = 1.0, factor
            if average:
                x_small, x_large = x_small / small, x_large / large
            measured, low, high = share_of_draws(x_small, x_large, draws, stream)
            known = bound(factor, small, large, average=average)
            rows.append((small, large, factor, measured, low, high, exact(x_small, x_large), known))
    return pd.DataFrame(rows, columns=["small", "large", "factor", "measured", "low", "high", "exact", "bound"])


def overtaking_in(
    model: nn.Module,
    batches: Iterable[Tensor],
    *,
    high: float = 0.9,
    low: float = 0.5,
    draws: int = 2_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Theorem 2 on what the layers of a network read: the largest 1 − `high` of activations against the lowest `low`.

    For every sample and layer that is read as in NetworkStructure, X_L are the activations from the quantile `high` on,
    X_S those up to the quantile `low`, as many of each as those shares say. `measured`, `exact` and `bound` as in
    `overtaking`, with K = min X_L / max X_S; the bound speaks of non-negative activations and is NaN where some of the
    two sets are negative or X_L is all 0; X_S all 0 has the bound 0. Where both sets have more than 10,000 values no
    weights are drawn, and `measured` is NaN. Streams: one batch of activations at a time.

    Columns: layer, position, sample, measured, exact, bound.
    """
    if not 0 < low <= high < 1:
        raise InputError(f"Expected 0 < low <= high < 1, but got low = {low} and high = {high}.")
    rows: list[tuple[str, int, int, float, float, float]] = []
    first = 0
    for inputs in batches:
        layers: list[str] = []

        def see(name: str, activations: Tensor, layers: list[str] = layers, first: int = first) -> None:
            layers.append(name)
            for i, values in enumerate(activations.detach().reshape(len(activations), -1).double().cpu()):
                stream = generator(seed, "overtaking in", name, len(layers), first + i)
                rows.append((name, len(layers), first + i, *_of_sample(values, high, low, draws, stream)))

        check_independent(model, inputs)  # before anybody watches: it runs the model, too
        with torch.no_grad(), watching(model.net if isinstance(model, Bound) else model, see):
            forward(model, inputs)
        first += len(inputs)
    return pd.DataFrame(rows, columns=["layer", "position", "sample", "measured", "exact", "bound"])


def bound(factor: float, small: int, large: int, *, average: bool = False) -> float:
    """Theorem 2: at most this probability that `small` activations outweigh `large` ones at least `factor` as large."""
    ratio = large / small if average else small / large
    return 0.5 - math.atan(factor / math.sqrt(ratio)) / math.pi


def exact(small: Tensor, large: Tensor) -> float:
    """P(Σ w_s x_s ≥ Σ w_l x_l | Σ w_l x_l > 0) of normal weights: their ratio is a Cauchy variable (eq. 27, 28)."""
    below = float(large.square().sum())
    if below == 0:
        return math.nan
    gamma = math.sqrt(float(small.square().sum()) / below)
    return 0.5 - math.atan(1 / gamma) / math.pi if gamma > 0 else 0.0


def share_of_draws(small: Tensor, large: Tensor, draws: int, stream: torch.Generator) -> tuple[float, float, float]:
    """The same by drawing weights: the share of draws and its 95 % interval (Wilson's)."""
    counted = reached = 0
    step = max(1, CHUNK // (len(small) + len(large)))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        weights = torch.randn(rows, len(small) + len(large), generator=stream, dtype=torch.float64)
        left, right = weights[:, : len(small)] @ small, weights[:, len(small) :] @ large
        counted += int((right > 0).sum())
        reached += int(((right > 0) & (left >= right)).sum())
    share = reached / counted if counted else math.nan
    return share, *wilson(share, counted)


def _of_sample(
    values: Tensor, high: float, low: float, draws: int, stream: torch.Generator
) -> tuple[float, float, float]:
    ordered = values.sort().values
    few = max(1, round((1 - high) * len(values)))
    many = max(1, round(low * len(values)))
    small, large = ordered[:many], ordered[-few:]
    if float(small[0]) < 0 or float(large[-1]) == 0:
        known = math.nan
    elif float(small[-1]) == 0:
        known = 0.0
    else:
        known = bound(float(large[0]) / float(small[-1]), many, few)
    measured = share_of_draws(small, large, draws, stream)[0] if many + few <= DRAWN else math.nan
    return measured, exact(small, large), known
