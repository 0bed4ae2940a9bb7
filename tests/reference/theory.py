"""Slow twins of heatproof.theory: scalar loops from the papers' equations."""

import math


def left_of_competition(first, second, x):
    """000, Algorithm 1 for two labels: (sum left in the first half of the coordinates, sum left in the other)."""
    sums = [0.0, 0.0]
    for i in range(len(x)):
        mine, rival = first[i] * x[i], second[i] * x[i]
        if (mine > 0 and mine >= rival) or (mine < 0 and mine <= rival):
            sums[0 if i < len(x) // 2 else 1] += mine
    return sums


def ssim_bound(a, b, weights, data_range):
    """002, Theorem 1: the mean over windows of C₂ / (σ_A² + σ_B² + C₂)."""
    size, c2 = len(weights), (0.03 * data_range) ** 2
    sample = size**2 / (size**2 - 1)
    values = []
    for top in range(len(a) - size + 1):
        for left in range(len(a[0]) - size + 1):
            spread = 0.0
            for image in (a, b):
                window = [(weights[i][j], image[top + i][left + j]) for i in range(size) for j in range(size)]
                mean = math.fsum(w * v for w, v in window)
                spread += sample * math.fsum(w * (v - mean) ** 2 for w, v in window)
            values.append(c2 / (spread + c2))
    return math.fsum(values) / len(values)


def expected_normalized_mse(table):
    """E[(A/√E[A²] − B/√E[B²])²] of a joint distribution given as (probability, a, b)."""
    second_a, second_b = (math.fsum(p * value[k] ** 2 for p, *value in table) for k in (0, 1))
    return math.fsum(p * (a / math.sqrt(second_a) - b / math.sqrt(second_b)) ** 2 for p, a, b in table)


def overtakes(small, large, draws):
    """The share of draws (weights of small, weights of large) in which small outweighs large, of those it can."""
    counted = reached = 0
    for ours, theirs in draws:
        right = sum(w * x for w, x in zip(theirs, large, strict=True))
        if right > 0:
            counted += 1
            reached += sum(w * x for w, x in zip(ours, small, strict=True)) >= right
    return reached / counted


def concordance(contributions, attributions):
    """Of the pairs with w_i x_i ≥ w_j x_j > 0, i ≠ j, their number and the share with |R_i| ≥ |R_j|."""
    positive = [k for k, value in enumerate(contributions) if value > 0]
    pairs = [(i, j) for i in positive for j in positive if i != j and contributions[i] >= contributions[j]]
    agree = sum(abs(attributions[i]) >= abs(attributions[j]) for i, j in pairs)
    return len(pairs), agree / len(pairs)


__all__ = [
    "concordance",
    "expected_normalized_mse",
    "left_of_competition",
    "overtakes",
    "ssim_bound",
]
