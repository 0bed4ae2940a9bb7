"""Distances and similarities of vectors, by norms."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def vector_norm(x: Tensor, p: float = 2.0, dim: Any = None, keepdim: bool = False) -> Tensor:
    """(Σ |x|ᵖ)^{1/p}; torch's own has no types."""
    norm: Tensor = torch.linalg.vector_norm(x, p, dim, keepdim)
    return norm


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Σ x₁x₂/(‖x₁‖‖x₂‖), each norm at least ε."""
    one, two = (x / vector_norm(x, dim=dim, keepdim=True).clamp(min=eps) for x in (x1, x2))
    return (one * two).sum(dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """‖x₁ − x₂ + ε‖ along the last dimension."""
    return vector_norm(x1 - x2 + eps, p, -1, keepdim)


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: Any = None) -> Tensor:
    """‖x₁ᵢ − x₂ⱼ‖ of all pairs of rows (…, P, M), (…, R, M) → (…, P, R)."""
    return vector_norm(x1[..., :, None, :] - x2[..., None, :, :], p, -1)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The distances of all pairs of rows."""
    i, j = torch.triu_indices(len(input), len(input), 1, device=input.device)
    return vector_norm(input[i] - input[j], p, -1)


def dist(input: Tensor, other: Tensor, p: float = 2.0) -> Tensor:
    """The norm of the difference of two whole tensors."""
    return vector_norm((input - other).flatten(), p)


def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Slices along `dim` divided by as much as makes their norm at most `maxnorm`."""
    others = tuple(d for d in range(input.dim()) if d != dim % input.dim())
    return input / (vector_norm(input, p, others, keepdim=True).clamp(min=maxnorm) / maxnorm)


BODIES: dict[str, Callable[..., Any]] = {
    "cosine_similarity": cosine_similarity,
    "pairwise_distance": pairwise_distance,
    "cdist": cdist,
    "_cdist_forward": cdist,
    "pdist": pdist,
    "_pdist_forward": pdist,
    "dist": dist,
    "renorm": renorm,
}
