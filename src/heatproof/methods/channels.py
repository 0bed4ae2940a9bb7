"""A method's attributions as one magnitude a position."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from heatproof.errors import InputError
from heatproof.layouts.inputs import InputLayout, feature_axes
from heatproof.methods.backward import Gradient
from heatproof.methods.base import METHODS, Explanation, Method


@METHODS.register("gradient-l2")
@dataclass(frozen=True, kw_only=True)
class ChannelNorm(Method):
    """The length of a method's attributions at each position, over its channels.

    R_p = √(Σ_c E_pc²), over the channels of series and images (N, C, …) or the embedding of sequences (N, T, E), of
    which R has one; |E| for tables (N, D) and images without channels. What the network does with its input tells which
    dimension that is, see `heatproof.layouts.inputs.feature_axes`; `layout` says it where nothing does.

    Non-negative, in units of E. No sum rule, and no linearization: a length is not additive over labels. Squares are
    summed in float64, because those of a dying network's gradients are 0 in float32. Diagnostic: `score`, where E has
    it. Cost: that of E, by default the gradient.

    Source: Binder et al. 2023, D ("gradient with ℓ2-norm over the RGB-subpixels, also known as Sensitivity").

    >>> hp.methods.ChannelNorm(hp.methods.Gradient())(net, images, labels).shape
    torch.Size([4, 1, 8, 8])
    """

    method: Method = field(default=Gradient(), kw_only=False)  # a frozen value
    layout: InputLayout | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.method, Method):
            raise InputError(f"Expected a method, such as Gradient(), but got {self.method!r}.")

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        return self.method.cost(outputs, shape)

    @property
    def needs(self) -> tuple[Method, ...]:
        return (self.method,)

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        found = self.method.explain(model, inputs, targets)
        score = {name: value for name, value in found.diagnostics.items() if name == "score"}
        axes = feature_axes(model, inputs, self.layout)
        if not axes:
            return Explanation(found.maps.abs(), score)
        lengths = torch.linalg.vector_norm(found.maps, dim=axes, keepdim=True, dtype=torch.float64)
        return Explanation(lengths.to(found.maps.dtype), score)
