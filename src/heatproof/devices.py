"""Tensors that follow from plain numbers alone: made once, and kept on each device that asks for them."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Concatenate, ParamSpec

import torch
from torch import Tensor

# What has a precision of its own for products of float32 on a GPU.
PRECISIONS: tuple[Any, ...] = (
    torch.backends.cuda.matmul,
    torch.backends.cudnn.conv,  # type: ignore[attr-defined]  # a property of the module
    torch.backends.cudnn.rnn,
)
P = ParamSpec("P")
KEPT = 64  # settings of a function


def on_device(make: Callable[P, Tensor]) -> Callable[Concatenate[Tensor, P], Tensor]:
    """`make(…)`, a function of hashable values, as f(like, …) that gives it in the device and dtype of `like`.

    What is not floating keeps its dtype. The tensor is shared by all who ask: it must not be written into.
    """

    by_place: Callable[..., Tensor] = make

    @lru_cache(maxsize=KEPT)
    def kept(device: torch.device, dtype: torch.dtype, *args: Any) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():  # it serves every later call
            made = by_place(*args)
            return made.to(device, dtype if made.is_floating_point() else made.dtype)

    def found(like: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        assert not kwargs, "settings are told by their place"
        return kept(like.device, like.dtype, *args)

    found.__doc__, found.__name__, found.__module__ = make.__doc__, make.__name__, make.__module__
    return found
