"""Competition among labels: a method keeps the features that its label wins."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from heatproof import progress
from heatproof.errors import HeatproofWarning, InputError, unknown
from heatproof.fields import typed
from heatproof.layouts.inputs import InputLayout, feature_axes
from heatproof.methods.backward import Factor, Gradient, GradientPull, GradientXInput
from heatproof.methods.base import METHODS, Explanation, Linearizable, Method, scores
from heatproof.models import check_targets, memory, select

# Elements that the maps and cotangents of the labels pulled together may have: 64 MiB in float32.
BUDGET = 2**24
# Elements that the features' maps of the samples competing together may have: 512 MiB in float32 on a CPU, and on an
# accelerator an eighth of what it has.
RANK_BUDGET = 2**27
# Of the two ways to a mix of labels, in units of the last bit of a map's largest value.
ROUNDING = 1024
# Elements of one tile of a matrix product: it should fit a cache, with its operands.
TILE = 2**19


@typed
@dataclass(frozen=True, kw_only=True)
class Competitive(Method):
    """A method's attributions where its label wins the feature from all others, 0 elsewhere.

    With R_i the attribution of label i, for every feature: H = R_y where R_y > 0 and R_y ≥ R_i for all i ≠ y, or where
    R_y < 0 and R_y ≤ R_i for all i ≠ y; H = 0 elsewhere.

    H is signed, in the units of the method, and 0 or equal to R_y, bit for bit unless `rank` is used; of R_y's shape
    with `per="scalar"`. It keeps no sum rule. With C labels of i.i.d. symmetric scores a share 2(1 − 2^−C)/C survives.
    Diagnostics, counted over features:

    - `score`: S_y;
    - `surviving-share`: features with H ≠ 0, of those with R_y ≠ 0; NaN if there are none;
    - `surviving-energy`: ΣH² / ΣR_y², in float64; NaN if R_y is 0 everywhere;
    - `tie-rate`: features where the strongest rival has exactly R_y, of those with R_y ≠ 0; NaN if there are none.
      Only there does `ties` decide.

    Cost: one forward pass and C backward passes (path and noise methods: their passes for every chunk of labels). One
    running maximum is kept, never the C maps; with `rank`, 2 backward passes for the proof, D < C for the maps, and
    the D maps of each sample. A model with one output has no rivals: H = R_y, with a HeatproofWarning.

    Args:
        method: any method with `linearize`.
        per: what competes: every `scalar` of R, or every `pixel`: R is first summed over channels of images (N, C, …)
            or over the embedding of sequences (N, T, E), and H has size 1 there. Tables (N, D) have scalars only. Which
            dimension that is, what the network does with its input tells.
        layout: `channels-first` or `channels-last`, where nothing tells.
        ties: `keep` a feature that another label scores exactly alike (≥, as Algorithm 1 prints), or `drop` it (the
            text's "higher than").
        rank: `auto` pulls the D features of a network's last linear layer, or of a class map's 1 × 1 convolution,
            instead of its C labels, where C > D, and combines them with a matrix product: exact but for rounding, which
            may decide near-ties. It does so only where a random mix of labels, pulled both ways, gave the same map of
            every sample at hand: what is linear agrees on all labels if it agrees on such a mix. `off` never does.

    Raises: InputError where the method cannot be linearized (Saliency, VarGrad, Occlusion …).

    Source: Gupta & Arora, Algorithms 1 and 2, section 3.2.

    >>> method = hp.methods.Competitive(hp.methods.GradientXInput())
    >>> method(line, x, torch.tensor([1])), method(line, x, torch.tensor([0]))
    (tensor([[3., 4.]]), tensor([[0., 0.]]))
    """

    method: Method = field(kw_only=False)
    per: Literal["scalar", "pixel"] = "scalar"
    ties: Literal["keep", "drop"] = "keep"
    rank: Literal["auto", "off"] = "auto"
    layout: InputLayout | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.method, Linearizable) or not self.method.linearizable:
            raise InputError(
                f"Expected a method whose labels can be compared, one with `linearize`, but got {self.method!r}; "
                "for example GradientXInput() or IntegratedGradients()."
            )
        if self.per not in ("scalar", "pixel"):
            raise unknown("competitor (per)", self.per, ("scalar", "pixel"))
        if self.ties not in _LOSES:
            raise unknown("way to settle ties", self.ties, _LOSES)
        if self.rank not in ("auto", "off"):
            raise unknown("use of the rank", self.rank, ("auto", "off"))

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        # One forward pass, a third of the two, and a backward pass a label; two more where a short way may be proved.
        proof = 2 if self.rank == "auto" and isinstance(self.method, Gradient | GradientXInput) else 0
        return self.method.cost(outputs, shape) * (1 + 2 * (outputs + proof)) / 3

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
        per = _summed(feature_axes(model, inputs, self.layout) if self.per == "pixel" else ())
        factor = self._factor(pull, inputs, outputs)
        if factor is None:
            own, rival = _by_labels(pull, outputs, targets, per, self._step(inputs, outputs))
        elif (most := _rank_budget(inputs) // (factor.weight.shape[1] * inputs[0].numel())) >= len(inputs):
            own, rival = _by_rank(factor, targets, per)
        else:
            return self._in_blocks(model, inputs, targets, most)
        strength = own.abs()
        kept = own.masked_fill(_LOSES[self.ties](strength, rival), 0.0)
        # A rival that is not a number cannot be compared with: say so in the map.
        kept = kept.masked_fill(rival.isnan(), torch.nan)
        return Explanation(kept, {"score": scores(outputs, targets), **_diagnostics(own, kept, rival)})

    def _factor(self, pull: Callable[[Tensor], Tensor], inputs: Tensor, outputs: Tensor) -> Factor | None:
        """The pull's factors, where pulling features is cheaper than labels, right, and one sample's features fit."""
        if self.rank == "off" or not isinstance(pull, GradientPull) or _rounds_products(inputs):
            return None
        factor = pull.factor()
        if factor is None or factor.weight.shape[1] * inputs[0].numel() > _rank_budget(inputs):
            return None
        labels, width = factor.weight.shape
        return factor if labels == outputs.shape[1] > width and _agrees(factor, pull, outputs) else None

    def _step(self, inputs: Tensor, outputs: Tensor) -> int | None:
        """How many labels are pulled together; None where that saves nothing."""
        shares = isinstance(self.method, Linearizable) and self.method.shares_passes
        return max(1, BUDGET // (inputs.numel() + outputs.numel())) if shares else None

    def _in_blocks(self, model: nn.Module, inputs: Tensor, targets: Tensor, most: int) -> Explanation:
        parts = []
        for rows in progress.counted(torch.split(torch.arange(len(inputs), device=inputs.device), most)):
            parts.append(self._explain(select(model, rows), inputs[rows], targets[rows]))
        names = parts[0].diagnostics
        diagnostics = {name: torch.cat([part.diagnostics[name] for part in parts]) for name in names}
        return Explanation(torch.cat([part.maps for part in parts]), diagnostics)


@METHODS.register("cgi")
def cgi() -> Competitive:
    """Competitive Gradient ⊙ Input (Gupta & Arora, Algorithm 1)."""
    return Competitive(GradientXInput())


def _by_labels(
    pull: Callable[[Tensor], Tensor],
    outputs: Tensor,
    targets: Tensor,
    per: Callable[[Tensor], Tensor],
    step: int | None,
) -> tuple[Tensor, Tensor]:
    """The label's own map, and its strongest rival: the largest sign(R_y) · R_i over all other labels i."""
    labels = outputs.shape[1]
    own: Tensor | None = None
    rival = sign = outputs  # set with `own`
    for first in progress.counted(range(0, labels, step or 1)):
        # Label y itself comes first, then y + 1, y + 2, …: one code path pulls the label and its rivals, so that equal
        # scores are equal bits, and the label's own map is there before the first comparison.
        shifts = torch.arange(first, min(first + (step or 1), labels), device=targets.device)
        chosen = (targets + shifts[:, None]) % labels
        cotangents = outputs.new_zeros(*chosen.shape, labels).scatter_(2, chosen[..., None], 1.0)
        for maps in pull(cotangents) if step else [pull(cotangents[0])]:
            scored = per(maps)
            if own is None:
                own, sign = scored.clone(), scored.sign()
                rival = torch.full_like(own, -torch.inf)
            else:
                # A positive score must exceed the rivals, a negative one must undercut them.
                torch.maximum(rival, scored * sign, out=rival)
    assert own is not None  # there is at least one label
    return own, rival


def _agrees(factor: Factor, pull: Callable[[Tensor], Tensor], outputs: Tensor) -> bool:
    """Whether a random mix of labels gets the same map of every sample through the factor as without.

    The graph's last nodes look like a linear layer on features also where labels are its channels in another order, or
    means of several.
    """
    stream = torch.Generator().manual_seed(0)
    mix = torch.randn(outputs.shape, generator=stream, dtype=torch.float64).to(outputs)
    plain, short = pull(mix).flatten(1), factor.pull(mix @ factor.weight).flatten(1)
    rounding = ROUNDING * torch.finfo(plain.dtype).eps * plain.abs().amax(1, keepdim=True)
    return bool(((plain - short).abs() <= rounding).all())


def _by_rank(factor: Factor, targets: Tensor, per: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """The same from D features' maps instead of C labels', by one matrix product a tile of scalars."""
    labels, width = factor.weight.shape
    samples = len(targets)
    units = torch.eye(width, dtype=factor.weight.dtype, device=factor.weight.device)
    first = per(factor.pull(units[0].expand(samples, width)))
    features = first.new_empty(samples, width, first[0].numel())
    features[:, 0] = first.flatten(1)
    for d in range(1, width):
        features[:, d] = per(factor.pull(units[d].expand(samples, width))).flatten(1)
    own, rival = first.new_empty(samples, features.shape[2]), first.new_empty(samples, features.shape[2])
    tile = max(1, TILE // labels)
    for n in range(samples):
        y = targets[n : n + 1]
        another = (y - 1) % labels
        for start in range(0, features.shape[2], tile):
            at = slice(start, start + tile)
            maps = factor.weight @ features[n, :, at]
            own[n, at] = maps.index_select(0, y)[0]
            maps.index_copy_(0, y, maps.index_select(0, another))  # so that extrema are over rivals alone
            # Not aminmax, which is ten times slower along the first dimension.
            rival[n, at] = torch.where(own[n, at] < 0, -maps.amin(0), maps.amax(0))
    return own.view_as(first), rival.view_as(first)


def _rank_budget(inputs: Tensor) -> int:
    return RANK_BUDGET if inputs.device.type == "cpu" else memory(inputs.device) // 8 // inputs.element_size()


def _rounds_products(inputs: Tensor) -> bool:
    """Whether matrix products in float32 are allowed fewer bits (TF32, bf16): labels would win by rounding."""
    return inputs.dtype == torch.float32 and torch.get_float32_matmul_precision() != "highest"


def _summed(axes: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """Attributions summed over what one position holds."""
    return lambda maps: maps.sum(axes, keepdim=True) if axes else maps


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
