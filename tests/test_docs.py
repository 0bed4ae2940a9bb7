"""What the documentation shows runs, page by page, as it stands there."""

import ast
import importlib.util
import re
import tomllib
from importlib.metadata import version
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


def test_what_is_said_of_other_libraries_is_counted():
    for package in ("captum", "zennit", "quantus", "pytorch_grad_cam"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    spec = importlib.util.spec_from_file_location("compare", DOCS / "compare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (DOCS / "compare.md").read_text(encoding="utf-8")
    for shown, package in (
        ("Captum", "captum"),
        ("Zennit", "zennit"),
        ("Quantus\n", "quantus"),
        ("pytorch-grad-cam", "grad-cam"),
    ):
        if f"{shown}{'' if shown.endswith(chr(10)) else ' '}{version(package)}" not in page:
            pytest.skip(f"{package} {version(package)} is not the version that the page speaks of")
    found = module.counted()
    said = {
        "captum attributions of inputs": "{} attributions of inputs",
        "captum attributions of layers and neurons": "{} of layers and neurons",
        "zennit rules": "{} rules",
        "zennit composites": "{} composites",
        "quantus metrics": "{} metrics |",
        "pytorch-grad-cam activation maps": "{} activation maps",
    }
    assert set(said) == set(found)
    for kind, words in said.items():
        assert words.format(found[kind]) in page, kind
    assert f"{len(hp.methods.names())} methods by name" in page
    assert f"| {len(hp.checks.names())}, with intervals" in page


def test_papers_are_cited_by_author_and_year_outside_of_their_package():
    """The numbers of the papers name audits of `heatproof papers`, and nothing else that a user reads."""
    source = DOCS.parent / "src" / "heatproof"
    code = re.compile(r"(?<![\d.,/_-])\b00[0-4]\b(?![\d.,])")
    for path in source.rglob("*.py"):
        if path.relative_to(source).parts[0] in ("papers", "theory"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                assert not code.search(ast.get_docstring(node) or ""), f"{path.name}: {node}"
