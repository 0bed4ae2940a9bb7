"""Grids of maps: the same colors and scale as on the page, with numbers on the bars."""

import re
from pathlib import Path

import numpy as np
import pytest

from heatproof.drawing import scale_of, table
from heatproof.drawing.sheet import Tile, bitmap, check_writable, overlaid, svg, tile_of, write
from heatproof.errors import InputError

VALUES = np.linspace(-1, 2, 64).reshape(8, 8)


def test_map_is_colored_by_the_common_scale_and_its_bar_has_numbers() -> None:
    tile = tile_of(VALUES, "gradient", unit="score")
    assert tile.bar == (scale_of(VALUES), "score", True)
    level = np.rint(128 + 127 * np.clip(VALUES / scale_of(VALUES), -1, 1)).astype(int)
    np.testing.assert_array_equal(tile.pixels, table(signed=True)[level])
    text = svg([[tile]])
    said = f"{scale_of(VALUES):.3g}"
    assert f"−{said}</text>" in text
    assert f">{said} score</text>" in text


def test_maps_without_a_pattern_are_said_and_not_colored() -> None:
    blank, constant = tile_of(np.zeros((4, 4)), "a"), tile_of(np.full((4, 4), 3.0), "b")
    assert (blank.note, constant.note) == ("blank: all zero", "constant: 3")
    assert blank.bar is constant.bar is None
    assert len(np.unique(constant.pixels)) == 1
    assert "constant: 3" in svg([[constant]])


def test_input_shows_through_where_the_map_is_weak() -> None:
    picture = np.zeros((8, 8), np.uint8)
    level = np.full((8, 8), 128, np.uint8)
    level[0] = 255
    drawn = overlaid(picture, level, signed=True, strength=1.0)
    np.testing.assert_array_equal(drawn[0], np.broadcast_to(table(signed=True)[255], (8, 3)))
    assert (drawn[1:] == 255 - round(0.45 * 255)).all()
    np.testing.assert_array_equal(overlaid(picture, level, signed=True, strength=0.0)[0], drawn[1])


def test_names_are_escaped_and_text_stays_text() -> None:
    text = svg([[Tile(np.zeros((2, 2, 3), np.uint8), "</svg><script>")]])
    assert "<script>" not in text
    assert re.search(r"<text[^>]*>&lt;/svg&gt;", text)


def test_rows_stand_below_one_another() -> None:
    tile = tile_of(VALUES, "m")
    one, two = bitmap([[tile, tile]]), bitmap([[tile], [tile]])
    assert one.width > two.width
    assert two.height > one.height


@pytest.mark.parametrize("name", ["a.svg", "a.png", "a.webp", "a.jpg"])
def test_every_ending_is_written(tmp_path: Path, name: str) -> None:
    write([[tile_of(VALUES, "m")]], tmp_path / name)
    assert (tmp_path / name).stat().st_size > 500


def test_other_endings_and_missing_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Expected a picture to write \(\.svg"):
        check_writable(tmp_path / "a.txt")
    with pytest.raises(InputError, match=r"Expected a folder to write a\.png into"):
        check_writable(tmp_path / "none" / "a.png")
