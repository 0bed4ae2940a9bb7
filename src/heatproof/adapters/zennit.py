"""Zennit's attributors, under its composites of rules."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from heatproof.adapters.base import ADAPTERS, Adapter, as_maps, named, package
from heatproof.fields import typed
from heatproof.frozen import Settings


@ADAPTERS.register("zennit")
@typed
@dataclass(frozen=True, repr=False)
class Zennit(Adapter):
    """An attributor of `zennit.attribution` with a composite: `Zennit(composite="EpsilonPlusFlat")`.

    Zennit's rules are hooks on modules: they see no function that a network calls by itself. Its relevance starts at
    the explained output, as ours does.

    Args:
        composite: the name of a class of `zennit.composites`, or a composite; none for plain gradients.
        attributor: the name of a class of `zennit.attribution`.
        arguments: for the composite, such as `epsilon`.
        settings: for the attributor, such as `n_iter` of SmoothGrad.
    """

    composite: Any = ""
    attributor: str = field(default="Gradient", kw_only=True)
    arguments: Mapping[str, Any] = field(default_factory=Settings, kw_only=True)
    settings: Mapping[str, Any] = field(default_factory=Settings, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("arguments", "settings"):
            object.__setattr__(self, name, Settings(getattr(self, name)))

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        attributors = package("zennit.attribution", "The method zennit")
        kind = named(attributors, self.attributor, "attributor of Zennit")

        def relevance(outputs: Tensor) -> Tensor:
            picked = torch.zeros_like(outputs if outputs.dim() > 1 else outputs[:, None])
            picked.scatter_(1, targets[:, None], 1.0)
            return (picked * outputs.detach().view_as(picked)).view_as(outputs) if self.composite else picked

        attributor = kind(model=model, composite=self._composite(), attr_output=relevance, **self.settings)
        x = inputs.clone().requires_grad_()
        with attributor if self.composite else nullcontext():
            _, found = attributor(x)
        return as_maps(found, inputs)

    def _composite(self) -> Any:
        if not isinstance(self.composite, str):
            return self.composite
        if not self.composite:
            return None
        composites = package("zennit.composites", "The method zennit")
        return named(composites, self.composite, "composite of Zennit")(**self.arguments)
