"""Controls: maps that look like attributions and know no network. What they show, a network need not explain."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heatproof import draws
from heatproof.errors import HeatproofError, InputError, MissingExtraError, unknown
from heatproof.features import LAYOUTS
from heatproof.layouts.inputs import InputLayout, axes_known, feature_axes
from heatproof.methods.base import METHODS, Explanation, Method

Kind = Literal["sobel", "canny"]


@METHODS.register("random")
@dataclass(frozen=True, kw_only=True)
class Random(Method):
    """Noise: i.i.d. N(0, 1), one number a scalar of the input.

    Signed, without unit, of the inputs' shape; the same for every model and label, another one for every sample and
    `seed`. The model is never run, so labels beyond its last output are not noticed. Cost: no pass.

    Source: the random row of Schulz et al. 2020, Table 1. Deviation: Gaussian numbers, not a shuffled ramp.

    >>> hp.methods.Random(seed=1)(line, x, 0).shape
    torch.Size([1, 2])
    """

    seed: int = 0
    version: ClassVar[int] = 2
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

    >>> method = hp.methods.InputXRandomGradient(seed=1)
    >>> torch.equal(method(line, x, 0), method(line, x, 1))
    True
    """

    seed: int = 0
    version: ClassVar[int] = 2
    uses_model: ClassVar[bool] = False

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        return Explanation(inputs * draws.normal(inputs, self.seed, "random gradient"))


@METHODS.register("edge-detector")
@dataclass(frozen=True, kw_only=True)
class EdgeDetector(Method):
    """The edges of an image, a series or a volume.

    `sobel`: R = √(Σ_d g_d²) of the channel mean, g_d the Sobel derivative along direction d (a central difference,
    smoothed by 1, 2, 1 along the other directions) scaled so that a ramp of 1 a pixel has magnitude 1; border pixels
    are repeated outwards. `canny`: 1 on an edge, 0 elsewhere, by scikit-image's Canny (σ = 1 pixel, its default
    thresholds 0.1 and 0.2) on the channel mean scaled to [0, 1] image by image.

    Non-negative, in input units a pixel (`sobel`), of shape (N, 1, H, W), (N, 1, T) or (N, 1, D, H, W), with size 1
    last where channels stand last; the same for every model and label. The model only says what the inputs' dimensions
    mean. Cost: a watched run of two rows, once a network and shape, where no `layout` is given.

    Args:
        kind: `sobel` or `canny`.
        layout: of the inputs, `channels-first` or `channels-last`. Without it they are read as the network reads them;
            where it tells nothing, images and volumes whose last dimension is not the shortest are channels first, and
            of others, as of a series (N, C, T) or tokens (N, T, E), it has to be said.

    Raises: InputError where inputs have no positions, or nothing says which they are; MissingExtraError for `canny`
    without scikit-image.

    Source: Adebayo et al. 2018, which names no detector, for images.

    >>> hp.methods.EdgeDetector()(net, torch.ones(1, 1, 8, 8), 0).abs().max()
    tensor(0.)
    """

    version: ClassVar[int] = 2
    kind: Kind = "sobel"
    layout: InputLayout | None = None
    uses_model: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.kind not in _DETECTORS:
            raise unknown("detector of edges", self.kind, _DETECTORS)
        if self.layout not in (None, *LAYOUTS):
            raise unknown("layout", str(self.layout), LAYOUTS)

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        return Explanation(_edges(model, inputs, self.kind, self.layout))


def edges(images: Tensor, kind: Kind = "sobel", layout: InputLayout = "channels-first") -> Tensor:
    """The map of `EdgeDetector`, which needs the inputs (N, C, H, W), (N, C, T) or (N, C, D, H, W) alone."""
    if not 3 <= images.dim() <= 5 or (kind == "canny" and images.dim() != 4):
        raise InputError(f"Expected images (N, C, H, W) to find edges in, but got {tuple(images.shape)}.")
    channel = 1 if layout == "channels-first" else images.dim() - 1
    return _DETECTORS[kind](images.mean(channel)[:, None]).movedim(1, channel)


def _edges(model: nn.Module, inputs: Tensor, kind: Kind, layout: InputLayout | None) -> Tensor:
    if layout is not None or inputs.dim() < 3:
        return edges(inputs, kind, layout or "channels-first")
    axes = _axes(model, inputs)
    if axes is None and inputs.dim() > 3 and inputs.shape[-1] >= min(inputs.shape[1:-1]):
        axes = (1,)  # as torch's own layers read images and volumes
    if axes is None:
        what = "are series (N, C, T) or tokens (N, T, E)" if inputs.dim() == 3 else "have their channels first or last"
        raise InputError(
            f"Expected to know whether {tuple(inputs.shape)} {what} to find edges in; say layout='channels-first' or "
            "layout='channels-last'."
        )
    if not axes:  # every dimension is one of positions
        return edges(inputs[:, None], kind)[:, 0]
    return edges(inputs, kind, "channels-first" if axes == (1,) else "channels-last")


def _axes(model: nn.Module, inputs: Tensor) -> tuple[int, ...] | None:
    """Asked of the network, whether it was asked before or not: what is called first must not decide a map."""
    if (known := axes_known(model, inputs)) is not None or not isinstance(model, nn.Module):
        return known
    try:
        return feature_axes(model, inputs)
    except HeatproofError:  # a control runs for any model: also for one that tells nothing
        return None


def _sobel(gray: Tensor) -> Tensor:
    """The gradient's magnitude of maps (N, 1, …), by shifts: a convolution would round differently by device."""
    count = gray.dim() - 2
    padded = F.pad(gray, (1, 1) * count, mode="replicate")
    slopes = []
    for direction in range(2, gray.dim()):
        smooth = padded
        for other in (axis for axis in range(2, gray.dim()) if axis != direction):
            before, at, after = (smooth.narrow(other, start, gray.shape[other]) for start in (0, 1, 2))
            smooth = before + 2 * at + after
        first, last = (smooth.narrow(direction, start, gray.shape[direction]) for start in (0, 2))
        slopes.append(last - first)
    # Divided at the end, by the smoothing's weights and the two pixels between the values.
    length: Tensor = reduce(torch.hypot, slopes).abs()
    weights: int = 2 * 4 ** (count - 1)
    return length / weights


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
    the same for every model and label. Fields, cost and errors as EdgeDetector's.

    Source: Adebayo et al. 2018, Figure 27 shows maps on such inputs; as a map of its own it is this package's.

    >>> hp.methods.InputXEdges()(net, torch.ones(1, 1, 8, 8), 0).abs().max()
    tensor(0.)
    """

    version: ClassVar[int] = 2
    kind: Kind = "sobel"
    layout: InputLayout | None = None
    uses_model: ClassVar[bool] = False

    def __post_init__(self) -> None:
        EdgeDetector(kind=self.kind, layout=self.layout)  # refuses what it does not know

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        return Explanation(inputs * _edges(model, inputs, self.kind, self.layout))
