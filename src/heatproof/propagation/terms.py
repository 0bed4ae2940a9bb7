"""What a surrogate consists of: terms, each a part with a graph and a factor that is held; and what they lose."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from heatproof.propagation.stabilizers import Stabilizer
from heatproof.propagation.sums import share


class Term(NamedTuple):
    """A term of a surrogate: a part with a graph, times a factor that is held."""

    part: Tensor
    factor: Tensor

    def settled(self, *, reuse: bool) -> "Term":
        """Itself."""
        return self


@dataclass(frozen=True, kw_only=True, eq=False)
class Share:
    """The term whose factor is coefficient · amount / (Σ + ε), Σ the value of the part, and of the bias if it counts.

    The sign of ε is Σ's where the amount is not 0; `mixed` says that elsewhere Σ may have the other one, `either` that
    Σ may have any sign (ε > 0 takes it). ε = 0 takes 0/0 = 0.
    """

    part: Tensor
    amount: Tensor
    stabilizer: Stabilizer
    bias: Tensor | None = None
    coefficient: float | Tensor = 1.0
    mixed: bool = False
    either: bool = False

    def settled(self, *, reuse: bool) -> Term:
        """The term with its factor, in the memory of the part's value if that may be reused: no derivative needs it."""
        total = self.part.detach()
        epsilon = self.stabilizer.of(total)
        if self.bias is not None:
            total = total.add_(self.bias) if reuse else total + self.bias
        if self.either:
            return Term(self.part, share(self.amount, total, epsilon))
        nothing = self.stabilizer.epsilon == 0
        if not nothing:
            total = total.add_(epsilon) if reuse or self.bias is not None else total + epsilon
        if self.mixed and not nothing:  # or Σ = −ε would make 0/0
            least = torch.as_tensor(epsilon, dtype=total.dtype, device=total.device)
            bound = torch.maximum if self.stabilizer.epsilon > 0 else torch.minimum
            bound(total, least, out=total)
        if nothing:
            factor = torch.where(total == 0, 0.0, self.amount / total)
        else:
            factor = torch.div(self.amount, total, out=total)
        if isinstance(self.coefficient, Tensor) or self.coefficient != 1:
            factor.mul_(self.coefficient)
        return Term(self.part, factor)

    def lost(self) -> Tensor:
        """What nobody gets: the amount where Σ is 0."""
        total = self.part.detach() if self.bias is None else self.part.detach() + self.bias
        return torch.where(total == 0, self.coefficient * self.amount, 0.0)


class Ledger:
    """What no input gets while pulls come back; it costs a pass a term, so only while it is open.

    `lost` is what is known to be of which sample. `unsorted` holds the rest, element by element and in the order
    in which a pull comes by: whose it is shows when the samples' cotangents are scaled.
    """

    def __init__(self, samples: int) -> None:
        self.samples, self.open = samples, False
        self._lost, self.unsorted = list[Tensor](), list[Tensor]()

    def start(self) -> None:
        """Open with nothing lost."""
        self._lost, self.unsorted, self.open = [], [], True

    def lost(self, like: Tensor) -> Tensor:
        """What is known to be of which sample (N,), in the type and on the device of `like`."""
        nothing = like.new_zeros(self.samples)
        return sum(self._lost, start=nothing)

    def add(self, lost: Tensor, ordered: bool) -> None:
        """Write down what an operation did not hand on; `ordered` says that its rows are the samples."""
        if ordered or self.samples == 1:
            self._lost.append(lost.reshape(self.samples, -1).sum(1))
        elif bool(lost.any()):
            self.unsorted.append(lost.flatten())
