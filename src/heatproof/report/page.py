"""Pages that need nothing but themselves: one file, its own policy, no address."""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from heatproof.errors import StoreError

STYLES = ("style.css", "first.css", "matrix.css", "panels.css", "print.css")


def render(template: str, values: dict[str, Any], *, scripts: Sequence[str], own: str = "", asks: bool = False) -> str:
    """A page as text. Only these scripts may run in it, and nothing may be fetched: its own policy says so.

    `own` is a package with assets of its own: templates, scripts and one `own.css`, looked for before the report's.
    A page that `asks` may ask the server that it came from.
    """
    homes = _homes(own)
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(home, "assets") for home in homes]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    styles = [*STYLES, *(["own.css"] if own else [])]
    given = {key: value for key, value in values.items() if key != "data"}
    if "data" in values:
        given["data"] = Markup(embed(values["data"]))
    return environment.get_template(template).render(
        **given,
        style=Markup("\n".join(_asset(name, homes) for name in styles)),
        script=Markup(_script(scripts, homes)),
        policy=policy(scripts, own=own, asks=asks),
    )


def policy(scripts: Sequence[str], *, own: str = "", asks: bool = False) -> str:
    """What a page with these scripts may do, as a Content-Security-Policy."""
    digest = hashlib.sha256(_script(scripts, _homes(own)).encode()).digest()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        + (f"script-src 'sha256-{base64.b64encode(digest).decode()}'; " if scripts else "")
        + ("connect-src 'self'; " if asks else "")
        + "base-uri 'none'; form-action 'none'"
    )


def _homes(own: str) -> list[str]:
    """The packages whose assets a page is made of, in the order in which they are looked through."""
    return [*([own] if own else []), "heatproof.report"]


def _script(scripts: Sequence[str], homes: Sequence[str]) -> str:
    joined = "\n".join(_asset(name, homes) for name in scripts)
    return f"\n{joined}\n"


def _asset(name: str, homes: Sequence[str]) -> str:
    places = [files(home) / "assets" / name for home in homes]
    return next(place for place in places if place.is_file()).read_text(encoding="utf-8")


def save(page: str, target: Path) -> Path:
    """Write a page under a temporary name first, and return its path. Raises: StoreError if it cannot be written."""
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp")
    try:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")  # a name may hold half a character
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
