"""What networks call has rules: the page of the census holds for the code as it is."""

from pathlib import Path

from heatproof.propagation.operations import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "census.md").read_text(encoding="utf-8")
OPERATIONS = PAGE[PAGE.index("## Operations") : PAGE.index("## Networks that did not run")]


def test_every_operation_of_the_census_has_a_rule():
    rows = [line.split("`")[1] for line in OPERATIONS.splitlines() if line.startswith("| `")]
    assert len(rows) > 80
    assert [name for name in rows if not KINDS.get(name)] == []


def test_no_method_answered_with_anything_but_a_map_or_a_sentence():
    assert "not refused, but broken" not in PAGE
