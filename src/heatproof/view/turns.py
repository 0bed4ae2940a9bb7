"""One computation at a time, and of each page only what it asked last."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from heatproof import progress
from heatproof.errors import HeatproofError

MOST_PAGES = 5  # that wait at a time: fewer than the server has threads, which wait with them

OVERTAKEN, ENDING = "This page has asked for something else since.", "The server is ending."

T = TypeVar("T")


class OvertakenError(HeatproofError):
    """The page that asked has asked for something else since."""


class BusyError(HeatproofError):
    """Too many pages wait already."""


class Turns:
    """A thread that computes what pages ask, each page's last wish, one after the other.

    A model is randomized in place, so that nobody else may look at it meanwhile. What is being computed ends at its
    next pass if its page asks anew, where it counts passes, and else when it is done.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, tuple[Callable[[], Any], Future[Any]]] = OrderedDict()
        self._change, self._closed = threading.Condition(), False
        self._running, self._stop = "", False
        threading.Thread(target=self._run, name="heatproof view", daemon=True).start()

    def ask(self, page: str, work: Callable[[], T]) -> T:
        """What `work` gives, in its turn.

        Raises: what it raises; OvertakenError if the page asked anew before its turn; BusyError.
        """
        answer: Future[T] = Future()
        with self._change:
            overtaken = self._waiting.pop(page, None)
            if self._closed or len(self._waiting) >= MOST_PAGES:
                raise BusyError("Expected at most a few pages to compute at a time; try again in a moment.")
            self._waiting[page] = (work, answer)
            self._stop = self._stop or page == self._running
            self._change.notify()
        if overtaken is not None:
            overtaken[1].set_exception(OvertakenError(OVERTAKEN))
        return answer.result()

    def close(self) -> None:
        """Nothing more is begun, and who waits is told."""
        with self._change:
            self._closed = True
            waiting = list(self._waiting.values())
            self._waiting.clear()
            self._change.notify()
        for _, answer in waiting:
            answer.set_exception(BusyError(ENDING))

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closed or bool(self._waiting))
                if self._closed:
                    return
                self._running, (work, answer) = self._waiting.popitem(last=False)
                self._stop = False
            try:
                with progress.to(self._go_on):
                    answer.set_result(work())
            except BaseException as error:  # whatever a model or a method raises, the next one has its turn
                answer.set_exception(error)

    def _go_on(self, _: progress.Step) -> None:
        if self._closed:
            raise BusyError(ENDING)
        if self._stop:
            raise OvertakenError(OVERTAKEN)
