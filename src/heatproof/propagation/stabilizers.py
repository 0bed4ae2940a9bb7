"""What keeps LRP's denominators away from 0: ε times the size of the layer's own outputs, or ε itself."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from heatproof.errors import InputError

STABILIZERS = ("relative", "absolute")


class Stabilizer(NamedTuple):
    """ε, with the sign of the denominators it is added to, and what it is a share of.

    `over`: the mean magnitude of the denominators over these dimensions, those of one sample; each denominator's own
    where there are none. None: of nothing, ε is a number in units of the layer's outputs.
    """

    epsilon: float
    over: tuple[int, ...] | None

    def of(self, total: Tensor) -> Tensor | float:
        """What is added to denominators that are `total` without biases; never 0 where ε is not."""
        if self.over is None or self.epsilon == 0:
            return self.epsilon
        size = total.abs() if not self.over else torch.linalg.vector_norm(total, 1, self.over, keepdim=True)
        share = size.div_(math.prod([total.shape[dim] for dim in self.over])).mul_(self.epsilon)
        # What is tiny is kept from vanishing: ε times the smallest number is none.
        return torch.where(share == 0, self.epsilon, share)

    def negative(self) -> "Stabilizer":
        """The same for denominators below 0."""
        return self._replace(epsilon=-self.epsilon)


def check_stabilizer(stabilizer: str) -> None:
    """Refuse a stabilizer of no known kind."""
    if stabilizer not in STABILIZERS:
        raise InputError(f"Expected stabilizer to be 'relative' or 'absolute', but got {stabilizer!r}.")
