"""Class activation maps of pytorch-grad-cam and of torch-cam."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from heatproof.adapters.base import ADAPTERS, Adapter, Settings, as_maps, layers_of, named, package
from heatproof.fields import typed


@ADAPTERS.register("pytorch-grad-cam")
@typed
@dataclass(frozen=True, repr=False)
class PytorchGradCAM(Adapter):
    """A class of `pytorch_grad_cam` (the package grad-cam): `PytorchGradCAM("GradCAMPlusPlus", layer="layer4")`.

    Its maps lie between 0 and 1, each scaled by its own range: their sizes say nothing between samples.

    Args:
        explainer: the name of the class.
        layer: the submodule, or several.
        arguments: for the constructor, beside model and layers.
        call: for the call, such as `aug_smooth` and `eigen_smooth`.
        reshape: from a layer's output to (N, K, height, width), for transformers.
    """

    explainer: str = "GradCAM"
    layer: str | tuple[str, ...] = field(default="", kw_only=True)
    arguments: Mapping[str, Any] = field(default_factory=Settings, kw_only=True)
    call: Mapping[str, Any] = field(default_factory=Settings, kw_only=True)
    reshape: Callable[[Tensor], Tensor] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("arguments", "call"):
            object.__setattr__(self, name, Settings(getattr(self, name)))

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        cams = package("pytorch_grad_cam", "The method pytorch-grad-cam", called="grad-cam")
        kind = named(cams, self.explainer, "explainer of pytorch_grad_cam")
        layers, labels = layers_of(model, self.layer), targets.tolist()
        with kind(model=model, target_layers=layers, reshape_transform=self.reshape, **self.arguments) as explainer:
            found = explainer(input_tensor=inputs, targets=[_Score(label) for label in labels], **self.call)
        return as_maps(found, inputs)


@ADAPTERS.register("torch-cam")
@typed
@dataclass(frozen=True, repr=False)
class TorchCAM(Adapter):
    """A class of `torchcam.methods` (the package torchcam): `TorchCAM("LayerCAM", layer="layer4")`.

    Args:
        explainer: the name of the class.
        layer: the submodule.
        arguments: for the constructor, beside model and layer.
        normalized: whether each map is scaled by its own range to lie between 0 and 1.
    """

    explainer: str = "GradCAM"
    layer: str = field(default="", kw_only=True)
    arguments: Mapping[str, Any] = field(default_factory=Settings, kw_only=True)
    normalized: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", Settings(self.arguments))

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        methods = package("torchcam.methods", "The method torch-cam")
        kind = named(methods, self.explainer, "explainer of torchcam.methods")
        (layer,) = layers_of(model, self.layer)
        shape = tuple(inputs.shape[1:])
        explainer = kind(model, target_layer=layer, input_shape=shape, **self.arguments)
        try:
            with torch.enable_grad():
                scores = model(inputs.clone().requires_grad_())
                found = explainer(targets.tolist(), scores, normalized=self.normalized)
        finally:
            explainer.remove_hooks()
        return as_maps(found, inputs)


@dataclass(frozen=True)
class _Score:
    """The score of a label among one sample's outputs (C,), as pytorch-grad-cam asks for it."""

    label: int

    def __call__(self, outputs: Tensor) -> Tensor:
        return outputs[self.label] if outputs.dim() == 1 else outputs[:, self.label]
