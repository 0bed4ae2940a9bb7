"""A panel for each question: its figures hold the run's numbers, and it says what it cannot tell."""

import json
import re
import shutil
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import synthetic
from safetensors.numpy import load_file, save_file

from heatproof import report
from heatproof.reading import Verdicts
from heatproof.report.beside import Rectangle, beside, outline_of
from heatproof.report.colors import strokes
from heatproof.report.content import content
from heatproof.report.figures import Between, Cells, Curves, Dots, Point, Scatter
from heatproof.report.panels import Panel, cost_against_belief, panels, structure
from heatproof.report.placing import above
from heatproof.report.placing import beside as beside_point
from heatproof.report.shown import Shown
from heatproof.report.svg import drawn, ticks
from heatproof.runs import read, read_manifest

ORDER = [*synthetic.METHODS, *synthetic.CONTROL_METHODS]


@cache
def verdicts(run: Path) -> Verdicts:
    return read(run, Verdicts.of)


def panel(run: Path, question: str) -> Panel:
    return next(one for one in panels(verdicts(run), ORDER) if one.question == question)


@cache
def page_of(run: Path) -> str:
    return report.render(content(run))


def test_every_question_that_was_asked_has_a_panel_that_says_what_it_cannot_tell(whole: Path) -> None:
    found = panels(verdicts(whole), ORDER)
    assert [one.question for one in found] == [
        "steady", "depends", "faithful", "repeats", "more-than-the-picture", "labels", "localizes", "complete",
        "complexity",
    ]  # fmt: skip
    page = page_of(whole)
    for one in found:
        assert f'id="q-{one.question}"' in page
        assert one.asks.endswith("?")
        assert one.cannot
        assert one.source


def test_what_was_judged_is_drawn_with_its_interval_and_margin(whole: Path) -> None:
    dots, _ = panel(whole, "depends").figures
    assert isinstance(dots, Dots)
    found = verdicts(whole).by_question("guided-backprop")["depends"]
    assert dots.rows["guided-backprop"][""] == Point(found.mean, found.low, found.high)
    assert dots.marks == {"below is yes": 0.5}
    assert (dots.tones["guided-backprop"], dots.tones["gradient"]) == ("bad", "good")


def test_faithfulness_shows_both_curves_before_the_best_control(whole: Path) -> None:
    between = next(one for one in panel(whole, "faithful").figures if isinstance(one, Between))
    assert between.control == "edge-detector"
    worth = synthetic.WORTH["grad-cam"]
    assert [point.x for point in between.lower["grad-cam"]] == list(synthetic.PLACES)
    expected = [0.1 + 0.85 * (1 - place) ** (1 + 3 * worth) for place in synthetic.PLACES]
    np.testing.assert_allclose([point.mean for point in between.lower["grad-cam"]], expected)
    assert between.upper["grad-cam"][2].mean == pytest.approx(0.1 + 0.85 * (1 - 0.5 ** (1 + 3 * worth)))
    assert between.said["random"].startswith("area ")


def test_the_randomization_that_decided_is_named_with_its_yardsticks(whole: Path) -> None:
    found = panel(whole, "depends")
    _, dots = found.figures
    assert isinstance(dots, Dots)
    assert dots.title == "What it was judged by: similarity to the trained map after cascading truncated-normal"
    by_metric = {"Spearman, signed": "spearman", "Spearman, absolute": "spearman-absolute"}
    decided = [verdicts(whole).by_question(label)["depends"] for label in dots.rows]
    ours = [one for one in decided if one.metric == by_metric[dots.x]]
    assert len(ours) >= len(decided) / 2
    for one in ours:
        row = {name: point.mean for name, point in dots.rows[one.method].items()}
        assert list(row) == ["every layer random, s", "itself permuted, c", "two runs, r", "two random networks"]
        s, c, r, _ = row.values()
        assert np.isnan(one.mean) or (s - c) / (r - c) == pytest.approx(one.mean)
    assert found.how.startswith("Decided after cascading truncated-normal, by Spearman")
    assert found.how in page_of(whole)


def test_deletion_and_insertion_are_the_two_curves_with_their_areas_and_bands(whole: Path) -> None:
    found = {one.name: one for one in panel(whole, "faithful").figures}
    deletion, insertion, areas = (found[f"degradation-{name}"] for name in ("deletion", "insertion", "areas"))
    assert isinstance(deletion, Curves)
    assert isinstance(insertion, Curves)
    assert isinstance(areas, Dots)
    power = 1 + 3 * synthetic.WORTH["grad-cam"]
    # Put in first what was taken away last: the least relevant gone up to 1 − x is the most relevant there up to x.
    assert [point.x for point in insertion.lines["grad-cam"]] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert insertion.lines["grad-cam"][1].mean == pytest.approx(0.1 + 0.85 * (1 - 0.75**power))
    assert deletion.lines["grad-cam"][1].mean == pytest.approx(0.1 + 0.85 * 0.75**power)
    values = [0.1 + 0.85 * (1 - place) ** power for place in synthetic.PLACES]
    area = sum((a + b) / 2 * 0.25 for a, b in pairwise(values))
    assert areas.rows["grad-cam"]["deletion"].mean == pytest.approx(area)
    assert deletion.key("grad-cam") == f"grad-cam, {area:.2f}"
    assert deletion.best == insertion.best == "edge-detector"
    assert deletion.key("edge-detector").startswith("edge-detector, the best control, ")


def test_every_curve_of_faithfulness_has_its_band_and_so_has_the_best_control(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "spread"))
    rows = synthetic.pd.read_parquet(folder / "rows" / "all.parquet")
    curves = rows["setting"].isin(["morf", "lerf"])
    rows.loc[curves, "value"] += 0.01 * rows.loc[curves, "sample"].str[1:].astype(int)
    synthetic.write_rows(folder, rows)
    figures = next(one for one in panels(read(folder, Verdicts.of), ORDER) if one.question == "faithful").figures
    by_name = {one.name: one for one in figures}
    small = str(drawn(by_name["degradation"], {}))
    assert small.count('class="around upper"') == small.count('class="around lower"') == 9
    for name in ("degradation-deletion", "degradation-insertion", "sensitivity-n"):
        svg = str(drawn(by_name[name], strokes((label, label, False) for label in ORDER)))
        assert svg.count('class="line best"') == 1
        assert svg.count('class="band"') == 6 + 1  # of the controls the best alone


def test_concentration_is_told_with_the_most_and_the_least_of_it(whole: Path) -> None:
    found = panel(whole, "complexity")
    share, gini = found.figures
    assert isinstance(share, Dots)
    assert isinstance(gini, Dots)
    assert share.rows["grad-cam"][""].mean == pytest.approx(0.2, abs=0.02)
    assert gini.rows["grad-cam"][""].mean == pytest.approx(0.7)
    assert found.maps == [("most concentrated", "grad-cam"), ("least concentrated", "guided-backprop")]
    assert "Neither end is a merit" in found.cannot


def test_sensitivity_is_drawn_over_the_size_of_sets(whole: Path) -> None:
    curves = next(one for one in panel(whole, "faithful").figures if one.name == "sensitivity-n")
    assert isinstance(curves, Curves)
    assert curves.log
    assert [point.x for point in curves.lines["gradient"]] == [1, 8, 64]
    assert set(curves.dim) == set(synthetic.CONTROL_METHODS)
    svg = str(drawn(curves, strokes((label, label, False) for label in ORDER)))
    assert svg.count('class="curve"') == 9
    assert svg.count('class="band"') == 6 + 1  # of the controls the best alone


def test_localization_marks_what_knows_no_network(whole: Path) -> None:
    ratio = next(one for one in panel(whole, "localizes").figures if one.name == "bounding-box-ratio")
    assert isinstance(ratio, Dots)
    assert ratio.marks["a random map"] == pytest.approx(0.2)
    assert ratio.marks["the middle of the image"] == pytest.approx(0.3, abs=0.02)
    assert ratio.rows["grad-cam"][""].mean == pytest.approx(0.76, abs=0.02)


def test_labels_stand_beside_the_network_that_learned_the_true_ones_again(whole: Path) -> None:
    found = next(one for one in panel(whole, "labels").figures if one.name == "data-randomization-similarity")
    assert isinstance(found, Dots)
    row = {name: point.mean for name, point in found.rows["guided-backprop"].items()}
    assert row == pytest.approx({"shuffled labels": 0.9, "true labels again": 0.9, "permuted map": 0.0}, abs=0.02)
    assert str(drawn(found, {})).count("<circle") == 6 + 1  # a dot a method, and the key


def test_cost_stands_against_the_share_of_tests_passed(whole: Path) -> None:
    scatter = cost_against_belief(verdicts(whole))
    assert isinstance(scatter, Scatter)
    assert set(scatter.points) == set(synthetic.METHODS)
    seconds, share = scatter.points["gradient"]
    assert (seconds, share) == (pytest.approx(0.001), 1.0)
    assert scatter.tones["guided-backprop"] == "bad"
    assert scatter.points["guided-backprop"][1] < 1


def test_structure_of_the_network_is_drawn_by_layer(whole: Path) -> None:
    found = structure(verdicts(whole))
    assert found is not None
    assert [round(point.mean, 1) for point in found.lines["the network"]] == [0.5, 0.7, 0.8]


def test_best_and_worst_map_stand_beside_with_the_objects_boxes_on_them(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "boxed"))
    inputs = load_file(folder / "maps" / "inputs.safetensors")
    inputs["boxes:s1"] = np.array([[6.0, 3.0, 18.0, 21.0], [0.0, 0.0, 2.0, 2.0]])
    inputs["box-labels:s1"] = np.array([1, 7])
    save_file(inputs, folder / "maps" / "inputs.safetensors")
    manifest = read_manifest(folder)
    kept = Shown.of(folder, manifest)
    target = kept.samples["s1"]["target"]
    found = beside(panel(whole, "localizes"), kept, manifest, "s1")
    assert [one.said for one in found] == ["best: grad-cam", "worst: guided-backprop"]
    assert target == 1
    assert found[0].boxes == [Rectangle(6.0, 3.0, 12.0, 18.0)]
    assert beside(panel(whole, "steady"), kept, manifest, "s1")[0].boxes == []


def test_the_outline_of_the_objects_mask_is_drawn_on_the_maps(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "masked"))
    inputs = load_file(folder / "maps" / "inputs.safetensors")
    manifest = read_manifest(folder)
    height, width = manifest["data"]["shape"][1:]
    mask = np.zeros((height, width), bool)
    mask[3:21, 6:18] = True
    mask[5:8, 9:11] = False  # a hole has an outline, too
    inputs["mask:s1"] = mask
    save_file(inputs, folder / "maps" / "inputs.safetensors")
    kept = Shown.of(folder, manifest)
    found = beside(panel(whole, "localizes"), kept, manifest, "s1")
    assert [one.outline for one in found] == [
        "M6 3H18M9 5H11M9 8H11M6 21H18M6 3V21M9 5V8M11 5V8M18 3V21",
    ] * 2
    assert all("; the outline of the object's mask" in one.alt for one in found)
    assert beside(panel(whole, "steady"), kept, manifest, "s1")[0].outline == ""
    fine = dict(kept.inputs) | {"mask:s1": np.kron(mask, np.ones((10, 10), bool))}
    drawn_at = [float(x) for x in re.findall(r"M([0-9.]+) ", outline_of(kept._replace(inputs=fine), "s1", (24, 24)))]
    assert max(drawn_at) == pytest.approx(18 * 24 / width, abs=0.3)
    inputs["mask:s0"] = mask
    save_file(inputs, folder / "maps" / "inputs.safetensors")
    assert report.render(content(folder)).count('<path class="box" d="M6 3H18') == 2


def test_shares_that_are_out_of_the_scale_are_written_at_the_edge() -> None:
    rows = {"a": {"": Point(0.2, 0.1, 0.3)}, "b": {"": Point(3000.0, -9.0, 9000.0)}, "c": {"": Point(-2.0)}}
    svg = str(drawn(Dots(name="x", title="T", x="share", rows=rows, limits=(-0.25, 1.25)), {}))
    assert "3e+03 ›" in svg
    assert "‹ -2" in svg
    assert svg.count("<circle") == 1


def test_names_are_escaped_in_figures() -> None:
    rows = {synthetic.EVIL: {"": Point(0.5)}}
    for figure in (
        Dots(name="x", title=synthetic.EVIL, x=synthetic.EVIL, rows=rows, marks={synthetic.EVIL: 0.1}),
        Curves(name="x", title="", x="", lines={synthetic.EVIL: [Point(0.5), Point(0.4, x=1)]}),
        Scatter(name="x", title="", x="", points={synthetic.EVIL: (1.0, 0.5), "b": (2.0, 0.1)}),
        Between(name="x", title="", x="", upper={synthetic.EVIL: [Point(1.0)]}, lower={synthetic.EVIL: [Point(0.5)]}),
    ):
        assert "<script" not in str(drawn(figure, {synthetic.EVIL: ("red", "")}))


def test_figures_are_tables_too() -> None:
    dots = Dots(name="x", title="", x="", rows={"a": {"s": Point(1.0, 0.5, 1.5)}})
    assert dots.table().to_dict("records") == [{"method": "a", "series": "s", "mean": 1.0, "low": 0.5, "high": 1.5}]
    cells = Cells(name="x", title="", x="", labels=["a", "b"], values=[[None, 0.5], [0.5, None]])
    assert cells.table().loc["a", "b"] == 0.5


def test_names_of_marks_never_lie_on_one_another() -> None:
    places, lines = above({"above is yes": 300.0, "or less is no": 330.0}, 460)
    assert lines == 1
    assert places == {"above is yes": (297.0, "end", 0), "or less is no": (333.0, "start", 0)}
    close, two = above({"a random map": 20.0, "the middle of the image": 24.0}, 460)
    assert two == 2
    assert [close[name][2] for name in ("a random map", "the middle of the image")] == [0, 1]


def test_names_of_points_lie_on_no_other_name_and_no_other_point() -> None:
    points = {f"method-{k:02}": (100.0 + 7 * (k % 5), 60.0 + 5 * (k % 3)) for k in range(15)}
    taken: list[tuple[float, float, float]] = []
    for name, point in points.items():
        beside_point(name, point, list(points.values()), taken, (0, 640, 8, 300))
    for k, (start, stop, at) in enumerate(taken):
        assert all(abs(at - b) >= 12 or start > e or stop < a for a, e, b in taken[:k])
        assert not any(start - 6 < x < stop + 6 and abs(at - y) < 10 for x, y in points.values())


def test_methods_that_begin_alike_are_told_apart_in_a_figure() -> None:
    names = ("integrated-gradients-smoothgrad", "integrated-gradients-vargrad")
    svg = str(drawn(Dots(name="x", title="T", x="share", rows={name: {"": Point(0.5)} for name in names}), {}))
    assert all(f">{name}</text>" in svg for name in names)


def test_a_key_of_many_series_wraps_and_each_has_a_shape_of_its_own() -> None:
    names = ["every layer random, s", "itself permuted, c", "two runs, r", "two random networks"]
    figure = Dots(name="x", title="T", x="share", rows={"a": {name: Point(0.5) for name in names}})
    svg = str(drawn(figure, {}))
    heights = re.findall(r'y="(\d+)">(?:every|itself|two)', svg)
    assert len(set(heights)) == 2
    shapes = re.findall(
        r'<g class="tone-plain s\d">(?:<title>[^<]*</title>)?(<circle|<path class="shape" d="M[^,]*,[^hl]*[hl][^"]*)',
        svg,
    )
    assert len({re.sub(r"M[^hl]*", "", shape) for shape in shapes}) == 4


def test_ticks_are_round_and_few() -> None:
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(-0.3, 0.42) == [-0.2, 0, 0.2, 0.4]
    assert ticks(2, 2) == [2]


def test_a_question_of_another_package_has_a_panel_of_its_metrics(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "other"))
    manifest = json.loads((folder / "manifest.json").read_text())
    metric = {"name": "taste", "chance": 0.0, "ideal": 1.0, "higher_is_better": True, "text": "How good it tastes."}
    kind = {"label": "taste", "name": "taste", "id": "taste", "recipe": {}, "metrics": [metric], "notes": []}
    manifest["checks"].append(kind)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    rows = synthetic.pd.read_parquet(folder / "rows" / "all.parquet")
    some = rows[(rows["metric"] == "spearman") & (rows["setting"] == "edge-detector")].assign(
        check="taste", setting="", metric="taste"
    )
    synthetic.write_rows(folder, synthetic.pd.concat([rows, some]))
    found = next(one for one in panels(read(folder, Verdicts.of), ORDER) if one.question == "taste")
    assert found.asks == "How good it tastes."
    assert isinstance(found.figures[0], Dots)
