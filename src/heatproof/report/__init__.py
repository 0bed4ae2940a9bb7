"""A run folder as one self-contained page: opens from disk, without a network, without torch."""

from pathlib import Path
from typing import Any

from heatproof.paths import url_of
from heatproof.report import page
from heatproof.report.content import content
from heatproof.report.page import embed, save
from heatproof.runs.places import files_at

SCRIPTS = ("chart.js", "matrix.js", "gallery.js", "page.js")


def write(run: Path) -> Path:
    """Write `report.html` into the folder of a run, under a temporary name first, and return its path.

    Raises: StoreError if the folder holds no run, or cannot be written to.
    """
    run, values = Path(run), content(Path(run))
    if url_of(run) is None:
        return save(render(values), run / "report.html")
    files_at(run).replace("report.html", render(values).encode())
    return run / "report.html"


def render(values: dict[str, Any]) -> str:
    """The page of a run as text."""
    return page.render("page.html", values, scripts=SCRIPTS)


__all__ = ["embed", "render", "write"]
