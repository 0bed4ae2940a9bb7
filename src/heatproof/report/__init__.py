"""A run folder as one self-contained page: opens from disk, without a network, without torch."""

from pathlib import Path
from typing import Any

from heatproof.report import page
from heatproof.report.content import content
from heatproof.report.page import embed, save

SCRIPTS = ("chart.js", "matrix.js", "gallery.js", "page.js")


def write(run: Path) -> Path:
    """Write `report.html` into the folder of a run, under a temporary name first, and return its path.

    Raises: StoreError if the folder holds no run, or cannot be written to.
    """
    run = Path(run)
    return save(render(content(run)), run / "report.html")


def render(values: dict[str, Any]) -> str:
    """The page of a run as text."""
    return page.render("page.html", values, scripts=SCRIPTS)


__all__ = ["embed", "render", "write"]
