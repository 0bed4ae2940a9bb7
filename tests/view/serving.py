"""A server in a thread of the tests, and raw requests to it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Served(NamedTuple):
    """A server that answers, and what opens it."""

    port: int
    token: str
    folder: Path

    @property
    def cookie(self) -> str:
        return f"Cookie: heatproof-{self.port}={self.token}\r\n"

    def raw(self, sent: bytes, *, seconds: float = 10) -> bytes:
        """What comes back for these bytes, until the connection ends or nothing comes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            with suppress(ConnectionResetError, BrokenPipeError):
                connection.sendall(sent)
            return everything(connection)

    def get(self, path: str, *, method: str = "GET", host: str = "", headers: str = "", body: bytes = b"") -> bytes:
        """The answer to a request that brings the cookie, unless other headers are given."""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        host = host or f"127.0.0.1:{self.port}"
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers or self.cookie}{length}\r\n"
        return self.raw(head.encode() + body)

    def lives(self) -> bool:
        return self.get("/").startswith(b"HTTP/1.1 200")


def everything(connection: socket.socket) -> bytes:
    found = b""
    try:
        while part := connection.recv(2**16):
            found += part
    except (TimeoutError, ConnectionResetError):
        pass
    return found


def served(folder: Path, **more: object) -> Iterator[Served]:
    """A server on a free port, in a thread of this process; small waits, so that tests need not wait."""
    from heatproof.view.access import Access
    from heatproof.view.application import Application
    from heatproof.view.runs import Runs
    from heatproof.view.server import listen

    server = listen(0)
    server.patience, server.idle = 1.5, 1.5
    access = Access(port=int(server.effective_port))
    application = Application(Runs(folder), access, **more)
    server.application = application
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield Served(access.port, access.token, folder)
    application.close()
    server.task_dispatcher.shutdown()
    server.trigger.pull_trigger(server.close)
    thread.join(5)
    assert not thread.is_alive()
