"""The part of a network above a bottleneck, run on noisy copies of each sample."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from heatproof import draws
from heatproof.errors import InputError
from heatproof.methods.backward import nothing_overwritten
from heatproof.methods.split import Split
from heatproof.models import check_targets, rows_per_pass, within_bound
from heatproof.outputs import for_softmax

BEHIND = ("probability-after", "top-1-after", "top-5-after")


@dataclass(frozen=True)
class Above:
    """The part of a network above the bottleneck, for one block of samples and noisy copies of each."""

    split: Split
    inputs: Tensor
    rows: Tensor
    targets: Tensor
    marks: Tensor
    copies: list[range]
    seed: int

    def gradients(self, center: Tensor, spread: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """∂/∂center and ∂/∂spread of each sample's cross-entropy, the mean over its copies."""
        totals = [torch.zeros_like(center), torch.zeros_like(spread)]
        for copies in self.copies:
            noise = self._noise(center, step, copies)
            leaf = center.detach().expand_as(noise).requires_grad_()
            with torch.enable_grad():
                # ∂/∂spread is the noise times this leaf's gradient: made below, in memory that the noise has already.
                logits = self._logits(torch.addcmul(leaf, spread.detach(), noise))
                losses = F.cross_entropy(logits, self.targets.repeat(len(copies)), reduction="sum")
            if not losses.requires_grad:
                raise InputError(
                    f"Expected outputs that depend on layer {self.split.name!r}, but no path leads back to it; name "
                    "another layer, or look for no_grad, detach or inference_mode."
                )
            with nothing_overwritten():
                (gradient,) = torch.autograd.grad(losses, leaf)
            totals[0] += gradient.sum(0)
            totals[1] += noise.mul_(gradient).sum(0)
        return totals[0] / self._samples, totals[1] / self._samples

    def behind(self, center: Tensor, spread: Tensor, step: int) -> dict[str, Tensor]:
        """Diagnostics (N,) of the label behind the bottleneck, means over copies with the noise of `step`.

        `probability-after`; `top-1-after` and `top-5-after`: how often it is the likeliest label, or one of the five.
        """
        totals = [center.new_zeros(len(center)) for _ in BEHIND]
        for copies in self.copies:
            noise = self._noise(center, step, copies)
            logits = self._label_logits(torch.addcmul(center, spread, noise))
            for total, value in zip(totals, _label(logits, self.targets, len(copies)), strict=True):
                total += value.sum(0)
        return {name: total / self._samples for name, total in zip(BEHIND, totals, strict=True)}

    def probability(self, z: Tensor) -> Tensor:
        """The label's probability (N,) with the layer's output `z`."""
        return _label(self._label_logits(z[None]), self.targets, 1)[0][0]

    @property
    def _samples(self) -> int:
        return self.copies[-1].stop

    def _label_logits(self, z: Tensor) -> Tensor:
        with torch.no_grad():
            logits = self._logits(z)
        check_targets(self.inputs, self.targets, logits.shape[1])
        return logits

    def _logits(self, z: Tensor) -> Tensor:
        """The logits (copies · N, C) with copies `z` (copies, N, C, h, w) of the layer's output."""
        repeat = [len(z)] + [1] * (self.inputs.dim() - 1)
        outputs = self.split.above(z.flatten(0, 1), self.inputs.repeat(repeat), self.rows.repeat(len(z)))
        return for_softmax(self.split.model, outputs)

    def _noise(self, like: Tensor, step: int, copies: range) -> Tensor:
        return draws.normal(like, self.seed, "bottleneck", step, samples=self.marks, copies=copies)


def _label(logits: Tensor, targets: Tensor, copies: int) -> tuple[Tensor, ...]:
    """The label's probability and whether it is among the first and the first five, (copies, N) each.

    A label must beat the others: one that ties with them, as where a network died, is behind them.
    """
    of = targets.repeat(copies)[:, None]
    place = (logits >= logits.gather(1, of)).sum(1) - 1
    values = (logits.softmax(1).gather(1, of)[:, 0], *((place < k).to(logits) for k in (1, 5)))
    return tuple(value.view(copies, -1) for value in values)


def spread_copies(inputs: Tensor, samples: int) -> Iterator[tuple[slice, list[range]]]:
    """Blocks of images, and the ranges of copies that one pass takes of each image in a block.

    All copies of few images go before few copies of many: only their mask and its optimizer are held at a time. Ten
    copies go together whatever the image's size, which on a CPU is the best batch above a layer.
    """
    most = within_bound(max(rows_per_pass(inputs), min(10, samples)))
    images = max(1, most // samples)
    step = max(1, min(most // images, samples))
    for first in range(0, len(inputs), images):
        yield (
            slice(first, min(first + images, len(inputs))),
            [range(start, min(start + step, samples)) for start in range(0, samples, step)],
        )


def places(split: Split, output: Tensor) -> Tensor:
    """A layer's output, after a look that it is a map."""
    if output.dim() != 4:
        raise InputError(
            f"Expected layer {split.name!r} to give feature maps (N, C, h, w), but got {tuple(output.shape)}; name a "
            "layer with spatial extent."
        )
    return output
