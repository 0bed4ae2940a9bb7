"""Comparing maps inside a check: which measures apply to a grid, and their rows."""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from heatproof import draws
from heatproof.checks.base import Block, Maps, Scores
from heatproof.errors import InputError
from heatproof.metrics import Metric
from heatproof.similarity import SIMILARITIES, Similarity

USUAL = ("spearman", "spearman-absolute", "ssim", "hog", "mse")
ZEROS = Metric(
    name="zeros",
    unit="share of features",
    low=0.0,
    high=1.0,
    text="Share of features that are exactly zero in the map.",
)
SHARED_ZEROS = Metric(
    name="shared-zeros",
    unit="share of features",
    low=0.0,
    high=1.0,
    text="Share of features that are exactly zero in both maps; they raise every rank similarity.",
)
ENERGY = Metric(
    name="relative-energy",
    unit="ratio",
    low=0.0,
    ideal=0.0,
    text="Sum of the squared map over that of the trained model's map.",
)


def fitting(
    wanted: Sequence[Similarity | str], grid: tuple[int, ...]
) -> tuple[tuple[Similarity, ...], tuple[str, ...]]:
    """The measures to use on maps of this grid, and a sentence for each usual one that does not apply.

    Raises: InputError if a measure that was asked for does not apply.
    """
    chosen: list[Similarity] = []
    notes: list[str] = []
    for one in wanted or USUAL:
        measure = SIMILARITIES.get(one) if isinstance(one, str) else one
        misfit = measure.fits(grid)
        if misfit is None:
            chosen.append(measure)
        elif wanted:
            raise InputError(misfit)
        else:
            notes.append(f"{measure.metric.name} is left out: {misfit}")
    return tuple(chosen), tuple(notes)


def similarity_rows(
    measures: Sequence[Similarity],
    reference: Maps,
    maps: Maps,
    *,
    setting: str = "",
) -> Iterator[Scores]:
    """One row set a measure: how similar `maps` are to `reference`, whose ranks and descriptors are kept."""
    for measure in measures:
        prepared = reference.derived(measure, measure.prepare)
        values = measure.compare(prepared, maps.values)
        yield Scores(metric=measure.metric.name, values=values, setting=setting)


def chance_rows(
    measures: Sequence[Similarity],
    trained: Maps,
    maps: Maps,
    *key: draws.Key,
    samples: Sequence[str],
    setting: str,
    block: Block | None = None,
) -> Iterator[Scores]:
    """How similar the trained map is to itself permuted: what is left of it where nothing of its places is.

    Permuted among the features that are not zero in both maps: zeros that no network changes are the input's, and make
    any two maps of it alike. `key` and the names of the samples decide the permutations; several of a name are drawn
    alike. `block` keeps the numbers that they are drawn by: all methods meet the same ones.
    """
    permuted = Maps(_permuted(trained.values, maps.values, *key, samples=samples, block=block), {})
    return similarity_rows(measures, trained, permuted, setting=setting)


def _permuted(
    values: Tensor, other: Tensor, *key: draws.Key, samples: Sequence[str], block: Block | None = None
) -> Tensor:
    flat = values.flatten(1)
    still = (flat == 0) & (other.flatten(1) == 0)
    draw = partial(_numbers, flat, *key, samples=samples)
    drawn = draw() if block is None else block.derived(("permutation", *key, flat.shape, flat.device), draw)
    # The features that take part stand first, once in a random order and once in their own.
    among = (drawn + 2.0 * still).argsort(1)
    own = still.to(torch.uint8).argsort(dim=1, stable=True)
    return torch.empty_like(flat).scatter_(1, own, flat.gather(1, among)).view_as(values)


def _numbers(flat: Tensor, *key: draws.Key, samples: Sequence[str]) -> Tensor:
    """Numbers (N, F) on [0, 1) that order the features of each map of `flat` (N, F), on its device."""
    names = [*samples, *["filling"] * (len(flat) - len(samples))]
    streams = [draws.generator(*key, name) for name in names]
    drawn = torch.stack([torch.rand(flat.shape[1], generator=stream, dtype=torch.float32) for stream in streams])
    return drawn.to(flat.device)


def share_of_zeros(*maps: Maps) -> Tensor:
    """Share (N,) of features that are exactly 0 in every one of the maps."""
    return torch.stack([one.values == 0 for one in maps]).all(0).flatten(1).double().mean(1)


def comparison_rows(measures: Sequence[Similarity], trained: Maps, maps: Maps) -> Iterator[Scores]:
    """How similar `maps` are to the trained model's, with the zeros that both share, and their energy against it."""
    yield from similarity_rows(measures, trained, maps)
    yield Scores(metric=SHARED_ZEROS.name, values=share_of_zeros(maps, trained))
    # In float64: a dying network's maps of 1e-22 have squares below float32.
    ours, theirs = (one.values.double().square().flatten(1).sum(1) for one in (maps, trained))
    yield Scores(metric=ENERGY.name, values=ours / torch.where(theirs > 0, theirs, torch.nan))
