"""What an audit takes of a DataLoader: its data set, how it makes batches, and its workers; never its order."""

from collections.abc import Callable
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler
from torch.utils.data.dataloader import default_collate, default_convert

from heatproof.data.items import Columns
from heatproof.data.map_style import ItemBlocks
from heatproof.data.reading import Reading
from heatproof.errors import InputError


def blocks_of(loader: "DataLoader[Any]", columns: Columns, name: str) -> ItemBlocks:
    """The data set of a loader as blocks, read by its workers and made into batches by its `collate_fn`.

    Blocks have the audit's own size, so `batch_size` does not count, nor `pin_memory`.

    Raises: InputError for a loader that does not go through its data set in order, leaves a rest out, or streams.
    """
    if isinstance(loader.dataset, IterableDataset):
        raise InputError(
            "Expected a DataLoader of a map-style data set, whose samples have numbers, but this one streams an "
            "IterableDataset; keep its samples once with heatproof.data.snapshot(loader, folder)."
        )
    sampler = loader.batch_sampler if loader.batch_size is None and loader.batch_sampler is not None else loader.sampler
    if isinstance(loader.batch_sampler, BatchSampler) and type(loader.batch_sampler) is BatchSampler:
        sampler = loader.batch_sampler.sampler
    if type(sampler) is not SequentialSampler:
        raise InputError(
            f"Expected a DataLoader that goes through its data set in order, but its sampler is a "
            f"{type(sampler).__name__}: make it with shuffle=False, or give its data set; for some of the samples take "
            "torch.utils.data.Subset(dataset, places)."
        )
    if loader.drop_last:
        raise InputError(
            "Expected a DataLoader of all samples, but with drop_last=True it leaves out the last ones; make it "
            "without, or give its data set."
        )
    reading = Reading(by="one thread")
    if loader.num_workers:
        reading = Reading(
            by="processes",
            workers=loader.num_workers,
            context=loader.multiprocessing_context,
            begin=loader.worker_init_fn,
            timeout=loader.timeout,
        )
    plain = loader.collate_fn in (default_collate, default_convert)
    collate: Callable[[list[Any]], Any] | None = None if plain else loader.collate_fn
    return ItemBlocks(loader.dataset, columns, collate=collate, reading=reading, name=name)  # type: ignore[arg-type]  # map-style, by the first check
