"""Tables for spreadsheets: text that one would take for a formula is text there, too."""

from pathlib import Path

import pandas as pd

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def as_text(cell: object) -> object:
    """A cell as a spreadsheet shows it: one that begins like a formula gets an apostrophe, and runs nothing."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULAS) else cell


def write_csv(table: pd.DataFrame, path: Path, float_format: str | None = None) -> None:
    """The table as a CSV file, its index left out; names of methods, files and labels are anybody's text."""
    safe = table.rename(columns=as_text)
    for name in safe.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in safe.dtypes]]:
        safe[name] = safe[name].map(as_text)
    safe.to_csv(path, index=False, float_format=float_format)
