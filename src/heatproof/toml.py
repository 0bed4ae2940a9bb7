"""Plain data as TOML: what `tomllib` reads back as it was."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+").fullmatch


def dumped(data: Mapping[str, Any]) -> str:
    """A document: plain keys first, then a table for each mapping. None is left out: TOML has no word for it."""
    lines: list[str] = []
    _table(data, (), lines)
    return "\n".join(lines).strip("\n") + "\n"


def inline(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(key)} = {inline(one)}" for key, one in value.items() if one is not None)
        return f"{{ {inner} }}" if inner else "{}"
    return f"[{', '.join(inline(one) for one in value if one is not None)}]"


def _table(data: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    plain = {key: value for key, value in data.items() if value is not None and not isinstance(value, Mapping)}
    if path and (plain or not data):
        lines += ["", f"[{'.'.join(map(_key, path))}]"]
    for key, value in plain.items():
        said = inline(value)
        if isinstance(value, list | tuple) and len(said) > 90:
            said = "[\n" + "".join(f"    {inline(one)},\n" for one in value if one is not None) + "]"
        lines.append(f"{_key(key)} = {said}")
    for key, value in data.items():
        if isinstance(value, Mapping):
            _table(value, (*path, key), lines)


def _key(key: str) -> str:
    return key if _BARE(key) else _quoted(key)


def _quoted(text: str) -> str:
    """A text as JSON writes it, and with the one control character more that TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
