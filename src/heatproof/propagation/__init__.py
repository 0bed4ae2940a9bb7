"""How a backward method changes the derivative of one operation: one engine for LRP, DeepLIFT, guided backpropagation.

The model runs as it is. Every call that depends on the explained input is intercepted as it is made
(`torch.overrides.TorchFunctionMode`), keeps its value bit for bit, and gets the derivative of a *surrogate* that the
method's rule returns. An operation that has no rule is an error; `register` tells the engine what it is.
"""

from heatproof.propagation.composites import COMPOSITES, Composite
from heatproof.propagation.first_rules import Box, Flat, WSquare
from heatproof.propagation.operations import register
from heatproof.propagation.rules import AdaptiveBeta, AlphaBeta, Epsilon, Gamma, beta_rule, z_plus

__all__ = [
    "COMPOSITES",
    "AdaptiveBeta",
    "AlphaBeta",
    "Box",
    "Composite",
    "Epsilon",
    "Flat",
    "Gamma",
    "WSquare",
    "beta_rule",
    "register",
    "z_plus",
]
