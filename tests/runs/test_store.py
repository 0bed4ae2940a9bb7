"""A run folder: what a listing tells, what many may write, what is refused."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from heatproof.errors import HeatproofWarning, StoreError, TornError
from heatproof.runs import Store, read_rows
from heatproof.runs.blocks import ROW_SCHEMA, SUMMARY, Part, digest_of_questions
from heatproof.runs.files import LocalFiles
from heatproof.runs.store import PARTIAL, ROWS

SAMPLES = "0" * 12
QUESTION: dict[str, Any] = {
    "schema": 3, "settings": {"compute_batch": 1}, "data": {"samples": 1, "skipped": []}, "methods": [], "aliases": {},
    "knowledge": {},
}  # fmt: skip


def table(*questions: str, value: float = 1.0) -> pa.Table:
    columns: dict[str, Any] = {name: [""] * len(questions) for name in ROW_SCHEMA.names}
    columns |= {"position": [0.0] * len(questions), "seed": [0] * len(questions), "value": [value] * len(questions)}
    return pa.table({**columns, "question": list(questions), "sample": list(questions)}, schema=ROW_SCHEMA)


def asked(run: Path, *questions: str, **summaries: str) -> Store:
    store = Store(run)
    store.ask({**QUESTION, "questions": {key: [""] * 4 for key in questions}, "summaries": summaries})
    return store


def values(run: Path) -> dict[str, float]:
    rows = read_rows(run)
    assert not rows["question"].duplicated().any()
    return dict(zip(rows["question"], rows["value"], strict=True))


class TestFiles:
    def test_a_file_is_created_once(self, tmp_path: Path) -> None:
        files = LocalFiles(tmp_path)
        assert files.create("a/b", b"first")
        assert not files.create("a/b", b"second")
        assert files.read("a/b") == b"first"
        files.replace("a/b", b"third")
        assert files.read("a/b") == b"third"
        assert files.names("a") == ["b"]

    def test_without_links_the_name_is_claimed_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def link(*_: Any) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(os, "link", link)
        self.test_a_file_is_created_once(tmp_path)

    def test_a_read_only_folder_is_reported(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(StoreError, match=r"Could not write .*/a: Read-only file system\. What was finished before"):
            LocalFiles(tmp_path).create("a", b"")


class TestNames:
    def test_say_block_samples_and_questions(self) -> None:
        part = Part(ROWS, 12, "3f9c1e0b52aa", digest_of_questions(["b", "a"]))
        assert part.name == f"rows/0000012-3f9c1e0b52aa-{digest_of_questions(['a', 'b'])}.parquet"
        assert Part.of(ROWS, part.file) == part
        assert Part.of(ROWS, "summary-3f9c1e0b52aa-3f9c1e0b52aa.parquet") == Part(ROWS, SUMMARY, *["3f9c1e0b52aa"] * 2)

    @pytest.mark.parametrize("file", ["notes.txt", "0000012.parquet", "0000012-3f9c1e0b52aa-xyz.parquet"])
    def test_of_others_are_left_alone(self, tmp_path: Path, file: str) -> None:
        (tmp_path / "rows").mkdir()
        (tmp_path / "rows" / file).write_text("precious")
        store = asked(tmp_path, "a")
        store.write_rows(ROWS, 0, SAMPLES, table("a"), ["a"])
        assert list(store.finished()) == [0]
        assert values(tmp_path) == {"a": 1.0}


class TestManyWriters:
    def test_who_does_the_same_writes_the_same_file_once(self, tmp_path: Path) -> None:
        store = asked(tmp_path, "a", "b")
        for _ in range(2):
            store.write_rows(ROWS, 0, SAMPLES, table("a", "b"), ["a", "b"])
        assert len(store.parts(ROWS)) == 1

    def test_what_two_did_in_part_is_read_once(self, tmp_path: Path) -> None:
        store = asked(tmp_path, "a", "b", "c")
        store.write_rows(ROWS, 0, SAMPLES, table("a", "b"), ["a", "b"])
        store.write_rows(ROWS, 0, SAMPLES, table("b", "c"), ["b", "c"])
        store.write_rows(PARTIAL, 0, SAMPLES, table("c", value=2.0), ["c"])
        assert values(tmp_path) == {"a": 1.0, "b": 1.0, "c": 1.0}

    def test_partial_files_are_read_until_the_block_is_finished(self, tmp_path: Path) -> None:
        store = asked(tmp_path, "a", "b")
        store.write_rows(PARTIAL, 0, SAMPLES, table("a"), ["a"])
        assert values(tmp_path) == {"a": 1.0}
        assert store.finished() == {}
        store.write_rows(ROWS, 0, SAMPLES, table("a", "b"), ["a", "b"])
        store.clear_partial(0)
        assert values(tmp_path) == {"a": 1.0, "b": 1.0}
        assert store.parts(PARTIAL) == []

    def test_what_is_asked_is_written_once(self, tmp_path: Path) -> None:
        store = asked(tmp_path, "a")
        assert not store.ask({**QUESTION, "questions": {}, "summaries": {}})
        assert store.question() == {**QUESTION, "questions": {"a": [""] * 4}, "summaries": {}}


class TestSuperseded:
    def test_what_is_not_asked_is_moved_and_comes_back(self, tmp_path: Path) -> None:
        store = asked(tmp_path, "a", "b")
        store.write_rows(ROWS, 0, SAMPLES, table("a", "b"), ["a", "b"])
        assert store.has_others(["a"])
        store.set_aside(["a"])
        store.bring_back(["a"])
        assert store.finished() == {0: {"a"}}
        store.bring_back(["a", "b"])
        assert store.finished() == {0: {"a", "b"}}
        assert values(tmp_path) == {"a": 1.0, "b": 1.0}


class TestDamage:
    def test_a_torn_file_is_named_with_what_to_do(self, tmp_path: Path) -> None:
        store = asked(tmp_path, "a")
        store.write_rows(ROWS, 0, SAMPLES, table("a"), ["a"])
        (path,) = (tmp_path / "rows").iterdir()
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.warns(HeatproofWarning, match=rf"but rows/{path.name} changed since: .* run the audit again"):
            assert len(read_rows(tmp_path)) == 0

    @pytest.mark.parametrize("text", ["{", "[]", "{}"])
    def test_a_torn_question_is_named(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(TornError, match=r"Expected .*run\.json as it was written, but its content has changed"):
            Store(tmp_path).question()


@pytest.mark.slow  # making so many files takes ten times as long
def test_a_listing_tells_what_100_000_blocks_have_finished(tmp_path: Path) -> None:
    store = asked(tmp_path, *(f"{i:03}" for i in range(312)))
    questions = list(json.loads((tmp_path / "run.json").read_text())["questions"])
    store.write_rows(ROWS, 0, SAMPLES, table(*questions), questions)
    (first,) = store.parts(ROWS)
    for block in range(1, 100_000):
        (tmp_path / first._replace(block=block).name).touch()  # its name tells all
    start = time.process_time()
    done = Store(tmp_path).finished()
    assert len(done) == 100_000
    assert set(done.values()) == {frozenset(questions)}
    assert time.process_time() - start < 5  # about 0.5 s where nobody else works
