"""Test accuracies of a paper's networks, as the zoo trained them, beside what the paper reports."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from operator import methodcaller
from typing import Any

import numpy as np
import pandas as pd

from heatproof.data import Dataset
from heatproof.papers.measure import Measured, Results
from heatproof.papers.paper import Answer, Claim, Table
from heatproof.shares import wilson
from heatproof.zoo import ZOO
from heatproof.zoo.cache import found

WITHIN = 0.005  # half a point


def accuracies(paper: str) -> Table:
    """What the paper's networks reached, of those that are in the cache: no network is trained for it."""
    return Table(name="accuracies", compute=partial(_rows, paper), scales=("small", "full"))


def as_published(paper: str, where: str) -> Iterator[Claim]:
    """For each network of a paper that reports its accuracy: ours is the same."""
    for one in ZOO.values():
        if one.paper == paper and one.published is not None and not one.full:
            yield Claim(
                where=where,
                text=f"test accuracy of {one.name} is the paper's, within half a point",
                paper=f"{100 * one.published:.1f} %",
                steps=("accuracies",),
                answer=partial(_answer, one.name),
            )


def _rows(paper: str) -> pd.DataFrame:
    load: Callable[[Any], Dataset] = lru_cache(maxsize=4)(methodcaller("load"))
    rows = []
    for one in ZOO.values():
        if one.paper == paper and not one.full:
            data, test = (load(part) for part in one.parts(""))
            trained = found(one.network, one.training, data, test)
            rows.append(
                {
                    "network": one.name,
                    "training": np.nan if trained is None else trained.train_accuracy,
                    "test": np.nan if trained is None else trained.test_accuracy,
                    "tested": len(test),
                    "published": np.nan if one.published is None else one.published,
                    "epochs": np.nan if trained is None else trained.epochs,
                    "note": one.note,
                }
            )
    return pd.DataFrame(rows)


def _answer(name: str, results: Results) -> Answer:
    """Judged exactly where both networks saw the same training and the very same test images.

    The interval says what other test images would give; a network that was trained on less, with a note, is not judged.
    """
    row: Any = results.rows.set_index("network").loc[name]
    if np.isnan(row["test"]):
        return Answer("not trained", "cannot be told here")
    measured = interval(row["test"], int(row["tested"]))
    if row["note"]:
        return Answer(f"{measured.text(percent=True, digits=3)}; {row['note']}", "cannot be told here")
    near = abs(row["test"] - row["published"]) <= WITHIN + 1e-9
    return Answer(measured.text(percent=True, digits=3), "holds" if near else "does not hold")


def interval(share: float, count: int) -> Measured:
    """A share of `count` samples with its 95 % interval by Wilson's formula."""
    return Measured(share, *wilson(share, count), count)
