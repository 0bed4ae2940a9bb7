"""Signals while something is to be undone: one that comes on a way back waits for the end of it."""

import _signal  # under `signal`, at a tenth of the cost; typeshed lacks it
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

# Those that Python code may handle, which may raise anywhere.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2")
_NUMBERS = [int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name)]

_own: dict[int, Callable[[int, FrameType | None], Any]] = {}  # who handles them, while `_received` does
_waiting: list[int] = []
_ways_back: list[object] = []


def in_main_thread() -> bool:
    """Whether this is the thread in which Python handles signals."""
    return threading.get_ident() == threading.main_thread().ident


def watch() -> None:
    """From here on it is seen where a signal comes; to be called in the main thread."""
    for number in _NUMBERS:
        handler = _signal.getsignal(number)
        if callable(handler) and handler is not _received:
            _own[number] = handler
            _signal.signal(number, _received)


def unwatch() -> None:
    """Everybody handles his own again."""
    for number, handler in _own.items():
        if _signal.getsignal(number) is _received:
            _signal.signal(number, handler)
    _own.clear()


def hold(way_back: object) -> None:
    """Signals wait."""
    if not any(each is way_back for each in _ways_back):
        _ways_back.append(way_back)


def let_go(way_back: object) -> None:
    """Signals wait no longer for this one."""
    _ways_back[:] = [each for each in _ways_back if each is not way_back]


def deliver() -> None:
    """Handle those that waited, unless another way back is still to end."""
    while _waiting and not _ways_back:
        signal.raise_signal(_waiting.pop(0))


def _received(number: int, frame: FrameType | None) -> None:
    if _ways_back:
        _waiting.append(number)
    elif number in _own:
        _own[number](number, frame)
