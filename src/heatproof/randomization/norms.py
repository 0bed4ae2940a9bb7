"""What a batch norm's call takes: its scale and shift, and the mean and variance that it keeps."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from torch import Tensor

from heatproof.propagation.schemas import bound

Role = Literal["gamma", "beta", "mean", "variance"]
ROLES: dict[str, Role] = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "variance"}


def norm_arguments(
    func: Callable[..., Any], name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[tuple[Tensor, Role]]:
    """The tensors that a call of a batch norm receives, with their roles; none for any other call.

    Instance norm with moving statistics is a batch norm in eval mode; without them it is a norm like layer norm, whose
    scale and shift are ordinary parameters.
    """
    named = named_arguments(func, name, args, kwargs)
    if name == "instance_norm" and (named.get("running_mean") is None or named.get("use_input_stats") is True):
        return []
    return [(named[name], role) for name, role in ROLES.items() if isinstance(named.get(name), Tensor)]


def named_arguments(
    func: Callable[..., Any], name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of a call of a batch norm by name, whichever of torch's spellings; empty for any other call."""
    if not ("batch_norm" in name or name == "instance_norm"):
        return {}
    return bound(func, name, args, kwargs)
