"""A run folder as one self-contained page: opens from disk, without a network, without torch."""

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from heatproof.errors import StoreError
from heatproof.report.content import content

STYLES = ("style.css", "first.css", "matrix.css", "panels.css", "print.css")
SCRIPTS = ("chart.js", "matrix.js", "gallery.js", "page.js")


def write(run: Path) -> Path:
    """Write `report.html` into the folder of a run, under a temporary name first, and return its path.

    Raises: StoreError if the folder holds no run, or cannot be written to.
    """
    run = Path(run)
    page = render(content(run))
    target = run / "report.html"
    temporary = run / f".report.{os.getpid()}.tmp"
    try:
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"Could not write {target}: {error.strerror or error}.") from error
    return target


def render(values: dict[str, Any]) -> str:
    """The page as text. Only this script may run in it, and nothing may be fetched: its own policy says so."""
    environment = Environment(
        loader=PackageLoader("heatproof.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    folder = Path(__file__).parent / "assets"
    script = "\n".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(f"\n{script}\n".encode()).digest()).decode()
    return environment.get_template("page.html").render(
        **{key: value for key, value in values.items() if key != "data"},
        style=Markup("\n".join((folder / name).read_text(encoding="utf-8") for name in STYLES)),
        script=Markup(f"\n{script}\n"),
        digest=digest,
        data=Markup(embed(values["data"])),
    )


def embed(value: Any) -> str:
    """JSON that may stand in a script element: no `<`, `>` or `&`, whatever the names in it are."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


__all__ = ["embed", "render", "write"]
