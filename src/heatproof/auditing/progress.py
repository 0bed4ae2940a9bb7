"""How far an audit is and how long it will still take."""

from collections.abc import Collection
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from heatproof.auditing.block import methods_needed
from heatproof.auditing.plan import Plan


class Progress:
    """Counts maps, weighed by the passes that each costs. Shown on standard error, the estimate first."""

    def __init__(self, plan: Plan, missing: Collection[str], seconds_a_pass: float, *, show: bool) -> None:
        self._console = Console(stderr=True, quiet=not show)
        self._passes = plan.passes
        maps = [
            method.label
            for block in plan.blocks
            for methods in methods_needed(plan, block, missing).values()
            for method in methods
        ]
        total = sum(self._passes[label] for label in maps)
        self.estimate: dict[str, Any] = {
            "maps": len(maps) * plan.batch,
            "passes": round(total * plan.batch),
            "seconds": total * seconds_a_pass,
        }
        self._bar = Bar(
            TextColumn("[progress.description]{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            transient=True,
            speed_estimate_period=600,
        )
        self._task = self._bar.add_task("attributions", total=total)

    def __enter__(self) -> Self:
        if self.estimate["maps"]:
            took = duration(self.estimate["seconds"])
            self._console.print(f"{self.estimate['maps']:,} maps to compute, about {took} at this machine's pace.")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def computed(self, label: str, seconds: float) -> None:
        """One more block of maps by the method `label`."""
        self._bar.update(self._task, advance=self._passes[label], description=label)


def duration(seconds: float) -> str:
    """Seconds as a person would say them."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
