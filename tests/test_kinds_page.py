"""The table of kinds of model in the documentation is whole, and says what an audit does today."""

import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
sys.path.insert(0, str(DOCS))

import kinds  # noqa: E402
import kinds_models  # noqa: E402

PAGE = (DOCS / "kinds.md").read_text(encoding="utf-8")
REASONS = dict(re.findall(r'^<a id="r(\d+)"></a>\d+\. (.*)$', PAGE, re.MULTILINE))
QUICK = ("MLP on a table",)  # the others are slow


def cells() -> dict[str, dict[str, str]]:
    """By kind and column, the mark."""
    found: dict[str, dict[str, str]] = {}
    for part in PAGE.split("## ")[1:3]:
        head, _, *rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line[:1] == "|"]
        for row in rows:
            found.setdefault(row[0], {}).update(zip(head[1:], row[1:], strict=True))
    return found


def test_every_kind_and_column_is_in_it() -> None:
    assert list(cells()) == list(kinds_models.KINDS)
    assert len(kinds_models.KINDS) >= 20
    for found in cells().values():
        assert list(found) == [*kinds.METHODS, *kinds.CHECKS]


def test_every_cell_works_or_is_refused_by_a_sentence() -> None:
    marks = [mark for found in cells().values() for mark in found.values()]
    numbers = {re.fullmatch(r'<a href="#r(\d+)">\1</a>', mark)[1] for mark in marks if mark != "✓"}  # type: ignore[index]  # each is one or the other
    assert numbers == set(REASONS)
    assert all(said.startswith("Expected ") and ", but " in said for said in REASONS.values())
    assert marks.count("✓") / len(marks) > 0.85


def test_each_kind_has_a_path_of_ten_lines() -> None:
    """They are run with the other pages (test_docs)."""
    page = (DOCS / "howto" / "kinds.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) - 1 >= len(kinds_models.KINDS)  # the first is what they share
    for block in blocks:
        lines = [line for line in block.splitlines() if line.strip()]
        assert len(lines) <= 10, block
        assert "..." not in block, block
        assert block is blocks[0] or "hp.audit(" in block, block


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in kinds_models.KINDS]
)
def test_the_page_says_what_is(name: str) -> None:
    for package in ("torchvision", "timm", "transformers"):
        if name not in QUICK:
            pytest.importorskip(package, reason=f"{package} is not installed")
    for column, said in kinds.row(name).items():
        mark = cells()[name][column]
        known = "✓" if mark == "✓" else REASONS[re.findall(r"\d+", mark)[0]]
        assert said.partition(", but got")[0] == known.partition(", but got")[0].replace("\\|", "|"), column
