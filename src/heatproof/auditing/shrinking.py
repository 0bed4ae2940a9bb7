"""Out of memory: the same work again with fewer rows a pass, where the audit may; and what is said of it."""

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from heatproof import sharing
from heatproof.auditing import foreign
from heatproof.checks.base import Block
from heatproof.methods.base import Explanation, Method
from heatproof.methods.given import Given
from heatproof.models import rows_at_most, rows_per_pass, select, within_bound

T = TypeVar("T")
Who = tuple[str, str]  # a method's label, "" for the network, and a check's, "" for the making of maps
CPU = ("can't allocate memory", "not enough memory")  # torch's allocator on a CPU raises a plain RuntimeError
FLAG = "--shrink-on-oom (shrink_on_oom=True) tries again with fewer rows a pass, and marks the rows."
WHOLE = {
    True: "a pass of 1 row is too large, too",
    False: "1 variant a pass is too much, too, and somebody else's method or a check takes a block's samples together",
}


@dataclass
class Shrinking:
    """By whom, the rows a pass that one worker has come down to; it does not go up again."""

    allowed: bool = False
    most: dict[Who, int] = field(default_factory=dict)

    def run(self, method: str, check: str, block: Block, work: Callable[[], T]) -> T:
        """What `work` gives: where it runs out of memory, with half the rows a pass (`rows_at_most`), down to one.

        `method` or `check` is "" where the work is not about one.
        """
        who = (method, check)
        rows = self.most.get(who)
        while True:
            try:
                with ExitStack() as bounds:
                    if rows is not None:
                        bounds.enter_context(rows_at_most(rows))
                        # Others' maps must not rest on these, whose bits are of another size of passes.
                        bounds.enter_context(sharing.shared(block.model, block.inputs, block.targets, ()))
                    found = work()
            except Exception as error:
                if not self.allowed or rows == 1 or not out_of_memory(error):
                    raise
            else:
                if rows is not None:
                    self.most[who] = rows
                return found
            # Outside of the handler, whose traceback held the tensors of the attempt.
            rows = max(1, (rows or within_bound(max(len(block.inputs), rows_per_pass(block.inputs)))) // 2)
            if block.inputs.device.type == "cuda":
                torch.cuda.empty_cache()

    def rows(self, methods: Collection[str], check: str) -> int | None:
        """The fewest rows a pass that anything behind a check's rows about these methods has come down to."""
        behind = [("", check), *((method, of) for method in methods if method for of in ("", check))]
        return min((self.most[who] for who in behind if who in self.most), default=None)

    def told(self) -> list[dict[str, Any]]:
        """For the worker's file."""
        return [{"method": method, "check": check, "rows": rows} for (method, check), rows in self.most.items()]

    def sentence(self, error: Exception, *, splits: bool) -> str:
        """An error, with what to do where memory ran out; `splits` says that a block's samples are taken apart."""
        said = f"{type(error).__name__}: {error}"
        if not out_of_memory(error):
            return said
        if not self.allowed:
            return f"{said} Out of memory: {FLAG}"
        return f"{said} Out of memory: {WHOLE[splits]}; choose a smaller batch (in another folder) or a larger device."


def out_of_memory(error: BaseException | None) -> bool:
    """Whether memory ran out: an error that says so, or one that such an error led to."""
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            return True
        if isinstance(error, RuntimeError) and any(words in str(error) for words in CPU):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def splits(recipe: Any) -> bool:
    """Whether a method's maps may be made for some of a block's samples at a time: each of ours sees one by itself.

    Somebody else's may draw for all samples together, and what is given is read, not computed.
    """
    return isinstance(recipe, Method) and foreign.is_ours(recipe) and not isinstance(recipe, Given)


def portions(block: Block, rows: int, explain: Callable[[Block], Explanation]) -> Explanation:
    """The maps and diagnostics of a block's samples, `rows` samples at a time."""
    found: list[Explanation] = []
    for some in torch.split(torch.arange(len(block.inputs), device=block.inputs.device), rows):
        part = replace(block, model=select(block.model, some), inputs=block.inputs[some], targets=block.targets[some])
        found.append(explain(part))
    said: Mapping[str, Tensor] = {
        name: torch.cat([one.diagnostics[name] for one in found]) for name in found[0].diagnostics
    }
    return Explanation(torch.cat([one.maps for one in found]), dict(said))
