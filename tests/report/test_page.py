"""What the page says, without a browser."""

import base64
import io
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
from PIL import Image
from safetensors.numpy import save_file
from synthetic import SIDE

from heatproof import report
from heatproof.errors import StoreError
from heatproof.reading import Verdicts
from heatproof.report import pictures
from heatproof.report.colors import strokes
from heatproof.report.content import content
from heatproof.report.effects import effects
from heatproof.report.gallery import FULL, SHEETS, _affordable
from heatproof.runs import read_manifest, read_maps, read_rows
from heatproof.runs.failures import failure


def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def change(run: Path, **values: object) -> None:
    path = run / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_neither_the_report_nor_what_it_reads_imports_torch() -> None:
    code = "import sys, heatproof.report, heatproof.reading; print('torch' in sys.modules)"
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
    verdicts = {m["label"]: m["answers"]["depends"][0]["word"] for m in values["methods"]}
    assert values["headline"] == (
        "1 of 6 heatmaps fails a test; the others are not shown to be believable: not run were faithful."
    )
    assert verdicts["gradient"] == "depends"
    assert verdicts["guided-backprop"] == "hardly depends"
    assert verdicts["edge-detector"] == "never looks at the model"
    repeats = {m["label"]: m["answers"]["repeats"][0]["word"] for m in values["methods"]}
    assert (repeats["random"], repeats["gradient"]) == ("is noise", "repeats exactly")


def test_papers_effects_are_found_where_they_were_built_in(run: Path) -> None:
    values = content(run)
    found = values["effects"]
    # Zeros that no network changes are no likeness: of what chance leaves out, too little of the digit survives.
    (verdict,) = next(m["answers"]["depends"] for m in values["methods"] if m["label"] == "gradient-x-input")
    assert (verdict["answer"], found[0].sentence.startswith(verdict["why"])) == ("yes", True)
    assert [effect.shows for effect in found] == ["does not show", "shows", "shows", "shows", "shows"]
    assert "20 %" in found[1].sentence  # chance among ten labels


def test_effect_that_is_absent_is_said_to_be_absent(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    rows = pd.read_parquet(folder / "rows" / "all.parquet")
    rows.loc[rows["metric"].isin(["surviving-share", "surviving-energy"]), "value"] = 0.4
    synthetic.write_rows(folder, rows)
    shows = {effect.title: effect.shows for effect in content(folder)["effects"]}
    # The same in every sample: a difference of nothing, of which no interval can be had.
    assert shows["Fewer features survive competition when the network is random"] == "cannot be told"
    assert shows["Less energy survives competition when the network is random"] == "cannot be told"
    rows.loc[rows["metric"].isin(["surviving-share", "surviving-energy"]) & (rows["position"] == 4), "value"] += 0.1
    rows.loc[rows["sample"] == "s0", "value"] += 0.01 * rows["position"]
    synthetic.write_rows(folder, rows)
    shows = {effect.title: effect.shows for effect in content(folder)["effects"]}
    assert shows["Fewer features survive competition when the network is random"] == "does not show"


def test_failures_stand_at_the_top_and_counts_of_what_means_nothing_at_the_end(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    rows = pd.read_parquet(folder / "rows" / "all.parquet")
    last = (rows["method"] == "cgi") & (rows["metric"] == "spearman") & (rows["setting"] == synthetic.GROUP)
    rows.loc[last & (rows["position"] == 4) & (rows["sample"] == "s0"), "value"] = np.nan
    rows.loc[(rows["metric"] == "dead-target") & (rows["position"] == 4) & (rows["sample"] == "s1"), "value"] = 1.0
    synthetic.write_rows(folder, rows)
    failure = {
        "method": "cgi",
        "state": "trained",
        "check": "calibration",
        "samples": ["s3"],
        "error": "<b>out of memory</b>",
    }
    change(folder, failures=[failure], status="running")
    text = report.write(folder).read_text(encoding="utf-8")
    top, end = text[: text.index("<h1")], text[text.index('id="provenance"') :]
    for said in (
        "This run is not complete",
        "cgi failed in calibration (trained, 1 sample): &lt;b&gt;out of memory&lt;/b&gt;",
    ):
        assert said in top
    for said in (
        "cgi, cascading truncated-normal: degenerate values, left out of the means: spearman 1 of 64.",
        "stage 4: the explained output is exactly 0 in 1 of 16 samples",
    ):
        assert said in end


def manifest_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    return found


def test_failure_is_told_in_one_line_whatever_failed() -> None:
    failed = {"check": "", "state": "s/1", "samples": ["a", "b"], "error": "ValueError: no"}
    assert failure({**failed, "method": "mine", "count": 3}) == (
        "mine failed 3 times, first (s/1, 2 samples): ValueError: no"
    )
    assert failure({"method": "", "check": "degradation", "state": "", "samples": [], "error": "E: x"}) == (
        "degradation failed: E: x"
    )


def test_method_that_failed_is_said_to_have_failed(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    rows = pd.read_parquet(folder / "rows" / "all.parquet")
    synthetic.write_rows(folder, rows[rows["method"] != "gradient"])
    change(folder, failures=[{"method": "gradient", "check": "", "state": "trained", "samples": [], "error": "E: x"}])
    (method,) = (m for m in content(folder)["methods"] if m["label"] == "gradient")
    assert method["verdict"] == "not shown: steady, depends and faithful"
    assert method["sentence"] == "Not run: steady, depends and faithful."


def test_model_with_one_output_has_no_probabilities(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    data = manifest_of(folder)["data"]
    samples = [{**s, "probability": None, "target_probability": None} for s in data["samples"]]
    change(folder, data={**data, "samples": samples})
    assert {s["probability"] for s in content(folder)["data"]["gallery"]["samples"]} == {None}


def test_label_without_a_name_is_shown_as_its_number(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    data = manifest_of(folder)["data"]
    change(folder, data={**data, "classes": data["classes"][:2]})
    targets = [s["target"] for s in content(folder)["data"]["gallery"]["samples"]]
    assert targets == [synthetic.EVIL, "digit 1", "2", "3"]


def states(folder: Path, group: str, *, complete: bool) -> None:
    """Call the made-up run's randomization something else, in its states and rows."""
    found = [
        {**s, "group": group, "complete": complete and s["index"] == 4} if s["group"] else s
        for s in manifest_of(folder)["states"]
    ]
    change(folder, states=found)
    rows = pd.read_parquet(folder / "rows" / "all.parquet")
    rows["setting"] = rows["setting"].str.replace(synthetic.GROUP, group)
    synthetic.write_rows(folder, rows)


@pytest.mark.parametrize(
    ("group", "complete", "lead", "way", "axis", "said"),
    [
        (
            "cascading he",
            True,
            "Every layer of the network was randomized, step by step from the output down:",
            "from the output down",
            "randomized from the output down to …",
            "randomized down to conv1",
        ),
        (
            "bottom-up he",
            True,
            "Every layer of the network was randomized, step by step from the input up:",
            "from the input up",
            "randomized from the input up to …",
            "randomized up to conv1",
        ),
        (
            "independent he",
            False,
            "Layers of the network were randomized one layer at a time, but never all of them together:",
            "one layer at a time",
            "layer that is randomized, alone",
            "randomized alone: conv1",
        ),
        (
            "mine he",
            False,
            "Layers of the network were randomized stage by stage, but never all of them together:",
            "stage by stage",
            "layer that was randomized last",
            "randomized last: conv1",
        ),
    ],
)
def test_randomization_is_spoken_of_by_its_order(
    run: Path, tmp_path: Path, group: str, complete: bool, lead: str, way: str, axis: str, said: str
) -> None:
    folder = copy(run, tmp_path)
    states(folder, group, complete=complete)
    values = content(folder)
    assert values["lead"].startswith(lead)
    assert values["curves"][group]["axis"] == axis
    last = values["data"]["gallery"]["columns"][-1]
    assert (last["said"], last["random"]) == (said, complete)
    text = report.render(values)
    assert f"stage by stage: layers are randomized {way}. Lower" in text
    said = f"Shown, not judged: {group}, this randomization never has every layer random."
    assert (said in text) is not complete
    words = {m["answers"]["depends"][0]["word"] for m in values["methods"]}
    assert (words == {"not judged"}) is not complete


def test_run_without_randomization_does_not_speak_of_one(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    change(folder, states=manifest_of(folder)["states"][:1])
    values = content(folder)
    assert values["lead"].startswith("No layer of the network was randomized:")
    assert not any("depends" in m["answers"] for m in values["methods"])


def test_states_that_share_their_maps_are_all_shown(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    found = manifest_of(folder)["states"]
    last = f"{synthetic.GROUP} 0 4"
    (stored,) = (s for s in found if s["name"] == last)
    twin = {**stored, "name": "bottom-up 4", "group": "bottom-up truncated-normal"}
    change(folder, states=[*found, twin], aliases={twin["name"]: last})
    columns = content(folder)["data"]["gallery"]["columns"]
    assert [(c["group"], c["state"], c["random"]) for c in columns[-2:]] == [
        (synthetic.GROUP, last, True),
        ("bottom-up truncated-normal", last, True),
    ]


def test_maps_of_earlier_settings_are_left_alone(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    key, value = ("trained", "gradient", "s0"), np.full((SIDE, SIDE), 7, np.float32)
    before, inputs = read_maps(folder)
    for cells, read in (
        ({"gradient": ["old"]}, False),
        ({"gradient": ["old"], "cgi": ["c"]}, False),
        ({"gradient": ["old", "c"]}, True),
    ):
        save_file({json.dumps(key): value}, folder / "maps" / "other.safetensors", {"cells": json.dumps(cells)})
        after, same = read_maps(folder)
        assert bool((after[key] == 7).all()) is read
        assert (after.keys(), same.keys()) == (before.keys(), inputs.keys())


@pytest.mark.parametrize(
    ("name", "recipe", "is_cgi"),
    [
        ("cgi", {"name": "cgi"}, True),
        ("cgi", {"class": "h.Competitive", "method": {"class": "h.GradientXInput"}}, True),
        (None, {"class": "h.Competitive", "method": {"class": "h.GradientXInput"}, "ties": "drop"}, True),
        ("cgi", {"class": "h.Competitive", "method": {"class": "h.IntegratedGradients"}}, False),
        ("gradient", {"class": "h.Gradient"}, False),
    ],
)
def test_only_competition_of_gradient_x_input_is_called_cgi(
    run: Path, name: str | None, recipe: dict[str, Any], is_cgi: bool
) -> None:
    manifest = read_manifest(run)
    (method,) = (m for m in manifest["methods"] if m["label"] == "cgi")
    method |= {"name": name, "recipe": recipe}
    titles = [effect.title for effect in effects(Verdicts.of(read_rows(run), manifest))]
    assert ("Fewer features survive competition when the network is random" in titles) is is_cgi


def test_working_directory_is_what_the_commit_is_of(page: Path) -> None:
    assert "working directory at git <code>0123456789ab</code>" in page.read_text(encoding="utf-8")


def test_every_answer_to_a_question_is_shown_under_its_name(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    rows = pd.read_parquet(folder / "rows" / "all.parquet")
    some = rows[(rows["metric"] == "spearman") & (rows["setting"] == "replicate")].assign(setting="")
    metric = {"name": "sensitivity-n", "chance": 0.0, "ideal": 1.0, "higher_is_better": True}
    names = ("tiles", "pixels")
    kind = {"id": "sensitivity-n", "recipe": {}, "metrics": [metric], "notes": []}
    checks = [{"label": n, "name": None, **kind} for n in names]
    change(folder, checks=[*manifest_of(folder)["checks"], *checks])
    synthetic.write_rows(folder, pd.concat([rows, *(some.assign(check=n, metric="sensitivity-n") for n in names)]))
    values = content(folder)
    (method,) = (m for m in values["methods"] if m["label"] == "gradient")
    assert [(f["name"], f["word"]) for f in method["answers"]["faithful"]] == [
        ("tiles", "better than the input alone"),
        ("pixels", "better than the input alone"),
    ]
    text = report.render(values)
    assert "<li>Faithful? Better than the input alone. What sets of its features get" in text


def test_run_without_maps_or_randomization_still_gives_a_page(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    for path in (folder / "maps").glob("*"):
        path.unlink()
    rows = pd.read_parquet(folder / "rows" / "all.parquet")
    synthetic.write_rows(folder, rows[rows["check"] == "calibration"])
    manifest = json.loads((folder / "manifest.json").read_text())
    change(folder, states=manifest["states"][:1])
    text = report.write(folder).read_text(encoding="utf-8")
    assert "whether they are steady, depend on the network and are faithful was not asked" in text
    assert 'id="gallery"' not in text
    assert 'id="curves"' not in text


def test_run_without_a_single_row_gives_a_page(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    change(folder, cells=[])
    assert "whether they are steady, depend on the network and are faithful was not asked" in report.write(
        folder
    ).read_text(encoding="utf-8")


def test_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"Expected a run of heatproof with a run\.json"):
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
    assert (gallery["tile"], gallery["grid"]) == ([14, 112], [SIDE * SIDE // 8, SIDE * SIDE])
    assert len(gallery["full"]) == len(gallery["methods"])
    assert all(sheet.startswith("data:image/webp;base64,") for sheet in gallery["full"])


def test_maps_of_one_and_of_three_directions_are_drawn() -> None:
    assert pictures.laid_out([40]) == (5, 40)
    np.testing.assert_array_equal(pictures.drawable(np.arange(40.0), [40]), np.tile(np.arange(40.0), (5, 1)))
    volume = np.arange(2 * 3 * 4, dtype=np.float32)
    assert pictures.laid_out([2, 3, 4]) == (3, 8)
    np.testing.assert_array_equal(pictures.drawable(volume, [2, 3, 4]), np.hstack(list(volume.reshape(2, 3, 4))))
    rng = np.random.default_rng(0)
    for shape, size in (((2, 80), (80, 10)), ((1, 2, 3, 4), (8, 3))):  # (width, height)
        uri = pictures.picture("x", {"x": rng.random(shape)})
        assert uri is not None
        assert Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).size == size


def test_maps_that_fit_are_not_sent_twice(run: Path) -> None:
    gallery = content(run)["data"]["gallery"]
    assert (gallery["tile"], gallery["full"]) == ([SIDE, SIDE], None)


def test_pages_of_many_maps_stay_below_ten_megabytes() -> None:
    """Twenty methods, seventeen stages, five samples of 224² pixels of noise, which does not compress."""
    rng = np.random.default_rng(0)
    base = rng.standard_normal((224, 224), np.float32)
    states, methods = [f"s{k}" for k in range(18)], {f"m{k}": bool(k % 2) for k in range(20)}
    maps = {
        (s, m, "x"): np.roll(base, (7 * i, 11 * j), (0, 1)) for i, s in enumerate(states) for j, m in enumerate(methods)
    }
    share = SHEETS / 5

    def drawn(side: int, quality: int) -> str:
        return pictures.sheet(maps, states, methods, "x", (224, 224), side, quality)

    sheet = drawn(*_affordable(drawn, pictures.LARGEST, share))
    assert len(sheet) <= share
    most = len(sheet) * 5 + FULL + 20 * 5 * 18 * 60 + 500_000  # all samples, the first in full, numbers, the rest
    assert most < 10_000_000


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


def test_specification_is_toml_that_runs_again_and_a_cell_has_its_part_of_it(run: Path, tmp_path: Path) -> None:
    folder = copy(run, tmp_path)
    manifest = manifest_of(folder)
    spec = {
        "methods": [{"name": m["label"], "seed": 1} for m in manifest["methods"]],
        "checks": [c["label"] for c in manifest["checks"]],
        "model": {"name": "a:b"},
    }
    change(folder, spec=spec)
    values = content(folder)
    assert tomllib.loads(values["spec"]) == spec
    entries = values["data"]["entries"]
    assert entries["methods"]["cgi"] == '{ name = "cgi", seed = 1 }'
    assert entries["checks"]["steadiness"] == '"steadiness"'
    assert "heatproof audit audit.toml --out run" in report.render(values)


def test_sheets_are_made_as_coarse_as_the_page_has_room_for() -> None:
    tried: list[tuple[int, int]] = []

    def drawn(side: int, quality: int) -> str:
        tried.append((side, quality))
        return "x" * side * quality

    assert _affordable(drawn, 100, 8000) == (100, 80)
    assert _affordable(drawn, 100, 6000) == (100, 60)
    assert _affordable(drawn, 100, 3500) == (50, 60)
    assert _affordable(drawn, 100, 10) == (50, 40)
    assert tried[0] == (100, 80)
