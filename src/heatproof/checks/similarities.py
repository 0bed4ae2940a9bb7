"""Comparing maps inside a check: which measures apply to a grid, and their rows."""

from collections.abc import Iterator, Sequence

from heatproof.checks.base import Maps, Scores
from heatproof.errors import InputError
from heatproof.similarity import SIMILARITIES, Similarity

USUAL = ("spearman", "spearman-absolute", "ssim", "hog", "mse")


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
