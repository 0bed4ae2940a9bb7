"""One block after the other, in this process."""

from collections.abc import Iterator, Sequence

from heatproof.auditing.block import Heard
from heatproof.auditing.plan import Missing, Plan
from heatproof.auditing.samples import Portion
from heatproof.auditing.worker import Worker


def run(worker: Worker, missing: Missing, heard: Heard) -> None:
    """Compute the missing rows; `heard` is told of maps and their passes."""
    for block, portion in portions(worker.plan, sorted(missing)):
        worker.compute(block, missing[block], heard, portion)


def portions(plan: Plan, blocks: Sequence[int]) -> Iterator[tuple[int, Portion | Exception]]:
    """The samples of blocks, read ahead; in the place of some, why they could not be read."""
    at = 0
    while at < len(blocks):
        read = plan.source.ahead([plan.range(block) for block in blocks[at:]])
        try:
            for portion in read:
                yield blocks[at], portion
                at += 1
        except Exception as error:  # of this block alone: reading begins anew behind it
            yield blocks[at], error
            at += 1
