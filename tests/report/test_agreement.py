"""The tables of agreement between methods."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import synthetic

from heatproof import report
from heatproof.report.content import content
from heatproof.similarity import Spearman


def agreeing(run: Path, tmp_path: Path, pairs: dict[tuple[str, str], list[float]]) -> Path:
    """The made-up run with rows of agreement for these pairs, one value a sample."""
    folder = Path(shutil.copytree(run, tmp_path / "copy"))
    rows = [
        ("method-agreement", one, two, "trained", "", 0.0, f"s{i}", "spearman", value, 0, "c")
        for (one, two), values in pairs.items()
        for i, value in enumerate(values)
    ]
    all_rows = pd.read_parquet(folder / "rows" / "all.parquet")
    synthetic.write_rows(folder, pd.concat([all_rows, pd.DataFrame(rows, columns=all_rows.columns)]))
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    metrics = [Spearman().metric.describe()]
    name = "method-agreement"
    check = {"label": name, "name": name, "id": name, "recipe": {}, "metrics": metrics, "notes": []}
    path.write_text(json.dumps({**manifest, "checks": [*manifest["checks"], check]}))
    return folder


def test_each_pair_stands_on_both_sides_of_the_diagonal(run: Path, tmp_path: Path) -> None:
    pairs = {("cgi", "gradient"): [0.5, 0.7], ("cgi", "random"): [-0.1, np.nan], ("gradient", "random"): [np.nan] * 2}
    values = content(agreeing(run, tmp_path, pairs))
    (table,) = values["agreement"]
    assert table["name"] == "Spearman, signed"
    found = dict(table["lines"])
    assert set(found) == {"cgi", "gradient", "random"}
    means = [[None if cell is None else round(cell["mean"], 9) for cell in cells] for cells in found.values()]
    at = {label: place for place, label in enumerate(found)}
    assert means[at["cgi"]][at["gradient"]] == means[at["gradient"]][at["cgi"]] == 0.6
    assert means[at["random"]][at["cgi"]] == -0.1
    assert means[at["gradient"]][at["random"]] is None
    assert all(means[k][k] is None for k in range(3))
    assert found["cgi"][at["random"]]["title"] == "cgi, random: -0.100, mean of 1 samples, 1 without a value"
    said = "method-agreement: 2 of 3 pairs of methods have samples with a constant map, left out of the means."
    assert said in values["counts"]
    assert not any(line.startswith(("cgi, random", "gradient, random")) for line in values["counts"])


def test_the_page_shows_it_with_names_escaped(run: Path, tmp_path: Path) -> None:
    folder = agreeing(run, tmp_path, {("cgi", "gradient"): [0.5, 0.7], ("cgi", "random"): [-0.25, -0.25]})
    text = report.write(folder).read_text(encoding="utf-8")
    part = text[text.index('<section id="agreement">') :]
    part = part[: part.index("</section>")]
    assert 'class="" style="--share: 36%">0.60</td>' in part
    assert 'class="against" style="--share: 15%">-0.25</td>' in part
    assert '<a href="#agreement">Agreement</a>' in text
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"label": "cgi"', f'"label": {json.dumps(synthetic.EVIL)}'))
    rows = pd.read_parquet(folder / "rows" / "all.parquet")
    synthetic.write_rows(folder, rows.replace({"method": {"cgi": synthetic.EVIL}}))
    text = report.write(folder).read_text(encoding="utf-8")
    assert "<img src=x" not in text


def test_a_run_without_the_check_has_no_such_section(page: Path) -> None:
    assert "agreement" not in page.read_text(encoding="utf-8").split("<body>")[1]


def test_methods_that_agree_stand_beside_one_another(run: Path, tmp_path: Path) -> None:
    one, two = ("cgi", "gradient-x-input"), ("gradient", "grad-cam")
    pairs = {
        (min(a, b), max(a, b)): [0.9 if {a, b} in ({*one}, {*two}) else 0.1] * 2
        for a in (*one, *two)
        for b in (*one, *two)
        if a < b
    }
    (table,) = content(agreeing(run, tmp_path, pairs))["agreement"]
    order = [label for label, _ in table["lines"]]
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset(one), frozenset(two)}
