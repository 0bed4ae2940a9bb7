"""What the documentation shows runs, page by page, as it stands there."""

import tomllib
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser

import heatproof as hp
from heatproof.checks import CHECKS
from heatproof.methods.base import METHODS

DOCS = Path(__file__).parent.parent / "docs"
PAGES = [
    "start.md",
    "believe.md",
    "verdicts.md",
    "methods.md",
    *(f"howto/{p.name}" for p in DOCS.glob("howto/*.md") if "```python" in p.read_text(encoding="utf-8")),
]


@pytest.mark.parametrize("page", PAGES)
def test_every_python_block_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for registry in (METHODS, CHECKS):  # what a page registers is its own
        assert registry.names()
        monkeypatch.setattr(registry, "_factories", dict(registry._factories))
    document = Sybil(parsers=[PythonCodeBlockParser()], path=str(DOCS)).parse(DOCS / page)
    examples = list(document.examples())
    assert examples
    for example in examples:
        example.evaluate()


def test_the_science_speaks_of_everything():
    told = tomllib.loads((DOCS / "science.toml").read_text(encoding="utf-8"))
    assert set(told["methods"]) == set(hp.methods.names())
    assert set(told["checks"]) == set(hp.checks.names())
    for one in (*told["methods"].values(), *told["checks"].values()):
        assert one["asks"].endswith("?")
        assert one["tells"]
        assert one["cannot"]
