"""002's claims on rows made for them: the two rankings, pairs of methods, and images whose score stays positive."""

import numpy as np
import pandas as pd
import pytest

from heatproof.papers import Results
from heatproof.papers.measure import STAGES, Pick
from heatproof.papers.paper import Answer
from heatproof.papers.shortcomings import _above_every_gradient, _rank_correlation, _where_positive, changed

SAMPLES = ("a", "b", "c", "d", "e")


def results(score: tuple[float, ...], **mse: tuple[float, ...]) -> Results:
    """The last stage of a randomization: the explained score, and a distance a method."""
    entries = [("", "target-score", score), *((method, "mse", values) for method, values in mse.items())]
    rows = [
        {"method": method, "metric": metric, "sample": sample, "value": value}
        for method, metric, values in entries
        for sample, value in zip(SAMPLES, values, strict=True)
    ]
    frame = pd.DataFrame(rows).assign(check="cascading", setting="cascading he", position=3.0, seed=0)
    states = [{"kind": "randomized", "group": "cascading he"}]
    return Results(rows=frame, manifest={"states": states, "data": {"samples": len(SAMPLES)}})


def test_every_gradient_has_to_be_above() -> None:
    found = results((1.0,) * 5, lrp=(1, 1, 1, 1.1, 1), gradient=(2, 2, 2.2, 2.1, 2), other=(0.5, 0.5, 0.6, 0.5, 0.5))
    one, both = (tuple(changed(name, "mse") for name in names) for names in (("gradient",), ("gradient", "other")))
    relevance = changed("lrp", "mse")
    assert _above_every_gradient(found, relevance=relevance, gradients=one, sign=1.0).verdict == "holds"
    assert _above_every_gradient(found, relevance=relevance, gradients=one, sign=-1.0).verdict == "does not hold"
    assert _above_every_gradient(found, relevance=relevance, gradients=both, sign=1.0).verdict == "does not hold"


def mean_of(found: Results) -> Answer:
    return Answer(found.mean(Pick(check="cascading", method="lrp", metric="mse", setting=STAGES)).text(), "holds")


def test_only_images_whose_score_stays_positive_are_asked() -> None:
    found = results((1.0, -1.0, 2.0, -3.0, -1.0), lrp=(1.0, 4.0, 1.0, 4.0, 2.5))
    assert mean_of(found).ours.startswith("2.50")
    assert _where_positive(found, answer=mean_of) == ("1.00 (all of 2 samples); in 2 of 5 images", "holds")
    few = results((1.0, -1.0, -2.0, -3.0, -1.0), lrp=(1.0, 4.0, 1.0, 4.0, 2.5))
    told = Answer("the explained score stays positive in 1 of 5 images", "cannot be told here")
    assert _where_positive(few, answer=mean_of) == told


@pytest.mark.parametrize(("sign", "expected"), [(1.0, -1.0), (-1.0, 1.0)])
def test_rankings_are_compared_row_by_row(sign: float, expected: float) -> None:
    means = np.array([[0.1, 0.2, 0.3, 7.0, 6.0, 5.0], [3.0, 1.0, 2.0, 1.0, 3.0, 2.0]])
    assert _rank_correlation(means, sign=sign).tolist() == pytest.approx([expected, expected])
