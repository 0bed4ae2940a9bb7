"""Competition among labels: a method keeps the features that its label wins."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from heatproof.errors import HeatproofWarning, InputError, unknown
from heatproof.methods.backward import GradientXInput
from heatproof.methods.base import METHODS, Explanation, Linearizable, Method, scores
from heatproof.models import check_targets

# Elements that the maps and cotangents of the labels pulled together may have: 64 MiB in float32.
BUDGET = 2**24


@dataclass(frozen=True, kw_only=True)
class Competitive(Method):
    """A method's attributions where its label wins the feature from all others, 0 elsewhere.

    With R_i the attribution of label i, for every feature: H = R_y where R_y > 0 and R_y ≥ R_i for all i ≠ y, or where
    R_y < 0 and R_y ≤ R_i for all i ≠ y; H = 0 elsewhere.

    H is signed, in the units of the method, and 0 or equal to R_y, bit for bit; of R_y's shape with `per="scalar"`. It
    keeps no sum rule. With C labels of i.i.d. symmetric scores a share 2(1 − 2^−C)/C survives. Diagnostics, counted
    over features:

    - `score`: S_y;
    - `surviving-share`: features with H ≠ 0, of those with R_y ≠ 0; NaN if there are none;
    - `surviving-energy`: ΣH² / ΣR_y², in float64; NaN if R_y is 0 everywhere;
    - `tie-rate`: features where the strongest rival has exactly R_y, of those with R_y ≠ 0; NaN if there are none.
      Only there does `ties` decide.

    Cost: one forward pass and C backward passes (path and noise methods: their passes for every chunk of labels). One
    running maximum is kept, never the C maps. A model with one output has no rivals: H = R_y, with a HeatproofWarning.

    Args:
        method: any method with `linearize`.
        per: what competes: every `scalar` of R, or every `pixel`: R is first summed over channels of images (N, C, …)
            or over the embedding of sequences (N, T, E), and H has size 1 there. Tables (N, D) have scalars only.
        ties: `keep` a feature that another label scores exactly alike (≥, as Algorithm 1 prints), or `drop` it (the
            text's "higher than").

    Raises: InputError where the method cannot be linearized (Saliency, VarGrad, Occlusion …).

    Source: Gupta & Arora, Algorithms 1 and 2, section 3.2.
    """

    method: Method = field(kw_only=False)
    per: Literal["scalar", "pixel"] = "scalar"
    ties: Literal["keep", "drop"] = "keep"

    def __post_init__(self) -> None:
        if not isinstance(self.method, Linearizable) or not self.method.linearizable:
            raise InputError(
                f"Expected a method whose labels can be compared, one with `linearize`, but got {self.method!r}; "
                "for example GradientXInput() or IntegratedGradients()."
            )
        if self.per not in _PER:
            raise unknown("competitor (per)", self.per, _PER)
        if self.ties not in _LOSES:
            raise unknown("way to settle ties", self.ties, _LOSES)

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        method = self.method
        assert isinstance(method, Linearizable)  # by __post_init__
        outputs, pull = method.linearize(model, inputs)
        check_targets(inputs, targets, outputs.shape[1])
        if outputs.shape[1] == 1:
            warnings.warn(
                "Expected a model with several outputs to compete, but it has one: the attributions stay as they are.",
                HeatproofWarning,
                stacklevel=3,
            )
        labels = outputs.shape[1]
        step = max(1, BUDGET // (inputs.numel() + outputs.numel())) if method.shares_passes else 1
        own: Tensor | None = None
        rival = sign = inputs  # set with `own`
        for first in range(0, labels, step):
            # Label y itself comes first, then y + 1, y + 2, …: one code path pulls the label and its rivals, so that
            # equal scores are equal bits, and the label's own map is there before the first comparison.
            shifts = torch.arange(first, min(first + step, labels), device=targets.device)
            chosen = (targets + shifts[:, None]) % labels
            cotangents = torch.zeros(*chosen.shape, labels, dtype=outputs.dtype, device=outputs.device)
            cotangents.scatter_(2, chosen[..., None], 1.0)
            maps = pull(cotangents) if method.shares_passes else pull(cotangents[0])[None]
            for each in maps:
                each = _PER[self.per](each)
                if own is None:
                    own, sign = each.clone(), each.sign()
                    rival = torch.full_like(own, -torch.inf)
                else:
                    # A positive score must exceed the rivals, a negative one must undercut them.
                    torch.maximum(rival, each * sign, out=rival)
        assert own is not None  # there is at least one label
        strength = own.abs()
        kept = own.masked_fill(_LOSES[self.ties](strength, rival), 0.0)
        # A rival that is not a number cannot be compared with: say so in the map.
        kept = kept.masked_fill(rival.isnan(), torch.nan)
        return Explanation(kept, {"score": scores(outputs, targets), **_diagnostics(own, kept, rival)})


@METHODS.register("cgi")
def cgi() -> Competitive:
    """Competitive Gradient ⊙ Input (Gupta & Arora, Algorithm 1)."""
    return Competitive(GradientXInput())


def _over_channels(maps: Tensor) -> Tensor:
    """Attributions summed over what one position holds: the last dimension of a sequence, the channels of an image."""
    if maps.dim() == 2:
        return maps
    return maps.sum(2 if maps.dim() == 3 else 1, keepdim=True)


_PER: dict[str, Callable[[Tensor], Tensor]] = {"scalar": lambda maps: maps, "pixel": _over_channels}
_LOSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"keep": torch.lt, "drop": torch.le}


def _diagnostics(own: Tensor, kept: Tensor, rival: Tensor) -> Mapping[str, Tensor]:
    own, kept, rival = own.flatten(1), kept.flatten(1), rival.flatten(1)
    strength = own.abs()
    scored = (own != 0).sum(1).double()
    # Scaled by the largest score, whose square may be 0 in float32 or even in float64. 0/0 is NaN, as it should be.
    scale = strength.amax(1, keepdim=True).double()
    energy = (own / scale).square().sum(1)
    return {
        "surviving-share": (kept != 0).sum(1) / scored,
        "surviving-energy": (kept / scale).square().sum(1) / energy,
        "tie-rate": ((rival == strength) & (own != 0)).sum(1) / scored,
    }
