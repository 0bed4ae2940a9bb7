"""A block of samples meets the network: side inputs filled in, what is explained on its device and in its dtype."""

from typing import NamedTuple

from torch import Tensor, nn

from heatproof.data.base import Dataset
from heatproof.models import Bound, with_given
from heatproof.refusals import parameters_like


class Met(NamedTuple):
    """The model of some samples, and the tensor (N, …) that is explained of them."""

    model: nn.Module
    inputs: Tensor


def met(model: nn.Module, data: Dataset) -> Met:
    """The model of the samples of `data`, and their explained inputs, like the model's parameters.

    A `Bound` has the samples' own side inputs (`Dataset.sides`) in place of those that it came with, or of their names.
    One with `at` is explained from what that submodule makes of them; any other model from `data.inputs`.

    Raises: InputError for a side input that the data lack.
    """
    bound = with_given(model, data.sides)
    if isinstance(bound, Bound) and bound.at is not None:
        return Met(bound, bound.inputs())
    like = parameters_like(model)
    return Met(bound, data.inputs if like is None else data.inputs.to(like[1], like[0]))


def lacking(model: nn.Module, data: Dataset) -> list[str]:
    """The side inputs of a network that samples do not bring."""
    if not isinstance(model, Bound):
        return []
    wanted = {**{name: name for name in model.given}, **model.named}
    return [argument for argument, name in wanted.items() if name not in data.sides]
