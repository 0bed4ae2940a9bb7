"""SHAP's explainers of differentiable models."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from heatproof import draws
from heatproof.adapters.base import ADAPTERS, Adapter, OfOneSample, as_maps, named, package, tidied
from heatproof.errors import InputError
from heatproof.fields import ADDED, typed
from heatproof.frozen import Frozen, Settings
from heatproof.state import RandomState


@ADAPTERS.register("shap")
@typed
@dataclass(frozen=True, repr=False)
class Shap(Adapter):
    """A class of `shap` that explains a torch network: `Shap("GradientExplainer", background=images[:20])`.

    Its values sum to the score less the mean score of the background, as far as its samples tell. Of each sample the
    label in question alone is explained, so that the cost does not grow with the number of labels. Draws depend on
    `seed` and on the sample's values, wherever it stands.

    Args:
        explainer: `GradientExplainer` or `DeepExplainer`, whose rules are hooks on modules: it refuses a network that
            calls functions or uses a module twice, as the values do not add up then.
        background: inputs (B, …) that stand for a missing feature together.
        call: for `shap_values`, such as `nsamples`; with `rseed` every sample has the same draws.
        seed: of the draws of `GradientExplainer`.
    """

    explainer: str = "GradientExplainer"
    background: Frozen | None = field(default=None, kw_only=True)
    call: Mapping[str, Any] = field(default_factory=Settings, kw_only=True)
    seed: int = field(default=0, kw_only=True, metadata=ADDED)

    def __post_init__(self) -> None:
        object.__setattr__(self, "call", Settings(self.call))
        if self.background is not None:
            object.__setattr__(self, "background", Frozen(self.background))

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        shap = package("shap", "The method shap")
        kind = named(shap, self.explainer, "explainer of shap")
        if self.background is None:
            raise InputError("Expected `background`, inputs (B, …) that stand for a missing feature, but got none.")
        background = self.background.tensor.to(inputs)
        drawn = RandomState(inputs.device)
        parts = []
        try:
            with torch.enable_grad(), tidied(model):
                for row, label in enumerate(targets.tolist()):
                    x = inputs[row : row + 1].clone()
                    explainer = kind(OfOneSample(model, row, label), background)
                    parts.append(as_maps(self._values(explainer, x), x))
        finally:
            drawn.restore()  # it seeds NumPy's global generator
        return torch.cat(parts)

    def _drawn(self, x: Tensor) -> dict[str, int]:
        """What seeds the draws of one sample (1, …)."""
        if self.explainer != "GradientExplainer":
            return {}
        return {"rseed": draws.generator("shap", self.seed, *draws.digests(x)).initial_seed() % 2**32}

    def _values(self, explainer: Any, x: Tensor) -> Any:
        """The values of one sample (1, …); SHAP returns them of each output, (1, …, 1)."""
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "__array_wrap__", DeprecationWarning)  # of its own look at the sum
                found = explainer.shap_values(x, **{**self._drawn(x), **self.call})
        except (RuntimeError, AssertionError) as error:
            if self.explainer != "DeepExplainer" or isinstance(error, torch.OutOfMemoryError):
                raise
            raise InputError(
                "Expected a network that calls modules alone, each once and none in place, as SHAP's DeepExplainer has "
                "hooks for rules; OverBaselines(DeepLIFT(), baselines=background) gives the same values of any "
                f"network. It raised {type(error).__name__}: {str(error).partition('. ')[0]}."
            ) from error
        return found[..., 0] if isinstance(found, np.ndarray) and found.ndim == x.dim() + 1 else found
