"""A Ray cluster, for as long as an audit takes: the one that is there, or one of our own, closed to others."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

from heatproof import signals
from heatproof.auditing.engines import keeper
from heatproof.auditing.ways import Actors
from heatproof.errors import InputError, MissingExtraError

ROOM = 128 * 2**20  # bytes of Ray's object store, beside the audit that is sent: nothing else goes through it


@contextlib.contextmanager
def environment(address: str | None) -> Iterator[None]:
    """No telemetry, and no upload of the working folder; a cluster of ours listens on this machine alone.

    A name that is set already is somebody's wish. Ray guards a cluster of ours by a token, which is not kept in a file.
    """
    wanted = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    if address is None:  # the first is Ray's switch for loopback addresses, on any system
        wanted |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_TOKEN": _token()}
    before = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    os.environ.update(wanted | before)
    try:
        yield
    finally:
        for name in [one for one in os.environ if one.startswith("RAY_") and one not in before]:
            del os.environ[name]


@cache
def _token() -> str:
    """One a process, because Ray reads it once."""
    return secrets.token_hex(32)


def imported() -> Any:
    """Ray. Raises: MissingExtraError."""
    try:
        with _as_it_was():
            import ray
    except ImportError as error:
        if error.name not in (None, "ray"):  # it is there, and something that it needs is not
            raise
        raise MissingExtraError("ray", "ray", "The engine ray") from None
    return ray


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """Ray puts its own handler of SIGTERM in the place of ours; in here it may, and afterwards ours is back."""
    main = signals.in_main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if main and before is not None:
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def connected(ray: Any, asked: Actors, size: int) -> Iterator[None]:
    """The cluster that this process is in, the one that was named, or one of our own, which ends with this."""
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    with contextlib.ExitStack() as stack:
        if asked.address is not None:
            with _as_it_was():
                _joined(ray, asked.address, quiet)
        else:
            # A short path, because sockets lie in it.
            place = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="hp-ray-", dir=_short(), ignore_cleanup_errors=True)
            )
            stack.enter_context(_kept(place))
            stack.callback(ray.shutdown)  # whatever of it has been started when somebody interrupts
            with _as_it_was():
                ray.init(
                    address="local",
                    num_cpus=ceil(asked.workers * (asked.cpus or 1)),
                    num_gpus=None if asked.gpus else 0,
                    object_store_memory=ROOM + 2 * size,
                    include_dashboard=False,
                    _temp_dir=place,
                    **quiet,
                )
            _check_room(ray, asked)
        stack.callback(ray.shutdown)
        yield


@contextlib.contextmanager
def _kept(place: str) -> Iterator[None]:
    """Nothing of the cluster outlives this process, whatever kills it, where the system tells who has what open."""
    if not Path("/proc/self/fd").is_dir():
        yield
        return
    command = [sys.executable, "-I", "-S", keeper.__file__, place, str(os.getsid(0))]
    # A session of its own: Ctrl-C, and who ends the whole session, are not meant for it.
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as keeping:
        assert keeping.stdin is not None
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # somebody has ended it
                keeping.stdin.write(b"in order")
                keeping.stdin.close()


def _joined(ray: Any, address: str, quiet: dict[str, Any]) -> None:
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(
            f"Expected a Ray cluster at {address!r}, but cannot join it: {str(error).splitlines()[0]} Start one with "
            "`ray start --head`, or leave the address out for one on this machine."
        ) from error


def _short() -> str | None:
    return "/tmp" if Path("/tmp").is_dir() else None


def _check_room(ray: Any, asked: Actors) -> None:
    """Of a cluster of ours, which does not grow."""
    there = ray.cluster_resources().get("GPU", 0)
    if asked.gpus * asked.workers > there:
        raise InputError(
            f"Expected a GPU for {asked.workers} workers with gpus = {asked.gpus:g} each, but this machine has "
            f"{there:g}; ask for fewer, or name a cluster by its address (--address auto)."
        )
