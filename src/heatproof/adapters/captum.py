"""Captum's explainers, of inputs and of layers."""

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from heatproof.adapters.base import ADAPTERS, Adapter, WithRows, as_maps, layers_of, named, package
from heatproof.fields import typed
from heatproof.frozen import Settings


@ADAPTERS.register("captum")
@typed
@dataclass(frozen=True, repr=False)
class Captum(Adapter):
    """A class of `captum.attr` by name: `Captum("IntegratedGradients", call={"n_steps": 20})`.

    Attributions of a layer (`LayerGradCam`, `LayerConductance`, …) are summed over its channels and enlarged to the
    inputs; a layer whose output is as large as the inputs, such as an embedding, keeps them as they are. Side inputs of
    a Bound follow what Captum repeats. `NoiseTunnel` goes around the explainer with `tunnel={"nt_samples": 10}`.

    Args:
        explainer: the name of the class.
        layer: the submodule of layer explainers.
        arguments: for the constructor, beside model and layer.
        call: for `attribute`, beside inputs and target.
        tunnel: for the `attribute` of a NoiseTunnel around it; empty for none.
    """

    explainer: str = ""
    layer: str = field(default="", kw_only=True)
    arguments: Mapping[str, Any] = field(default_factory=Settings, kw_only=True)
    call: Mapping[str, Any] = field(default_factory=Settings, kw_only=True)
    tunnel: Mapping[str, Any] = field(default_factory=Settings, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("arguments", "call", "tunnel"):
            object.__setattr__(self, name, Settings(getattr(self, name)))

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        attr = package("captum.attr", f"The method captum:{self.explainer}")
        kind = named(attr, self.explainer, "explainer of captum.attr")
        rows = WithRows(model).eval()
        layers = layers_of(model, self.layer) if self.layer or self.explainer.startswith("Layer") else []
        explainer = kind(rows, *layers, **self.arguments)
        if self.tunnel:
            explainer = attr.NoiseTunnel(explainer)
        # What a layer is, and no label's share of it, needs no target.
        of_label = {"target": targets} if "target" in inspect.signature(kind.attribute).parameters else {}
        settings = {name: _like(value, inputs) for name, value in {**self.call, **self.tunnel}.items()}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Setting (forward|backward)")  # that it will hook, and take it back
            found = explainer.attribute(
                inputs.clone().requires_grad_(),
                **of_label,
                additional_forward_args=torch.arange(len(inputs), device=inputs.device),
                **settings,
            )
        return as_maps(found, inputs)


def _like(value: Any, inputs: Tensor) -> Any:
    return value.to(inputs) if isinstance(value, Tensor) and value.is_floating_point() else value
