"""Charts, the page, and the program that writes both."""

import xml.etree.ElementTree as ElementTree

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heatproof.theory.__main__ import main
from heatproof.theory.drawing import Line, chart, ticks
from heatproof.theory.page import Claim, Section, markdown, spread, told, verdict

SVG = "{http://www.w3.org/2000/svg}"


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_hold_their_values_and_are_few(low, width):
    found = ticks(low, low + width)
    assert found[0] <= low + 1e-6 * width + 1e-9 * abs(low)
    assert found[-1] >= low + width - 1e-6 * width - 1e-9 * abs(low)
    assert 2 <= len(found) <= 8


def test_ticks_are_round():
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(-0.3, 1) == [-0.5, 0, 0.5, 1.0]
    assert ticks(2, 2) == [1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6]


def test_a_chart_is_svg_with_every_point_in_its_place():
    lines = [
        Line(label="a < b", x=[0, 1, 2], y=[0.0, float("nan"), 1.0], low=[0, 0, 0.5], high=[0.5, 1, 1]),
        Line(label="theory", x=[0, 2], y=[1, 1], dashed=True, color=1),
    ]
    root = ElementTree.fromstring(chart(lines, title="T & U", x="x", y="y"))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert {"T & U", "x", "y", "a < b", "theory", "0.5"} <= set(texts)
    paths = [element.attrib["d"] for element in root.iter(f"{SVG}path")]
    assert "M56.0,356.0L628.0,34.0" in paths  # from the lower left corner to the upper right; NaN is left out
    assert sum("stroke-dasharray" in element.attrib for element in root.iter(f"{SVG}path")) == 2


def test_a_page_says_what_holds():
    claim = Claim(source="002, F", says="|R_i| ≥ |R_j|", verdict=verdict(False), measured="0.5 ± 0.1")
    section = Section(
        title="Title", text="Text.", claims=[claim], tables={"t": pd.DataFrame()}, pictures={"p": "<svg/>"}
    )
    page = markdown([section], "--samples 7")
    assert r"| \|R_i\| ≥ \|R_j\| (002, F) | **does not hold** | 0.5 ± 0.1 |" in page
    assert "![p](p.svg)" in page
    assert "[t.csv](t.csv)" in page
    assert "--samples 7" in page
    assert verdict(True) == "holds"
    assert verdict(True, known=False) == "cannot be told"


def test_spread_is_the_standard_error_of_the_known():
    mean, half = spread(pd.Series([1.0, 3.0, float("nan")]))
    assert (mean, half) == (2.0, pytest.approx(1.959964))
    assert told(pd.Series([1.0, 3.0])) == "2.000 ± 1.960"
    assert spread(pd.Series([4.0]))[0] == 4.0


@pytest.mark.slow
def test_program_writes_tables_pictures_and_page(tmp_path):
    main(["--out", str(tmp_path / "theory"), "--samples", "6"])
    page = (tmp_path / "theory" / "README.md").read_text()
    for name in page.split("](")[1:]:
        assert (tmp_path / "theory" / name.partition(")")[0]).stat().st_size > 100
    assert page.count("**does not hold**") == 1  # the exception of positive dominance
    assert "**cannot be told**" not in page
