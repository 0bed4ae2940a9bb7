"""Attention and the gated linear unit in operations that have rules."""

import math

import torch
from torch import Tensor


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(q kᵀ · scale + mask) v, as `F.scaled_dot_product_attention` computes it; a fully masked row gives 0.

    Shapes: query (…, L, E), key (…, S, E), value (…, S, Ev) → (…, L, Ev).
    """
    if enable_gqa:
        repeats = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(repeats, -3), value.repeat_interleave(repeats, -3)
    scores = (query * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)) @ key.transpose(-2, -1)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is None:
        return scores.softmax(-1) @ value
    if attn_mask.dtype != torch.bool:
        return (scores + attn_mask).softmax(-1) @ value
    # A fully masked row is all −∞, whose softmax is NaN: it keeps its scores and is blanked afterwards.
    empty = ~attn_mask.any(-1, keepdim=True)
    weights = scores.masked_fill(~(attn_mask | empty), -math.inf).softmax(-1)
    return weights.masked_fill(empty, 0.0) @ value


def gated(input: Tensor, dim: int = -1) -> Tensor:
    """a · σ(b) with a and b the halves of `input` along `dim`, as `F.glu` computes it."""
    signal, gate = input.chunk(2, dim)
    return signal * torch.sigmoid(gate)
