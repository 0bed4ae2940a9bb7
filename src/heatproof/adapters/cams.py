"""Class activation maps of pytorch-grad-cam and of torch-cam."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partialmethod
from typing import Any

import torch
from torch import Tensor, nn

from heatproof.adapters.base import ADAPTERS, Adapter, each_alone, layers_of, named, package
from heatproof.fields import ADDED, typed
from heatproof.frozen import Settings
from heatproof.named_code import named_code

Reshape = Callable[[Tensor], Tensor] | str | None


@ADAPTERS.register("pytorch-grad-cam")
@typed
@dataclass(frozen=True, repr=False)
class PytorchGradCAM(Adapter):
    """A class of `pytorch_grad_cam` (the package grad-cam): `PytorchGradCAM("GradCAMPlusPlus", layer="layer4")`.

    Its maps lie between 0 and 1, each scaled by its own range: their sizes say nothing between samples. Samples of a
    model whose side inputs have a row each are explained one by one.

    Args:
        explainer: the name of the class.
        layer: the submodule, or several; none for FullGrad.
        arguments: for the constructor, beside model and layers; another class of the package by name, as
            `{"base_method": "LayerCAM"}` for RefineCAM.
        call: for the call, such as `aug_smooth` and `eigen_smooth`.
        reshape: from a layer's output to (N, K, height, width), for transformers; a function, or `module:function`.
    """

    explainer: str = "GradCAM"
    layer: str | tuple[str, ...] = field(default="", kw_only=True)
    arguments: Mapping[str, Any] = field(default_factory=Settings, kw_only=True)
    call: Mapping[str, Any] = field(default_factory=Settings, kw_only=True)
    reshape: Reshape = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("arguments", "call"):
            object.__setattr__(self, name, Settings(getattr(self, name)))
        object.__setattr__(self, "reshape", _function(self.reshape))

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        cams = package("pytorch_grad_cam", "The method pytorch-grad-cam", called="grad-cam")
        kind = named(cams, self.explainer, "explainer of pytorch_grad_cam")
        layers = [] if self.explainer == "FullGrad" and not self.layer else layers_of(model, self.layer)
        arguments = _classes(self.arguments, cams, "explainer of pytorch_grad_cam")

        def explain(network: nn.Module, x: Tensor, labels: Tensor) -> Any:
            explainer = kind(model=network, target_layers=layers, reshape_transform=self.reshape, **arguments)
            wanted = [_Score(label) for label in labels.tolist()]
            # Not as a context: left by an IndexError, theirs prints it and goes on.
            return explainer(input_tensor=x.clone().requires_grad_(), targets=wanted, **self.call)

        with torch.enable_grad(), _without_bars():
            return each_alone(explain, model, inputs, targets)


@ADAPTERS.register("torch-cam")
@typed
@dataclass(frozen=True, repr=False)
class TorchCAM(Adapter):
    """A class of `torchcam.methods` (the package torchcam): `TorchCAM("LayerCAM", layer="layer4")`.

    Samples of a model whose side inputs have a row each are explained one by one.

    Args:
        explainer: the name of the class.
        layer: the submodule; or several, whose maps its class fuses.
        arguments: for the constructor, beside model and layer: numbers, a submodule by name, as `{"fc_layer": "fc"}`,
            or another class of the package, as `{"base_method": "LayerCAM"}`.
        normalized: whether each map is scaled by its own range to lie between 0 and 1.
        reshape: from a layer's output to (N, K, positions …), for transformers; a function, or `module:function`.
    """

    explainer: str = "GradCAM"
    layer: str | tuple[str, ...] = field(default="", kw_only=True)
    arguments: Mapping[str, Any] = field(default_factory=Settings, kw_only=True)
    normalized: bool = field(default=False, kw_only=True)
    reshape: Reshape = field(default=None, kw_only=True, metadata=ADDED)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", Settings(self.arguments))
        object.__setattr__(self, "reshape", _function(self.reshape))

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        methods = package("torchcam.methods", "The method torch-cam", called="torchcam")
        kind = named(methods, self.explainer, "explainer of torchcam.methods")
        layers = layers_of(model, self.layer)
        arguments = _classes(self.arguments, methods, "explainer of torchcam.methods")
        for name, value in arguments.items():
            if name.endswith("_layer") and isinstance(value, str):
                (arguments[name],) = layers_of(model, value)
        if self.reshape is not None:
            arguments["reshape_transform"] = self.reshape

        def explain(network: nn.Module, x: Tensor, labels: Tensor) -> Any:
            with kind(network, target_layer=layers[0] if len(layers) == 1 else layers, **arguments) as explainer:
                scores = network(x.clone().requires_grad_())
                scores = scores[:, None] if scores.dim() == 1 else scores
                found = explainer(labels.tolist(), scores, normalized=self.normalized)
                return found if len(found) == 1 else explainer.fuse_cams(found)

        with torch.enable_grad():
            return each_alone(explain, model, inputs, targets)


@dataclass(frozen=True)
class _Score:
    """The score of a label among one sample's outputs (C,), as pytorch-grad-cam asks for it; () of a single output."""

    label: int

    def __call__(self, outputs: Tensor) -> Tensor:
        return outputs if outputs.dim() == 0 else outputs[..., self.label]


def _function(reshape: Reshape) -> Reshape:
    return named_code(reshape, "reshaping") if isinstance(reshape, str) else reshape


def _classes(arguments: Mapping[str, Any], module: Any, kind: str) -> dict[str, Any]:
    """The arguments, with a class of the package in the place of its name."""
    found = dict(arguments)
    if isinstance(found.get("base_method"), str):
        found["base_method"] = named(module, found["base_method"], kind)
    return found


@contextmanager
def _without_bars() -> Iterator[None]:
    """tqdm draws nothing meanwhile: score and ablation CAMs have a bar a sample, which would go over an audit's own."""
    bar = package("tqdm", "The method pytorch-grad-cam").tqdm
    drawn = bar.__init__
    bar.__init__ = partialmethod(drawn, disable=True)
    try:
        yield
    finally:
        bar.__init__ = drawn
