"""Every public class shows itself at work in its docstring, and what it shows is so."""

import doctest
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import pytest

import heatproof as hp

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
    made = [
        name
        for name, one in vars(home).items()
        if getattr(one, "__module__", "") == home.__name__ and not isinstance(one, TypeVar)
    ]
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


def test_the_reference_has_every_public_name() -> None:
    folder = OPENING.parent
    pages = {page.stem: page.read_text(encoding="utf-8") for page in folder.glob("*.md")}
    assert set(re.search(r"toctree.*?\n```", pages["index"], re.DOTALL)[0].split()) >= set(pages) - {"index"}
    for module in (*MODULES, "adapters", "zoo", "errors", "outputs", "gate"):
        text = pages[{"reading": "readings"}.get(module, module)]
        whole = f".. automodule:: heatproof.{module}\n   :members:" in text
        for name, one in public(module):
            told = inspect.isclass(one) or inspect.isroutine(one)
            assert not told or (one.__doc__ or "").strip(), f"{module}.{name} has no docstring"
            stated = re.search(rf"heatproof\.{module}\.{name}\b", text) is not None
            assert stated or (whole and told), f"docs/reference has no {module}.{name}"


def test_the_reference_has_what_stands_under_the_name_of_the_package() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in OPENING.parent.glob("*.md"))
    for name in set(dir(hp)) - {"__version__", "InputError"}:
        assert re.search(rf"heatproof\.{'reading' if name == 'readings' else name}\b", pages), name
