"""Controls: maps that look like attributions and know no network. What they show, a network need not explain."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heatproof import draws
from heatproof.errors import InputError, MissingExtraError, unknown
from heatproof.methods.base import METHODS, Explanation, Method

Kind = Literal["sobel", "canny"]


@METHODS.register("random")
@dataclass(frozen=True, kw_only=True)
class Random(Method):
    """Noise: i.i.d. N(0, 1), one number a scalar of the input.

    Signed, without unit, of the inputs' shape; the same for every model and label, another one for every sample and
    `seed`. The model is never run, so labels beyond its last output are not noticed. Cost: no pass.

    Source: the random row of Schulz et al. 2020, Table 1. Deviation: Gaussian numbers, not a shuffled ramp.
    """

    seed: int = 0
    uses_model: ClassVar[bool] = False

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        return Explanation(draws.normal(inputs, self.seed, "random"))


@METHODS.register("input-x-random-gradient")
@dataclass(frozen=True, kw_only=True)
class InputXRandomGradient(Method):
    """The input times noise in the place of a gradient.

    R = x ⊙ ξ, ξ ~ N(0, 1) i.i.d. a scalar. Signed, in input units, of the inputs' shape; the same for every model and
    label, another one for every sample and `seed`. The model is never run. Cost: no pass.

    Source: Adebayo et al. 2018, Figure 10; Gupta & Arora, section 3.1.
    """

    seed: int = 0
    uses_model: ClassVar[bool] = False

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        return Explanation(inputs * draws.normal(inputs, self.seed, "random gradient"))


@METHODS.register("edge-detector")
@dataclass(frozen=True, kw_only=True)
class EdgeDetector(Method):
    """The edges of an image.

    `sobel`: R = √(g_x² + g_y²) of the channel mean, g the 3×3 Sobel derivatives divided by 8, so that a ramp of 1 a
    pixel has magnitude 1; border pixels are repeated outwards. `canny`: 1 on an edge, 0 elsewhere, by scikit-image's
    Canny (σ = 1 pixel, its default thresholds 0.1 and 0.2) on the channel mean scaled to [0, 1] image by image.

    Non-negative, in input units a pixel (`sobel`), of shape (N, 1, H, W); the same for every model and label. The model
    is never run. Cost: no pass.

    Raises: InputError where inputs are not images (N, C, H, W); MissingExtraError for `canny` without scikit-image.

    Source: Adebayo et al. 2018, which names no detector.
    """

    kind: Kind = "sobel"
    uses_model: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.kind not in _DETECTORS:
            raise unknown("detector of edges", self.kind, _DETECTORS)

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        return Explanation(edges(inputs, self.kind))


def edges(images: Tensor, kind: Kind = "sobel") -> Tensor:
    """The map (N, 1, H, W) of `EdgeDetector`, which needs images (N, C, H, W) alone."""
    if images.dim() != 4:
        raise InputError(f"Expected images (N, C, H, W) to find edges in, but got {tuple(images.shape)}.")
    return _DETECTORS[kind](images.mean(1, keepdim=True))


def _sobel(gray: Tensor) -> Tensor:
    """The gradient's magnitude of images (N, 1, H, W), by shifts: a convolution would round differently by device."""
    padded = F.pad(gray, (1, 1, 1, 1), mode="replicate")
    down = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    across = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return torch.hypot(down[..., 2:] - down[..., :-2], across[..., 2:, :] - across[..., :-2, :]) / 8


def _canny(gray: Tensor) -> Tensor:
    try:
        from skimage.feature import canny
    except ImportError as error:
        raise MissingExtraError("scikit-image", "image", "EdgeDetector(kind='canny')") from error
    low, high = gray.amin((2, 3), keepdim=True), gray.amax((2, 3), keepdim=True)
    # A constant image has no edges; 0/0 would be NaN.
    scaled = torch.where(high > low, (gray - low) / (high - low).clamp_min(torch.finfo(gray.dtype).tiny), 0.0)
    detect: Callable[[Any], Any] = canny  # scikit-image is only partly annotated
    edges = [torch.from_numpy(detect(image[0])) for image in scaled.cpu().numpy()]
    return torch.stack(edges)[:, None].to(gray)


_DETECTORS = {"sobel": _sobel, "canny": _canny}


@METHODS.register("input-x-edges")
@dataclass(frozen=True, kw_only=True)
class InputXEdges(Method):
    """The input where it has edges.

    R = x ⊙ e, e the edges (N, 1, H, W). Signed as x, in squared input units a pixel, of the inputs' shape;
    the same for every model and label. The model is never run. Cost: no pass. Raises as EdgeDetector does.

    Source: Adebayo et al. 2018, Figure 27 shows maps on such inputs; as a map of its own it is this package's.
    """

    kind: Kind = "sobel"
    uses_model: ClassVar[bool] = False

    def __post_init__(self) -> None:
        EdgeDetector(kind=self.kind)  # refuses what it does not know

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        return Explanation(inputs * edges(inputs, self.kind))
