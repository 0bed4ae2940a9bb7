"""What is known of a network's constants, asked of the device once: as long as nobody writes into them."""

import torch
from torch import Tensor

from heatproof.by_tensor import ByTensor, stamp

# By identity: a parameter is the same object in every call; what a model makes anew in each is asked for in each.
_endless: ByTensor[tuple[tuple[int, int], bool]] = ByTensor()


def endless(constant: Tensor) -> bool:
    """Whether a value is infinite, as a mask of −∞ over labels is.

    Where one was written into, the others on its device were, too, as a rule: all that were are asked about at once.
    """
    if constant.is_inference():
        return bool(constant.isinf().any())
    known = _endless.get(constant)
    if known is not None and known[0] == stamp(constant):
        return known[1]
    asked = [constant]
    if known is not None:
        asked += [one for one, (state, _) in _endless.items() if one is not constant and _stale(one, constant, state)]
    with torch.no_grad():
        found = torch.stack([one.isinf().any() for one in asked]).tolist()
    for one, flag in zip(asked, found, strict=True):
        _endless[one] = (stamp(one), flag)
    return bool(found[0])


def _stale(one: Tensor, other: Tensor, state: tuple[int, int]) -> bool:
    return one.device == other.device and state != stamp(one)
