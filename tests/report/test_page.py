"""What the page says, without a browser."""

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from PIL import Image
from synthetic import SIDE

from heatproof import report
from heatproof.errors import StoreError
from heatproof.report import pictures
from heatproof.report.colors import strokes
from heatproof.report.content import content


def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def change(run: Path, **values: object) -> None:
    path = run / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_neither_the_report_nor_the_scorecard_imports_torch() -> None:
    code = "import sys, heatproof.report, heatproof.auditing.scorecard; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_page_is_written_whole_and_leaves_nothing_behind(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    before = {path.name for path in folder.iterdir()} | {"report.html"}
    assert report.write(folder) == folder / "report.html"
    assert {path.name for path in folder.iterdir()} == before
    assert report.write(folder).read_text(encoding="utf-8").endswith("</html>")


def test_same_run_gives_the_same_page(run: Path) -> None:
    assert report.render(content(run)) == report.render(content(run))


def test_page_names_no_address_to_fetch(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\"' <]*", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(link|img|script)[^>]*(src|href)=\"(?!data:)", text)


def test_names_are_escaped_in_text_and_in_json(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert synthetic.EVIL not in text
    assert "window.hacked" in text  # it is there, as data


def test_embedded_json_gives_the_same_value_back() -> None:
    value = {"</script>": ["<!--", "&amp;", "\u2028", 1.5, None]}
    text = report.embed(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028") & set(text)


def test_headline_counts_what_was_built_to_depend(run: Path) -> None:
    values = content(run)
    verdicts = {m["label"]: m["verdict"] for m in values["methods"]}
    assert values["headline"] == "2 of 6 heatmaps depend on what this network learned."
    assert verdicts["gradient"] == verdicts["smoothgrad"] == "depends"
    assert verdicts["guided-backprop"] == "hardly depends"
    assert verdicts["edge-detector"] == verdicts["input-x-random-gradient"] == "never looks at the model"
    assert verdicts["random"] == "is noise"


def test_papers_effects_are_found_where_they_were_built_in(run: Path) -> None:
    found = content(run)["effects"]
    assert [effect.shows for effect in found] == ["shows"] * 5
    assert "20 %" in found[1].sentence  # chance among ten labels


def test_effect_that_is_absent_is_said_to_be_absent(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    rows = pd.read_parquet(folder / "rows" / "all.parquet")
    rows.loc[rows["metric"].isin(["surviving-share", "surviving-energy"]), "value"] = 0.4
    rows.to_parquet(folder / "rows" / "all.parquet")
    shows = {effect.title: effect.shows for effect in content(folder)["effects"]}
    assert shows["Fewer features survive competition when the network is random"] == "does not show"
    assert shows["Less energy survives competition when the network is random"] == "does not show"


def test_failures_nan_and_dead_networks_stand_at_the_top(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    rows = pd.read_parquet(folder / "rows" / "all.parquet")
    last = (rows["method"] == "cgi") & (rows["metric"] == "spearman") & (rows["setting"] == synthetic.GROUP)
    rows.loc[last & (rows["position"] == 4) & (rows["sample"] == "s0"), "value"] = np.nan
    rows.loc[(rows["metric"] == "dead-target") & (rows["position"] == 4) & (rows["sample"] == "s1"), "value"] = 1.0
    rows.to_parquet(folder / "rows" / "all.parquet")
    failure = {
        "method": "cgi",
        "state": "trained",
        "check": "calibration",
        "samples": ["s3"],
        "error": "<b>out of memory</b>",
    }
    change(folder, failures=[failure], status="running")
    text = report.write(folder).read_text(encoding="utf-8")
    top = text[: text.index('id="scorecard"')]
    for said in (
        "This run is not complete",
        "cgi failed in calibration (trained, 1 samples): &lt;b&gt;out of memory&lt;/b&gt;",
        "cgi, cascading truncated-normal: degenerate values, left out of the means: spearman 1 of 64.",
        "stage 4: the explained output is exactly 0 in 1 of 16 samples",
    ):
        assert said in top


def test_question_without_a_check_is_a_stated_blank(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count(">not run<") == 3 * 9
    assert "Not run, so not known: Depends on the labels? Faithful? Localizes?" in text


def test_run_without_maps_or_randomization_still_gives_a_page(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    for path in (folder / "maps").glob("*"):
        path.unlink()
    rows = pd.read_parquet(folder / "rows" / "all.parquet")
    rows[rows["check"] == "calibration"].to_parquet(folder / "rows" / "all.parquet")
    manifest = json.loads((folder / "manifest.json").read_text())
    change(folder, states=manifest["states"][:1])
    text = report.write(folder).read_text(encoding="utf-8")
    assert "was not measured" in text
    assert 'id="gallery"' not in text
    assert 'id="curves"' not in text


def test_run_without_a_single_row_gives_a_page(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    change(folder, cells=[])
    assert "was not measured" in report.write(folder).read_text(encoding="utf-8")


def test_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"Expected a run of heatproof with a manifest\.json"):
        report.write(tmp_path)


def test_grey_puts_zero_in_the_middle_and_clips_at_the_percentile() -> None:
    values = np.zeros((20, 20), np.float32)
    values[0] = 2.0
    values[1, :2] = [-1.0, -2.0]
    expected = np.full((20, 20), 128, np.uint8)
    expected[0] = 255
    expected[1, :2] = [64, 1]  # 128 − 63.5 rounds to the even 64
    np.testing.assert_array_equal(pictures.grey(values, signed=True, side=112), expected)
    assert pictures.grey(np.zeros((3, 3), np.float32), signed=False, side=112).max() == 0


def test_large_maps_travel_small_and_the_first_sample_in_full(run: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((300, 200)).astype(np.float32)
    assert pictures.shrunk(values.shape, 112) == (112, 75)
    assert pictures.grey(values, signed=True, side=112).shape == (112, 75)
    folder = copy(run, tmp_path)
    data = json.loads((folder / "manifest.json").read_text())["data"]
    change(folder, data={**data, "grid": [SIDE * SIDE]})  # features in a row, more than travel small
    gallery = content(folder)["data"]["gallery"]
    assert (gallery["tile"], gallery["grid"]) == ([1, 112], [1, SIDE * SIDE])
    assert gallery["full"].startswith("data:image/webp;base64,")


def test_maps_that_fit_are_not_sent_twice(run: Path) -> None:
    gallery = content(run)["data"]["gallery"]
    assert (gallery["tile"], gallery["full"]) == ([SIDE, SIDE], None)


def test_sheet_is_lossless_and_has_methods_down_and_states_across() -> None:
    rng = np.random.default_rng(1)
    maps = {(s, m, "x"): rng.standard_normal((6, 5)).astype(np.float32) for s in "ab" for m in ("p", "q")}
    uri = pictures.sheet(maps, ["a", "b"], {"p": True, "q": True}, "x", (6, 5), 112)
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("L"))
    assert image.shape == (12, 10)
    np.testing.assert_array_equal(image[6:, :5], pictures.grey(maps["a", "q", "x"], signed=True, side=112))


def test_colors_are_the_same_in_every_report_and_never_shared() -> None:
    known = [("mine", None, False), ("cgi", "cgi", False), ("random", "random", True)]
    assert strokes(known)["cgi"] == strokes(known[::-1])["cgi"]
    many = strokes((f"m{k}", None, False) for k in range(30))
    assert len(set(many.values())) == 30
