"""Blocks read ahead of whoever computes with them: by threads, or by processes where the data are the user's code."""

import os
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from heatproof.data.base import Dataset
from heatproof.data.reading import Reading
from heatproof.errors import HeatproofError, InputError

Range = tuple[int, int]


class Readable(Protocol):
    """What has ranges that can be read, as `Blocks` have."""

    def read(self, start: int, stop: int, /) -> Dataset: ...


def ahead(
    blocks: Readable, ranges: Iterable[Range], *, workers: int | None = None, depth: int = 2
) -> Generator[Dataset, None, None]:
    """The samples of each range (start, stop), in order; the next ones are read while the caller computes.

    At most `depth` blocks are read or wait at any time, beside the one that the caller has; processes finish what each
    of them has begun, so there `workers` blocks at least.

    Args:
        blocks: the samples.
        ranges: positions, block by block.
        workers: threads or processes that read; as the blocks say by default. 0 reads in the caller's thread, when the
            block is asked for.
        depth: how many blocks ahead.

    Raises: whatever reading a block raises, when it is that block's turn.
    """
    if depth < 1 or (workers is not None and workers < 0):
        raise InputError(f"Expected depth from 1 and workers from 0 on, but got {depth} and {workers}.")
    how = getattr(blocks, "reading", Reading())
    workers = how.workers if workers is None else workers
    if workers == 0:
        return (blocks.read(*one) for one in ranges)
    if how.by == "processes":
        return _by_processes(blocks, list(ranges), how, workers or 1, depth)
    count = 1 if how.by == "one thread" else workers or min(depth, os.cpu_count() or 1)
    return _by_threads(blocks, ranges, count, depth)


def _by_threads(blocks: Readable, ranges: Iterable[Range], workers: int, depth: int) -> Generator[Dataset, None, None]:
    waiting: deque[Future[Dataset]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="heatproof-reading")
    try:
        for one in ranges:
            waiting.append(pool.submit(blocks.read, *one))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _by_processes(
    blocks: Readable, ranges: list[Range], how: Reading, workers: int, depth: int
) -> Generator[Dataset, None, None]:
    loader: DataLoader[Any] = DataLoader(
        _Ranges(blocks, ranges),
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=workers,
        prefetch_factor=max(1, -(-depth // workers)),
        multiprocessing_context=how.context,
        worker_init_fn=how.begin,
        timeout=how.timeout,
        generator=torch.Generator().manual_seed(0),  # or the global one would be drawn from
    )
    for found in loader:
        if isinstance(found, HeatproofError):
            raise found
        yield found


class _Ranges(TorchDataset[Any]):
    """Block number i, or the error that reading it raised on purpose, whose words a DataLoader would wrap."""

    def __init__(self, blocks: Readable, ranges: list[Range]) -> None:
        self.blocks, self.ranges = blocks, ranges

    def __len__(self) -> int:
        return len(self.ranges)

    def __getitem__(self, number: int) -> Dataset | HeatproofError:
        try:
            return self.blocks.read(*self.ranges[number])
        except HeatproofError as error:
            return error


def _as_it_is(found: Any) -> Any:
    return found
