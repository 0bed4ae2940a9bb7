"""What keeps LRP's denominators away from 0: ε times the size of the layer's own outputs, or ε itself."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from heatproof.errors import InputError

STABILIZERS = ("relative", "absolute")


class Stabilizer(NamedTuple):
    """ε ≥ 0, and what it is a share of.

    `over`: the mean magnitude of the denominators over these dimensions, those of one sample; each denominator's own
    where there are none. None: of nothing, ε is a number in units of the layer's outputs.
    """

    epsilon: float
    over: tuple[int, ...] | None

    def of(self, total: Tensor) -> Tensor | float:
        """What the magnitude of denominators, `total` without biases, is raised by; never 0 where ε is not."""
        if self.over is None or self.epsilon == 0:
            return self.epsilon
        if self.over:
            count = math.prod([total.shape[dim] for dim in self.over])
            size = torch.linalg.vector_norm(total, 1, self.over, keepdim=True).div_(count)
        else:
            size = total.abs()
        # What is tiny is kept from vanishing: ε times the smallest number is none.
        return torch.threshold_(size.mul_(self.epsilon), 0.0, self.epsilon)


def check_stabilizer(rule: Any) -> None:
    """Refuse a rule's `epsilon` below 0, and a `stabilizer` of no known kind."""
    if rule.stabilizer not in STABILIZERS:
        raise InputError(f"Expected stabilizer to be 'relative' or 'absolute', but got {rule.stabilizer!r}.")
    if not rule.epsilon >= 0:
        raise InputError(f"Expected epsilon to be at least 0, but got {rule.epsilon}.")
