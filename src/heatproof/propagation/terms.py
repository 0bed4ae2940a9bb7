"""What a surrogate consists of: terms, each a part with a graph and a factor that is held; and what they lose."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from heatproof.propagation.stabilizers import Stabilizer
from heatproof.propagation.sums import share

Lose = Callable[[Tensor], None]


class Term(NamedTuple):
    """A term of a surrogate: a part with a graph, times a factor that is held."""

    part: Tensor
    factor: Tensor

    def settled(self, *, reuse: bool, lose: Lose | None = None) -> "Term":
        """Itself."""
        return self


@dataclass(frozen=True, kw_only=True, eq=False)
class Share:
    """The term whose factor is coefficient · amount / (Σ + ε), Σ the value of the part, and of the bias if it counts.

    Where the amount is not 0, Σ is at least 0, or at most 0 if `below`, and ε has its sign; `mixed` says that elsewhere
    Σ may have the other one, `either` that it may have any (ε > 0 takes it). ε = 0 takes 0/0 = 0.
    """

    part: Tensor
    amount: Tensor
    stabilizer: Stabilizer
    bias: Tensor | None = None
    coefficient: float | Tensor = 1.0
    below: bool = False
    mixed: bool = False
    either: bool = False

    def settled(self, *, reuse: bool, lose: Lose | None = None) -> Term:
        """The term with its factor, in the memory of the part's value if that may be reused: no derivative needs it.

        `lose` is told what nobody gets: the amount where Σ is 0.
        """
        total = self.part.detach()
        epsilon = self.stabilizer.of(total)
        held = total if reuse else torch.empty_like(total)
        if self.bias is not None:
            total = torch.add(total, self.bias, out=held)
        if lose is not None:
            none = torch.eq(total, 0, out=torch.empty_like(total))  # 1 or 0 in its own type: `where` takes longer
            lose(self._weighed(none.mul_(self.amount)))
        if self.either:
            return Term(self.part, share(self.amount, total, epsilon))
        if self.stabilizer.epsilon == 0:
            factor = torch.where(total == 0, 0.0, self.amount / total)
        else:
            if self.mixed:  # or Σ = −ε would make 0/0
                total = torch.clamp(total, None if self.below else 0, 0 if self.below else None, out=held)
            total = (torch.sub if self.below else torch.add)(total, epsilon, out=held)
            factor = torch.div(self.amount, total, out=held)
        return Term(self.part, self._weighed(factor))

    def _weighed(self, t: Tensor) -> Tensor:
        unweighed = not isinstance(self.coefficient, Tensor) and self.coefficient == 1
        return t if unweighed else t.mul_(self.coefficient)


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
