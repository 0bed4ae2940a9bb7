import csv
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from heatproof import cli, zoo
from heatproof.data import Dataset
from heatproof.errors import StoreError, UnknownNameError
from heatproof.zoo import ZOO, Entry, Training, table, work


class Points:
    """Points whose first coordinate's sign is their label."""

    def __init__(self, count: int) -> None:
        self.count = count

    def load(self) -> Dataset:
        x = torch.randn(self.count, 3, generator=torch.Generator().manual_seed(0))
        ids = tuple(map(str, range(self.count)))
        return Dataset(name=f"{self.count} points", inputs=x, targets=(x[:, 0] > 0).long(), ids=ids)


class Line(nn.Linear):
    """One dense layer."""

    def __init__(self, outputs: int = 2) -> None:
        super().__init__(3, outputs)


def parts(_: str) -> tuple[Points, Points]:
    return Points(64), Points(32)


TRAINING = Training(learning_rate=0.1, epochs=10, batch_size=16)
EASY = Entry(name="easy", paper="003", network=Line, training=TRAINING, parts=parts, published=0.9, note="a note")
BINARY = Entry(name="binary", paper="003", network=partial(Line, outputs=1), training=TRAINING, parts=parts)
HARD = Entry(name="hard", paper="", network=Line, training=Training(epochs=1, required=1.0), parts=parts)
LARGE = Entry(name="large", paper="000", network=Line, training=replace(TRAINING, epochs=9), parts=parts, full=True)


@pytest.fixture(autouse=True)
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "cache"))
    for name in [*ZOO]:
        monkeypatch.delitem(ZOO, name)
    for one in (EASY, BINARY, HARD, LARGE):
        monkeypatch.setitem(ZOO, one.name, one)


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, ["zoo", *arguments], catch_exceptions=False)
    return result.exit_code, " ".join(result.output.split())


def test_training_goes_on_after_a_failure_and_is_not_done_twice():
    heard: dict[str, str] = {}
    failures = work.train_all([EASY, HARD, BINARY], "", 1, heard.__setitem__)
    assert list(heard) == ["easy", "binary"]
    assert "published 90.0 %, 10 epochs" in heard["easy"]
    ((name, problem),) = failures
    assert name == "hard"
    assert "Expected Line to reach 100.00% on 32 points" in problem
    found = {status.entry.name: status for status in work.statuses(work.chosen([]))}
    assert [*found] == ["easy", "binary", "hard"]  # the large one must be named
    assert found["easy"].test_accuracy == zoo.accuracy_of(EASY.load().model, Points(32).load())
    assert found["easy"].difference == pytest.approx(100 * (found["easy"].test_accuracy - 0.9))
    assert found["hard"].test_accuracy is None


def test_the_estimate_counts_the_steps_of_all_epochs(monkeypatch: pytest.MonkeyPatch):
    ticks = iter(range(100))
    monkeypatch.setattr(work.time, "perf_counter", lambda: next(ticks))  # so every step takes a second
    data = Points(64).load()
    before = torch.random.get_rng_state()
    assert work.seconds_at_most(EASY, data) == 10 * 4
    held = Training(epochs=3, batch_size=10, held_out=13)
    assert work.seconds_at_most(Entry(name="", paper="", network=Line, training=held, parts=parts), data) == 3 * 6
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_table_is_written_from_what_was_reached(tmp_path: Path):
    work.train_all([EASY], "", 1, lambda *_: None)
    found = list(work.statuses([EASY, LARGE]))
    page = work.write(found, tmp_path / "out")
    with (tmp_path / "out" / "accuracies.csv").open() as file:
        easy, large = csv.DictReader(file)
    assert easy["test accuracy"] == f"{100 * EASY.load().test_accuracy:.2f}"
    assert easy["published accuracy"] == "90.00"
    assert float(easy["difference in points"]) == pytest.approx(found[0].difference, abs=0.005)
    assert (easy["name"], easy["data"], easy["epochs"], easy["note"]) == ("easy", "64 points", "10", "a note")
    assert (large["name"], large["test accuracy"], large["seconds"]) == ("large", "", "")
    assert f"| easy | 003 | 64 points | 90.00 | {easy['test accuracy']} |" in page.read_text()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="Could not write accuracies"):
        work.write(found, tmp_path / "file")


def test_the_commands(tmp_path: Path):
    code, said = invoke("train", "easy", "hard")
    assert code == 1
    assert "easy: " in said
    assert "hard: Expected Line to reach 100.00%" in said
    code, said = invoke("train", "easy")
    assert code == 0
    assert "0 networks to train" in said
    code, said = invoke("list", "--out", str(tmp_path / "out"))
    assert code == 0
    assert f"{100 * EASY.load().test_accuracy:.2f}" in said
    assert (tmp_path / "out" / "README.md").is_file()
    with pytest.raises(UnknownNameError, match="did you mean 'easy'"):
        invoke("list", "easi")


def test_data_that_are_not_there_are_a_line_and_not_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mnist = Entry(name="mnist", paper="001", network=Line, training=TRAINING, parts=table._mnist)
    monkeypatch.setitem(ZOO, "mnist", mnist)
    code, said = invoke("list", "mnist", "binary", "--data", str(tmp_path))
    assert code == 0
    assert "heatproof downloads nothing" in said
    assert "binary" in said
    assert invoke("train", "mnist", "--data", str(tmp_path))[0] == 1


def test_several_at_a_time_say_what_failed(tmp_path: Path):
    """Other processes know the true zoo alone."""
    networks = [Entry(name=name, paper="", network=Line, training=TRAINING, parts=parts) for name in NAMES]
    failures = dict(work.train_all(networks, str(tmp_path), 2, lambda *_: pytest.fail("trained without data")))
    assert set(failures) == set(NAMES)
    assert all("heatproof downloads nothing" in problem for problem in failures.values())


NAMES = ("mnist-mlp", "ancona-cnn-tanh")
