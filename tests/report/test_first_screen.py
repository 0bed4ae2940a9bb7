"""The five questions of somebody who has one minute, answered from the text of the first screen alone."""

import html
import json
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import synthetic

from heatproof import report
from heatproof.reading import Verdicts
from heatproof.reading.shares import listed
from heatproof.report.content import content
from heatproof.report.first_screen import FirstScreen, first_screen
from heatproof.report.sentences import lasting, rounded
from heatproof.runs import read


def screen(run: Path) -> FirstScreen:
    return first_screen(read(run, Verdicts.of))


def copy(run: Path, tmp_path: Path, **values: Any) -> Path:
    folder = Path(shutil.copytree(run, tmp_path / "copy"))
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return folder


@cache
def text_of_first_screen(run: Path) -> str:
    """What a reader sees before the matrix, as plain text."""
    page = report.render(content(run))
    part = page[page.index('<section id="first"') : page.index('<section id="matrix"')]
    plain = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", part)).split())
    return re.sub(r" ([.,:])", r"\1", plain)


def test_which_maps_may_be_shown_to_somebody_who_decides(whole: Path) -> None:
    assert screen(whole).text == (
        "Show gradient or grad-cam. Three others fail: they draw the picture, not what this network learned. The other "
        "cannot be told: 16 samples are too few, and more would not tell everything."
    )
    seen = text_of_first_screen(whole)
    assert "● Use these gradient (1.0 ×): passes all seven tests that were run" in seen
    assert "guided-backprop (81 % of it stays): looks much the same for a network that learned nothing" in seen
    assert "? Not shown yet smoothgrad: repeats (by about 78 samples) and more than the picture cannot be told" in seen


def test_is_it_the_network_or_the_method(whole: Path, run: Path, tmp_path: Path) -> None:
    known = "The network is right on 98 % of 16 samples (80 % to 100 %); guessing would be right on 11 %."
    asked = "The network, or the method? "
    assert f"{asked}{known} So what fails here is the method, not the network." in text_of_first_screen(whole)
    unknown = "How often the network is right is not known."
    assert f"{asked}{unknown} So a heatmap may fail here for the network's sake: give" in text_of_first_screen(run)
    guessing = {"measure": "accuracy", "near_chance": True, "sentence": "It guesses."}
    seen = text_of_first_screen(copy(whole, tmp_path, knowledge=guessing))
    assert "Trust none of these heatmaps: this network is not known to have learned anything." in seen
    assert f"{asked}It guesses. What fails here may be the network's fault, and what passes is no merit." in seen
    assert "Train the network, or load its weights and preprocessing; then run this again." in seen
    assert "Use these" not in seen


def test_how_sure(whole: Path) -> None:
    assert (
        "How sure? 16 samples and 1 random network, 95 % intervals: a yes or no needs all of one beyond a stated "
        "margin, and 5 % at most of them are expected to be wrong. 2 of 52 answers cannot be told."
    ) in text_of_first_screen(whole)


def test_what_to_run_next(whole: Path, run: Path, tmp_path: Path) -> None:
    assert screen(whole).following == [
        "Take about 78 samples instead of 16 to tell repeats of smoothgrad.",
        "Draw more random networks, seeds = [0, 1, 2]: of one nothing is said of others.",
    ]
    assert screen(run).following[0] == "Add degradation (faithful)."
    assert (
        "Could be asked, too: data-randomization (labels, needs training data), bounding-box (localizes, needs boxes "
        "or masks) and completeness (complete)."
    ) in screen(run).following
    methods = [{**m, "controls": False} for m in json.loads((run / "manifest.json").read_text())["methods"]]
    folder = copy(run, tmp_path, status="running", methods=methods)
    assert screen(folder).following[:2] == [
        "Run the same command again: only what is missing is computed.",
        "Add a control, such as edge-detector, to the methods: it shows what needs no network.",
    ]


def test_what_did_this_cost(whole: Path) -> None:
    assert (
        "What did this cost? 900 maps in 4.5 s on cpu with 2 threads, without the checks' own passes; the dearest 9 ms "
        "a map."
    ) in text_of_first_screen(whole)


def test_nothing_is_shown_where_what_belief_needs_was_not_asked(run: Path) -> None:
    assert screen(run).text == (
        "Show none of these yet. One of six fails: it looks much the same for a network that learned nothing. The "
        "others cannot be told: whether they are faithful was not asked."
    )


def test_failing_alone_and_all_together_is_said_as_it_is(whole: Path, tmp_path: Path) -> None:
    folder = copy(whole, tmp_path)
    rows = pd.read_parquet(folder / "rows" / "all.parquet")
    steady = (rows["check"] == "steadiness") & (rows["setting"] == "parameters")
    rows.loc[steady, "value"] *= 0.01
    synthetic.write_rows(folder, rows)
    assert screen(folder).text == "Show none of these. All of them fail: they change when nothing happened."
    methods = json.loads((folder / "manifest.json").read_text())["methods"]
    controls = [{**m, "controls": True} for m in methods]
    (folder / "manifest.json").write_text(
        json.dumps({**json.loads((folder / "manifest.json").read_text()), "methods": controls})
    )
    assert screen(folder).text == "No heatmap was judged: every method is a control."


def test_failures_come_before_everything_and_counts_at_the_end(whole: Path, tmp_path: Path) -> None:
    failed = {"method": "cgi", "state": "trained", "check": "calibration", "samples": ["s3"], "error": "<b>full</b>"}
    folder = copy(whole, tmp_path, failures=[failed], status="running")
    page = report.render(content(folder))
    assert page.index("cgi failed in calibration (trained, 1 sample): &lt;b&gt;full") < page.index("<h1")
    assert page.index("This run is not complete") < page.index("<h1")
    assert 'class="failures"' not in report.render(content(whole))


def test_hero_shows_what_survives_beside_what_does_not(whole: Path) -> None:
    found = content(whole)["hero"]
    assert [(row.method, row.tone) for row in found.rows] == [("guided-backprop", "bad"), ("gradient", "good")]
    assert found.rows[0].said == "still there, 81 % of it"
    assert found.rows[1].said == "gone, 3 % of it stays"
    assert found.rows[0].trained != found.rows[0].random
    assert found.sample.endswith("where the two are as far apart as on the median sample")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.00034, "0.34 ms"), (0.05, "50 ms"), (0.13, "0.13 s"), (12.0, "12 s"), (600.0, "10 min"), (20000.0, "5.6 h")],
)
def test_times_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert lasting(seconds) == said


def test_numbers_and_lists_in_sentences() -> None:
    assert [rounded(n) for n in (7, 42, 874, 5602)] == ["7", "42", "870", "5,600"]
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
