"""Every public class shows itself at work in its docstring, and what it shows is so."""

import doctest
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

OPENING = Path(__file__).parent.parent / "docs" / "reference" / "index.md"
MODULES = (
    "methods",
    "checks",
    "targets",
    "data",
    "similarity",
    "randomization",
    "reading",
    "testing",
    "baselines",
    "features",
)


def public(module: str) -> Iterator[tuple[str, Any]]:
    """The public names of a module: those that it lists, or else those that it makes itself."""
    home = import_module(f"heatproof.{module}")
    made = [name for name, one in vars(home).items() if getattr(one, "__module__", "") == home.__name__]
    for name in getattr(home, "__all__", None) or [name for name in made if not name.startswith("_")]:
        yield name, getattr(home, name)


CLASSES = {f"{module}.{name}": one for module in MODULES for name, one in public(module) if inspect.isclass(one)}


@pytest.fixture(scope="module")
def opening() -> str:
    """What every example begins with, as the reference says it."""
    return re.search(r"^```python\n(.*?)^```", OPENING.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)[1]


@pytest.mark.parametrize("name", CLASSES)
def test_the_example_of(name: str, opening: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "cache"))
    names: dict[str, Any] = {}
    exec(opening, names)
    test = doctest.DocTestParser().get_doctest(CLASSES[name].__doc__ or "", names, name, None, 0)
    assert any(example.want for example in test.examples), f"{name} shows no example with its result"
    said: list[str] = []
    assert doctest.DocTestRunner().run(test, out=said.append).failed == 0, "".join(said)
