"""Numerical experiments on the papers' theorems: functions that return tables. `heatproof.papers` judges by them."""

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
