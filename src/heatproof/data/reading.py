"""How blocks may be read while somebody computes with others."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How blocks may be read ahead; `Blocks` say it in an attribute `reading`, and threads may read those that do not.

    Attributes:
        by: "threads"; "one thread" where code may not run in two at once, as most data sets' may not; "processes".
        workers: how many threads or processes; as many as there are blocks ahead by default. 0 for what is in memory.
        context: how processes are started, as `multiprocessing_context` of a DataLoader.
        begin: called in each process with its number.
        timeout: seconds to wait for a process's block; 0 for ever.
    """

    by: Literal["threads", "one thread", "processes"] = "threads"
    workers: int | None = None
    context: Any = None
    begin: Callable[[int], None] | None = None
    timeout: float = 0
