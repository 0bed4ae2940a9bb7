"""Tables: columns' names, numbers, categories, groups; from CSV, Parquet by row groups, and frames."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import heatproof as hp
from heatproof.data import Table
from heatproof.data.table_fit import Moments
from heatproof.data.table_rows import ParquetRows
from heatproof.errors import InputError, UnknownNameError
from heatproof.features import Segments

FRAME = pd.DataFrame(
    {
        "age": [20, 30, 40, 50],
        "color": ["red", "blue", "red", "green"],
        "income": [1.5, 2.5, 3.5, 8.5],
        "town": ["a", "b", "a", "NA"],
        "part": ["train", "train", "test", "test"],
        "label": ["ill", "well", "ill", "well"],
    }
)


@pytest.fixture(params=["rows.csv", "rows.tsv", "rows.csv.gz", "rows.parquet"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    path = tmp_path / request.param
    if path.suffix == ".parquet":
        FRAME.to_parquet(path, row_group_size=3)
    else:
        FRAME.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return str(path)


def saved(path: Path, frame: pd.DataFrame) -> str:
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
    return str(path)


def test_by_hand(file: str) -> None:
    """Numbers as they are; categories as places in their sorted words, together and each by its own name."""
    found = Table(path=file, ignore=("part",)).load()
    assert found.name == "rows"
    assert found.inputs.tolist() == [[20, 1.5], [30, 2.5], [40, 3.5], [50, 8.5]]
    assert found.inputs.dtype == torch.float32
    assert found.classes == ("ill", "well")
    assert found.targets.tolist() == [0, 1, 0, 1]
    assert found.ids == ("row 0", "row 1", "row 2", "row 3")
    assert {name: rows.tolist() for name, rows in found.given.items()} == {
        "numbers": found.inputs.tolist(),
        "categories": [[2, 1], [0, 2], [2, 1], [1, 0]],
        "color": [2, 0, 2, 1],
        "town": [1, 2, 1, 0],
    }
    assert found.names is not None
    assert found.names.columns == ("age", "income", "color", "town")
    assert found.cells is not None
    assert found.cells[3] == ("50", "8.5", "green", "NA")
    assert found.features is None


def test_one_hots_are_one_feature_a_category(file: str) -> None:
    found = Table(path=file, ignore=("part", "town"), encoding="one-hot").load()
    assert found.inputs.tolist() == [[20, 1.5, 0, 0, 1], [30, 2.5, 1, 0, 0], [40, 3.5, 0, 0, 1], [50, 8.5, 0, 1, 0]]
    assert found.given == {}
    assert found.names is not None
    assert found.names.columns == ("age", "income", "color")
    assert isinstance(found.features, Segments)
    assert found.features.grid((5,)) == (3,)
    assert found.features.pool(torch.tensor([[1.0, 2, 3, 4, 5]]), (5,)).tolist() == [[1, 2, 12]]
    chosen = torch.tensor([[False, False, True]])
    assert found.features.replace(found.inputs[:1], chosen, torch.zeros(5)).tolist() == [[20, 1.5, 0, 0, 0]]


def test_groups_of_columns_that_are_one_hots_already(tmp_path: Path) -> None:
    frame = pd.DataFrame({"age": [1, 2], "red": [1, 0], "blue": [0, 1], "size": [0.5, 0.25], "label": [0, 1]})
    found = Table(path=saved(tmp_path / "a.csv", frame), groups={"color": ("red", "blue")}).load()
    assert found.inputs.tolist() == [[1, 1, 0, 0.5], [2, 0, 1, 0.25]]
    assert found.names is not None
    assert found.names.columns == ("age", "color", "size")
    assert found.cells == (("1", "red", "0.5"), ("2", "blue", "0.25"))
    assert found.features is not None
    assert found.features.pool(torch.tensor([[1.0, 2, 3, 4]]), (4,)).tolist() == [[1, 5, 4]]
    assert found.classes is None
    assert found.targets.tolist() == [0, 1]


def test_standardized_by_the_rows_of_the_training_part(file: str) -> None:
    """Of ages 20 and 30: mean 25, std 5; of incomes 1.5 and 2.5: mean 2, std 0.5."""
    found = Table(
        path=file, numbers=("income", "age"), rows="part=test", fit_rows="part=train", standardize=True
    ).load()
    assert found.inputs.tolist() == [[3.0, 3.0], [13.0, 5.0]]
    assert found.ids == ("row 2", "row 3")
    assert found.cells == (("3.5", "40"), ("8.5", "50"))  # as they stand in the table


def test_mean_and_std_may_be_given(file: str) -> None:
    found = Table(path=file, numbers=("age",), mean=(10.0,), std=(20.0,), limit=2).load()
    assert found.inputs.tolist() == [[0.5], [1.0]]


def test_vocabularies_are_taken_from_another_table(file: str, tmp_path: Path) -> None:
    more = pd.concat([FRAME, FRAME.assign(color="amber")])
    found = Table(path=file, categories=("color",), fit=saved(tmp_path / "more.csv", more)).load()
    assert found.inputs.tolist() == [[3], [1], [3], [2]]  # amber comes first
    assert found.inputs.dtype == torch.int64
    assert found.given["color"].tolist() == [3, 1, 3, 2]


def test_a_constant_column_is_not_divided_by_zero(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [3.0, 3.0], "label": [0, 1]})
    assert Table(path=saved(tmp_path / "a.csv", frame), standardize=True).load().inputs.tolist() == [[0.0], [0.0]]


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2), min_size=1, max_size=12), st.data())
def test_moments_do_not_depend_on_the_parts(rows: list[list[float]], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    found = Moments(0, np.zeros(2), np.zeros(2))
    for part in np.split(np.array(rows), cuts):
        found = found.with_more(part)
    np.testing.assert_allclose(found.mean, np.mean(rows, 0), atol=1e-9)
    np.testing.assert_allclose(np.sqrt(found.squares / found.rows), np.std(rows, 0), atol=1e-6)


def test_words_that_a_vocabulary_lacks(file: str) -> None:
    given = {"color": ("red", "blue")}
    with pytest.raises(InputError, match=r"vocabulary of 'color' \(red, blue\), but row 3 of rows has 'green'"):
        Table(path=file, categories=("color",), vocabularies=given).load()
    given = {"color": ("?", "red", "blue")}
    found = Table(path=file, categories=("color",), vocabularies=given, unknown="?").load()
    assert found.given["color"].tolist() == [1, 2, 1, 0]
    assert found.cells is not None
    assert found.cells[3] == ("green",)


@pytest.mark.parametrize("column", ["age", "color", "label"])
@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_missing_values_are_refused_with_row_and_column(tmp_path: Path, name: str, column: str) -> None:
    frame = FRAME.copy()
    frame[column] = frame[column].astype(object)
    frame.loc[2, column] = None
    frame["age"] = frame["age"].astype(float)
    path = saved(tmp_path / name, frame)
    with pytest.raises(InputError, match=rf"a value in every column of a, but row 2 has none in '{column}'; fill"):
        Table(path=path).load()
    found = Table(path=path, missing="skip").load()
    assert found.skipped == (("row 2", f"no value in column '{column}'"),)
    assert found.ids == ("row 0", "row 1", "row 3")


def test_a_number_to_predict(file: str) -> None:
    found = Table(path=file, number="income", numbers=("age",)).load()
    assert found.numbers is not None
    assert found.numbers.tolist() == [1.5, 2.5, 3.5, 8.5]
    assert not found.labelled
    assert found.classes is None


def test_without_labels_and_with_ids(file: str) -> None:
    found = Table(path=file, label="", id="income", numbers=("age",), limit=2).load()
    assert found.ids == ("1.5", "2.5")
    assert not found.labelled
    with pytest.raises(InputError, match="a unique id a sample, but 'red' comes twice"):
        Table(path=file, id="color", numbers=("age",)).load()


def test_frames_of_pandas_and_pyarrow() -> None:
    for frame in (FRAME, pa.Table.from_pandas(FRAME), FRAME.astype({"color": "category"})):
        source = hp.data.table(frame, ignore=("part",))
        found = source.load()
        assert found.given["color"].tolist() == [2, 0, 2, 1]
        blocks = source.blocks()
        again = pickle.loads(pickle.dumps(blocks))
        assert again.identity == blocks.identity
        assert again.read(1, 3).ids == ("row 1", "row 2")
    other = hp.data.table(FRAME.assign(age=1), ignore=("part",))
    assert other.blocks().identity != hp.data.table(FRAME, ignore=("part",)).blocks().identity
    with pytest.raises(InputError, match="Expected a table, such as a pandas DataFrame, but got 3"):
        hp.data.table(3)
    with pytest.raises(InputError, match=r"heatproof\.data\.table\(frame, label=…\)"):
        hp.data.as_blocks(FRAME)


def test_identity_knows_the_file_and_what_is_made_of_it(file: str, tmp_path: Path) -> None:
    source = Table(path=file, numbers=("age",))
    moved = tmp_path / "elsewhere" / Path(file).name
    moved.parent.mkdir()
    moved.write_bytes(Path(file).read_bytes())
    assert Table(path=str(moved), numbers=("age",)).blocks().identity == source.blocks().identity
    others = [Table(path=file, numbers=("income",)), Table(path=file, numbers=("age",), standardize=True)]
    assert len({one.blocks().identity for one in (source, *others)}) == 3
    hash(source)


def test_blocks_are_those_of_the_whole(file: str) -> None:
    source = Table(path=file, ignore=("part",), shuffle=3, standardize=True)
    whole, blocks = source.load(), source.blocks()
    parts = [blocks.read(start, start + 2) for start in (0, 2)]
    assert [name for part in parts for name in part.ids] == list(whole.ids)
    assert torch.equal(torch.cat([part.inputs for part in parts]), whole.inputs)
    assert [one for part in parts for one in part.digests] == list(whole.digests)


def test_parquet_is_read_by_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"x": np.arange(100.0), "y": np.arange(100.0), "label": np.arange(100) % 2})
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=10)
    read: list[tuple[int, tuple[str, ...]]] = []
    decoded = ParquetRows._decoded

    def noted(self: Any, group: int, columns: tuple[str, ...]) -> Any:
        read.append((group, columns))
        return decoded(self, group, columns)

    monkeypatch.setattr(ParquetRows, "_decoded", noted)
    blocks = Table(path=str(tmp_path / "a.parquet"), numbers=("x",), classes=("a", "b")).blocks()
    assert blocks.read(35, 42).inputs[:, 0].tolist() == [35, 36, 37, 38, 39, 40, 41]
    assert read == [(3, ("x", "label")), (4, ("x", "label"))]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"label": "lable"}, "labels of a in a column 'lable', but its columns are age, .*or say label=''"),
        ({"numbers": ("ages",)}, "got 'ages'; did you mean 'age'"),
        ({"numbers": ("color",)}, "numbers in column 'color' of .*a.csv, but line 2 has 'red'; .* among `categories`"),
        ({"groups": {"g": ("color",)}}, "column of numbers, in `groups`, but got 'color'"),
        ({"groups": {"g": ("age",), "h": ("age",)}}, "in one group at most, but 'age' is in `groups` twice"),
        ({"numbers": ("age",), "mean": (0.0, 1.0), "std": (1.0, 1.0)}, r"`mean` and `std` of 1 columns \(age, …\)"),
        ({"standardize": True, "mean": (0.0,), "std": (1.0,)}, "either `standardize` or `mean` and `std`"),
        ({"vocabularies": {"color": ("red", "red")}}, "different words, but that of 'color' has a word twice"),
        ({"vocabularies": {"color": ("red",)}, "unknown": "?"}, "that of 'color' lacks '\\?'"),
        ({"rows": "part=valid"}, "rows of .* with 'part=valid', but there are none; part is test, train"),
        ({"rows": "part"}, "rows as 'column=value', but got 'part'"),
        ({"classes": ("ill",)}, "Expected the name of a class in column 'label' of a, but got 'well'"),
        ({"label": "income", "numbers": ("age",)}, "got '1.5'; say number='income' where it is a number"),
        ({"path": "none.csv"}, "a table, .csv, .tsv or .parquet, but got 'none.csv', which is no file"),
    ],
)
def test_what_does_not_fit_is_an_error(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    path = saved(tmp_path / "a.csv", FRAME)
    with pytest.raises((InputError, UnknownNameError), match=said):
        Table(**{"path": path, **fields}).load()


@pytest.mark.parametrize(("name", "content"), [("a.parquet", b"PAR1 cut"), ("a.csv", b""), ("a.csv.gz", b"no gzip")])
def test_a_broken_file_is_an_error(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} to be a .* file, but reading it failed"):
        Table(path=str(tmp_path / name)).load()


def test_what_is_taken_of_the_audited_table_itself_is_said(tmp_path: Path) -> None:
    path = str(tmp_path / "t.csv")
    pd.DataFrame({"age": [1.0, 2.0], "sex": ["f", "m"], "label": [0, 1]}).to_csv(path, index=False)
    note = Table(path=path, standardize=True).blocks().note
    assert note == (
        "The integers of 'sex' and mean and std are taken of the audited table itself; where the network was trained "
        "with others, name its training part as `fit`."
    )
    assert Table(path=path, standardize=True, fit=path).blocks().note == ""
    assert Table(path=path, vocabularies={"sex": ("f", "m")}).blocks().note == ""


def test_two_columns_of_one_name_and_lists_in_a_column_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,a,label\n1,2,0\n")
    with pytest.raises(InputError, match="but two are called 'a'"):
        Table(path=str(tmp_path / "t.csv")).load()
    pd.DataFrame({"x": [[1, 2], [3, 4]], "label": [0, 1]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"column 'x' of t, but it holds list<.*leave it out, ignore=\['x'\]"):
        Table(path=str(tmp_path / "t.parquet")).load()
