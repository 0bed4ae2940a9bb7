"""Progress as a person sees it: a bar in a terminal; in a notebook one line that is written over, and goes at the end.

Rich's bars need widgets in a notebook, and warn where there are none.
"""

import sys
import time
from collections.abc import Sequence
from typing import Any, Protocol, TextIO, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn, track

T = TypeVar("T")
EVERY = 0.2  # seconds between two writings
NOTEBOOKS = ("ZMQInteractiveShell", "Shell")  # Jupyter's, and Colab's


class Shown(Protocol):
    """What shows how far tasks are."""

    def add_task(self, description: str, *, total: float) -> TaskID: ...

    def update(self, task_id: TaskID, *, advance: float, description: str) -> None: ...

    def advance(self, task_id: TaskID, advance: float = 1) -> None: ...

    def remove_task(self, task_id: TaskID) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    found = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(found).__name__ in NOTEBOOKS


def console(*, show: bool = True) -> Console:
    """Standard error; in a notebook nothing is said beside the line, as a run shows itself there."""
    return Console(stderr=True, quiet=not show or in_notebook())


def shown(*, show: bool) -> Shown:
    """What shows progress where this process runs."""
    if in_notebook():
        return OneLine(show=show)
    return Progress(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console(show=show),
        transient=True,
        speed_estimate_period=600,
        refresh_per_second=1 / EVERY,
        disable=not show,  # or a thread would draw what nobody sees, ten times a second
    )


def following(items: Sequence[T], description: str, *, show: bool) -> Any:
    """The items, while it is shown how many of them are done."""
    if not in_notebook():
        return track(items, description=description, console=console(), transient=True, disable=not show)
    return _followed(items, OneLine(show=show), description)


def _followed(items: Sequence[T], line: "OneLine", description: str) -> Any:
    task = line.add_task(description, total=len(items))
    line.start()
    try:
        for item in items:
            yield item
            line.advance(task)
    finally:
        line.stop()


class OneLine:
    """The task that was added last as `what 45 %, 12 s left`, over what stood there before."""

    def __init__(self, *, show: bool = True, stream: TextIO | None = None) -> None:
        self._show, self._stream = show, stream
        self._tasks: dict[TaskID, tuple[str, float, float]] = {}  # description, total, done
        self._began, self._said, self._wide = time.monotonic(), 0.0, 0

    def add_task(self, description: str, *, total: float) -> TaskID:
        """A task that is not begun."""
        task = TaskID(max(self._tasks, default=-1) + 1)
        self._tasks[task] = description, total, 0.0
        return task

    def update(self, task_id: TaskID, *, advance: float, description: str) -> None:
        """So much more is done, of what is called otherwise now."""
        _, total, done = self._tasks[task_id]
        self._tasks[task_id] = description, total, done + advance
        self._write()

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """So much more is done."""
        self.update(task_id, advance=advance, description=self._tasks[task_id][0])

    def remove_task(self, task_id: TaskID) -> None:
        """A task that is shown no more."""
        self._tasks.pop(task_id, None)

    def start(self) -> None:
        """From here on time is counted."""
        self._began = time.monotonic()

    def stop(self) -> None:
        """Take the line away."""
        if self._wide:
            self._put("\r" + " " * self._wide + "\r")
        self._wide = 0

    def _write(self) -> None:
        now = time.monotonic()
        if not self._show or not self._tasks or now - self._said < EVERY:
            return
        description, total, done = self._tasks[max(self._tasks)]
        share, past = min(1.0, done / total) if total else 1.0, now - self._began
        left = f", {duration(past * (1 - share) / share)} left" if share > 0 else ""
        text = f"{description} {100 * share:.0f} %{left}"
        self._put("\r" + text.ljust(self._wide))
        self._wide, self._said = max(self._wide, len(text)), now

    def _put(self, text: str) -> None:
        stream = self._stream or sys.stdout
        stream.write(text)
        stream.flush()


def duration(seconds: float) -> str:
    """Seconds as a person would say them."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
