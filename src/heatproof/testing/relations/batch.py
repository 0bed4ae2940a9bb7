"""Batch: a sample is explained by itself, whatever stands beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from heatproof.errors import HeatproofError
from heatproof.models import select
from heatproof.testing.relations.base import Known, Outcome, Relation, Subject, called
from heatproof.testing.relations.traits import Traits


@dataclass(frozen=True, kw_only=True)
class Batched(Relation):
    """The same samples in other batches.

    Args:
        batches: the rows of each batch, of so many samples.
        beside: what stands beside each batch: samples made from its own; they are explained, and left out.
        expand: batches of one sample are views that repeat it without memory of its own.
    """

    family: ClassVar[str] = "batch"
    batches: Callable[[int], list[list[int]]]
    beside: Callable[[Tensor], Tensor] | None = None
    expand: bool = False

    def outcome(self, known: Known, subject: Subject, traits: Traits, prepared: Any) -> Outcome:
        worst = Outcome("holds")
        for rows in self.batches(len(subject.inputs)):
            index = torch.tensor(rows)
            inputs, targets = subject.inputs[index], subject.targets[index]
            if self.expand:
                inputs = inputs[:1].expand_as(inputs)
            model = select(subject.model, index)
            if self.beside is not None:
                inputs, targets = torch.cat([inputs, self.beside(inputs)]), targets.repeat(2)
                model = select(model, torch.arange(len(index)).repeat(2))
            try:
                maps = called(known.method, subject._replace(model=model, inputs=inputs, targets=targets))
            except HeatproofError as error:
                return Outcome("fails", torch.inf, f"refused: {error}")
            found = self._compared(maps[: len(rows)], known.maps[index], traits)
            if found.distance >= worst.distance:
                worst = found
        return worst


BATCH = (
    Batched(name="order", says="samples in another order", batches=lambda n: [[*range(1, n), 0]]),
    Batched(name="alone", says="each sample in a batch of its own", batches=lambda n: [[i] for i in range(n)]),
    Batched(
        name="split",
        says="the batch in two parts",
        batches=lambda n: [list(range(n // 2)), list(range(n // 2, n))] if n > 1 else [[0]],
    ),
    Batched(
        name="repeated",
        says="samples that stand several times in a batch",
        batches=lambda n: [[i for i in range(n) for _ in range(2)]],
    ),
    Batched(
        name="expanded",
        says="one sample repeated by `expand`, without memory of its own",
        batches=lambda n: [[0] * 3],
        expand=True,
    ),
    Batched(
        name="beside-others",
        says="other samples beside, a thousand times as large",
        batches=lambda n: [list(range(n))],
        beside=lambda inputs: inputs.flip(0) * -1000.0,
    ),
    Batched(
        name="beside-zeros",
        says="samples of zeros beside",
        batches=lambda n: [list(range(n))],
        beside=torch.zeros_like,
    ),
)
