"""One of many workers on one folder: each takes blocks that nobody else is at, until none is left."""

import hashlib
import time
from collections.abc import Iterable, Sequence

from heatproof.auditing.block import Heard
from heatproof.auditing.plan import Missing
from heatproof.auditing.worker import Worker, missing_of
from heatproof.runs import leases
from heatproof.runs.leases import Lease, Watch

WAIT = 1.0  # seconds before a worker looks again at blocks that others are at


def run(worker: Worker, missing: Missing, heard: Heard) -> None:
    """Compute missing rows, block by block, where no other worker does; ends when no block is left to take.

    A block at which another worker of this time has failed is left as it is: it would fail here, too.
    """
    files, watch = worker.store.files, Watch(worker.store.files)
    possible = frozenset().union(*missing.values())  # what could be prepared here
    left, tried = dict(missing), set[int]()
    while left:
        progressed = False
        for block in _order(left, worker.log.said["worker"]):
            lease = Lease(files, f"block-{block:07d}", worker.log.said["worker"])
            if not lease.take():
                continue
            with lease:
                now = left[block] - worker.store.finished_of(block)
                if now:
                    worker.compute(block, now, heard)
                tried.add(block)
                progressed = True
        if not progressed:
            time.sleep(WAIT)
            for block in left:
                watch.free(f"block-{block:07d}")
        done = tried | _failed_elsewhere(worker)
        still = missing_of(worker.plan, worker.store)
        left = {block: ids & possible for block, ids in still.items() if block not in done and ids & possible}


def _order(blocks: Iterable[int], holder: str) -> Sequence[int]:
    """The blocks from a place on that is the worker's own: so few meet at the same block."""
    found = sorted(blocks)
    start = int(hashlib.sha256(holder.encode()).hexdigest(), 16) % len(found)
    return [*found[start:], *found[:start]]


def _failed_elsewhere(worker: Worker) -> set[int]:
    """Blocks at which a worker that is at it now, or began after this one, has failed."""
    names = {name.removeprefix("worker-") for name in leases.held(worker.store.files, "worker-")}
    found: set[int] = set()
    behind = False
    for other in worker.store.workers():
        if other["worker"] == worker.log.said["worker"]:
            behind = True
        elif behind or other["worker"] in names:
            found |= {one["block"] for one in other["failures"] if one["block"] is not None}
    return found
