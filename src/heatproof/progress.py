"""How far long work is, for whoever listens: a function that is told, and no display of its own."""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, Protocol, TypeVar

from heatproof.errors import InputError, shown

T = TypeVar("T")


class Step(NamedTuple):
    """So much is done: `done` of `total` passes, or blocks of them; `what` is it, in an audit the method or check."""

    done: float
    total: float
    what: str = ""


Listener = Callable[[Step], object]


class Tick(Protocol):
    """To be called whenever so much more is done."""

    def __call__(self, amount: float = 1.0, what: str = "") -> None: ...


class _Telling:
    """Somebody who listens, and whether work that has a count of its own is going on."""

    def __init__(self, listener: Listener) -> None:
        self.listener, self.counting = listener, False


class _StoppedError(BaseException):
    """What a listener raised, on its way past everybody who takes errors for those of a method or a model."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


_TOLD: ContextVar[_Telling | None] = ContextVar("told", default=None)


@contextmanager
def to(listener: Listener) -> Iterator[None]:
    """Inside, `listener` is told how far a call is that takes several passes, or an audit: after each a `Step`.

    What it raises ends the work. A call of one pass tells nothing. Of work that is made of other work (a mean over
    noise of integrated gradients) the outermost counts.

    Raises: InputError for what cannot be called.
    """
    if not callable(listener):
        raise InputError(f"Expected a function that is told each step, such as print, but got {shown(listener)}.")
    token = _TOLD.set(_Telling(listener))
    try:
        yield
    except _StoppedError as stopped:
        raise stopped.error from None
    finally:
        _TOLD.reset(token)


@contextmanager
def count(total: float) -> Iterator[Tick]:
    """Around work of so many parts: what is to be called after each, which says it to whoever listens, if anybody."""
    telling = _TOLD.get()
    if telling is None or telling.counting:
        yield _unheard
        return
    done, listener = 0.0, telling.listener

    def tick(amount: float = 1.0, what: str = "") -> None:
        nonlocal done
        done += amount
        try:
            listener(Step(done, total, what))
        except Exception as error:
            raise _StoppedError(error) from None

    telling.counting = True
    try:
        yield tick
    finally:
        telling.counting = False


def counted(parts: Collection[T]) -> Iterator[T]:
    """The parts of some work, each said to be done when the next is asked for."""
    with count(len(parts)) as tick:
        yield from ticked(parts, tick)


def ticked(parts: Iterable[T], tick: Tick) -> Iterable[T]:
    """The parts, each said to be done when the next is asked for."""
    return parts if tick is _unheard else _each(parts, tick)


def _each(parts: Iterable[T], tick: Tick) -> Iterator[T]:
    for part in parts:
        yield part
        tick()


def _unheard(amount: float = 1.0, what: str = "") -> None:
    """Nobody listens."""
