"""One block after the other, in this process."""

from heatproof.auditing.block import Heard
from heatproof.auditing.plan import Missing
from heatproof.auditing.worker import Worker


def run(worker: Worker, missing: Missing, heard: Heard) -> None:
    """Compute the missing rows; `heard` is told of maps and their passes."""
    for block in sorted(missing):
        worker.compute(block, missing[block], heard)
