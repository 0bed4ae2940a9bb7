"""Class activation maps: the channels of a layer, weighed by how the score depends on them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from heatproof import door
from heatproof.errors import InputError
from heatproof.fields import ADDED
from heatproof.layouts.reading import Reading, assumed
from heatproof.layouts.seen import network, seen
from heatproof.methods.backward import nothing_overwritten
from heatproof.methods.base import METHODS, Explanation, Linearizable, Linearization, Targets, mixes, one_hot, scores
from heatproof.methods.guided import GuidedBackprop
from heatproof.methods.spatial import Layout, check_layout, enlarged, last_map, reading_of, replacing, say_others
from heatproof.models import check_targets, forward
from heatproof.places import Place
from heatproof.targets.base import Target


class Weigher(NamedTuple):
    """A model's outputs, and what makes a map (N, *grid) of a cotangent (N, C) at a layer that is read so.

    `positions` are the axes of the inputs that are.
    """

    outputs: Tensor
    weigh: Callable[[Tensor], Tensor]
    reading: Reading
    positions: tuple[int, ...]


@METHODS.register("grad-cam")
@dataclass(frozen=True, kw_only=True)
class GradCAM(Linearizable):
    """Where a layer's channels that raise the score are active.

    R = ReLU(Σ_k α_k A^k), α_k = the mean over positions of ∂S_c/∂A^k, for the output A (N, K, h, w) of one layer;
    then linear interpolation to the input's positions (bilinear for images; corners not aligned).

    Non-negative, no sum rule; (N, 1, H, W) for images, and for series (N, C, T), sequences (N, T, E), volumes
    (N, C, D, H, W) and channels last likewise: size 1 where features stand. With global average pooling and one linear
    layer behind, R is the positive part of the class activation map over h·w (before interpolation). Not linear: the
    clamp depends on the mix of labels. Diagnostics: `score`, and `all-zero`, 1 where the ReLU left nothing of the map.
    Cost: one forward pass, and a backward pass down to the layer. What a layer's dimensions mean and which layer is the
    last is found in one pass of two rows that is watched (two to six passes' time), once a network and shape of inputs.

    Positions are told from channels by the operations that made the output, not by sizes: (N, K, h, w), (N, h, w, K),
    tokens (N, T, K) in the order in which patches were laid out, without the class token and registers beside them,
    which count neither in α nor in R (ViT, Swin).

    Args:
        layer: a layer by name, as in `named_modules` (of the network inside a Bound); by default the last map with more
            than one position that is read in more than one, before adaptive pooling, and not a class map; see
            `heatproof.methods.spatial.last_map`. On a ViT that is the input of the last block's attention. A
            HeatproofWarning names other maps that the outputs depend on and that do not pass it.
            Several names give the mean of their maps. `name(0)` is what goes into the layer, its first argument, whose
            `layout` has to be said.
        layout: `channels-first` (N, K, …) or `channels-last` (N, …, K) of the named layer, where nothing tells.
        relu: whether what lowers the score is left out. Without it R is signed, and linear over labels.

    `in_layer` gives a map in the size of its layer.

    Raises: InputError for inputs without positions, an unknown layer, one that is no map, runs more than once, or whose
    dimensions nothing tells.

    Source: Selvaraju et al. 2017, eq. 1 and 2; Adebayo et al. 2018, A.4. Pytorch-grad-cam rescales each map to [0, 1];
    here it keeps its units.

    >>> hp.methods.GradCAM(layer="0")(net, images, labels).shape
    torch.Size([4, 1, 8, 8])
    """

    layer: str | tuple[str, ...] | None = None
    layout: Layout | None = None
    relu: bool = field(default=True, metadata=ADDED)

    def __post_init__(self) -> None:
        if isinstance(self.layer, list | tuple):
            object.__setattr__(self, "layer", tuple(self.layer))
            if not self.layer:
                raise InputError("Expected the names of one layer or more, but got none.")
        check_layout(self.layout, self.layer)

    @property
    def linear(self) -> bool:
        return not self.relu

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        return float(len(self.layer)) if isinstance(self.layer, tuple) else 1.0

    def in_layer(self, model: nn.Module, inputs: Tensor, targets: Targets) -> Tensor:
        """The map (N, *grid) at the layer's own positions, in units of the score; arguments and errors as in a call."""
        if isinstance(targets, Target):
            aim = targets.aim(model, inputs)
            (model, inputs), targets = aim.of(inputs), aim.labels
        if isinstance(self.layer, tuple):
            raise InputError(f"Expected one layer, whose size the map has, but got {self.layer}.")
        named = self.layer
        with door.entered(model, inputs, door.as_labels(inputs, targets)) as (settled, x, labels):

            def run() -> Tensor:
                assert labels is not None
                outputs, weigh, *_ = self._weigher(model, x, named)
                check_targets(x, labels, outputs.shape[1])
                return weigh(one_hot(labels, outputs)).detach()

            return door.guarded(run, model, x, settled)

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        names = self.layer if isinstance(self.layer, tuple) else (self.layer,)
        found = [self._weigher(model, inputs, name) for name in names]
        positions = found[0].positions

        def one(cotangent: Tensor) -> Tensor:
            maps = [enlarged(each.weigh(cotangent), each.reading, tuple(inputs.shape), positions) for each in found]
            return maps[0] if len(maps) == 1 else torch.stack(maps).mean(0)

        return Linearization(found[0][0], mixes(lambda cotangents: torch.stack([one(c) for c in cotangents])))

    def _weigher(self, model: nn.Module, inputs: Tensor, named: str | None) -> Weigher:
        if inputs.dim() < 3:
            raise InputError(
                f"Expected samples with positions, such as images (N, C, H, W) for activation maps, but got "
                f"{tuple(inputs.shape)}."
            )
        known = seen(model, inputs)
        layer = last_map(model, inputs, known) if named is None else named
        argument = layer.endswith(")")
        if argument and self.layout is None:
            raise InputError(
                f"Expected to be told which dimensions of {layer!r} are positions; say it with layout='channels-first' "
                "or layout='channels-last', or name the layer that makes it."
            )
        reading = None if argument else reading_of(model, layer, inputs, self.layout, known)
        if named is None:
            say_others(known)
        activations: list[Tensor] = []

        def begin(output: Tensor) -> Tensor:
            # The graph begins here: what lies below the layer runs without one.
            torch.set_grad_enabled(True)
            activations.append(output.detach().clone().requires_grad_())
            return activations[0].clone()  # the network may change it in place

        net = network(model)
        way = Place.of(net, layer).met(net, begin) if argument else replacing(model, layer, begin)
        with torch.no_grad(), way:
            outputs = forward(model, inputs, derived=True)
        (activation,) = activations
        reading = reading or self._assumed(layer, inputs, activation, known.positions)
        if not reading.fits(activation):
            raise InputError(
                f"Expected layer {layer!r} to give one shape for inputs of one shape, but it gave "
                f"{tuple(activation.shape)} where it gave {reading.shape} for two rows; name another layer."
            )

        def weigh(cotangent: Tensor) -> Tensor:
            weighed = _weighed(outputs, activation, cotangent, layer, reading)
            return weighed.relu() if self.relu else weighed

        return Weigher(outputs.detach(), weigh, reading, known.positions)

    def _assumed(self, layer: str, inputs: Tensor, activation: Tensor, positions: tuple[int, ...]) -> Reading:
        """How an argument of a layer reads, as `layout` says."""
        axes = positions or tuple(range(2, inputs.dim()))
        reading = None
        if activation.dim() > 2:
            reading = assumed(activation.shape, str(self.layout), [inputs.shape[axis] for axis in axes], axes)
        if reading is None:
            raise InputError(
                f"Expected what goes into {layer!r} to be a map of inputs {tuple(inputs.shape)}, but it is "
                f"{tuple(activation.shape)}, which is none with layout={self.layout!r}."
            )
        return reading

    def _diagnostics(
        self, maps: Tensor, model: nn.Module, inputs: Tensor, outputs: Tensor, targets: Tensor
    ) -> Mapping[str, Tensor]:
        return {"score": scores(outputs, targets), "all-zero": _all_zero(maps)}


@METHODS.register("guided-grad-cam")
@dataclass(frozen=True, kw_only=True)
class GuidedGradCAM(Linearizable):
    """Guided backpropagation where Grad-CAM is active.

    R = Grad-CAM ⊙ guided backpropagation, each as the method of that name, the first interpolated bilinearly.

    Signed, shape of the inputs (N, C, H, W), in squared units of the score per input unit; no sum rule. Not linear.
    Diagnostics: `score`, and `all-zero`, 1 where nothing of the map is left. Cost: both methods'.

    Args:
        layer, layout: Grad-CAM's layer by name, or found as there.
        allow_detached: as in guided backpropagation.

    Raises: InputError as Grad-CAM, and for a network without ReLUs; OperationError for an operation that guided
    backpropagation does not know.

    Source: Selvaraju et al. 2017, section 3.2; Adebayo et al. 2018, A.4.

    >>> hp.methods.GuidedGradCAM(layer="0")(net, images, labels).shape
    torch.Size([4, 1, 8, 8])
    """

    layer: str | None = None
    layout: Layout | None = None
    allow_detached: bool = False

    def __post_init__(self) -> None:
        check_layout(self.layout, self.layer)

    @property
    def linear(self) -> bool:
        return False

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        return GradCAM().cost(outputs, shape) + GuidedBackprop().cost(outputs, shape)

    @property
    def needs(self) -> tuple[GradCAM, GuidedBackprop]:
        return (GradCAM(layer=self.layer, layout=self.layout), GuidedBackprop(allow_detached=self.allow_detached))

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        active, guided = (part.explain(model, inputs, targets) for part in self.needs)
        maps = active.maps * guided.maps
        return Explanation(maps, {"score": active.diagnostics["score"], "all-zero": _all_zero(maps)})

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        (outputs, active), (_, guided) = (part.linearize(model, inputs) for part in self.needs)
        return Linearization(outputs, lambda cotangent: active(cotangent) * guided(cotangent))


def _weighed(outputs: Tensor, activation: Tensor, cotangent: Tensor, layer: str, reading: Reading) -> Tensor:
    """Σ_k α_k A^k (N, *grid)."""
    gradient = None
    if outputs.requires_grad:
        with nothing_overwritten():
            (gradient,) = torch.autograd.grad(outputs, activation, cotangent, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise InputError(
            f"Expected outputs that depend on layer {layer!r}, but no path leads back to it; look for no_grad, detach "
            "or NumPy inside the model, or for inference_mode around the call."
        )
    slopes, active = reading(gradient), reading(activation.detach())
    weights = slopes.flatten(1, -2).mean(1)
    return (weights.view(len(weights), *[1] * len(reading.grid), -1) * active).sum(-1)


def _all_zero(maps: Tensor) -> Tensor:
    return (maps == 0).flatten(1).all(1).to(maps)
