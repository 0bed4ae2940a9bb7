"""What every case of the fuzzing suite is held to: an end in time, in memory, by an error of ours or by none."""

import resource
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from heatproof.errors import HeatproofError

SECONDS = 20
MEMORY = 2**30  # bytes of this process more than before a suite began


class TooLongError(BaseException):
    """No `except Exception` takes it for an answer."""


@contextmanager
def in_time(seconds: float = SECONDS) -> Iterator[None]:
    """An end within so many seconds."""

    def strike(*_: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def memory() -> int:
    """The most memory that this process had so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def wrong(call: Callable[[], object]) -> str:
    """What is wrong with how a call ended: "" for nothing."""
    try:
        with in_time(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except HeatproofError as error:
        said = str(error)
        return "" if len(said) > 20 and "\0" not in said else f"an error that says nothing: {said!r}"
    except TooLongError:
        return f"no end within {SECONDS} s"
    except BaseException as error:  # whatever else
        return f"{type(error).__name__}: {str(error)[:200]}"
    return ""
