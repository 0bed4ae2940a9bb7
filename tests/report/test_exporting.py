"""Figures and tables for a paper, several runs on one page, and what notebooks show of a run."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from heatproof.auditing.run import Run
from heatproof.errors import InputError, UnknownNameError
from heatproof.reading import Verdicts
from heatproof.report.comparing import compare
from heatproof.report.every import figures_of
from heatproof.report.exporting import export
from heatproof.runs import read


@pytest.fixture(scope="module")
def exported(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    run = Path(shutil.copytree(whole, tmp_path_factory.mktemp("one") / "run"))
    path = run / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "shown": ["s0"]}))  # one sample's maps are enough
    export(run, folder)
    return folder


def test_every_figure_is_svg_and_pdf_and_every_table_csv_and_latex(whole: Path, exported: Path) -> None:
    names = {*figures_of(read(whole, Verdicts.of)), "maps-s0"}
    assert {"depends", "degradation", "sensitivity-n", "bounding-box-ratio", "cost-against-belief"} <= names
    assert "cascading-truncated-normal-spearman" in names
    for name in names:
        assert (exported / f"{name}.svg").read_text(encoding="utf-8").startswith("<?xml")
        assert (exported / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    for name in (*names, "verdicts", "findings"):
        assert len(pd.read_csv(exported / f"{name}.csv")) > 0
        assert "\\toprule" in (exported / f"{name}.tex").read_text(encoding="utf-8")


def test_tables_hold_the_numbers_that_are_drawn(whole: Path, exported: Path) -> None:
    table = pd.read_csv(exported / "depends.csv").set_index("method")
    found = read(whole, Verdicts.of).by_question("guided-backprop")["depends"]
    assert table.loc["guided-backprop", "mean"] == pytest.approx(found.mean, rel=1e-3)
    words = pd.read_csv(exported / "verdicts.csv").set_index("method")
    assert words.loc["grad-cam", "believable"] == "passes every test that was run"


def test_text_stays_text_in_figures(exported: Path) -> None:
    assert "guided-backprop" in (exported / "depends.svg").read_text(encoding="utf-8")


def test_several_runs_stand_on_one_page(whole: Path, run: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    text = compare([whole, other], tmp_path / "both.html").read_text(encoding="utf-8")
    assert f"From {whole.name} to other" in text
    assert "<b>gradient</b>, faithful: It was “better than the input alone” and is “not asked”" in text
    assert text.count(">grad-cam</th>") == 1
    assert "<script" not in text
    with pytest.raises(InputError, match="Expected two runs or more"):
        compare([whole], tmp_path / "one.html")


def test_a_run_shows_its_sentence_and_matrix_in_a_notebook(whole: Path) -> None:
    shown = Run(whole)._repr_html_()
    assert "<b>Show gradient or grad-cam." in shown
    assert '<th style="text-align:left;font-weight:bold">grad-cam</th>' in shown
    assert "<script" not in shown


def test_a_run_draws_its_figures_by_name(whole: Path) -> None:
    plot = Run(whole).plot
    assert "depends" in plot.names
    assert "more_than_the_picture" in dir(plot)
    drawn = plot.more_than_the_picture()
    assert drawn.axes[0].get_xlabel() == "share of the map that is in a map made without a network"
    assert len(plot("degradation").axes) == 12
    with pytest.raises(UnknownNameError, match="did you mean 'depends'"):
        plot("depend")
    with pytest.raises(AttributeError, match="This run has no figure 'nothing'"):
        plot.nothing()
