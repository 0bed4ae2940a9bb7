"""What is registered, with a line each, for the command line: remembered, as finding out means importing torch.

The memory is a file in the cache folder, named by the version and the package's own files. With plug-ins installed
everything is looked up anew: what theirs say may change without a version.
"""

import hashlib
import json
import os
from contextlib import suppress
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heatproof import __version__
from heatproof.errors import HeatproofError
from heatproof.paths import cache_folder

if TYPE_CHECKING:
    from heatproof.registry import Registry

# Where each registry is found.
REGISTRIES = {"methods": ("heatproof.methods", "METHODS"), "checks": ("heatproof.checks", "CHECKS")}


def listed(kind: str) -> tuple[dict[str, str], dict[str, str]]:
    """The line of each name of a registry, sorted; and what is wrong with those whose defaults cannot be made."""
    if entry_points(group=f"heatproof.{kind}"):
        return _looked_up(kind)
    path = cache_folder() / f"{kind}-{_digest()}.json"
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and all(isinstance(line, str) for line in found.values()):
            return found, {}
    said, broken = _looked_up(kind)
    if not broken:
        _keep(path, said)
    return said, broken


def registry(kind: str) -> "Registry[Any]":
    """The registry itself, which takes as long as importing torch."""
    home, name = REGISTRIES[kind]
    found: Registry[Any] = getattr(import_module(home), name)
    return found


def _looked_up(kind: str) -> tuple[dict[str, str], dict[str, str]]:
    from heatproof.recipes import text

    known = registry(kind)
    said, broken = dict[str, str](), dict[str, str]()
    for each in known.names():
        try:
            said[each] = text(known.get(each))
        except HeatproofError as error:  # a plug-in's, whose defaults cannot be made
            broken[each] = str(error)
    return said, broken


def _digest() -> str:
    """Of everything that decides the names and lines."""
    root = Path(__file__).parent
    files = sorted((str(path.relative_to(root)), path.stat()) for path in root.rglob("*.py"))
    own = [(name, stat.st_mtime_ns, stat.st_size) for name, stat in files]
    return hashlib.sha256(json.dumps([__version__, own]).encode()).hexdigest()[:16]


def _keep(path: Path, said: dict[str, str]) -> None:
    """Written whole or not at all; where the folder cannot be written, nothing is remembered."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        unfinished.write_text(json.dumps(said), encoding="utf-8")
        unfinished.replace(path)
