"""`run.plot`: a run's figures by matplotlib, in a notebook or a script."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from heatproof.errors import unknown
from heatproof.reading import Verdicts
from heatproof.report.every import figures_of, strokes_of
from heatproof.report.figures import Figure
from heatproof.report.plotting import draw
from heatproof.report.shown import Shown
from heatproof.runs import read

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawn


class Plots:
    """The figures of a run, each a `matplotlib.figure.Figure`: `run.plot("depends")`, `run.plot.depends()`.

    `run.plot.names` lists them: a name a question that was asked, a check's own figures, a randomization and measure,
    agreement, cost against belief, structure. Needs the extra `plot`.
    """

    def __init__(self, run: Path) -> None:
        self._run = run

    @property
    def names(self) -> list[str]:
        """Every figure of this run."""
        return list(self._figures)

    def __call__(self, name: str) -> "Drawn":
        """A figure by name. Raises: UnknownNameError for one that this run has not; MissingExtraError."""
        if name not in self._figures:
            raise unknown("figure of this run", name, self._figures)
        return draw(self._figures[name], strokes_of(self._verdicts))

    def __getattr__(self, name: str) -> "_Plot":
        wanted = name.replace("_", "-")
        if name.startswith("__") or wanted not in self._figures:
            raise AttributeError(f"This run has no figure {wanted!r}; it has: {', '.join(self._figures)}.")
        return _Plot(self, wanted)

    def __dir__(self) -> list[str]:
        return ["names", *(name.replace("-", "_") for name in self._figures)]

    @cached_property
    def _verdicts(self) -> Verdicts:
        return read(self._run, Verdicts.of)

    @cached_property
    def _figures(self) -> dict[str, Figure]:
        return figures_of(self._verdicts, Shown.of(self._run, self._verdicts.evidence.info.manifest))


class _Plot:
    """One figure, drawn when it is called."""

    def __init__(self, plots: Plots, name: str) -> None:
        self._plots, self._name = plots, name

    def __call__(self) -> "Drawn":
        return self._plots(self._name)
