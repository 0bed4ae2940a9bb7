"""The server: on this machine alone, with an end to every wait. Requests are read whole before a thread takes them."""

import logging
import socket
from collections.abc import Callable
from typing import Any

from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer

from heatproof.errors import InputError
from heatproof.view.access import LOOPBACK
from heatproof.view.application import MOST_BYTES

THREADS, CONNECTIONS = 8, 64
IDLE, PATIENCE = 15, 60  # seconds: of silence, and for one request or answer however it trickles
LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection that remembers since when it has waited for the same thing."""

    waits_for: Any = None
    since = 0.0


class Server(TcpWSGIServer):  # type: ignore[misc]  # as above
    """waitress with one more bound: it ends silent connections, and here those that never finish what they began."""

    channel_class = Channel
    patience, idle = float(PATIENCE), float(IDLE)

    def maintenance(self, now: float) -> None:
        """End connections whose request or answer takes longer than `patience`, or that say nothing for `idle`."""
        for channel in list(self.active_channels.values()):
            waits_for = channel.request or ("answer" if channel.total_outbufs_len else None)
            if waits_for is None or waits_for is not channel.waits_for:
                channel.waits_for, channel.since = waits_for, now
            silent = not channel.requests and channel.last_activity < now - self.idle
            if silent or (waits_for is not None and channel.since < now - self.patience):
                if channel.request is not None and not channel.total_outbufs_len:
                    channel.send(LATE)
                channel.will_close = True


def listen(port: int) -> Server:
    """A server on a port of this machine (0: any that is free) whose `application` is still to be given.

    Raises: InputError for a port that is taken or not allowed.
    """
    logging.getLogger("waitress").setLevel(logging.ERROR)  # it tells of every queue
    try:
        listening = socket.create_server((LOOPBACK, port))
    except OSError as error:
        raise InputError(
            f"Expected a free port, but {port} cannot be listened to ({error.strerror or error}); give another --port."
        ) from None
    return Server(
        None,
        _sock=listening,
        bind_socket=False,
        sockinfo=(listening.family, listening.type, listening.proto, listening.getsockname()),
        ident="heatproof",
        threads=THREADS,
        connection_limit=CONNECTIONS,
        channel_timeout=IDLE,
        cleanup_interval=1,
        max_request_header_size=2**14,
        max_request_body_size=MOST_BYTES,
        outbuf_high_watermark=2**28,  # a slow reader keeps no thread waiting
    )


def serve(server: Server, started: Callable[[], None], ended: Callable[[], None]) -> None:
    """Answer until Ctrl-C."""
    started()
    try:
        server.run()
    finally:
        ended()
        server.task_dispatcher.shutdown()
        server.close()
