"""Actors of Ray: each is handed block after block, on this machine or wherever the cluster has room for one.

Ray's own restarts are off: the driver replaces what has died, so that a block that kills its workers ends as a failure.
Blocks are not Ray's to regroup, because bits depend on who shares a batch. What is finished goes to the run's folder,
which all machines see, and not through Ray.
"""

import contextlib
import io
import os
import pickle
import sys
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from heatproof import __version__
from heatproof.auditing.block import Heard
from heatproof.auditing.engines import cluster
from heatproof.auditing.engines.driver import Driver, Said
from heatproof.auditing.engines.task import Answer, Session, Task
from heatproof.auditing.plan import Missing, Plan
from heatproof.auditing.ways import Actors
from heatproof.auditing.worker import Worker
from heatproof.errors import HeatproofError, InputError, StoreError
from heatproof.fingerprint import network_fingerprint
from heatproof.layouts.seen import network
from heatproof.runs.store import Store

LEAVE = 30.0  # seconds that a worker has to put down its log at the end
PATIENCE = 60.0  # seconds without any worker, after which it is said that the cluster has no room
NETWORK = "network"


def run(worker: Worker, missing: Missing, heard: Heard, asked: Actors, *, mixed: bool = False) -> None:
    """Compute the missing rows in actors, `asked.workers` of them.

    Raises: MissingExtraError without Ray; AuditError after too many failures, or where actors die before they have
        begun; InputError for what cannot be sent, or resources that a cluster of ours does not have; StoreError where
        workers do not see the folder, or have other versions, unless `mixed`.
    """
    _check_device(worker.plan, asked, mixed=mixed)
    cpus = float(torch.get_num_threads()) if asked.cpus is None else asked.cpus
    asked = replace(asked, cpus=cpus)
    with cluster.environment(asked.address):
        ray = cluster.imported()
        sent = _sent(Task.of(worker), asked)
        with cluster.connected(ray, asked, len(sent)):
            crew = _Crew(ray, asked, _Surroundings.here(worker, mixed=mixed), ray.put(sent))
            Driver(worker, missing, heard, crew).run()


def _check_device(plan: Plan, asked: Actors, *, mixed: bool) -> None:
    kind = plan.example.inputs.device.type
    if asked.gpus and kind == "cpu" and not mixed:
        raise StoreError(
            f"Expected a model on a GPU, as gpus = {asked.gpus:g} asks for one for each worker, but it is on the CPU, "
            "where the run begins; the rows' bits depend on it. Load it there (device = \"cuda\" in a spec's [model]), "
            "or say mixed (--mixed) to go on all the same."
        )
    if not asked.gpus and kind != "cpu":
        raise InputError(
            f"Expected gpus for workers whose model is on {kind}, but got none; say how many each may have, such as "
            "gpus = 1 (--gpus 1)."
        )


# What is sent -------------------------------------------------------------------------------------------------------


def _sent(task: Task, asked: Actors) -> bytes:
    """The audit as bytes; of a network that workers build themselves, only that it stands there."""
    from ray import cloudpickle

    built = None if asked.build is None else network(task.plan.model)

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # Ray has no types
        def persistent_id(self, value: Any) -> str | None:
            return NETWORK if built is not None and value is built else None

    written = io.BytesIO()
    try:
        Pickler(written).dump(task)
    except Exception as error:  # whatever somebody's object does not like
        raise InputError(
            f"Expected an audit that can be sent to other machines, but pickling it raised {type(error).__name__}: "
            f"{error}. Leave out what cannot be sent, such as open files and locks, or run it in this process."
        ) from error
    return written.getvalue()


def _received(sent: bytes, built: nn.Module | None) -> Task:
    class Unpickler(pickle.Unpickler):
        def persistent_load(self, name: str) -> Any:
            return built

        def find_class(self, module: str, name: str) -> Any:
            if (module, name) == ("torch.storage", "_load_from_bytes"):  # what tensors are pickled by
                return _here
            return super().find_class(module, name)

    found: Task = Unpickler(io.BytesIO(sent)).load()
    return found


def _here(content: bytes) -> Any:
    """A tensor of whichever GPU on the first one: a worker sees its own alone."""

    def place(storage: Any, location: str) -> Any:
        return storage.cuda(0) if location.startswith("cuda") else storage

    return torch.load(io.BytesIO(content), map_location=place, weights_only=False)


@dataclass(frozen=True)
class _Surroundings:
    """Where an audit was asked for: a worker has them as a process started by this one would."""

    folder: str
    path: tuple[str, ...]
    versions: dict[str, str]
    weights: str
    mixed: bool

    @classmethod
    def here(cls, worker: Worker, *, mixed: bool) -> "_Surroundings":
        return cls(str(Path.cwd()), tuple(sys.path), _versions(), network_fingerprint(worker.plan.model), mixed)

    def enter(self) -> None:
        """Files and modules are found where they were. Raises: StoreError for other versions."""
        for name, ours in _versions().items():
            if ours != self.versions[name] and not self.mixed:
                raise StoreError(
                    f"Expected {name} {self.versions[name]} on every worker, as where the run begins, but one has "
                    f"{ours}; the rows' bits depend on it. Install the same, or say mixed (--mixed)."
                )
        if Path(self.folder).is_dir():
            os.chdir(self.folder)
        sys.path.extend(one or self.folder for one in self.path if (one or self.folder) not in sys.path)

    def check(self, task: Task, *, built: bool) -> None:
        """That files, and a network that was built here, are what they are where the run begins.

        Raises: StoreError, InputError.
        """
        if Store(task.files).question() is None:
            raise StoreError(
                f"Expected a folder that every worker sees, but {task.files} is not there on one of them; choose one "
                "on a disk that all machines share."
            )
        if built and network_fingerprint(task.plan.model) != self.weights:
            raise InputError(
                "Expected the spec to give the same network on every worker, but one built another; are its weights "
                "or its code others there?"
            )


def _versions() -> dict[str, str]:
    return {"heatproof": __version__, "torch": str(torch.__version__)}


# Who computes -------------------------------------------------------------------------------------------------------


class Remote:
    """An actor. It has its audit by a method, because what a constructor was given Ray may lose."""

    def __init__(self) -> None:
        self.open = contextlib.ExitStack()
        self.session: Session | None = None

    def begin(self, around: _Surroundings, asked: Actors, sent: bytes) -> HeatproofError | None:
        """Open the audit; why not, if it cannot be computed here."""
        try:
            around.enter()
            with asked.build.code() if asked.build else contextlib.nullcontext():
                built = asked.build.network() if asked.build else None
                task = _received(sent, built)
            around.check(task, built=built is not None)
            self.session = self.open.enter_context(task.opened("cuda" if asked.gpus else ""))
            self.session.worker.ended = _canceled
        except HeatproofError as error:
            return error
        return None

    def compute(self, block: int, ids: Collection[str]) -> Answer | HeatproofError:
        """The missing rows of a block; why the audit is to stop, if it is."""
        assert self.session is not None
        try:
            return self.session.compute(block, ids)
        except HeatproofError as error:
            return error
        except SystemExit:  # what it had is put down, and nobody waits for an answer
            return Answer((), ())

    def leave(self) -> None:
        """Put down what is left to say."""
        self.open.close()


def _canceled() -> bool:
    """Whether the driver has told the actor that this is called in to end."""
    import ray

    context = ray.get_runtime_context()
    return bool(context.is_canceled()) if hasattr(context, "is_canceled") else False  # some versions do not say


class _Crew:
    """Actors, each with one block in flight."""

    kind, noun = "Actor", "actors"
    hint = "see Ray's own logs, and whether every machine has this version of heatproof."

    def __init__(self, ray: Any, asked: Actors, around: _Surroundings, sent: Any) -> None:
        self.ray, self.asked, self.around, self.sent = ray, asked, around, sent
        self.places = asked.workers
        self.actor = ray.remote(
            num_cpus=asked.cpus, num_gpus=asked.gpus, max_restarts=0, max_task_retries=0, max_concurrency=1
        )(Remote)
        self.living: dict[int, Any] = {}
        self.flight: dict[Any, int] = {}  # by what is awaited, the place
        self.begun: float | None = time.monotonic()  # None: some worker is there, or it was said that none is

    def start(self, place: int) -> None:
        """A fresh actor, to which the audit is sent."""
        self.living[place] = self.actor.remote()
        self.flight[self.living[place].begin.remote(self.around, self.asked, self.sent)] = place

    def give(self, place: int, block: int, ids: Collection[str]) -> None:
        """A block, which is awaited."""
        self.flight[self.living[place].compute.remote(block, ids)] = place

    def heard(self) -> Iterator[Said]:
        """What came; an error of Ray's own is an actor that has died, or is out of reach and is not to come back."""
        ready, _ = self.ray.wait(list(self.flight), num_returns=1, timeout=1.0)
        if not ready and self.begun is not None and time.monotonic() - self.begun > PATIENCE:
            self._tell_of_room()
        for one in ready:
            self.begun = None
            place = self.flight.pop(one)
            try:
                said = self.ray.get(one)
            except self.ray.exceptions.RayError as error:
                yield Said(place, ended=self._buried(place, error))
                continue
            yield Said.of(place, said)

    def _buried(self, place: int, error: Exception) -> str:
        self._kill(self.living.pop(place))
        why = _why(error)
        _tell(f"A Ray worker ended ({why}); what it was at is handed to another.")
        return why

    def _kill(self, actor: Any) -> None:
        with contextlib.suppress(Exception):  # gone already, or its machine is
            self.ray.kill(actor, no_restart=True)

    def _tell_of_room(self) -> None:
        self.begun = None
        free = self.ray.available_resources()
        _tell(
            f"No Ray worker could begin in {PATIENCE:.0f} s: each asks for {self.asked.cpus or 1:g} CPUs and "
            f"{self.asked.gpus:g} GPUs, and free are {free.get('CPU', 0):g} and {free.get('GPU', 0):g}. Waiting."
        )

    def stop(self) -> None:
        """Ray cannot interrupt a method, but tell it: they put down what they have at the end of a state."""
        for one in self.flight:
            with contextlib.suppress(Exception):  # it has ended, or its machine is gone
                self.ray.cancel(one)

    def end(self) -> None:
        """They say what is left to say, and go; who takes longer loses what was not put down."""
        leaving = [actor.leave.remote() for actor in self.living.values()]
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.wait(leaving, num_returns=len(leaving), timeout=LEAVE) if leaving else None
        while self.living:
            self._kill(self.living.popitem()[1])


def _why(error: Exception) -> str:
    """Ray's reason in one line, without its advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in lines if "died" in line or "dead" in line or "node" in line.lower()), "")
    said = (said or (lines or [""])[-1]).split(". Some common causes")[0]
    return f"{type(error).__name__}: {said.rstrip('.')}"[:300]


def _tell(line: str) -> None:
    Console(stderr=True).print(line, highlight=False, markup=False, soft_wrap=True)
