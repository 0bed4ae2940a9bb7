"""Class activation maps: the channels of a layer, weighed by how the score depends on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heatproof.errors import InputError
from heatproof.methods.backward import nothing_overwritten
from heatproof.methods.base import METHODS, Linearizable, Linearization, mixes
from heatproof.methods.guided import GuidedBackprop
from heatproof.methods.spatial import last_map, positions, replacing
from heatproof.models import forward


@METHODS.register("grad-cam")
@dataclass(frozen=True, kw_only=True)
class GradCAM(Linearizable):
    """Where a layer's channels that raise the score are active.

    R = ReLU(Σ_k α_k A^k), α_k = the mean over positions of ∂S_c/∂A^k, for the output A (N, K, h, w) of one layer;
    then bilinear interpolation to the image (corners not aligned).

    Non-negative, (N, 1, H, W), no sum rule. With global average pooling and one linear layer behind, R is the positive
    part of the class activation map over h·w (before interpolation). Not linear: the clamp depends on the mix of
    labels. Diagnostic: `score`. Cost: one forward pass, and a backward pass down to the layer; finding the layer takes
    four rows more a call on a convolutional network. Name the layer to save them.

    Outputs of a layer in other layouts are read as maps: (N, h, w, K), and tokens (N, T, K) in rows, without the class
    token and registers that stand before them, which count neither in α nor in R (ViT, Swin).

    Args:
        layer: a layer by name, as in `named_modules` (of the network inside a Bound); by default the last map with more
            than one position that is read in more than one, before adaptive pooling, and not a class map; see
            `heatproof.methods.spatial.last_map`. On a ViT that is the input of the last block's attention.

    Raises: InputError for inputs that are no images, an unknown layer, one that is no map, or runs more than once.

    Source: Selvaraju et al. 2017, eq. 1 and 2; Adebayo et al. 2018, A.4. Pytorch-grad-cam rescales each map to [0, 1];
    here it keeps its units.
    """

    layer: str | None = None

    @property
    def linear(self) -> bool:
        return False

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        if inputs.dim() != 4:
            raise InputError(f"Expected images (N, C, H, W) for activation maps, but got {tuple(inputs.shape)}.")
        layer = last_map(model, inputs) if self.layer is None else self.layer
        activations: list[Tensor] = []

        def begin(output: Tensor) -> Tensor:
            # The graph begins here: what lies below the layer runs without one.
            torch.set_grad_enabled(True)
            activations.append(output.detach().clone().requires_grad_())
            return activations[0].clone()  # the network may change it in place

        with torch.no_grad(), replacing(model, layer, begin):
            outputs = forward(model, inputs)
        (activation,) = activations
        if positions(activation, inputs.shape) is None:
            raise InputError(
                f"Expected a layer whose output is a map of images {tuple(inputs.shape)}, but {layer!r} gives "
                f"{tuple(activation.shape)}."
            )

        def pull(cotangents: Tensor) -> Tensor:
            return torch.stack([_map(outputs, activation, cotangent, layer, inputs) for cotangent in cotangents])

        return Linearization(outputs.detach(), mixes(pull))


@METHODS.register("guided-grad-cam")
@dataclass(frozen=True, kw_only=True)
class GuidedGradCAM(Linearizable):
    """Guided backpropagation where Grad-CAM is active.

    R = Grad-CAM ⊙ guided backpropagation, each as the method of that name, the first interpolated bilinearly.

    Signed, shape of the inputs (N, C, H, W), in squared units of the score per input unit; no sum rule. Not linear.
    Diagnostic: `score`. Cost: both methods'.

    Args:
        layer: Grad-CAM's layer by name, or found as there.
        allow_detached: as in guided backpropagation.

    Raises: InputError as Grad-CAM, and for a network without ReLUs; OperationError for an operation that guided
    backpropagation does not know.

    Source: Selvaraju et al. 2017, section 3.2; Adebayo et al. 2018, A.4.
    """

    layer: str | None = None
    allow_detached: bool = False

    @property
    def linear(self) -> bool:
        return False

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        return GradCAM().cost(outputs, shape) + GuidedBackprop().cost(outputs, shape)

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        outputs, active = GradCAM(layer=self.layer).linearize(model, inputs)
        _, guided = GuidedBackprop(allow_detached=self.allow_detached).linearize(model, inputs)
        return Linearization(outputs, lambda cotangent: active(cotangent) * guided(cotangent))


def _map(outputs: Tensor, activation: Tensor, cotangent: Tensor, layer: str, inputs: Tensor) -> Tensor:
    gradient = None
    if outputs.requires_grad:
        with nothing_overwritten():
            (gradient,) = torch.autograd.grad(outputs, activation, cotangent, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise InputError(
            f"Expected outputs that depend on layer {layer!r}, but no path leads back to it; look for no_grad, detach "
            "or NumPy inside the model, or for inference_mode around the call."
        )
    slopes, active = positions(gradient, inputs.shape), positions(activation.detach(), inputs.shape)
    assert slopes is not None  # as the activation is
    assert active is not None
    weights = slopes.mean((1, 2), keepdim=True)
    combined = (weights * active).sum(3).relu()
    return F.interpolate(combined[:, None], size=inputs.shape[2:], mode="bilinear", align_corners=False)
