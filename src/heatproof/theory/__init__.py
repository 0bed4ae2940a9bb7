"""Numerical experiments on the papers' theorems: functions that return tables, and one program that runs them all.

`python -m heatproof.theory --out docs/results/theory` writes the tables, pictures, and a page that says what holds.
"""

from heatproof.theory.layers import dominance, monotonicity, positive_biases
from heatproof.theory.noisy_maps import noise_similarity
from heatproof.theory.random_weights import overtaking, overtaking_in
from heatproof.theory.two_labels import competition

__all__ = [
    "competition",
    "dominance",
    "monotonicity",
    "noise_similarity",
    "overtaking",
    "overtaking_in",
    "positive_biases",
]
