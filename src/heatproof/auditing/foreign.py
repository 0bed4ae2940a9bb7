"""Methods that are not ours: any callable (model, inputs, targets) -> attributions, kept from doing harm."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from heatproof import draws
from heatproof.auditing.traces import none_left
from heatproof.door import check_maps
from heatproof.methods.base import Attribution, Explanation, Method
from heatproof.undo import interrupt_behind


def is_ours(recipe: Any) -> bool:
    """Whether a recipe is a method of heatproof's, and everything that it is made of is heatproof's too."""
    if not is_dataclass(recipe) or isinstance(recipe, type):
        return not callable(recipe)
    ours = type(recipe).__module__.startswith("heatproof.")
    return ours and all(is_ours(getattr(recipe, one.name)) for one in fields(recipe))


def explain(recipe: Attribution, model: nn.Module, inputs: Tensor, targets: Tensor, *key: draws.Key) -> Explanation:
    """What somebody's method or callable attributes to copies of the inputs, with diagnostics if it gives any.

    All else is as before, see `none_left`; the global generators are seeded by `key` meanwhile.

    Raises: InputError for what does not broadcast to the inputs, and for a callable that left anything changed.
    """
    try:
        with none_left(model, draws.generator(*key).initial_seed()):
            if isinstance(recipe, Method):
                return recipe.explain(model, inputs.clone(), targets.clone())
            maps = recipe(model, inputs.clone(), targets.clone())
    except Exception as error:
        if (interrupt := interrupt_behind(error)) is not None:
            raise interrupt from None
        raise
    if isinstance(maps, np.ndarray) and maps.dtype.kind in "iuf":
        maps = torch.from_numpy(np.ascontiguousarray(maps)).to(inputs)
    check_maps(maps, inputs, getattr(recipe, "__name__", type(recipe).__name__))
    return Explanation(maps.detach(), {})


def watched(recipe: Any, model: nn.Module, *key: draws.Key) -> AbstractContextManager[None]:
    """Around the work of somebody's check, which is to leave all else as it is (`none_left`); nothing around ours."""
    if is_ours(recipe):
        return nullcontext()
    return none_left(model, draws.generator("foreign check", *key).initial_seed(), "check")
