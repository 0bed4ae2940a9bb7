"""Ways to run an audit: here, in processes, or as one of many that share a folder."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heatproof.errors import InputError

# By the variable of a place among many: those that say how many there are, and the first place.
SCHEDULERS = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS", ""),
    ("RANK", "WORLD_SIZE", ""),
)


@dataclass(frozen=True, kw_only=True)
class Way:
    """How the blocks of an audit are computed: by default one after the other in this process.

    `devices` has one entry a process, "" for the model's own. `shard` is a share (from 0 on) and how many there are.
    """

    devices: tuple[str, ...] = ()
    shard: tuple[int, int] | None = None
    take: bool = False

    @property
    def shared(self) -> bool:
        """Whether other processes may compute other blocks of the same run meanwhile."""
        return self.shard is not None or self.take

    @classmethod
    def of(
        cls,
        *,
        workers: int | None = None,
        devices: Sequence[str] = (),
        shard: str | None = None,
        take: bool = False,
        out: Any = None,
    ) -> "Way":
        """A way as it was asked for. Raises: InputError for what does not go together."""
        if isinstance(devices, str):
            raise InputError(f"Expected a list of devices, but got {devices!r}; write [{devices!r}].")
        if workers is not None and (type(workers) is not int or workers < 1):
            raise InputError(f"Expected workers to be a whole number from 1 on, but got {workers!r}.")
        if workers and devices and workers != len(devices):
            raise InputError(
                f"Expected one worker a device ({len(devices)}), but got workers = {workers}; leave it out."
            )
        processes = tuple(devices) or ("",) * (workers or 0)
        if take and shard is not None:
            raise InputError("Expected either a shard or take, but got both: a shard has blocks of its own.")
        if (take or shard is not None) and processes:
            raise InputError("Expected either processes or a shard or take, but got both; start several processes.")
        if (take or shard is not None) and out is None:
            raise InputError("Expected a folder that all processes share, but got none; give `out`.")
        return cls(devices=processes, shard=None if shard is None else parsed(shard), take=take)


def parsed(text: str, environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """A share and how many there are: "3/16" is (2, 16), "auto" what a scheduler's variables say, "auto/16" of 16.

    Raises: InputError.
    """
    found = re.fullmatch(r"(\d+|auto)(?:/(\d+))?", str(text).strip())
    if found is None or (found[1] != "auto" and found[2] is None):
        raise InputError(f"Expected a shard such as 3/16, auto or auto/16, but got {text!r}.")
    if found[1] == "auto":
        place, count = _scheduled(environment, None if found[2] is None else int(found[2]))
    else:
        place, count = int(found[1]) - 1, int(found[2])
    if not 0 <= place < count:
        raise InputError(f"Expected a shard from 1/{count} to {count}/{count}, but got {place + 1}/{count}.")
    return place, count


def _scheduled(environment: Mapping[str, str], count: int | None) -> tuple[int, int]:
    for place, many, first in SCHEDULERS:
        if environment.get(place, "").isdigit() and (count or environment.get(many, "").isdigit()):
            start = int(environment.get(first) or 0) if first else 0
            return int(environment[place]) - start, count or int(environment[many])
    names = ", ".join(f"{place} with {many}" for place, many, _ in SCHEDULERS)
    raise InputError(
        f"Expected a scheduler's variables for the shard ({names}), but found none; give it, such as 3/16."
    )
