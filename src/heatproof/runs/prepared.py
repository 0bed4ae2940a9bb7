"""What a run needs before its blocks, handed on through its folder: to machines that have no cache in common."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from heatproof.runs.blocks import digest_of
from heatproof.runs.files import Files
from heatproof.runs.leases import BEAT, Lease, Watch
from heatproof.runs.store import PREPARED


class Prepared:
    """Fits and networks that were trained, by name: one process makes each, under a lease, and the others read it.

    They lie in the run's folder until it is complete.
    """

    def __init__(self, files: Files, holder: str, wait: Callable[[float], None] = time.sleep) -> None:
        self.files, self.holder, self.wait = files, holder, wait
        self._there: set[str] = set()  # a name that was seen stays, as long as anybody needs it

    def has(self, name: str) -> bool:
        """Whether it is there."""
        if name not in self._there and name in self.files.names(PREPARED, name):
            self._there.add(name)
        return name in self._there

    def read(self, name: str) -> bytes | None:
        """Its content; None if it is not there."""
        try:
            return self.files.read(f"{PREPARED}/{name}")
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes, *, anew: bool = False) -> None:
        """Hand it on: who was first is read by all, unless what he left is damaged (`anew`)."""
        put = self.files.replace if anew else self.files.create
        put(f"{PREPARED}/{name}", content)
        self._there.add(name)

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """While nobody else makes it: waits for who does, until he has, or gives no sign of life."""
        lease, watch = Lease(self.files, f"prepared-{digest_of([name])}", self.holder), Watch(self.files)
        while not lease.take():
            if not watch.free(f"prepared-{digest_of([name])}"):
                self.wait(BEAT / 2)
        with lease:
            yield

    def clear(self) -> None:
        """Let go of all: the run is complete."""
        for name in self.files.names(PREPARED):
            self.files.remove(f"{PREPARED}/{name}")
