"""What is measured anew under random weights: batch norms' moving statistics, spectral norms' singular vectors."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from heatproof.errors import InputError
from heatproof.models import forward
from heatproof.propagation.operations import identify, key
from heatproof.randomization.layers import Layer, Pair
from heatproof.randomization.memory import Region, quiet, region
from heatproof.randomization.norms import named_arguments
from heatproof.randomization.watching import Singular, Watch


class SingularVectors:
    """Gives randomized spectral norms the singular vectors of the matrices that they divide.

    σ = uᵀ W v with the first singular vectors u and v of W, so that W / σ has norm 1 as in training; the trained ones
    would leave it larger by as much as they differ. Which W that is one run on the first sample tells.
    """

    def __init__(self, model: nn.Module, inputs: Tensor, pairs: Sequence[Pair]) -> None:
        self._model, self._inputs, self._pairs = model, inputs[:1], pairs

    def __call__(self, chosen: Sequence[Layer]) -> None:
        random = {region(weight.tensor) for layer in chosen for weight in layer.weights}
        pairs = [pair for pair in self._pairs if region(pair.left) in random]
        if not pairs:
            return
        vectors = [vector for pair in pairs for vector in pair]
        known = {region(vector) for vector in vectors}
        held = [*self._model.parameters(), *self._model.buffers()]
        watch = Watch([*vectors, *(tensor for tensor in held if region(tensor) not in known)], self._inputs)
        with quiet(self._inputs), torch.no_grad(), watch:
            forward(self._model, self._inputs)
        for place, pair in enumerate(pairs):
            matrix = watch.singular[Singular(2 * place, 2 * place + 1)]
            left, right = first_singular_vectors(matrix)
            pair.left.copy_(left.view_as(pair.left))
            pair.right.copy_(right.view_as(pair.right))


def first_singular_vectors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """u and v of unit length with σ₁ = uᵀ W v, from the eigenvectors of the smaller of W Wᵀ and Wᵀ W, in float64."""
    w = matrix.detach().to("cpu", torch.float64)
    if w.shape[0] > w.shape[1]:
        right, left = first_singular_vectors(w.t())
        return left, right
    left = torch.linalg.eigh(w @ w.t()).eigenvectors[:, -1]
    right = w.t() @ left
    return left, right / right.norm()


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
        named = named_arguments(func, identify(key(func)).name, args, kwargs or {})
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
