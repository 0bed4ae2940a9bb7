"""Moving statistics of batch norms, measured anew under random weights."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from heatproof.errors import InputError
from heatproof.models import forward
from heatproof.randomization.layers import Layer
from heatproof.randomization.watching import Region, named_arguments, quiet, region


class Reestimate:
    """Gives randomized batch norms the mean and variance of what reaches them, from one run on `inputs`.

    The run meets them in execution order, so that each sees what the ones before it, already set, let through. The
    variance is the unbiased one, as in training. A batch norm that runs several times takes its first call's.
    """

    def __init__(self, model: nn.Module, inputs: Tensor) -> None:
        self._model, self._inputs = model, inputs

    def __call__(self, chosen: Sequence[Layer]) -> None:
        moving = {
            region(weight.tensor): f"{layer.name}.{weight.name}"
            for layer in chosen
            for weight in layer.weights
            if weight.role in ("mean", "variance")
        }
        missing = dict(moving)
        with quiet(self._inputs), torch.no_grad(), _SetStatistics(missing):
            forward(self._model, self._inputs)
        if missing:
            raise InputError(
                f"Expected batch norms that call torch's batch_norm, but {', '.join(missing.values())} did not get "
                "there; use batch_norm='reset'."
            )


class _SetStatistics(TorchFunctionMode):
    def __init__(self, missing: dict[Region | None, str]) -> None:
        super().__init__()
        self._missing = missing

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = named_arguments(func, args, kwargs or {})
        mean, variance = named.get("running_mean"), named.get("running_var")
        if isinstance(mean, Tensor) and isinstance(variance, Tensor):
            name = self._missing.pop(region(mean), None)
            if name is not None and self._missing.pop(region(variance), None) is not None:
                x = named["input"].transpose(0, 1).flatten(1)
                if x.shape[1] < 2:
                    raise InputError(
                        f"Expected at least 2 values a channel to re-estimate {name}, but got {x.shape[1]}; "
                        "give stages() several samples."
                    )
                mean.copy_(x.mean(1))
                variance.copy_(x.var(1))
        return func(*args, **(kwargs or {}))
