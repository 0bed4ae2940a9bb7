"""Information bottlenecks: how many bits of each place the network needs for its decision (Schulz et al. 2020)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from heatproof import draws, progress
from heatproof.errors import InputError
from heatproof.methods.above import Above, places, spread_copies
from heatproof.methods.base import METHODS, Explanation
from heatproof.methods.fitted import Batch, FittedMethod, peeked
from heatproof.methods.known_layers import found_layer, layer_of
from heatproof.methods.moments import moments_at
from heatproof.methods.restriction import Adam, Mask, Noise, check_settings, enlarged, pixels_of, statistics_of
from heatproof.methods.split import Split


@METHODS.register("iba")
@dataclass(frozen=True, kw_only=True)
class PerSampleBottleneck(FittedMethod):
    """The bits of each place that are left when noise replaces all that the decision does not need.

    At a layer with output R (C, h, w), Z = λR + (1−λ)ε with ε ~ N(μ, σ²), the mean and variance of each feature over
    data. λ = blur(sigmoid(α)) is learned for each sample by `steps` of Adam from α = `start`, to minimize
    cross-entropy(c | Z), the mean over `samples` draws of ε, plus β · L_I / k: L_I = Σ KL, k = C·h·w elements,
    KL = −ln(1−λ) + ½[(1−λ)² + λ²(R−μ)²/σ² − 1] nats.

    Maps (N, 1, H, W): bits per input pixel, Σ_C KL / ln 2 · (h·w)/(H·W), enlarged bilinearly; non-negative; they sum to
    L_I in bits (where H or W is no multiple of h or w, each map is scaled by the per mille that makes it so).
    Diagnostics: `bits` L_I, `information` L_I / k in nats (Schulz et al. Table 4), `probability-before` and
    `probability-after` the bottleneck of the label, the latter the mean over fresh draws; `top-1-after` and
    `top-5-after`, the shares of these draws in which the label is the likeliest, or one of five.

    Cost: `steps` × `samples` forward and backward passes of the part of the network above the layer, one pass of the
    part below (see Split), and (`samples` + 1) forward passes of the part above for the probabilities. Where the part
    above is tiny, as in a network for 28² digits, drawing the noise takes nearly as long again.

    Args:
        layer: a submodule by name, whose output is (N, C, h, w). None takes Schulz et al.'s: `layer2` of a torchvision
            ResNet (conv3_4 in ResNet-50), conv4_1 of a torchvision VGG; in another network the deepest that is no
            coarser than an eighth of the image, found in fitting, see `heatproof.methods.known_layers.found_layer`.
        beta: β, in units of 1/k: 10 is Schulz et al.'s "β = 10/k".
        steps, rate, samples: of the optimization; Schulz et al. Table 2. No step leaves the bottleneck as it begins
            ("Initial" in Table 4).
        smoothing: standard deviation σ_s of the blur, in places of the layer; its kernel has 2·round(2σ_s)+1 taps and
            reflects at borders. 0 for none.
        start: α at first; 5 lets 0.993 of R through.
        min_std: σ is at least this.
        active: features that were not 0 on at most this share of the data carry nothing: Z = 0, 0 bits. 0.01 is that of
            the authors' later library. The paper knows no such rule: 0 for none. Then a feature that the data hardly
            ever showed has next to no σ, and where an image shows it (R − μ)²/σ² is as large as all others together.
        noise: `paper` as above (eq. 2); `published`: noise of variance (1−λ)σ², so that
            KL = ½[−ln(1−λ) + (1−λ) + λ²(R−μ)²/σ² − 1], as in the authors' first code and Table 4.
        read: `final` λ, or the λ of the `last-pass`, before the last update, as the authors' code has it.
        seed: of ε, drawn anew for each step, copy and sample, whatever the network.

    Raises: InputError without a fit, for a network that it was not fitted on, one output unit, or a layer that is not
    called once with an image-like output.

    Source: Schulz et al. 2020, §3.1, §3.2, eq. 2 to 7, Table 2; kernel, `min_std`, `active` and the area scale from its
    code.

    >>> method = hp.methods.PerSampleBottleneck(layer="0", steps=2).fit(net, [(images, labels)])
    >>> method(net, images, labels).shape
    torch.Size([4, 1, 8, 8])
    """

    layer: str | None = None
    beta: float = 10.0
    steps: int = 10
    rate: float = 1.0
    samples: int = 10
    smoothing: float = 1.0
    start: float = 5.0
    min_std: float = 0.01
    active: float = 0.01
    noise: Noise = "paper"
    read: Literal["final", "last-pass"] = "final"
    seed: int = 0
    version: ClassVar[int] = 2
    reads_labels: ClassVar[bool] = True
    on_changed_model: ClassVar[Literal["refit", "reuse", "exclude"]] = "refit"
    on_changed_because: ClassVar[str] = "mean and variance at the layer are those of the network that is explained"

    def __post_init__(self) -> None:
        check_settings(self, whole=("samples",))
        if self.steps < 0:
            raise InputError(f"Expected steps to be at least 0, but got {self.steps}.")
        if self.read not in ("final", "last-pass"):
            raise InputError(f"Expected read to be 'final' or 'last-pass', but got {self.read!r}.")

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        return float(self.steps * self.samples)

    @property
    def fit_recipe(self) -> FittedMethod:
        return type(self)(layer=self.layer)  # statistics of a layer, whatever is done with them

    def _fit(
        self, model: nn.Module, batches: Iterable[Batch], checkpoint: Path | None
    ) -> tuple[Mapping[str, Tensor], Mapping[str, str]]:
        layer = layer_of(self.layer, model)
        if layer is None:
            sample, batches = peeked(batches)
            layer = found_layer(model, sample)
        moments = moments_at(Split(model, layer), batches)
        return moments.tensors(), {"layer": layer, "samples": str(moments.count)}

    def on_changed(self, model: nn.Module, batches: Iterable[Batch]) -> Self:
        # At the layer of the trained network, whatever would be found on this one: maps are compared with its maps.
        placed = replace(self, layer=self._value().facts["layer"])
        return replace(self, fitted=placed.fit(model, batches).fitted)

    def _fit_facts(self, model: nn.Module) -> Mapping[str, str]:
        layer = layer_of(self.layer, model)
        return {} if layer is None else {"layer": layer}

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        fitted = self._fitted_for(model)
        split = Split(model, fitted.facts["layer"])
        marks = draws.marks(inputs)
        parts = []
        spread = list(spread_copies(inputs, self.samples))
        with progress.count(len(spread) * self.steps) as tick:
            for block, copies in spread:
                rows = torch.arange(block.start, block.stop, device=inputs.device)
                signal = places(split, split.below(inputs[block], rows))
                statistics = statistics_of(fitted, signal, self.min_std, self.active)
                mask = Mask(signal, statistics, self.smoothing, self.noise)
                above = Above(split, inputs[block], rows, targets[block], marks[block], copies, self.seed)
                bits, values = self._optimized(mask, above, progress.ticked(range(self.steps), tick))
                parts.append((enlarged(bits, *pixels_of(model, inputs)).to(signal.dtype), values))
        maps, diagnostics = zip(*parts, strict=True)
        joined = {name: torch.cat([part[name] for part in diagnostics]) for name in diagnostics[0]}
        return Explanation(torch.cat(maps), joined)

    def _optimized(self, mask: Mask, above: Above, steps: Iterable[int]) -> tuple[Tensor, dict[str, Tensor]]:
        before = above.probability(mask.signal)
        alpha = torch.full_like(mask.signal, self.start)
        adam = Adam(alpha, self.rate)
        read = alpha
        for step in steps:
            read = alpha
            with torch.enable_grad():
                leaf = alpha.detach().requires_grad_()
                center, spread, nats = mask(leaf)
            towards_center, towards_spread = above.gradients(center, spread, step)
            # One way back through blur and sigmoid, however many passes the copies took.
            heads = [center, spread, nats]
            weights = torch.full_like(nats, self.beta / nats[0].numel())
            (gradient,) = torch.autograd.grad(heads, leaf, [towards_center, towards_spread, weights])
            alpha = adam.step(alpha, gradient)
        center, spread, _ = mask(alpha)
        behind = above.behind(center, spread, self.steps)
        # In float64: KL is a small difference where little passes.
        nats = mask.double()((alpha if self.read == "final" else read).double()).nats
        bits = nats.sum(1, keepdim=True) / math.log(2)
        information = {"bits": bits.flatten(1).sum(1), "information": nats.flatten(1).mean(1)}
        diagnostics = {name: value.to(alpha.dtype) for name, value in information.items()}
        diagnostics |= {"probability-before": before, **behind}
        return bits, diagnostics
