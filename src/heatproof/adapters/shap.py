"""SHAP's explainers of differentiable models."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from heatproof.adapters.base import ADAPTERS, Adapter, Settings, as_maps, named, package
from heatproof.errors import InputError
from heatproof.fields import typed
from heatproof.frozen import Frozen


@ADAPTERS.register("shap")
@typed
@dataclass(frozen=True, repr=False)
class Shap(Adapter):
    """A class of `shap` that explains a torch network: `Shap("GradientExplainer", background=images[:20])`.

    Its values sum to the score less the mean score of the background, as far as its samples tell.

    Args:
        explainer: `GradientExplainer` or `DeepExplainer`.
        background: inputs (B, …) that stand for a missing feature together.
        call: for `shap_values`, such as `nsamples` and `rseed`.
    """

    explainer: str = "GradientExplainer"
    background: Any = field(default=None, kw_only=True)
    call: Mapping[str, Any] = field(default_factory=Settings, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "call", Settings(self.call))
        if self.background is not None:
            object.__setattr__(self, "background", Frozen(self.background))

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        shap = package("shap", "The method shap")
        kind = named(shap, self.explainer, "explainer of shap")
        if self.background is None:
            raise InputError("Expected `background`, inputs (B, …) that stand for a missing feature, but got none.")
        explainer = kind(model, self.background.tensor.to(inputs))
        found = explainer.shap_values(inputs, **self.call)
        if isinstance(found, list):  # one array an output, before shap 0.45
            found = np.stack(found, -1)
        values = torch.from_numpy(np.asarray(found))
        if values.dim() == inputs.dim() + 1:
            at = targets.cpu().view(-1, *[1] * (values.dim() - 1)).expand(*values.shape[:-1], 1)
            values = values.gather(-1, at)[..., 0]
        return as_maps(values, inputs)
