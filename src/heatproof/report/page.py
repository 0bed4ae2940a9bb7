"""Pages that need nothing but themselves: one file, its own policy, no address."""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from heatproof.errors import StoreError

STYLES = ("style.css", "first.css", "matrix.css", "panels.css", "print.css")


def render(template: str, values: dict[str, Any], *, scripts: Sequence[str]) -> str:
    """A page as text. Only these scripts may run in it, and nothing may be fetched: its own policy says so."""
    environment = Environment(
        loader=PackageLoader("heatproof.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    folder = Path(__file__).parent / "assets"
    script = "\n".join((folder / name).read_text(encoding="utf-8") for name in scripts)
    digest = base64.b64encode(hashlib.sha256(f"\n{script}\n".encode()).digest()).decode()
    given = {key: value for key, value in values.items() if key != "data"}
    if "data" in values:
        given["data"] = Markup(embed(values["data"]))
    return environment.get_template(template).render(
        **given,
        style=Markup("\n".join((folder / name).read_text(encoding="utf-8") for name in STYLES)),
        script=Markup(f"\n{script}\n"),
        policy="default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        + (f"script-src 'sha256-{digest}'; " if scripts else "")
        + "base-uri 'none'; form-action 'none'",
    )


def save(page: str, target: Path) -> Path:
    """Write a page under a temporary name first, and return its path. Raises: StoreError if it cannot be written."""
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp")
    try:
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"Could not write {target}: {error.strerror or error}.") from error
    return target


def embed(value: Any) -> str:
    """JSON that may stand in a script element: no `<`, `>` or `&`, whatever the names in it are."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
