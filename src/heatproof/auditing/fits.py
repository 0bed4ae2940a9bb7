"""Fits, kept: each is made once under a lock in the cache folder, named by everything that decides it.

So a resumed run, another audit and every worker read the same bits, and nobody holds the fits of all states in memory.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from heatproof import artifacts, draws
from heatproof.artifacts import Stored
from heatproof.data.base import Dataset
from heatproof.data.binding import met
from heatproof.data.blocks import Blocks, as_blocks
from heatproof.data.picking import batches_of, first_of
from heatproof.fingerprint import network_fingerprint, probe, same_outputs
from heatproof.methods.base import METHODS
from heatproof.methods.fitted import Fitted, FittedMethod, Sided
from heatproof.models import Bound
from heatproof.recipes import describe, digest

VERSION = 3  # counted up whenever the same name would stand for another fit, or for another kind of file
Read = Callable[[], None]  # hears of every batch that a fit reads


def unheard() -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class Batches:
    """Labelled batches of data, on the device and in the dtype of `like`.

    In one order, drawn once: data sets are often sorted by label. Blocks are read by need, so a batch is smaller where
    samples of it cannot be used; the next one is read while a fit has the last. `read` is called for every batch.

    Attributes:
        data: labelled samples.
        size: positions a batch.
        like: inputs of the model, for device and dtype.
        read: hears of every batch that was used.
        model: a Bound, whose side inputs the samples bring; None for others.
    """

    data: Dataset | Blocks
    size: int
    like: Tensor
    read: Read = unheard
    model: nn.Module | None = None

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        blocks = as_blocks(self.data)
        order = torch.randperm(len(blocks), generator=draws.generator("fit", len(blocks)))
        for part in batches_of(blocks, order, self.size):
            if len(part):
                yield self._batch(part)
            self.read()

    def _batch(self, part: Dataset) -> tuple[Tensor, Tensor]:
        targets = part.targets.to(self.like.device)
        if self.model is None or not isinstance(self.model, Bound):
            return part.inputs.to(self.like), targets
        return Sided.of(met(self.model, part).inputs.to(self.like), targets, part.sides)


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """What methods may learn of one model from one data set.

    Attributes:
        fingerprint: of the trained model.
        data: labelled samples like those that it was trained on; blocks of them are read batch by batch.
        like: inputs of the model, for device and dtype.
    """

    fingerprint: str
    data: Dataset | Blocks
    like: Tensor

    def fit(self, one: FittedMethod, model: nn.Module, *, read: Read = unheard) -> Fitted:
        """What the method learns of the trained model: kept, or made now, from a checkpoint if there is one."""
        name = self.name(one)
        checkpoint = artifacts.folder() / f"{Path(name).stem}.checkpoint.safetensors"

        def make() -> Fitted:
            if artifacts.undamaged(checkpoint, lambda path: Fitted.together(artifacts.read_tensors(path))) is None:
                checkpoint.unlink(missing_ok=True)
            return _value(one.fit_recipe.fit(model, self._batches(one, read, model), checkpoint=checkpoint))

        found = self._kept(name, model, make)
        checkpoint.unlink(missing_ok=True)
        return found

    def refit(self, one: FittedMethod, model: nn.Module, state: Mapping[str, Any], *, read: Read = unheard) -> Fitted:
        """What the method learns of the model in a changed state: kept, or made now."""

        def make() -> Fitted:
            recipe = replace(one.fit_recipe, fitted=one.fitted)
            return _value(recipe.on_changed(model, self._batches(one, read, model)))

        return self._kept(self.name(one, state), model, make)

    def name(self, one: FittedMethod, state: Mapping[str, Any] | None = None) -> str:
        """The file of a fit, named by everything that decides its bits but the processor."""
        recipe = one.fit_recipe
        parts = {
            "version": VERSION,
            "recipe": describe(recipe),
            "model": self.fingerprint,
            "state": None if state is None else dict(state),
            "data": as_blocks(self.data).identity,
            "dtype": str(self.like.dtype),
            "device": self.like.device.type,
            "batch": one.fit_batch,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        return f"{METHODS.name_of(recipe) or type(one).__name__.lower()}-{digest(parts)[:16]}.safetensors"

    def is_kept(self, one: FittedMethod, state: Mapping[str, Any] | None = None) -> bool:
        """Whether a fit is there already."""
        return (artifacts.folder() / self.name(one, state)).exists()

    def reads(self, one: FittedMethod) -> int:
        """How many batches a fit reads."""
        return one.fit_reads * -(-len(self.data) // one.fit_batch)

    def cost(self, one: FittedMethod) -> float:
        """Forward and backward passes of one sample that a fit takes, for estimates."""
        return one.fit_cost * len(self.data)

    def _kept(self, name: str, model: nn.Module, make: Callable[[], Fitted]) -> Fitted:
        """A kept fit, if it is of this very network by code, tensors and outputs; else made now and kept.

        One that was trained again may have other bits, and what no fingerprint reads may have changed what it does.
        """
        bound, inputs = met(model, first_of(as_blocks(self.data), 2))
        outputs = probe(bound, inputs.to(self.like))

        def read(stored: Stored) -> Fitted | None:
            found = Fitted.together(stored)
            same = found.network == network_fingerprint(model) and "probe" in stored.facts
            return found if same and same_outputs(stored.facts["probe"], outputs) else None

        def parts(fitted: Fitted) -> Stored:
            tensors, facts = fitted.parts()
            return Stored(tensors, {**facts, "probe": outputs})

        return artifacts.kept_tensors(name, read=read, make=make, parts=parts)

    def _batches(self, one: FittedMethod, read: Read, model: nn.Module) -> Batches:
        return Batches(self.data, one.fit_batch, self.like, read, model)


def _value(method: FittedMethod | None) -> Fitted:
    assert method is not None  # an excluded method is never fitted
    assert method.fitted is not None
    return method.fitted
