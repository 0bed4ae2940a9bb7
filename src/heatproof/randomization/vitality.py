"""Does a random network still answer to its input, and is it really another one than the trained network?"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from heatproof.models import forward

ROWS = 4  # samples that an examination takes: one forward and one backward pass of so many
HALF = 0.5
CHANCE = 1e-3
FACTOR = 2.0


class Signs(NamedTuple):
    """What an examination found: why the network is dead, empty for one that is not; the correlation of its outputs
    with the trained ones, centered (NaN where there is none), and whether that is more than chance."""

    dead: str
    agreement: float
    trained: bool


def examine(model: nn.Module, inputs: Tensor, targets: Tensor, trained: Tensor) -> Signs:
    """Signs of a network that is random now, on the few samples `inputs` (N, …) whose `trained` outputs are (N, C).

    Cost: one forward and one backward pass of N rows.
    """
    x = inputs.detach().clone().requires_grad_()
    rows = torch.arange(len(x))
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # its LSTM has no backward pass in eval mode
        outputs = forward(model, x, rows)
        gradient = None
        if outputs.requires_grad:
            explained = outputs.gather(1, targets.to(outputs.device)[:, None]).sum()
            (gradient,) = torch.autograd.grad(explained, x, allow_unused=True)
    # A label that the trained network leaves out for a sample, at minus infinity, tells nothing of parameters.
    kept = ~(trained == -math.inf).any(0)
    outputs, trained = outputs.detach()[:, kept], trained[:, kept]
    agreement = correlation(trained, outputs)
    return Signs(cause_of_death(outputs, gradient, trained), agreement, still_trained(trained, outputs))


def cause_of_death(outputs: Tensor, gradient: Tensor | None, trained: Tensor) -> str:
    """Why a network with these outputs (N, C) and gradients (N, …) of the explained ones is dead; empty if it lives.

    In this order: outputs that are not finite; outputs that are all zero, or differ between samples by rounding alone
    (16 ε of their size), where the trained ones differ by more; gradients that are not finite, or zero for more than
    half of the samples (an explained output that a last ReLU holds at zero has none).
    """
    if not bool(torch.isfinite(outputs).all()):
        return "its outputs are not finite"
    if not bool(outputs.any()) and bool(trained.any()):
        return "its outputs are all zero"
    if len(outputs) > 1 and _is_constant(outputs) and not _is_constant(trained):
        return "its outputs are the same for every sample"
    if gradient is not None:
        if not bool(torch.isfinite(gradient).all()):
            return "its gradients are not finite"
        blank = float((gradient.flatten(1) == 0).all(1).double().mean())
        if blank > HALF:
            return f"the gradients of {100 * blank:.0f} % of the samples are zero"
    return ""


def correlation(trained: Tensor, random: Tensor) -> float:
    """Pearson correlation of two outputs (N, C), each centered over samples, and over labels where there are three.

    What biases give is gone with the mean over samples; what all labels share (the size of a sample) with that over
    labels. NaN where nothing is left.
    """
    a, b = _centered(trained), _centered(random)
    norms = float(a.norm() * b.norm())
    return float((a * b).sum()) / norms if norms > 0 and math.isfinite(norms) else math.nan


def still_trained(trained: Tensor, random: Tensor) -> bool:
    """Whether outputs (N, C) correlate with the trained ones as no independent network's would.

    Weights of the last layer that are drawn evenly around zero turn the outputs of the C labels in an even direction:
    P(r ≥ t) ≤ (1 − t²)^((d − 2) / 2) in d dimensions, of which centering takes one. Correlated are r ≥ ½ that
    come less than once in a thousand times. With one or two labels direction says nothing; there the outputs
    themselves have to agree: r ≥ 0.999 over three samples or more, at a size that differs by less than a factor of 2.
    """
    r, labels = correlation(trained, random), trained.shape[1]
    if not math.isfinite(r):
        return False
    if labels < 3:
        size = float(_centered(random).norm() / _centered(trained).norm())
        return len(trained) > 2 and r >= 0.999 and 1 / FACTOR < size < FACTOR
    bound = math.sqrt(1 - CHANCE ** (2 / max(labels - 2, 1)))
    return r >= max(HALF, bound)


def _centered(outputs: Tensor) -> Tensor:
    y = outputs.double()
    y = y - y.mean(0)
    return y - y.mean(1, keepdim=True) if y.shape[1] > 2 else y


def _is_constant(outputs: Tensor) -> bool:
    spread = outputs.amax(0) - outputs.amin(0)
    return bool((spread <= 16 * torch.finfo(outputs.dtype).eps * outputs.abs().amax()).all())
