"""How far an audit is and how long it will still take."""

from collections.abc import Callable
from typing import Any, Self

from rich.progress import TaskID

from heatproof import progress
from heatproof.auditing import learning
from heatproof.auditing.lines import console, duration, shown
from heatproof.auditing.maps_needed import methods_needed
from heatproof.auditing.plan import Missing, Plan, distinct


class Progress:
    """Counts maps and the work of checks, in passes of a block. Shown on standard error, the estimate first.

    Whoever listens (`heatproof.progress`) is told the same, in passes of one sample.
    """

    def __init__(self, plan: Plan, missing: Missing, seconds_a_pass: float, *, show: bool) -> None:
        self._console = console(show=show)
        maps, total, of_checks = 0, 0.0, 0.0
        for ids, blocks in distinct(missing).items():
            needed = [m.label for some in methods_needed(plan, plan.asked(ids)).values() for m in some]
            works = {
                (one.check, one.state, label)
                for one in plan.asked(ids)
                for label in ("", *([] if one.other else [one.method]))
            }
            maps += blocks * len(needed)
            total += blocks * sum(plan.passes[label] for label in needed)
            of_checks += blocks * sum(plan.passes_of_checks[work] for work in works)
        total += of_checks
        of_fits = learning.cost(plan, missing) / plan.batch
        self.estimate: dict[str, Any] = {
            "maps": maps * plan.batch,
            "passes": round((total + of_fits) * plan.batch),
            "passes of checks": round(of_checks * plan.batch),
            "passes of fits": round(of_fits * plan.batch),
            "seconds": (total + of_fits) * seconds_a_pass,
        }
        self._bar = shown(show=show)
        self._task = self._bar.add_task("attributions", total=total)
        self._counting = progress.count(total * plan.batch)
        self._batch = plan.batch
        self._fit: TaskID | None = None

    def __enter__(self) -> Self:
        if self.estimate["maps"]:
            took = duration(self.estimate["seconds"])
            self._console.print(f"{self.estimate['maps']:,} maps to compute, about {took} at this machine's pace.")
            self._bar.start()
        self._tick = self._counting.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._counting.__exit__(*error)
        self._bar.stop()

    def fitting(self, label: str, batches: int) -> Callable[[], None]:
        """What a fit of the method `label` calls for each of so many batches."""

        def read() -> None:
            if self._fit is None:
                self._fit = self._bar.add_task(f"fitting {label}", total=batches)
            self._bar.advance(self._fit)

        self._end_fit()
        return read

    def computed(self, label: str, passes: float) -> None:
        """One more block of maps by the method `label`, or of work by the check, which so many passes took."""
        self._end_fit()
        self._bar.update(self._task, advance=passes, description=label)
        self._tick(passes * self._batch, label)

    def _end_fit(self) -> None:
        if self._fit is not None:
            self._bar.remove_task(self._fit)
            self._fit = None
