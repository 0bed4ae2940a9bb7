"""One block after the other, in this process."""

from collections import defaultdict
from collections.abc import Callable, Collection

from heatproof.auditing.block import Finished, run_block
from heatproof.auditing.plan import Plan


def run(
    plan: Plan,
    missing: Collection[str],
    finish: Callable[[Finished], None],
    computed: Callable[[str, float], None],
) -> None:
    """Compute the missing cells; `finish` takes each state of a block, `computed` hears of maps and their passes."""
    by_block: dict[int, set[str]] = defaultdict(set)
    for cell in missing:
        by_block[plan.cells[cell].block].add(cell)
    for block in sorted(by_block):
        for finished in run_block(plan, block, by_block[block], computed):
            finish(finished)
