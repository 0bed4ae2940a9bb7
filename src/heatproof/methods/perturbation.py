"""Meaningful perturbation: the smallest smooth region whose deletion makes the network lose its label."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from heatproof import draws, progress
from heatproof.baselines import Baseline, Blur, as_baseline, resolved, smooth
from heatproof.devices import on_device
from heatproof.errors import InputError, unknown
from heatproof.layouts.inputs import InputLayout, feature_axes
from heatproof.methods.backward import nothing_overwritten
from heatproof.methods.base import METHODS, Explanation, Method, passes
from heatproof.methods.restriction import Adam
from heatproof.models import check_targets, forward
from heatproof.outputs import for_softmax


@METHODS.register("meaningful-perturbation")
@dataclass(frozen=True, kw_only=True)
class MeaningfulPerturbation(Method):
    """How much of each pixel must be deleted for the label's probability to fall.

    A mask m (h, w) is learned for each image by `steps` of Adam, clamped to [0, 1], to minimize
    area · Σ_u |1 − m_u| + variation · Σ_u ‖∇m_u‖^power + p_c(M ⊙ x + (1 − M) ⊙ x̄),
    with p = softmax(S), M = m enlarged to pixels (nearest) and blurred by a Gaussian of σ = `mask_sigma`, and ∇ forward
    differences. In every step x and x̄ are shifted under M by up to `jitter` − 1 pixels. R = 1 − M.

    R lies in [0, 1], (N, 1, H, W), or (N, H, W, 1) where channels stand last, without a unit or a sum rule; 1 where the
    image is deleted. Cells of the mask are `scale` pixels wide, the last ones cut at the border: 28 × 28 of them on a
    224² image. All lengths are in pixels and chosen for such images: take smaller ones for smaller images. Diagnostics:
    `probability-before` p_c(x), `probability-after` p_c of the image under the final mask, `deleted-share` = the mean
    of R.
    Cost: `steps` forward and backward passes, and 2 forward passes; with `start="disc"` one for every 5 pixels of the
    radius.

    Args:
        steps, rate: of Adam.
        area, variation, power: λ₁, λ₂ and β above.
        scale: pixels a cell of the mask spans, each way.
        mask_sigma: of the blur of the enlarged mask; 0 for none.
        jitter: number of shifts in each direction, 1 for none: drawn anew in every step, the nearest pixel repeats.
        baseline: x̄.
        start: `disc`: everything kept but a centered disc with a soft edge, the smallest one to bring the probability
            down to 1 % of the way to that of the largest (which is taken where none does); `kept`: m = 1.
        seed: of the shifts, drawn for each sample, whatever the network.
        layout: `channels-first` or `channels-last`, where the network does not tell.

    Raises: InputError for inputs that are no images, or a baseline that does not broadcast to them.

    Source: Fong & Vedaldi 2017, sections 4.3 (the objective) and 4.4 (the defaults), with what their code fixes: sums
    over cells, isotropic ∇, radii of 0, 5, 10 … pixels. Deviations: the blur of the mask is differentiated (their code
    hands the gradient of M to m as it is, and rounds M to 8 bits); Gaussians reach to 3σ; pixels that a shift brings in
    repeat the border (they load a larger image).

    >>> hp.methods.MeaningfulPerturbation(steps=3, scale=2)(net, images, labels).shape
    torch.Size([4, 1, 8, 8])
    """

    version: ClassVar[int] = 2
    reads_labels: ClassVar[bool] = True

    steps: int = 300
    rate: float = 0.1
    area: float = 1e-4
    variation: float = 1e-2
    power: float = 3.0
    scale: int = 8
    mask_sigma: float = 5.0
    jitter: int = 4
    baseline: Baseline = Blur(sigma=10.0)  # noqa: RUF009  # a frozen value
    start: Literal["disc", "kept"] = "disc"
    seed: int = 0
    layout: InputLayout | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "baseline", as_baseline(self.baseline))
        for name in ("steps", "scale", "jitter"):
            if getattr(self, name) < 1:
                raise InputError(f"Expected {name} to be at least 1, but got {getattr(self, name)}.")
        for name in ("area", "variation", "mask_sigma"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"Expected {name} to be finite and at least 0, but got {getattr(self, name)}.")
        for name in ("rate", "power"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"Expected {name} to be finite and above 0, but got {getattr(self, name)}.")
        if self.start not in ("disc", "kept"):
            raise unknown("start", self.start, ("disc", "kept"))

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        return float(self.steps)

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        axes = feature_axes(model, inputs, self.layout) if inputs.dim() == 4 else ()
        if not axes:
            raise InputError(f"Expected images (N, C, H, W) to delete regions of, but got {tuple(inputs.shape)}.")
        baseline = resolved(self.baseline, model, inputs, self.layout).movedim(axes[0], 1)
        marks = draws.marks(inputs)
        inputs = inputs.movedim(axes[0], 1)
        maps, before, after = [], [], []
        blocks = [block for block, _ in passes(inputs, 1)]
        with progress.count(len(blocks) * self.steps) as tick:
            for block in blocks:
                task = _Task(model, inputs[block], baseline[block], targets[block], block, axes[0])
                with torch.no_grad():
                    before.append(task.probability(torch.ones_like(task.image[:, :1])))
                    mask = self._start(task)
                enlarge = [_enlarging(inputs, size, self.scale, self.mask_sigma) for size in inputs.shape[2:]]
                mask = self._learned(task, mask, enlarge, progress.ticked(self._shifts(marks[block]), tick))
                with torch.no_grad():
                    kept = _enlarged(mask, enlarge)
                    after.append(task.probability(kept))
                maps.append(1 - kept)
        whole = torch.cat(maps)
        diagnostics = {"probability-before": torch.cat(before), "probability-after": torch.cat(after)}
        return Explanation(whole.movedim(1, axes[0]), {**diagnostics, "deleted-share": whole.mean((1, 2, 3))})

    def _learned(self, task: "_Task", mask: Tensor, enlarge: Sequence[Tensor], shifts: Iterable[Tensor]) -> Tensor:
        mask, adam = mask.detach(), Adam(mask, self.rate)
        for shift in shifts:
            with torch.enable_grad():
                leaf = mask.requires_grad_()
                kept = _enlarged(leaf, enlarge)
                loss = task.shifted(shift, self.jitter).probability(kept).sum() + self._penalty(leaf)
            with nothing_overwritten():
                (gradient,) = torch.autograd.grad(loss, leaf)
            mask = adam.step(mask.detach(), gradient).clamp_(0, 1)
        return mask

    def _penalty(self, mask: Tensor) -> Tensor:
        """λ₁ Σ |1 − m| + λ₂ Σ ‖∇m‖^β, over all samples: each one's gradient is its own."""
        down = torch.diff(mask, dim=2, append=mask[:, :, -1:])
        right = torch.diff(mask, dim=3, append=mask[:, :, :, -1:])
        # Clamped, because for β < 2 the derivative at 0 is none.
        steepness = (down.square() + right.square()).clamp_min(1e-12) ** (self.power / 2)
        return self.area * (1 - mask).abs().sum() + self.variation * steepness.sum()

    def _shifts(self, marks: Tensor) -> Tensor:
        """By how many pixels each sample is shifted in each step, downwards and to the right: (steps, N, 2)."""
        key = (self.seed, "meaningful-perturbation")
        return draws.integers(self.jitter, (self.steps, 2), *key, samples=marks).movedim(0, 1)

    def _start(self, task: "_Task") -> Tensor:
        height, width = task.image.shape[2:]
        if self.start == "kept":
            return task.image.new_ones(len(task.image), 1, -(-height // self.scale), -(-width // self.scale))
        discs = _discs(task.image, height, width)  # (radii, 1, H, W)
        left = torch.stack([task.probability(disc.expand(len(task.image), -1, -1, -1)) for disc in discs])
        # A share of nothing, where the largest disc deletes nothing, is NaN: no radius suffices.
        share = (left - left[-1]) / (task.probability(torch.ones_like(task.image[:, :1])) - left[-1])
        enough = share < 0.01
        enough[-1] = True
        chosen = discs[enough.int().argmax(0)]
        middle = self.scale // 2
        rows, columns = (
            (torch.arange(-(-size // self.scale), device=chosen.device) * self.scale + middle).clamp(max=size - 1)
            for size in (height, width)
        )
        return chosen[:, :, rows][:, :, :, columns]


@dataclass(frozen=True, eq=False)
class _Task:
    """A block of samples, and how probable their labels are under masks."""

    model: nn.Module
    image: Tensor  # (N, C, H, W)
    background: Tensor
    targets: Tensor  # (N,)
    block: slice
    channels: int  # the axis of the channels where the model reads them

    def probability(self, kept: Tensor) -> Tensor:
        """p_c (N,) where `kept` (N, 1, H, W) is 1 on the image and 0 on the background."""
        rows = torch.arange(self.block.start, self.block.stop, device=self.image.device)
        variants = self.background + kept * (self.image - self.background)
        outputs = forward(self.model, variants.movedim(1, self.channels), rows)
        check_targets(self.image, self.targets, outputs.shape[1])
        return for_softmax(self.model, outputs).softmax(1).gather(1, self.targets[:, None])[:, 0]

    def shifted(self, by: Tensor, jitter: int) -> "_Task":
        """The same with image and background moved by `by` (N, 2) pixels each, at most `jitter` − 1."""
        if jitter == 1:
            return self
        _, _, height, width = self.image.shape
        rows = (torch.arange(height, device=by.device) + by[:, :1]).clamp(max=height - 1)
        columns = (torch.arange(width, device=by.device) + by[:, 1:]).clamp(max=width - 1)
        flat = (rows[:, :, None] * width + columns[:, None]).flatten(1)[:, None]
        moved = (one.flatten(2).gather(2, flat.expand(-1, one.shape[1], -1)) for one in (self.image, self.background))
        image, background = (one.view_as(self.image) for one in moved)
        return _Task(self.model, image, background, self.targets, self.block, self.channels)


def _enlarged(mask: Tensor, enlarge: Sequence[Tensor]) -> Tensor:
    """M (N, 1, H, W) of masks (N, 1, h, w)."""
    return enlarge[0] @ mask @ enlarge[1].T


@on_device
def _enlarging(size: int, scale: int, sigma: float) -> Tensor:
    """The matrix (size, cells), float64, that repeats each cell `scale` times and blurs the line."""
    cells = torch.eye(-(-size // scale), dtype=torch.float64).repeat_interleave(scale, 0)[:size]
    return smooth(cells.T[None, :], sigma)[0].T if sigma > 0 else cells


@on_device
def _discs(height: int, width: int) -> Tensor:
    """1 − centered discs of radius 0, 5, 10 … pixels with a soft edge, until the image is covered: (radii, 1, H, W)."""
    radii = torch.arange(0, math.hypot(height, width) / 2 + 10, 5)
    y, x = torch.arange(height) - height // 2, torch.arange(width) - width // 2
    inside = (y[:, None] ** 2 + x**2) <= radii[:, None, None] ** 2
    return 1 - smooth(inside[:, None].double(), 10.0)
