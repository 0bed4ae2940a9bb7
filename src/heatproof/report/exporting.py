"""Every figure of a run as SVG and PDF, every table as CSV and LaTeX: for a paper."""

from pathlib import Path

import pandas as pd

from heatproof.errors import MissingExtraError, StoreError
from heatproof.reading import Verdicts
from heatproof.report.every import figures_of, strokes_of
from heatproof.report.plotting import draw
from heatproof.report.shown import Shown
from heatproof.runs import read

DIGITS = 4


def export(run: Path, folder: Path) -> list[Path]:
    """Write everything into `folder`, which is made if it is not there, and return the paths.

    Raises: MissingExtraError without matplotlib; StoreError if the folder cannot be written to.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise MissingExtraError("matplotlib", "plot", "Drawing figures") from None

    verdicts = read(run, Verdicts.of)
    strokes, written = strokes_of(verdicts), []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Text stays text, and files are the same for the same run.
        with mpl.rc_context({"svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": "heatproof"}):
            for name, figure in figures_of(verdicts, Shown.of(run, verdicts.evidence.info.manifest)).items():
                drawn = draw(figure, strokes)
                for ending, metadata in (("svg", {"Date": None}), ("pdf", {"CreationDate": None})):
                    written.append(folder / f"{name}.{ending}")
                    drawn.savefig(written[-1], metadata=metadata)
                written += _table(figure.table(), folder / name)
        marks = verdicts.table.pivot(index="method", columns="question", values="word")
        order = ["believable", *(q for q in verdicts.titles if q in marks.columns)]
        written += _table(marks[order].fillna("").reset_index(), folder / "verdicts")
        written += _table(verdicts.frame, folder / "findings")
    except OSError as error:
        raise StoreError(f"Could not write into {folder}: {error.strerror or error}.") from error
    return written


def _table(table: pd.DataFrame, stem: Path) -> list[Path]:
    """A table as CSV and as LaTeX (booktabs)."""
    flat = table.reset_index() if table.index.name else table
    csv, tex = stem.with_name(f"{stem.name}.csv"), stem.with_name(f"{stem.name}.tex")
    flat.to_csv(csv, index=False, float_format=f"%.{DIGITS}g")
    rounded = flat.map(lambda value: f"{value:.{DIGITS}g}" if isinstance(value, float) else value)
    tex.write_text(rounded.style.hide(axis="index").format(escape="latex", na_rep="").to_latex(hrules=True), "utf-8")
    return [csv, tex]
