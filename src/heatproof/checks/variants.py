"""Many variants of each sample of a block through its model, and what is a feature to a check of faithfulness."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from heatproof import fast
from heatproof.checks.base import Block
from heatproof.devices import on_device
from heatproof.errors import InputError
from heatproof.features import Features, Pixels, Tiles
from heatproof.methods.base import passes
from heatproof.models import forward
from heatproof.outputs import Outputs, read

Read = Callable[[Tensor, Tensor], Tensor]
TILE = 8  # pixels a side, where nobody says how many


def score(outputs: Tensor, targets: Tensor) -> Tensor:
    """The outputs (M,) of the labels, float64."""
    return read(None, outputs, targets)


def likelihood(meaning: Outputs) -> Read:
    """What reads the labels' probabilities (M,), float64; the outputs themselves where there are no probabilities."""
    return partial(read, meaning.probability)


def top_probability(outputs: Tensor, meaning: Outputs) -> Tensor:
    """The largest probability of any label (M,), float64."""
    assert meaning.probability is not None  # or nobody would ask
    return meaning.probability(outputs).amax(1)


def evaluated(block: Block, count: int, variant: Callable[[slice, range], Tensor], read: Read) -> Tensor:
    """What `read` takes from the outputs of `count` variants of each sample: (N, count) float64.

    `variant` makes those of some samples and some numbers, (n, k, …). Passes are as wide as the samples' shape allows.
    """
    results = block.inputs.new_empty(len(block.inputs), count, dtype=torch.float64)
    with torch.no_grad():
        for samples, ranges in passes(block.inputs, count):
            rows = torch.arange(samples.start, samples.stop, device=block.inputs.device)
            for numbers in ranges:
                made = variant(samples, numbers).flatten(0, 1)
                of = rows.repeat_interleave(len(numbers))
                with fast.masked(made.device):
                    outputs = forward(block.model, made, of)
                found = read(outputs, block.targets[of])
                results[samples, numbers.start : numbers.stop] = found.view(len(rows), len(numbers))
    return results


def replaced(block: Block, features: Features, chosen: Tensor, samples: slice, baseline: Tensor) -> Tensor:
    """The samples' originals with `chosen` (n, k, F) features at the baseline (N, …): (n, k, …)."""
    inputs = block.inputs[samples]
    count, shape = chosen.shape[1], inputs.shape[1:]
    masks = chosen.reshape(-1, *features.grid(shape))
    made = features.replace(
        inputs.repeat_interleave(count, 0), masks, baseline[samples].repeat_interleave(count, 0)
    )  # from the original, never from one that is replaced in part already
    return made.view(len(inputs), count, *shape)


def regions(features: Features, shape: Sequence[int], tile: int | None) -> Features:
    """What is replaced at once: squares of tile × tile pixels of an image (stretches of a series, cubes of a volume).

    For tile 1 they are the audit's own features; for None tiles of 8 where those are pixels and there is more than one
    such tile, else themselves.

    Raises: InputError for a larger tile where features are no pixels, or where there is one tile, which ranks nothing.
    """
    if tile is None and isinstance(features, Pixels):
        tiles = Tiles(size=TILE, layout=features.layout)
        return tiles if math.prod(tiles.grid(shape)) > 1 else features
    if tile is None or tile == 1:
        return features
    if not isinstance(features, Pixels):
        raise InputError(
            f"Expected pixels of images (C, H, W) to make tiles of {tile} pixels, but got {features} of samples "
            f"{tuple(shape)}; choose tile=1."
        )
    tiles = Tiles(size=tile, layout=features.layout)
    if math.prod(tiles.grid(shape)) == 1:
        raise InputError(
            f"Expected at least two tiles to rank, but samples {tuple(shape)} are one tile of {tile} pixels; choose a "
            f"smaller tile, or tile=1."
        )
    return tiles


def region_sums(pooled: Tensor, block: Block, tile: int | None) -> Tensor:
    """A block's attributions, pooled to its features (N, *grid), summed over each region of `regions`, (N, F)."""
    chosen = regions(block.features, block.inputs.shape[1:], tile)
    if isinstance(chosen, Tiles) and chosen is not block.features:
        pooled = Tiles(size=chosen.size).pool(pooled[:, None], (1, *pooled.shape[1:]))
    return pooled.flatten(1)


@on_device
def counted(*numbers: int) -> Tensor:
    """These numbers (K,), int64."""
    return torch.tensor(numbers)


def patternless(values: Tensor) -> Tensor:
    """Which rows (N,) of `values` (N, F) are constant or hold NaN or infinity: they rank nothing."""
    return (values == values[:, :1]).all(1) | ~torch.isfinite(values).all(1)
