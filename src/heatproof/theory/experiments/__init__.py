"""Every experiment with the sentences of the papers that it is about."""

from collections.abc import Callable, Sequence

from heatproof.theory.experiments.layers import properties_of_layers
from heatproof.theory.experiments.noisy_maps import noise_in_maps
from heatproof.theory.experiments.random_weights import small_against_large
from heatproof.theory.experiments.read_activations import overtaking_in_layers
from heatproof.theory.experiments.subject import Subject, demo, from_spec
from heatproof.theory.experiments.two_labels import two_labels
from heatproof.theory.page import Section

OF_NUMBERS: Sequence[Callable[[int], Section]] = (two_labels, noise_in_maps, small_against_large)
OF_NETWORKS: Sequence[Callable[[Subject], Section]] = (overtaking_in_layers, properties_of_layers)

__all__ = ["OF_NETWORKS", "OF_NUMBERS", "Subject", "demo", "from_spec"]
