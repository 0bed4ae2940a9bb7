import os
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heatproof.data import TextTable
from heatproof.errors import HeatproofWarning, InputError, UnknownNameError

ROWS = [
    ("The cat, the CAT: don't!", 1, "train"),
    ("A dog.", 0, "train"),
    ("the zebra", 1, "test"),
    ("", 0, "test"),
    ("the dog the cat", "", "test"),
    ("NA nan dog", 0, "test"),
]


@pytest.fixture(params=["reviews.csv", "reviews.csv.gz", "reviews.parquet"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    frame = pd.DataFrame(ROWS, columns=["text", "label", "split"]).astype(str).replace({"": None})
    path = tmp_path / request.param
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return str(path)


def test_by_hand(table: str):
    """Counted in the training rows: the 2, cat 2, then a, dog and don't with 1 each in alphabetical order."""
    source = TextTable(path=table, rows="split=test", vocabulary_rows="split=train", length=4)
    assert list(source.numbered) == ["<pad>", "<unk>", "cat", "the", "a", "dog", "don't"]
    loaded = source.load()
    assert loaded.name == "reviews"
    assert loaded.ids == ("row 2", "row 5")
    assert loaded.inputs.tolist() == [[0, 0, 3, 1], [0, 1, 1, 5]]
    assert loaded.inputs.dtype == torch.int64
    assert loaded.tokens == (("<pad>", "<pad>", "the", "[zebra]"), ("<pad>", "[na]", "[nan]", "dog"))
    assert loaded.mask.tolist() == [[0, 0, 1, 1], [0, 1, 1, 1]]
    assert loaded.targets.tolist() == [1, 0]
    assert loaded.classes is None
    assert loaded.skipped == (("row 3", "no text in 'text'"), ("row 4", "no label in 'label'"))


def test_sides_case_and_size_of_the_vocabulary(table: str):
    first = TextTable(path=table, limit=1, length=3, words=4)
    assert list(first.numbered) == ["<pad>", "<unk>", "the", "cat"]  # the 5, cat and dog 3, counted in every row
    with pytest.warns(HeatproofWarning, match=r"1 of 1 texts of reviews are longer than 3 tokens .*their beginning"):
        assert first.load().tokens == (("the", "cat", "[don't]"),)
    with pytest.warns(HeatproofWarning, match=r"cut \(row 0\): the network does not see their end"):
        assert TextTable(path=table, limit=1, length=3, side="right").load().tokens == (("the", "cat", "the"),)
    assert TextTable(path=table, limit=1, length=7, side="right").load().inputs[0, 5:].tolist() == [0, 0]
    assert "CAT" in TextTable(path=table, lowercase=False).numbered


def test_a_listed_vocabulary_keeps_its_numbers(table: str, tmp_path: Path):
    (tmp_path / "words.txt").write_text("zebra\n[PAD]\nthe\n[UNK]\n")
    source = TextTable(path=table, vocabulary=str(tmp_path / "words.txt"), pad="[PAD]", unknown="[UNK]", length=5)
    assert source.load().inputs[0].tolist() == [2, 3, 2, 3, 3]
    assert TextTable(
        path=table, rows="split=test", limit=1, vocabulary=source.vocabulary, pad="[PAD]", unknown="[UNK]", length=3
    ).load().inputs.tolist() == [[1, 2, 0]]


def test_named_labels_are_numbered_in_sorted_order(tmp_path: Path):
    path = tmp_path / "named.csv"
    path.write_text("text,label\ngood film,positive\nbad film,negative\n")
    assert TextTable(path=str(path), length=2).load().classes == ("negative", "positive")
    assert TextTable(path=str(path), length=2).load().targets.tolist() == [1, 0]
    turned = TextTable(path=str(path), length=2, classes=["positive", "negative"]).load()
    assert turned.targets.tolist() == [0, 1]
    with pytest.raises(UnknownNameError, match="got 'positive'; did you mean 'positve'"):
        TextTable(path=str(path), length=2, classes=("positve", "negative")).load()


def test_texts_that_are_cut_are_said_once_and_others_never(tmp_path: Path):
    texts = ["one two three four", "one two three", "four five six seven eight", "one"]
    pd.DataFrame({"text": texts, "label": 0}).to_csv(tmp_path / "t.csv", index=False)
    blocks = TextTable(path=str(tmp_path / "t.csv"), length=3).blocks()
    with pytest.warns(HeatproofWarning, match=r"1 of 2 texts of t are longer than 3 tokens and cut \(row 0\)"):
        blocks.read(0, 2)
    blocks.read(2, 4)  # said already
    TextTable(path=str(tmp_path / "t.csv"), length=5).load()  # nothing is cut


def test_labels_that_are_numbers_in_words(tmp_path: Path):
    frame = pd.DataFrame({"text": ["one", "two", "three"], "label": [1.0, None, 2.0]})  # a missing one makes all floats
    frame.to_parquet(tmp_path / "t.parquet")
    loaded = TextTable(path=str(tmp_path / "t.parquet")).load()
    assert (loaded.targets.tolist(), loaded.classes) == ([1, 2], None)
    frame.assign(label=[-1, 0, 1]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError, match=r"whole numbers from 0 on, below .*, but got '-1'; name all of them"):
        TextTable(path=str(tmp_path / "t.csv")).load()
    named = TextTable(path=str(tmp_path / "t.csv"), classes=("0", "1", "-1")).load()
    assert named.targets.tolist() == [2, 0, 1]


def test_a_vocabulary_of_the_audited_texts_themselves_is_said(tmp_path: Path):
    pd.DataFrame({"text": ["one two"], "label": 0}).to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "words.txt").write_text("<pad>\n<unk>\none\n")
    source = TextTable(path=str(tmp_path / "t.csv"))
    assert "counted in the audited texts themselves" in source.blocks().note
    assert TextTable(path=source.path, vocabulary=str(tmp_path / "words.txt")).blocks().note == ""


def test_a_changed_vocabulary_is_other_data(tmp_path: Path):
    pd.DataFrame({"text": ["one two"], "label": 0}).to_csv(tmp_path / "t.csv", index=False)
    identities = set()
    for words in ("<pad>\n<unk>\none\ntwo\n", "<pad>\n<unk>\ntwo\none\n"):
        (tmp_path / "words.txt").write_text(words)
        source = TextTable(path=str(tmp_path / "t.csv"), vocabulary=str(tmp_path / "words.txt"))
        identities.add(source.blocks().identity)
    assert len(identities) == 2


def test_a_link_that_leads_nowhere_and_a_pipe_are_no_texts(tmp_path: Path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("one two")
    (tmp_path / "texts" / "b.txt").symlink_to(tmp_path / "gone.txt")
    os.mkfifo(tmp_path / "texts" / "c.txt")
    source = TextTable(path=str(tmp_path / "texts"), label="")
    data = source.load()
    assert (data.ids, [name for name, _ in data.skipped]) == (("a.txt",), ["b.txt", "c.txt"])
    assert source.blocks().identity


@pytest.mark.filterwarnings("ignore:.*are longer than")
@given(st.lists(st.text(min_size=1), min_size=1, max_size=8), st.integers(1, 6), st.sampled_from(["left", "right"]))
def test_every_text_has_the_length_and_its_tokens_are_its_numbers(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], length: int, side: str
):
    path = tmp_path_factory.mktemp("texts") / "any.parquet"
    pd.DataFrame({"text": ["one word", *texts], "label": 0}).to_parquet(path)
    source = TextTable(path=str(path), length=length, side=side)
    loaded = source.load()
    assert loaded.inputs.shape == (len(loaded.ids), length)
    for row, words, mask in zip(loaded.inputs.tolist(), loaded.tokens, loaded.mask.tolist(), strict=True):
        assert row == [source.numbered[word] for word in words]
        assert mask == sorted(mask, reverse=side == "right")
    assert len(loaded) + len(loaded.skipped) == len(texts) + 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text": "txt"}, "column of .*, but got 'txt'; did you mean 'text'"),
        ({"label": "lable"}, "did you mean 'label'"),
        ({"rows": "split"}, "rows as 'column=value', but got 'split'"),
        ({"rows": "split=dev"}, "there are none; split is test, train"),
        ({"vocabulary_rows": "split=dev"}, "there are none"),
        ({"vocabulary": "none.csv"}, "'none.csv', which is neither"),
        ({"vocabulary": "none.txt"}, "a vocabulary in 'none.txt', but reading it failed"),
        ({"side": "rigth"}, "did you mean 'right'"),
        ({"length": 0}, "length from 1"),
        ({"mean": (0.0,), "std": (1.0,)}, "without `mean` and `std`"),
        ({"classes": ("negative",)}, "labels below 1, one for each of `classes`, .* but got 1"),
        (
            {"rows": "split=test", "offset": 1, "limit": 2},
            "none of 2 can be used; the first, row 3: no text in 'text'; a row needs a text",
        ),
    ],
)
def test_what_does_not_fit_is_an_error(table: str, fields: dict, message: str):
    with pytest.raises(InputError, match=message):
        TextTable(**{"path": table, **fields}).load()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("the\n<pad>\n", "lacks '<unk>'"),
        ("<pad>\n<unk>\na\na\n", "has a token twice"),
        ("", "lacks '<pad>' and '<unk>'"),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_an_error(table: str, tmp_path: Path, text: str, problem: str):
    (tmp_path / "words.txt").write_text(text)
    with pytest.raises(InputError, match=problem):
        TextTable(path=table, vocabulary=str(tmp_path / "words.txt")).load()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b""),
        ("a.csv", b'text,label\n"never closed,1\n'),
        ("a.csv", b"text,label\n\xff\xfe,1\n"),
        ("a.csv.gz", b"no gzip"),
        ("a.csv.gz", b"\x1f\x8b\x08\x00cut"),
        ("a.parquet", b"PAR1 cut off"),
        ("a.parquet", b""),
    ],
)
def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        InputError, match=rf"{name} to be a CSV, TSV, JSON lines or Parquet file, but reading it failed"
    ):
        TextTable(path=str(tmp_path / name)).load()


def test_no_file_is_an_error():
    with pytest.raises(InputError, match="but got '', which is neither"):
        TextTable().load()
