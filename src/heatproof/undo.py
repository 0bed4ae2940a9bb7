"""What is changed for a while is changed back, whatever interrupts: Ctrl-C, an alarm, an error in the middle of it."""

import threading
import traceback
from collections.abc import Callable, Generator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from heatproof import signals

_TRIES = 8  # after so many errors on the way back it is the way back itself that fails

_open: dict[int, list["Undoing"]] = {}  # what is changed now, by thread, the last change last


class _WayBack:
    """The method `__exit__`, as a call that begins in C and comes to Python within a `try`.

    Where a function begins, before any `try` of it, Python looks for interrupts: a method would be broken off there,
    and nothing be undone. So a generator waits within a `try`, and `max` sends it the arguments, one after the other,
    as if to ask for their keys. These are all equal: it returns the first one, False, and errors go their way.
    """

    def __get__(self, one: "Undoing | None", owner: type["Undoing"]) -> Callable[..., object]:
        if one is None:  # contextlib's ExitStack asks the class
            return lambda one, *error: one.__exit__(*error)
        waiting = _way_back(one)
        next(waiting)
        return partial(max, False, key=waiting.send)


def _way_back(one: "Undoing") -> Generator[int, Any, None]:
    kind = error = first = None
    try:
        yield 0
        kind = yield 0
        error = yield 0
        yield 0
    except GeneratorExit:  # it was asked for, and not called
        return
    except BaseException as interrupt:
        first = interrupt
    tries = 0
    while True:
        try:
            main = signals.in_main_thread()
            if main:
                signals.hold(one)
            one.left_by = kind
            interrupted = first is not None or _is_interrupt(error)
            if interrupted:
                _close(error)
            # What others entered meanwhile and have not left is theirs, unless an interrupt kept them from it.
            _leave(one, all_above=one.bounds or interrupted)
            if interrupted:  # it may have met the end of a no_grad
                torch.set_grad_enabled(one.gradients)
            one._left(error)
            if main and not _open[threading.get_ident()]:
                signals.unwatch()
            break
        except BaseException as interrupt:
            first = first or interrupt
            tries += 1
            if tries == _TRIES:
                signals.let_go(one)
                raise
    if main:
        signals.let_go(one)
        signals.deliver()
    if first is not None:
        raise first
    yield 0


class Undoing:
    """A context that changes something, `_change`, and on leaving it changes all of it back, `_undo`.

    An interrupt on the way back waits until everything is back: signals are held, and what another thread raises here
    begins it again; so `_undo` must bear to be run again, after it was broken off anywhere. What was kept from being
    left nevertheless, such as a generator's context around it, is undone with the next one around.
    """

    bounds = False  # whether nothing that is entered in it can outlive it
    gradients = True  # whether they were recorded when it was entered
    left_by: type[BaseException] | None = None  # the kind of error that it is being left by

    def _change(self) -> None:
        """What is done on entering; broken off, it is undone."""

    def _undo(self) -> None:
        """The way back, from wherever the change was broken off."""

    def _left(self, error: BaseException | None) -> None:
        """What there is to say when all is back."""

    def __enter__(self) -> Any:
        stack = _open.setdefault(threading.get_ident(), [])
        self.gradients = torch.is_grad_enabled()
        try:
            stack.append(self)
            if signals.in_main_thread():
                signals.watch()
            self._change()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    if TYPE_CHECKING:

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None: ...
    else:
        __exit__ = _WayBack()


class undone(Undoing):  # noqa: N801  # reads like contextlib's own
    """`undo()` on leaving, whatever happens; it must bear to be run again. `change()` is run on entering."""

    def __init__(self, undo: Callable[[], object], change: Callable[[], object] | None = None) -> None:
        self._call, self._first = undo, change

    def _change(self) -> None:
        if self._first is not None:
            self._first()

    def _undo(self) -> None:
        self._call()


class hooked(Undoing):  # noqa: N801  # as above
    """Forward hooks, each as (module, hook, settings of its registration): with `before` it runs before the module."""

    def __init__(self, *hooks: tuple[nn.Module, Callable[..., Any], dict[str, Any]]) -> None:
        self._hooks = hooks

    def _change(self) -> None:
        for module, hook, settings in self._hooks:
            others = {name: value for name, value in settings.items() if name != "before"}
            register = module.register_forward_pre_hook if settings.get("before") else module.register_forward_hook
            register(hook, **others)

    def _undo(self) -> None:
        for module, hook, _ in self._hooks:
            for kind in ("_forward_pre_hooks", "_forward_hooks"):
                held: dict[int, Any] = getattr(module, kind)
                for key in [key for key, each in held.items() if each is hook]:
                    for part in ("", "_with_kwargs", "_always_called"):
                        getattr(module, kind + part, {}).pop(key, None)
                    held.pop(key, None)


def is_open(kind: type[Undoing]) -> bool:
    """Whether something of this kind is changed now, in this thread."""
    return any(isinstance(one, kind) for one in _open.get(threading.get_ident(), ()))


def interrupt_behind(error: BaseException) -> BaseException | None:
    """The interrupt that led to an error, if one did.

    What an interrupt keeps from being left may break what is left after it: torch's modes, one inside the other.
    """
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, KeyboardInterrupt | SystemExit):
        behind = behind.__context__
    return behind


def _is_interrupt(error: BaseException | None) -> bool:
    if error is None or isinstance(error, GeneratorExit):
        return False
    return not isinstance(error, Exception) or interrupt_behind(error) is not None


def _close(error: BaseException | None) -> None:
    """Close the generators that an interrupt kept from it now, not when its traceback goes: torch's contexts are some.

    The frames in which it was raised lose their variables by that.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def _leave(one: Undoing, *, all_above: bool) -> None:
    stack = _open.setdefault(threading.get_ident(), [])
    while any(each is one for each in stack):
        last = stack[-1] if all_above else one
        last._undo()
        stack[:] = [each for each in stack if each is not last]
