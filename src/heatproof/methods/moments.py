"""Mean and variance of data that come in batches."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from heatproof.errors import InputError
from heatproof.methods.above import places
from heatproof.methods.base import passes
from heatproof.methods.fitted import Batch, inputs_of
from heatproof.methods.known_layers import check_maps
from heatproof.methods.split import Split


class Moments:
    """Mean, variance and share of nonzero values of each feature, over all samples so far.

    Batches are merged as by Chan et al. 1979, in float64, so that nothing cancels and the order and size of batches
    change the result by rounding alone. Memory: four tensors of one sample's shape.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean = self._squares = self._nonzero = torch.zeros((), dtype=torch.float64)

    def update(self, batch: Tensor) -> None:
        """Add the samples (N, …) of a batch."""
        if self.count and batch.shape[1:] != self._mean.shape:
            raise InputError(
                f"Expected samples of one shape {tuple(self._mean.shape)} at the layer, but a batch gave "
                f"{tuple(batch.shape[1:])}; bring all inputs to one size."
            )
        values = batch.detach().double()
        mean = values.mean(0)
        squares = (values - mean).square().sum(0)
        nonzero = (values != 0).sum(0).double()
        if self.count:
            total = self.count + len(values)
            shift = mean - self._mean
            squares = self._squares + squares + shift.square() * (self.count * len(values) / total)
            mean = self._mean + shift * (len(values) / total)
            nonzero = self._nonzero + nonzero
        self.count += len(values)
        self._mean, self._squares, self._nonzero = mean, squares, nonzero

    @property
    def mean(self) -> Tensor:
        return self._mean

    @property
    def variance(self) -> Tensor:
        """Σ(x − mean)² / (n − 1)."""
        if self.count < 2:
            raise InputError(f"Expected at least 2 samples for a variance, but got {self.count}; give more batches.")
        return self._squares / (self.count - 1)

    @property
    def active(self) -> Tensor:
        """The share of samples on which a feature is not 0."""
        return self._nonzero / max(1, self.count)

    def tensors(self) -> dict[str, Tensor]:
        """What a fit keeps, in float32."""
        return {"mean": self.mean.float(), "variance": self.variance.float(), "active": self.active.float()}


def moments_at(split: Split, batches: Iterable[Batch], others: Sequence[str] = ()) -> Moments:
    """The moments of a layer's feature maps over batches of inputs; the n-th sample has row n of a Bound's `given`.

    Raises: InputError where the layer, or one of `others` that are read beside it, does not give maps (N, C, h, w).
    """
    moments, seen = Moments(), 0
    for batch in batches:
        x = inputs_of(batch)
        if seen == 0:
            check_maps(split.model, (split.name, *others), x)
        for block, _ in passes(x, 1):
            rows = torch.arange(seen + block.start, seen + block.stop, device=x.device)
            moments.update(places(split, split.below(x[block], rows)))
        seen += len(x)
    return moments
