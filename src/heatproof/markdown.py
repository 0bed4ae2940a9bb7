"""Tables in Markdown."""

from collections.abc import Iterable

import pandas as pd


def table(cells: pd.DataFrame) -> list[str]:
    """The lines of a table with the names of the columns above, each cell as its text."""
    return [_line(cells.columns), f"|{' --- |' * cells.shape[1]}", *map(_line, cells.itertuples(index=False))]


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
