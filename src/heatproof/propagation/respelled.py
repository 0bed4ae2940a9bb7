"""Calls that are another call in other words, or several calls in one: each is run as those.

What an exported and decomposed network calls (`aten.convolution`, `aten.native_layer_norm`) is what its modules called
(`F.conv2d`, `F.layer_norm`), and gets the same rule. `torch.broadcast_tensors` is an expansion of each tensor by
itself: what becomes of a parameter there does not depend on the input.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Respelled(NamedTuple):
    """How to say a call in operations that have rules. `body` takes the call's arguments by name.

    `first`: the call returns several tensors, and what `body` returns stands for the first of them alone.
    """

    body: Callable[..., Any]
    first: bool = False


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    transposed: bool = False,
    output_padding: Any = 0,
    **_: Any,
) -> Tensor:
    dims = weight.dim() - 2
    if transposed:
        back: Callable[..., Tensor] = getattr(F, f"conv_transpose{dims}d")
        return back(input, weight, bias, stride, padding, output_padding, groups, dilation)
    along: Callable[..., Tensor] = getattr(F, f"conv{dims}d")
    return along(input, weight, bias, stride, padding, dilation, groups)


def _layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    return F.layer_norm(input, list(normalized_shape), weight, bias, eps)


def _rms_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, eps: float | None) -> Tensor:
    return F.rms_norm(input, list(normalized_shape), weight, eps)


def _group_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, group: int, eps: float, **_: Any) -> Tensor:
    return F.group_norm(input, group, weight, bias, eps)


def _batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    training: bool = False,
    eps: float = 1e-5,
    **_: Any,
) -> Tensor:
    return F.batch_norm(input, running_mean, running_var, weight, bias, training, eps=eps)


def _dropout(input: Tensor, p: float, training: bool | None) -> Tensor:
    return F.dropout(input, p, training is not False)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    **_: Any,
) -> Tensor:
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )


def _each(function: Callable[[Sequence[Tensor], Tensor], Tensor], single: bool) -> Callable[..., Any]:
    """A function of several tensors, each treated by itself; of a `single` one the result stands alone."""

    def body(*tensors: Any, **_: Any) -> Any:
        alone = single and len(tensors) == 1 and isinstance(tensors[0], Tensor)
        several = tensors[0] if len(tensors) == 1 and not isinstance(tensors[0], Tensor) else tensors
        made = tuple(function(several, tensor) for tensor in several)
        return made[0] if alone else made

    return body


def _expanded(tensors: Sequence[Tensor], tensor: Tensor) -> Tensor:
    shape = torch.broadcast_shapes(*(each.shape for each in tensors))  # type: ignore[no-untyped-call]
    return tensor.expand(shape)


def _raised(dims: int) -> Callable[[Sequence[Tensor], Tensor], Tensor]:
    def raised(_: Sequence[Tensor], tensor: Tensor) -> Tensor:
        if tensor.dim() >= dims:
            return tensor
        shape = (1, *tensor.shape) if tensor.dim() < 2 else tensor.shape
        return tensor.reshape(*shape, *[1] * (dims - len(shape)))

    return raised


def _meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    several = tensors[0] if len(tensors) == 1 and not isinstance(tensors[0], Tensor) else tensors
    swap = indexing == "xy" and len(several) > 1
    places = [1, 0, *range(2, len(several))] if swap else list(range(len(several)))
    shape = [each.numel() for each in several]
    if swap:
        shape[:2] = shape[1], shape[0]
    return tuple(
        each.reshape([-1 if at == place else 1 for at in range(len(several))]).expand(shape)
        for each, place in zip(several, places, strict=True)
    )


RESPELLED: dict[str, Respelled] = {
    "convolution": Respelled(_convolution),
    "_convolution": Respelled(_convolution),
    "native_layer_norm": Respelled(_layer_norm, first=True),
    "_fused_rms_norm": Respelled(_rms_norm, first=True),
    "native_group_norm": Respelled(_group_norm, first=True),
    "native_batch_norm": Respelled(_batch_norm, first=True),
    "_native_batch_norm_legit": Respelled(_batch_norm, first=True),
    "_native_batch_norm_legit_no_training": Respelled(_batch_norm, first=True),
    "_batch_norm_no_update": Respelled(_batch_norm, first=True),
    "_batch_norm_impl_index": Respelled(_batch_norm, first=True),
    "cudnn_batch_norm": Respelled(_batch_norm, first=True),
    "native_dropout": Respelled(_dropout, first=True),
    "_scaled_dot_product_attention_math": Respelled(_attention, first=True),
    "_scaled_dot_product_flash_attention": Respelled(_attention, first=True),
    "_scaled_dot_product_flash_attention_for_cpu": Respelled(_attention, first=True),
    "_scaled_dot_product_efficient_attention": Respelled(_attention, first=True),
    "_scaled_dot_product_cudnn_attention": Respelled(_attention, first=True),
    "broadcast_tensors": Respelled(_each(_expanded, single=False)),
    "meshgrid": Respelled(_meshgrid),
    "atleast_1d": Respelled(_each(_raised(1), single=True)),
    "atleast_2d": Respelled(_each(_raised(2), single=True)),
    "atleast_3d": Respelled(_each(_raised(3), single=True)),
}
BY_PLACE = frozenset(("broadcast_tensors", "meshgrid", "atleast_1d", "atleast_2d", "atleast_3d"))  # any number of them
