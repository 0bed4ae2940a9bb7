"""Tables as bars with their columns' names, series as lines, volumes as slices."""

import base64
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from PIL import Image
from safetensors.numpy import load_file, save_file

from heatproof import report
from heatproof.report.along import bars, line
from heatproof.report.content import content
from heatproof.report.pictures import WIDEST, strongest_slice


def reshaped(run: Path, tmp_path: Path, shape: list[int], grid: list[int], **data: Any) -> Path:
    """The made-up run with samples of another shape, its maps and inputs cut to it."""
    folder = Path(shutil.copytree(run, tmp_path / "copy"))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["data"] |= {"shape": shape, "grid": grid, **data}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    block, inputs = folder / "maps" / "block-0.safetensors", folder / "maps" / "inputs.safetensors"
    from safetensors import safe_open

    with safe_open(block, "numpy") as file:
        about = file.metadata()
    cut = {name: np.resize(values, grid).astype(np.float32) for name, values in load_file(block).items()}
    save_file(cut, block, about)
    kept = {n: np.resize(v, shape).astype(np.float32) for n, v in load_file(inputs).items() if ":" not in n}
    save_file(kept, inputs)
    return folder


def test_a_table_is_bars_the_largest_first_with_the_names_of_columns(run: Path, tmp_path: Path) -> None:
    cells = {f"s{k}": ["42", "1.5", "a & b", ""] for k in range(4)}
    folder = reshaped(run, tmp_path, [4], [4], columns=["age", "dose", "<b>", "height"], cells=cells)
    values = content(folder)
    assert values["columns"]
    (first, *_) = values["lines"][0]["methods"]
    names = re.findall(r">([^<>]+)</text>", str(first["figure"]))
    assert set(names) == {"age 42", "dose 1.5", "&lt;b&gt; a &amp; b", "height"}
    assert "Columns by what each method gives them" in report.render(values)


def test_a_table_without_a_pattern_has_words_and_no_bars(run: Path, tmp_path: Path) -> None:
    (*_, cam) = (
        m for m in content(reshaped(run, tmp_path, [4], [4]))["lines"][0]["methods"] if m["label"] == "grad-cam"
    )
    assert (cam["said"], str(cam["figure"])) == ("blank: all zero", "")


def test_bars_go_left_for_what_speaks_against_and_are_outlined_for_the_random_network() -> None:
    drawn = str(bars(np.array([0.5, -1.0, 0.0]), np.array([1.0, 0.0, 0.5]), ["a", "b", "c"]))
    assert re.findall(r"<text[^>]*>(\w)</text>", drawn) == ["b", "a", "c"]
    assert drawn.count('class="against"') == 1
    assert drawn.count('class="for"') == 1
    assert drawn.count('class="for random"') == 2
    assert "<title>b: -1</title>" in drawn


def test_only_the_largest_columns_of_a_wide_table_are_drawn() -> None:
    drawn = str(bars(np.arange(100.0), None, [f"c{k}" for k in range(100)]))
    assert drawn.count("<text") == 24
    assert 'aria-label="bars of 24 of 100 columns"' in drawn


def test_a_series_is_a_line_below_its_leads(run: Path, tmp_path: Path) -> None:
    folder = reshaped(run, tmp_path, [2, 50], [50])
    values = content(folder)
    assert not values["columns"]
    figure = str(values["lines"][0]["methods"][0]["figure"])
    assert (figure.count('class="input"'), figure.count('class="map"'), figure.count('class="map random"')) == (2, 1, 1)
    assert "Maps along the series" in report.render(values)


def test_the_map_runs_over_all_positions_up_for_what_speaks_for() -> None:
    drawn = str(line(np.array([0.0, 1.0, -1.0]), None, None))
    (path,) = re.findall(r'class="map" d="M([^"]+)"', drawn)
    assert path.split("L") == ["2.0,32.0", "170.0,6.0", "338.0,58.0"]
    assert re.findall(r">([^<>]+)</text>", drawn) == ["0", "0.5", "1", "1.5", "2"]


def test_leads_have_lanes_and_names_of_their_own_and_positions_are_seconds() -> None:
    series = np.array([[0.0, 1.0, 0.0, 1.0], [5.0, 5.0, 9.0, 5.0]])
    drawn = str(line(np.array([0.0, 1.0, -1.0, 0.5]), None, series, ["II", "<V5>"], 2.0))
    assert re.findall(r">([^<>]+)</text>", drawn) == ["II", "&lt;V5&gt;", "0 s", "0.5 s", "1 s", "1.5 s"]
    lanes = [[float(point.split(",")[1]) for point in path.split("L")]
             for path in re.findall(r'class="input" d="M([^"]+)"', drawn)]  # fmt: skip
    assert lanes == [[22.0, 2.0, 22.0, 2.0], [46.0, 46.0, 26.0, 46.0]]
    assert 'aria-label="map over 4 positions below 2 leads"' in drawn


def test_names_of_leads_and_the_rate_of_a_run_are_on_its_page(run: Path, tmp_path: Path) -> None:
    folder = reshaped(
        run, tmp_path, [2, 50], [50], axes={"leads": ["aVL", "V1"], "rate": 100.0, "spacing": [], "unit": ""}
    )
    figure = str(content(folder)["lines"][0]["methods"][0]["figure"])
    assert re.findall(r">([^<>]+)</text>", figure) == ["aVL", "V1", "0 s", "0.1 s", "0.2 s", "0.3 s", "0.4 s"]


def test_pictures_have_no_lines(run: Path) -> None:
    assert content(run)["lines"] == []


@pytest.mark.parametrize("slices", [3, 200])
def test_a_volume_travels_as_slices_each_as_large_as_a_picture(run: Path, tmp_path: Path, slices: int) -> None:
    folder = reshaped(run, tmp_path, [1, slices, 12, 12], [slices, 12, 12])
    gallery = content(folder)["data"]["gallery"]
    assert gallery["slices"] == slices
    assert gallery["tile"][1] * len(gallery["columns"]) <= WIDEST
    if slices == 3:
        assert gallery["tile"] == [12, 36]


def test_maps_without_a_pattern_are_said_and_others_have_the_value_of_their_strongest_color(
    run: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "flat"))
    block = folder / "maps" / "block-0.safetensors"
    from safetensors import safe_open

    with safe_open(block, "numpy") as file:
        about = file.metadata()
    maps = load_file(block)
    maps[json.dumps(["trained", "gradient", "s0"])] = np.zeros((synthetic.SIDE, synthetic.SIDE), np.float32)
    maps[json.dumps(["trained", "cgi", "s0"])] = np.full((synthetic.SIDE, synthetic.SIDE), 2.5, np.float32)
    save_file(maps, block, about)
    scales = content(folder)["data"]["gallery"]["samples"][0]["scales"]
    assert scales["gradient"]["trained"] == "blank: all zero"
    assert scales["cgi"]["trained"] == "constant: 2.5"
    ours = maps[json.dumps(["trained", "grad-cam", "s0"])]
    assert scales["grad-cam"]["trained"] == pytest.approx(np.percentile(np.abs(ours), 99.5), rel=1e-2)


@pytest.mark.browser
def test_a_slider_goes_through_the_slices_of_a_volume(chromium: str, run: Path, tmp_path: Path) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    page = report.write(reshaped(run, tmp_path, [1, 3, 12, 12], [3, 12, 12]))
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page()
        tab.goto(page.as_uri())
        tab.wait_for_selector("#maps canvas")
        first = tab.locator("#maps canvas").first
        assert first.evaluate("c => [c.width, c.height]") == [12, 12]
        assert tab.locator("#slice-now").inner_text() == "2 of 3"
        before = first.evaluate("c => c.toDataURL()")
        tab.locator("#slice").fill("2")
        tab.wait_for_function("document.getElementById('slice-now').textContent === '3 of 3'")
        assert tab.locator("#maps canvas").first.evaluate("c => c.toDataURL()") != before
        browser.close()


def test_the_effect_is_shown_as_bars_of_the_same_columns_and_as_lines(run: Path, tmp_path: Path) -> None:
    names = [f"c{k}" for k in range(20)]
    top = content(reshaped(run, tmp_path / "table", [20], [20], columns=names))["hero"]
    assert (top.kind, top.picture) == ("lines", None)
    for row in top.rows:
        trained, random = (re.findall(r">(c\d+)</text>", str(drawn)) for drawn in (row.trained, row.random))
        assert len(trained) == 8
        assert trained == random
    (tmp_path / "series").mkdir()
    top = content(reshaped(run, tmp_path / "series", [4, 50], [50]))["hero"]
    assert str(top.rows[0].trained).count('class="input"') == 2  # the first leads


def test_the_effect_on_a_volume_is_shown_on_one_slice(run: Path, tmp_path: Path) -> None:
    values = content(reshaped(run, tmp_path, [1, 3, 12, 12], [3, 12, 12]))
    assert re.search(r"^s\d, slice [123] of 3, explained for ", values["hero"].sample)
    uris = [values["hero"].picture, values["hero"].rows[0].trained]
    sizes = [Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).size for uri in uris]
    assert sizes == [(12, 12), (12, 12)]


def test_the_strongest_slice_of_a_volume_is_drawn_by_the_scale_of_all_of_it() -> None:
    volume = np.zeros((3, 2, 2), np.float32)
    volume[1], volume[2] = 2.0, -1.0
    assert strongest_slice(volume, [3, 2, 2]) == 1
    assert strongest_slice(volume[0], [2, 2]) == 0


def test_panels_of_a_table_show_bars_beside_their_figures(run: Path, tmp_path: Path) -> None:
    values = content(reshaped(run, tmp_path, [400], [400], columns=[f"c{k}" for k in range(400)]))
    beside = next(maps for panel, _, maps in values["panels"] if panel.question == "depends")
    assert beside[0].image == ""
    assert "bars of 8 of 400 columns" in str(beside[0].figure)
