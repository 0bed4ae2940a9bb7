"""Ways to run an audit: here, in processes, on a Ray cluster, or as one of many that share a folder."""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from heatproof.errors import InputError, unknown

ENGINES = ("local", "processes", "ray")

# By the variable of a place among many: those that say how many there are, and the first place.
SCHEDULERS = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS", ""),
    ("RANK", "WORLD_SIZE", ""),
)


class Build(Protocol):
    """What a worker builds the network from, in the place of one that is sent. It can be sent itself."""

    def code(self) -> AbstractContextManager[None]:
        """In here its code may be loaded."""

    def network(self) -> nn.Module:
        """The network."""


@dataclass(frozen=True, kw_only=True)
class Actors:
    """Workers of a Ray cluster: the one at an address, or with None one of this machine's own, started for the audit.

    `cpus` and `gpus` are what each asks the cluster for; as many CPUs as the plan has threads by default. Threads are
    the plan's, whatever is asked for.
    """

    workers: int
    address: str | None = None
    gpus: float = 0
    cpus: float | None = None
    build: Build | None = None

    @property
    def threads(self) -> int:
        """Those of each where nobody says it: its CPUs, or its share of this machine where the cluster is of that."""
        if self.cpus is not None:
            return max(1, int(self.cpus))
        return 1 if self.address is not None else max(1, torch.get_num_threads() // self.workers)


@dataclass(frozen=True, kw_only=True)
class Way:
    """How the blocks of an audit are computed: by default one after the other in this process.

    `devices` has one entry a process, "" for the model's own. `shard` is a share (from 0 on) and how many there are.
    """

    devices: tuple[str, ...] = ()
    shard: tuple[int, int] | None = None
    take: bool = False
    actors: Actors | None = None

    @property
    def shared(self) -> bool:
        """Whether other processes may compute other blocks of the same run meanwhile."""
        return self.shard is not None or self.take

    @property
    def elsewhere(self) -> bool:
        """Whether others compute the blocks that this process hands out."""
        return bool(self.devices) or self.actors is not None

    @classmethod
    def of(
        cls,
        *,
        workers: int | None = None,
        devices: Sequence[str] = (),
        shard: str | None = None,
        take: bool = False,
        engine: str | None = None,
        address: str | None = None,
        gpus: float | None = None,
        cpus: float | None = None,
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
        if engine is not None and engine not in ENGINES:
            raise unknown("engine", engine, ENGINES)
        if engine == "ray":
            if devices or take or shard is not None:
                raise InputError(
                    "Expected the engine ray alone, but got devices, a shard or take, too; leave them out."
                )
            return cls(actors=_actors(workers, address, gpus, cpus))
        if (address, gpus, cpus) != (None, None, None):
            raise InputError('Expected address, gpus and cpus with engine = "ray" only; say so, or leave them out.')
        if engine == "local" and (workers or devices):
            raise InputError("Expected no workers or devices with the engine local, which is this process alone.")
        if engine == "processes" and not (workers or devices):
            raise InputError("Expected workers or devices with the engine processes, to know how many; give one.")
        processes = tuple(devices) or ("",) * (workers or 0)
        if take and shard is not None:
            raise InputError("Expected either a shard or take, but got both: a shard has blocks of its own.")
        if (take or shard is not None) and processes:
            raise InputError("Expected either processes or a shard or take, but got both; start several processes.")
        if (take or shard is not None) and out is None:
            raise InputError("Expected a folder that all processes share, but got none; give `out`.")
        return cls(devices=processes, shard=None if shard is None else parsed(shard), take=take)


def _actors(workers: int | None, address: str | None, gpus: float | None, cpus: float | None) -> Actors:
    if workers is None:
        raise InputError("Expected workers with the engine ray, to know how many, but got none; such as workers = 4.")
    for name, value, least in (("gpus", gpus, "0 on"), ("cpus", cpus, "above 0")):
        fits = value is None or (
            type(value) in (int, float) and 0 <= value < float("inf") and (value or name == "gpus")
        )
        if not fits:
            raise InputError(f"Expected {name} to be a number {least}, for each worker, but got {value!r}.")
    if gpus is not None and gpus > 1 and gpus != int(gpus):
        raise InputError(f"Expected gpus to be a whole number, or a part of one GPU, but got {gpus!r}.")
    if address is not None and (not isinstance(address, str) or not address.strip()):
        raise InputError(f"Expected the address of a Ray cluster, such as auto, but got {address!r}.")
    named = address or os.environ.get("RAY_ADDRESS") or None  # as Ray's own tools set it
    return Actors(
        workers=workers,
        address=None if named == "local" else named,
        gpus=gpus or 0,
        cpus=cpus,
    )


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
