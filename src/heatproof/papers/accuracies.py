"""Test accuracies of a paper's networks, as the zoo trained them, beside what the paper reports."""

from functools import partial

import numpy as np
import pandas as pd

from heatproof.papers.measure import Results
from heatproof.papers.paper import Answer, Claim, Table
from heatproof.zoo import ZOO

WITHIN = 0.005  # half a point


def accuracies(paper: str) -> Table:
    """What the paper's networks reached, of those that are in the cache: no network is trained for it."""
    return Table(name="accuracies", compute=partial(_rows, paper), scales=("small",))


def as_published(where: str) -> Claim:
    """The claim that our networks are as good as the paper's."""
    return Claim(
        where=where,
        text="test accuracies of the networks are the paper's, within half a point",
        paper="see accuracies.csv",
        steps=("accuracies",),
        answer=_answer,
    )


def _rows(paper: str) -> pd.DataFrame:
    found = [(entry, entry.find()) for entry in ZOO.values() if entry.paper == paper and not entry.full]
    return pd.DataFrame(
        [
            {
                "network": entry.name,
                "training": np.nan if trained is None else trained.train_accuracy,
                "test": np.nan if trained is None else trained.test_accuracy,
                "published": np.nan if entry.published is None else entry.published,
                "epochs": np.nan if trained is None else trained.epochs,
                "note": entry.note,
            }
            for entry, trained in found
        ]
    )


def _answer(results: Results) -> Answer:
    """Judged are networks that are trained on what the paper trained on; the others, with a note, are told."""
    rows = results.rows[results.rows["published"].notna()]
    told, near = [], []
    for name, test, published, note in rows[["network", "test", "published", "note"]].itertuples(
        index=False, name=None
    ):
        if not note:
            near.append(abs(test - published) <= WITHIN + 1e-9)
        ours = "not trained" if np.isnan(test) else f"{100 * test:.1f} %"
        told.append(f"{name} {ours} (paper {100 * published:.1f} %{'; ' + note if note else ''})")
    if rows["test"].isna().any():
        return Answer(", ".join(told), "cannot be told here")
    return Answer(", ".join(told), "holds" if all(near) else "does not hold")
