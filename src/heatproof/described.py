"""What a registered method or check says of itself, taken apart: fields with defaults, cost, source."""

import inspect
import re
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from typing import Any, get_type_hints

from heatproof.recipes import text
from heatproof.registry import Registry

PARTS = ("Fields", "Args", "Attributes", "Cost", "Source", "Deviation", "Raises")
_UNIT = re.compile(r"(?:in|keeps|,) (?:squared )?units of ((?:the )?(?:score|explained output)(?: per input unit)?)")
_ENTRY = re.compile(r"^(\w+): (.*)$")


@dataclass(frozen=True)
class FieldOf:
    """A field: its default as one would write it ("required" where it has none), its type, and what it means."""

    name: str
    default: str
    kind: str
    meaning: str


@dataclass(frozen=True)
class Described:
    """One registered name: a line, its docstring's text, fields, cost, source and example ("" where it says none)."""

    name: str
    summary: str
    text: str
    fields: tuple[FieldOf, ...]
    cost: str
    source: str
    example: str

    def as_data(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)


def described(registry: Registry[Any], name: str) -> Described:
    """What is registered under a name, with its own defaults. Raises: UnknownNameError for an unknown one."""
    value = registry.get(name)
    doc, shown, example = (inspect.getdoc(type(value)) or "").partition("\n>>> ")
    first, body, parts = _taken_apart(doc)
    return Described(
        name=name,
        summary=text(value) or first,
        text=_flowing(body),
        fields=_fields(value, _entries(parts.get("Fields") or parts.get("Args") or parts.get("Attributes") or "")),
        cost=_sentence(parts.get("Cost", "")) or _within(body, "Cost"),
        source=_sentence(parts.get("Source", "")),
        example=(shown + example).strip(),
    )


def unit(recipe: Any) -> str:
    """The unit of a method's attributions, by its docstring ("in units of the score"); that of a method within it.

    Empty where it says none.
    """
    said = " ".join((inspect.getdoc(type(recipe)) or "").split())
    if found := _UNIT.search(said):
        return found[1].removeprefix("the ")
    if re.search(r"\bin bits\b|, bits\b", said):
        return "bits"
    inner = getattr(recipe, "method", None)
    return "" if inner is None else unit(inner)


def _taken_apart(doc: str) -> tuple[str, str, dict[str, str]]:
    """First line, the rest without its named parts, and the named parts: one begins a line and ends before the next."""
    first, _, rest = doc.partition("\n")
    parts: dict[str, list[str]] = {}
    body: list[str] = []
    now = body
    for line in rest.strip("\n").splitlines():
        head, colon, said = line.partition(":")
        if colon and head in PARTS:
            now = parts.setdefault(head, [])
            now.append(said.strip())
        elif not line.strip() and now is not body:
            now = body
            now.append("")
        else:
            now.append(line)
    return first, "\n".join(body).strip(), {name: "\n".join(lines) for name, lines in parts.items()}


def _entries(part: str) -> dict[str, str]:
    """Entries "name: meaning" of a part, each with the lines that are indented below it."""
    found: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc("\n" + part).splitlines():
        entry = _ENTRY.match(line)
        if entry and not line[:1].isspace():
            name = entry[1]
            found[name] = entry[2].strip()
        elif name:
            found[name] += f" {line.strip()}"
    return found


def _fields(value: Any, meanings: dict[str, str]) -> tuple[FieldOf, ...]:
    if not is_dataclass(value):
        return ()
    hints = get_type_hints(type(value))
    found = []
    for one in fields(value):
        if not one.init:
            continue
        current = getattr(value, one.name)
        none = current is None and one.default is MISSING and one.default_factory is MISSING
        shown = "required" if none else _written(current)
        found.append(FieldOf(one.name, shown, _kind(hints[one.name]), meanings.get(one.name, "")))
    return tuple(found)


def _written(value: Any) -> str:
    said = repr(value) if not is_dataclass(value) else re.sub(r"\b(?:\w+\.)+", "", repr(value))
    return said if len(said) <= 60 else f"{said[:59]}…"


def _kind(hint: Any) -> str:
    said = hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint)
    return re.sub(r"\b(?:\w+\.)+", "", said).replace("NoneType", "None")


def _within(body: str, part: str) -> str:
    """A part that begins within a line: up to the end of its sentence."""
    found = re.search(rf"\b{part}: (.+?\.)(?= [A-Z]|$)", " ".join(body.split()))
    return found[1] if found else ""


def _flowing(body: str) -> str:
    """Paragraphs in one line each, as wide as whoever reads them likes; what is indented stays as it is."""
    paragraphs = re.split(r"\n{2,}", body)
    return "\n\n".join(one if re.search(r"^\s", one, re.M) else " ".join(one.split()) for one in paragraphs)


def _sentence(part: str) -> str:
    return " ".join(part.split())
