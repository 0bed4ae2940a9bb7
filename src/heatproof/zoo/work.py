"""What `heatproof zoo` does: which networks are trained, how long the others take at most, and training them."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from operator import methodcaller
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from heatproof import markdown
from heatproof.arithmetic import pinned
from heatproof.data import Dataset
from heatproof.errors import HeatproofError, StoreError
from heatproof.zoo.cache import found, made
from heatproof.zoo.table import ZOO, Entry, entry
from heatproof.zoo.training import loss_of, seeded

STEPS_TO_TIME = 3
COLUMNS = (
    "name", "paper", "data", "published accuracy", "test accuracy", "difference in points", "training accuracy",
    "epochs", "seconds", "note",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far a network of the zoo is. Without `test_accuracy` it is not trained yet; `problem` says why it cannot be.

    `seconds` are those that training took, or else takes at most on this machine as it is now, on one thread.
    """

    entry: Entry
    data: str = ""
    test_accuracy: float | None = None
    train_accuracy: float | None = None
    epochs: int | None = None
    seconds: float = math.nan
    problem: str = ""

    @property
    def difference(self) -> float | None:
        """Points of test accuracy above the paper's, where it reports one."""
        if self.test_accuracy is None or self.entry.published is None:
            return None
        return 100 * (self.test_accuracy - self.entry.published)

    def row(self) -> list[object]:
        """The values of COLUMNS."""
        return [
            self.entry.name,
            self.entry.paper,
            self.data,
            *(_percent(share) for share in (self.entry.published, self.test_accuracy)),
            "" if self.difference is None else f"{self.difference:+.2f}",
            _percent(self.train_accuracy),
            "" if self.epochs is None else self.epochs,
            f"{self.seconds:.0f}" if self.test_accuracy is not None else "",
            self.problem or self.entry.note,
        ]


def chosen(names: Sequence[str]) -> list[Entry]:
    """The entries of these names; all but the largest for none."""
    return [entry(name) for name in names] or [one for one in ZOO.values() if not one.full]


def statuses(entries: Sequence[Entry], data_folder: str = "", *, time_it: bool = False) -> Iterator[Status]:
    """How far each network is, with a guess of what it takes where `time_it`. Data that are not there are a problem."""
    load: Callable[[Any], Dataset] = lru_cache(maxsize=4)(methodcaller("load"))
    for one in entries:
        try:
            data, test = (load(part) for part in one.parts(data_folder))
            result = found(one.network, one.training, data, test)
            at_most = seconds_at_most(one, data) if time_it and result is None else math.nan
        except HeatproofError as error:
            yield Status(entry=one, problem=str(error))
            continue
        if result is None:
            yield Status(entry=one, data=data.name, seconds=at_most)
        else:
            yield Status(
                entry=one,
                data=data.name,
                test_accuracy=result.test_accuracy,
                train_accuracy=result.train_accuracy,
                epochs=result.epochs,
                seconds=result.seconds,
            )


def seconds_at_most(one: Entry, data: Dataset) -> float:
    """The seconds of all epochs, from the fastest of some steps on one thread. Stopping early takes fewer."""
    size = min(one.training.batch_size, len(data))
    with pinned(threads=1), seeded(one.training):
        model = one.network().train()
        optimizer = one.training.build(model)

        def step(inputs: Tensor, targets: Tensor) -> float:
            start = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            loss_of(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            return time.perf_counter() - start

        fastest = min(step(data.inputs[:size], data.targets[:size]) for _ in range(STEPS_TO_TIME))
    return fastest * one.training.epochs * math.ceil((len(data) - one.training.held_out) / size)


def train_all(
    entries: Sequence[Entry], data_folder: str, jobs: int, done: Callable[[str, str], None]
) -> list[tuple[str, str]]:
    """Train what is not in the cache, `jobs` at a time, each on one thread; the failures as (name, error).

    `done` hears of each that is finished: its name, and what it reached.
    """
    failures: list[tuple[str, str]] = []

    def finish(name: str, said: str, problem: str) -> None:
        if problem:
            failures.append((name, problem))
        else:
            done(name, said)

    names = [one.name for one in entries]
    if jobs == 1:
        for name in names:
            finish(name, *_train(name, data_folder))
        return failures
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(_train, name, data_folder): name for name in names}
        for future in as_completed(running):
            finish(running[future], *future.result())
    return failures


def write(found: Sequence[Status], folder: Path) -> Path:
    """Put the networks' accuracies beside the papers' into `folder`, as accuracies.csv and a table in README.md."""
    table = pd.DataFrame([one.row() for one in found], columns=COLUMNS)
    lines = [
        "# The zoo's networks",
        "",
        "Test accuracies in percent, the papers' and ours, as `heatproof zoo list --out` wrote them. Blank: not",
        "trained yet, or not reported. Test samples never decide when to stop.",
        "",
        *markdown.table(table),
    ]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        table.to_csv(folder / "accuracies.csv", index=False, lineterminator="\n")
        (folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"Could not write accuracies into {folder}: {error.strerror or error}.") from error
    return folder / "README.md"


def _train(name: str, data_folder: str) -> tuple[str, str]:
    """What was reached, and the problem if it was not: as text, because it crosses processes."""
    one = entry(name)
    try:
        result = made(one.network, one.training, *(part.load() for part in one.parts(data_folder)))
    except HeatproofError as error:
        return "", str(error)
    published = "" if one.published is None else f", published {100 * one.published:.1f} %"
    return f"{100 * result.test_accuracy:.2f} %{published}, {result.epochs} epochs, {result.seconds:.0f} s", ""


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"
