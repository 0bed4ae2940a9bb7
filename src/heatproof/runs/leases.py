"""Who is at what: hints that keep two from doing the same. What they do is right without them.

A lease is a file that its holder changes every few seconds. Who finds one looks whether it changes, by his own steady
clock: no two machines' clocks are compared, and a clock that is set back does nothing. On one machine a holder that is
gone is known at once.
"""

import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from heatproof.errors import HeatproofError, StoreError
from heatproof.runs.files import Files
from heatproof.runs.store import LEASES

RUN = "run"  # who holds it is alone with the run
BEAT = 2.0  # seconds between two signs of life
GONE = 60.0  # seconds without one after which a holder counts as gone


def process() -> dict[str, Any]:
    """What this process is known by: a number that comes again on another machine, or after a start, is no other's."""
    return {"host": platform.node(), "boot": _boot(), "pid": os.getpid(), "start": _start(os.getpid())}


class Lease:
    """A claim on a piece of work, held until it is left or the process ends."""

    def __init__(self, files: Files, name: str, holder: str) -> None:
        self.files, self.file, self.holder = files, f"{LEASES}/{name}.json", holder
        self._beats, self._over = 0, threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> bool:
        """Claim it, if nobody holds it."""
        if not self.files.create(self.file, self._content()):
            return False
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()
        return True

    def leave(self) -> None:
        """Let go."""
        if self._thread is not None:
            self._over.set()
            self._thread.join()
            self._thread = None
            with suppress(OSError, HeatproofError):  # the folder may be gone; the lease dies by itself
                if (found := standing(self.files, self.file)) is None or found.get("holder") == self.holder:
                    self.files.remove(self.file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def _content(self) -> bytes:
        return json.dumps({"holder": self.holder, **process(), "beats": self._beats}).encode()

    def _beat(self) -> None:
        while not self._over.wait(getattr(self.files, "beat", BEAT)):
            self._beats += 1
            with suppress(OSError, HeatproofError):  # a disk that is full for a while costs a beat, not the audit
                self.files.replace(self.file, self._content())


class Watch:
    """Looks at leases again and again, and tells which are nobody's any more."""

    def __init__(self, files: Files, clock: Callable[[], float] = time.monotonic) -> None:
        self.files, self.clock = files, clock
        self._seen: dict[str, tuple[Any, float]] = {}

    def free(self, name: str) -> bool:
        """Whether nobody holds a lease, as far as can be told; one whose holder is gone is taken away."""
        file = f"{LEASES}/{name}.json"
        found = standing(self.files, file)
        if found is None:
            self._seen.pop(file, None)
            return True
        if alive(found) is not False and not self._silent(file, found):
            return False
        if standing(self.files, file) == found:  # nobody took it over meanwhile
            self.files.remove(file)
        self._seen.pop(file, None)
        return True

    def holder(self, name: str) -> str:
        """Who holds a lease, for a sentence."""
        found = standing(self.files, f"{LEASES}/{name}.json") or {}
        return f"process {found.get('pid')} on {found.get('host')}" if found else "nobody"

    def surely_held(self, name: str) -> bool:
        """Whether its holder is known to be alive."""
        file = f"{LEASES}/{name}.json"
        found = standing(self.files, file)
        if found is None:
            return False
        before = self._seen.get(file)
        return alive(found) is True or (before is not None and before[0] != found)

    def _silent(self, file: str, found: Mapping[str, Any]) -> bool:
        before = self._seen.get(file)
        if before is None or before[0] != found:
            self._seen[file] = (found, self.clock())
            return False
        return self.clock() - before[1] >= GONE


def alone(files: Files, name: str, holder: str, *, wait: Callable[[float], None] = time.sleep) -> Lease:
    """The lease `name`, for who must have it now; one whose holder gives no sign of life is taken over.

    Raises: StoreError if somebody holds it.
    """
    lease = Lease(files, name, holder)
    while not lease.take():
        wait_for(files, name, wait=wait)
    return lease


def wait_for(files: Files, *names: str, wait: Callable[[float], None] = time.sleep) -> None:
    """Until nobody holds any of these leases, as far as one that gives no sign of life is nobody's.

    Raises: StoreError once somebody is known to hold one.
    """
    watch, left = Watch(files), list(names)
    while left:
        for name in left:
            if watch.surely_held(name):
                raise StoreError(
                    f"Expected {files} to be free, but another process is writing to it ({watch.holder(name)}); wait "
                    "for it."
                )
        left = [name for name in left if not watch.free(name)]
        if left:
            wait(BEAT / 2)


def held(files: Files, prefix: str = "") -> list[str]:
    """The names of all leases that are there."""
    names = [file.removesuffix(".json") for file in files.names(LEASES)]
    return [name for name in names if name.startswith(prefix)]


def standing(files: Files, file: str) -> dict[str, Any] | None:
    """What a lease says; None if there is none. A torn one is nobody's, and says nothing that changes."""
    try:
        found = json.loads(files.read(file))
    except (FileNotFoundError, IsADirectoryError):
        return None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def alive(found: Mapping[str, Any]) -> bool | None:
    """Whether the process that wrote this still runs; None where that cannot be told from here."""
    if found.get("host") != platform.node() or found.get("boot") != _boot() or not _boot():
        return None
    start = _start(int(found["pid"]))
    if start is None or found.get("start") is None:
        return False if not Path(f"/proc/{found['pid']}").exists() else None
    return bool(start == found["start"])


@cache
def _boot() -> str:
    """What tells this start of this machine, and this container, from others; empty where nothing does."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _start(pid: int) -> str | None:
    """When a process of this machine began, in ticks since the machine did; None where that cannot be told."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def fresh() -> str:
    """A name for a holder that no other has."""
    return f"{platform.node() or 'here'}-{os.getpid()}-{secrets.token_hex(3)}"
