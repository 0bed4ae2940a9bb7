"""Tables of the results pages: a line a method, the paper's figures beside ours with their intervals."""

from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd

from heatproof.papers.measure import NoRowsError, Pick, Results
from heatproof.papers.paper import Sheet, excused

BLANK = "–"
Cell = Pick | str


def figures(
    *, name: str, caption: str, step: str, lines: Mapping[str, Sequence[Cell]], columns: Sequence[str], digits: int = 3
) -> Sheet:
    """A table of figures: in each line a cell a column, text as it stands, or the mean of a pick with its interval.

    What was not measured is a dash. The first of `columns` is the name of the lines.
    """
    for line, cells in lines.items():
        assert len(cells) + 1 == len(columns), line
    make = partial(_figures, lines=dict(lines), columns=tuple(columns), digits=digits)
    return Sheet(name=name, caption=caption, steps=(step,), make=make)


def over_steps(
    *, name: str, caption: str, steps: Mapping[str, str], cells: Sequence[Cell], columns: Sequence[str], digits: int = 3
) -> Sheet:
    """A table with a line for each of `steps`, under the name given there, and the same cells in each."""
    make = partial(_over_steps, names=tuple(steps.values()), cells=tuple(cells), columns=tuple(columns), digits=digits)
    return Sheet(name=name, caption=caption, steps=tuple(steps), make=make)


def published(values: Sequence[float | None], digits: int = 3) -> list[str]:
    """Figures of a paper as it prints them; a dash where it has none."""
    return [BLANK if value is None else f"{value:.{digits}f}" for value in values]


def _figures(
    results: Results, *, lines: Mapping[str, Sequence[Cell]], columns: tuple[str, ...], digits: int
) -> pd.DataFrame:
    return pd.DataFrame(
        [[line, *(_cell(results, cell, digits) for cell in cells)] for line, cells in lines.items()], columns=columns
    )


def _over_steps(
    *results: Results, names: tuple[str, ...], cells: tuple[Cell, ...], columns: tuple[str, ...], digits: int
) -> pd.DataFrame:
    lines = [[name, *(_cell(one, cell, digits) for cell in cells)] for name, one in zip(names, results, strict=True)]
    return pd.DataFrame(lines, columns=columns)


def _cell(results: Results, cell: Cell, digits: int) -> str:
    if isinstance(cell, str):
        return cell
    try:
        return results.mean(cell).text(digits=digits)
    except NoRowsError as error:
        run = {method["label"] for method in results.manifest.get("methods", [])}
        if cell.method in run and not excused(error, [results]):
            raise
        return BLANK  # not run at this scale, or failed, which the page says above
