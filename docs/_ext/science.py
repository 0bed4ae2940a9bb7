"""One page a method and a check, written when the documentation is built: docstring, picture, what it can tell.

Formula, shapes, cost and source are the class's own docstring, so that they stand in one place. What one can learn from
a map or a check, and what not, is in `science.toml`. The pictures are made here, on the network of the demo.
"""

import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import heatproof as hp
from heatproof.methods.base import METHODS

HERE = Path(__file__).parent.parent
SHOWN = 3  # samples beside each other


def words() -> dict[str, dict[str, dict[str, str]]]:
    """What each method and check can tell, and what it cannot."""
    with (HERE / "science.toml").open("rb") as file:
        return tomllib.load(file)


def called(cls: type) -> str:
    """Where autodoc finds a class: its public name."""
    home = "checks" if issubclass(cls, hp.checks.Check) else "methods"
    public = getattr(hp, home)
    return f"heatproof.{home}.{cls.__name__}" if hasattr(public, cls.__name__) else f"{cls.__module__}.{cls.__name__}"


def page(kind: str, name: str, recipe: Any, told: dict[str, str]) -> str:
    """The text of one page."""
    cls = type(recipe)
    default = {field.name: field.default for field in fields(cls) if field.init}
    set_here = {key: getattr(recipe, key) for key in default if getattr(recipe, key) != default[key]}
    lines = [f"# {name}", ""]
    if told.get("asks"):
        lines += [f"*{told['asks']}*", ""]
    if kind == "methods" and (HERE / "_static" / "maps" / f"{name}.png").exists():
        lines += [f"![Maps of three digits: trained network, then a random one](../../_static/maps/{name}.png)", ""]
        lines += ["Three digits of the demo in clutter; their maps; those of the same network with random weights.", ""]
    lines += ["**What it can tell.** " + told["tells"], "", "**What it cannot.** " + told["cannot"], ""]
    lines += ["```{code-block} python", f'hp.{kind}.get("{name}")', "```", ""]
    if set_here:
        stated = ", ".join(f"`{key} = {value!r}`" for key, value in set_here.items())
        lines += [f"The name stands for `{cls.__name__}` with {stated}.", ""]
    first = told.get("documented", "")
    if first:
        lines += [f"Formula, arguments and source: {{py:class}}`~{called(cls)}`, with [{first}]({first}.md).", ""]
    else:
        lines += ["```{eval-rst}", f".. autoclass:: {called(cls)}", "```", ""]
    return "\n".join(lines).replace("\n\n\n", "\n\n")


def write(path: Path, text: str) -> None:
    """Write only what changed, so that a second build is quick."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def generate(app: Sphinx) -> None:
    """Pictures first, then the pages, then their two lists."""
    from maps import draw

    told = words()
    draw(HERE / "_static" / "maps", SHOWN)
    for kind, registry in (("methods", METHODS), ("checks", hp.checks.CHECKS)):
        names = registry.names()
        missing = set(names) ^ set(told[kind])
        if missing:
            raise ValueError(f"Expected science.toml to speak of each of the {kind}, but not so of {sorted(missing)}.")
        seen: dict[type, str] = {}
        for name in sorted(names, key=lambda one: (told[kind][one].get("order", 9), one)):
            recipe = registry.get(name)
            text = dict(told[kind][name])
            if type(recipe) in seen:
                text["documented"] = seen[type(recipe)]
            seen.setdefault(type(recipe), name)
            write(HERE / "science" / kind / f"{name}.md", page(kind, name, recipe, text))


def plain(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are read in terminals: |x| and * are formulas there, and single backquotes are code.

    Examples, from ">>>" to the next empty line, stay as they are.
    """
    shown = False
    for i, line in enumerate(lines):
        shown = bool(line.strip()) and (shown or line.lstrip().startswith(">>>"))
        if shown:
            continue
        pieces = line.split("`")
        pieces[::2] = [re.sub(r"(?<!\\)([|*])", r"\\\1", piece) for piece in pieces[::2]]
        lines[i] = "``".join(pieces) if len(pieces) % 2 else line


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("builder-inited", generate)
    app.connect("autodoc-process-docstring", plain, priority=400)  # before Google's sections are read
    return {"version": "1", "parallel_read_safe": True}
