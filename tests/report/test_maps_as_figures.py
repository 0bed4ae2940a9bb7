"""Maps of shown samples as figures for a paper: pictures, slices, series, tables and texts."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from test_along import reshaped

from heatproof.auditing.run import Run
from heatproof.drawing import scale_of
from heatproof.reading import Verdicts
from heatproof.report.every import figures_of
from heatproof.report.maps import Maps
from heatproof.report.plotting import draw
from heatproof.report.shown import Shown
from heatproof.runs import read, read_manifest

LAYERS = ["fc2", "fc1", "conv2", "conv1"]


def of(run: Path, name: str = "maps-s1") -> Maps:
    found = figures_of(read(run, Verdicts.of), Shown.of(run, read_manifest(run)))[name]
    assert isinstance(found, Maps)
    return found


def words(drawn: Any) -> set[str]:
    return {
        text.get_text() for axes in drawn.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)
    }


def test_pictures_stand_methods_down_and_stages_across_beside_the_input(run: Path) -> None:
    found = of(run)
    assert (found.kind, found.columns) == ("picture", ["trained", *LAYERS])
    maps = load_file(run / "maps" / "block-0.safetensors")
    np.testing.assert_array_equal(found.rows["cgi"][0], maps[json.dumps(["trained", "cgi", "s1"])])
    drawn = draw(found, {})
    assert len(drawn.axes) == 9 * 6
    assert {"input", "trained", *LAYERS, "grad-cam"} <= words(drawn)
    table = found.table().set_index(["method", "network"])
    assert table.loc[("cgi", "trained"), "strongest color"] == pytest.approx(scale_of(found.rows["cgi"][0]))
    edges = table.loc[("edge-detector", "conv1")]
    assert edges["similarity"] == pytest.approx(1.0)


def test_a_map_without_a_pattern_is_hatched_and_said(run: Path) -> None:
    found = of(run)
    flat = Maps(
        **{
            **vars(found),
            "rows": {"cam": [np.zeros((4, 4)), np.full((4, 4), 2.0)]},
            "columns": ["a", "b"],
            "signed": {"cam": True},
        }
    )
    drawn = draw(flat, {})
    assert [axes.patch.get_hatch() for axes in drawn.axes[1:]] == ["////", "////"]
    assert {"blank: all zero", "constant: 2"} <= words(drawn)
    assert flat.table()["note"].tolist() == ["blank: all zero", "constant: 2"]


def test_of_a_volume_the_strongest_slice_is_drawn(run: Path, tmp_path: Path) -> None:
    folder = reshaped(run, tmp_path, [1, 3, 12, 12], [3, 12, 12])
    found = of(folder)
    assert re.search(r", slice [123] of 3$", found.title)
    assert found.rows["cgi"][0].shape == (12, 12)
    assert found.fed is not None
    assert found.fed.shape == (12, 12)


def test_tables_are_bars_with_the_names_and_values_of_columns(run: Path, tmp_path: Path) -> None:
    cells = {"s1": ["42", "", "", ""]}
    folder = reshaped(run, tmp_path, [4], [4], columns=["age", "dose", "mass", "height"], cells=cells)
    drawn = draw(of(folder), {})
    said = {label.get_text() for axes in drawn.axes for label in axes.get_yticklabels()}
    assert {"age 42", "dose"} <= said


def test_series_are_lines_in_seconds_below_their_leads(run: Path, tmp_path: Path) -> None:
    folder = reshaped(
        run, tmp_path, [2, 50], [50], axes={"leads": ["II", "V5"], "rate": 25.0, "spacing": [], "unit": ""}
    )
    leads, first, *_ = draw(of(folder), {}).axes
    assert [label.get_text() for label in leads.get_yticklabels()] == ["II", "V5"]
    assert first.get_xlabel() == "s"
    assert first.lines[0].get_xdata()[-1] == pytest.approx(49 / 25)


def test_texts_are_words_on_their_colors(run: Path, tmp_path: Path) -> None:
    tokens = {f"s{k}": ["not", "a", "$good$", "<film>"] for k in range(4)}
    folder = reshaped(run, tmp_path, [4, 1], [4], tokens=tokens)
    drawn = draw(of(folder), {})
    assert [text.get_text() for text in drawn.axes[0].texts] == ["not", "a", "$good$", "<film>"]
    assert not any(text.get_parse_math() for text in drawn.axes[0].texts)  # a price is no formula
    colors = {text.get_bbox_patch().get_facecolor() for text in drawn.axes[0].texts}
    assert len(colors) > 1


def test_maps_are_drawn_by_name(run: Path) -> None:
    assert len(Run(run).plot.maps_s0().axes) == 9 * 6
