"""Tables in a spreadsheet run nothing."""

import pandas as pd

from heatproof.spreadsheet import write_csv


def test_what_begins_like_a_formula_is_text(tmp_path):
    names = ["=HYPERLINK(1)", "+1", "-1", "@x", "\tx", "plain", 'a"b,c']
    table = pd.DataFrame({"=method": names, "value": [-1.5, 2, 3, 4, 5, 6, 7]})
    write_csv(table, tmp_path / "t.csv", "%.2g")
    back = pd.read_csv(tmp_path / "t.csv")
    assert list(back) == ["'=method", "value"]
    assert list(back["'=method"]) == ["'=HYPERLINK(1)", "'+1", "'-1", "'@x", "'\tx", "plain", 'a"b,c']
    assert list(back["value"]) == [-1.5, 2, 3, 4, 5, 6, 7]
    assert list(table) == ["=method", "value"]  # and it is left as it was
