"""Whether a model treats each sample by itself, which every method takes for granted."""

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import BaseTorchFunctionMode, TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from heatproof.errors import OperationError
from heatproof.models import forward
from heatproof.propagation.operations import identify, key
from heatproof.propagation.proofs import is_quantized, modes_left_above, where

# Of the largest output. Batches of one size take the same kernels, with the same last bits; but not where values decide
# how many rows a step takes, nor with a GPU's atomic additions.
ROUNDING = 1e-4

_known = WeakIdKeyDictionary()  # the models that were found independent, by identity: structure is what counts


def check_independent(model: nn.Module, inputs: Tensor) -> None:
    """Refuse a model whose outputs for one sample depend on the others of its batch: no map would be that sample's own.

    Two samples of `inputs` (N, …), or one and its mirror image, are run side by side, and each beside itself. Cost: six
    rows forward, once a model. Not judged are those that do not run on two rows, those that draw, and quantized ones,
    which may round by the range of a batch.

    Raises: OperationError, naming the first operation that mixes samples and the module that calls it.
    """
    origin = vars(model).get("origin", model)
    if origin in _known or any(is_quantized(module) for module in model.modules()):
        return
    others = (inputs != inputs[:1]).flatten(1).any(1).nonzero()
    rows = torch.tensor([0, int(others[0]) if len(others) else 0], device=inputs.device)
    pair = inputs[rows]
    if not len(others):
        pair[1] = pair[1].flatten().flip(0).view_as(pair[1])
        if torch.equal(pair[0], pair[1]):
            return
    try:
        before = _random_state(inputs.device)
        together = _run(model, pair, rows)
        if not torch.equal(before, _random_state(inputs.device)):
            return  # it draws
        for i in (0, 1):
            alone = _run(model, pair[[i, i]], rows[[i, i]])
            if not _close(together[i], alone[i]) and _close(together, _run(model, pair, rows)):
                raise OperationError(
                    "Expected outputs of a sample that do not depend on the other samples of its batch, but "
                    f"{_mixer(model, pair, rows, 1 - i)} mixes them, and no map would be the sample's own; give it "
                    "other dimensions than that of the samples, and a batch norm its running statistics."
                )
    except OperationError:
        raise
    except Exception:  # whatever the model does not like about two rows; its method will hear it, too
        return
    _known[origin] = True


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _run(model: nn.Module, x: Tensor, rows: Tensor) -> Tensor:
    guard = BaseTorchFunctionMode()
    with torch.no_grad(), guard:
        try:
            return forward(model, x, rows)
        finally:
            modes_left_above(guard)  # its method will say that the model leaves some


def _close(one: Tensor, other: Tensor) -> bool:
    size = float(one.nan_to_num(0, 0, 0).abs().max())
    return torch.allclose(one, other, rtol=0, atol=ROUNDING * size, equal_nan=True)


def _mixer(model: nn.Module, pair: Tensor, rows: Tensor, spoiled: int) -> str:
    """The first operation that carries NaN from one sample into the other, in words."""
    pair = pair.clone()
    pair[spoiled] = torch.nan
    watch = _Watch(model)
    with suppress(Exception), watch:  # what was seen before NaN was too much for the model stands
        _run(model, pair, rows)
    return watch.found or "one of its operations"


class _Watch(TorchFunctionMode):
    """Finds the first call whose result has a larger share of NaN than any of its arguments."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.found = model, ""

    def __torch_function__(
        self, function: Any, kinds: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        before = 0.0 if self.found else _spoiled((args, kwargs))
        result = function(*args, **(kwargs or {}))
        operation = identify(key(function))
        if before and operation.kind != "structural" and _spoiled(result) > before:
            self.found = f"{operation.name} in {where(self.model)}"
        return result


def _spoiled(values: Any) -> float:
    floats = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    return max((float(leaf.isnan().double().mean()) for leaf in floats if leaf.numel()), default=0.0)
