"""What a check says of the whole data set, in an audit."""

from dataclasses import dataclass

import check_toys as toys
import pytest

import heatproof as hp
from heatproof.checks.base import Check, Scores
from heatproof.errors import FailureWarning
from heatproof.metrics import Metric
from heatproof.zoo import Training


@dataclass(frozen=True, kw_only=True)
class Ranked(Check):
    """Each map's sum, and which share of all samples has a lower one."""

    fails: bool = False

    def metrics(self, study):
        return (Metric(name="sum", text="The sum."), Metric(name="rank", low=0, high=1, text="The rank."))

    def rows(self, block, state, method, maps, kept, shared):
        yield Scores(metric="sum", values=maps.values.flatten(1).sum(1))

    def summary(self, rows):
        if self.fails:
            raise ValueError("no luck")
        ranks = rows.groupby(["method", "setting", "position"])["value"].rank(pct=True)
        return rows.assign(metric="rank", value=ranks)


def run(folder, *, methods=("gradient", "random"), checks=None, count=5):
    return hp.audit(
        toys.network(), toys.images(count), methods=list(methods), checks=checks or {"ranked": Ranked()},
        batch=2, out=folder, progress=False,
    )  # fmt: skip


def test_stands_among_the_rows(tmp_path):
    rows = run(tmp_path).rows()
    for method in ("gradient", "random"):
        ours = rows[rows.method == method]
        sums = dict(zip(*ours[ours.metric == "sum"][["sample", "value"]].to_numpy().T, strict=True))
        ranks = dict(zip(*ours[ours.metric == "rank"][["sample", "value"]].to_numpy().T, strict=True))
        assert ranks == {name: sum(1 for s in sums.values() if s <= sums[name]) / 5 for name in sums}


def test_is_that_of_the_methods_asked_for_now(tmp_path):
    first = run(tmp_path).rows()
    assert set(run(tmp_path, methods=["random"]).rows().method) == {"random"}
    run(tmp_path, methods=["random", "gradient", "saliency"])
    again = run(tmp_path).rows()
    assert again.equals(first)


def test_two_checks_do_not_mix(tmp_path):
    rows = run(tmp_path, checks={"a": Ranked(), "b": Ranked(), "calibration": "calibration"}).rows()
    a, b = (rows[rows.check == name].drop(columns="check").reset_index(drop=True) for name in "ab")
    assert a.equals(b)
    assert len(a) == 2 * 2 * 5  # metrics, methods, samples


def test_a_failing_one_is_recorded_and_costs_nobody_else_rows(tmp_path):
    with pytest.warns(FailureWarning, match="bad failed: ValueError: no luck"):
        run_ = run(tmp_path, checks={"bad": Ranked(fails=True), "good": Ranked()})
    assert [(f["check"], f["error"]) for f in run_.manifest["failures"]] == [("bad", "ValueError: no luck")]
    counts = run_.rows().groupby(["check", "metric"]).size().to_dict()
    assert counts == {("bad", "sum"): 10, ("good", "sum"): 10, ("good", "rank"): 10}


QUICK = {
    "data-randomization": hp.checks.DataRandomization(
        training=Training(learning_rate=0.01, epochs=300, batch_size=8, stop_at=1.0)
    )
}


@pytest.mark.parametrize("name", hp.checks.names())
def test_of_every_check_says_only_what_its_metrics_declare(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "cache"))
    run_ = hp.audit(
        toys.network(), toys.images(4), methods=["gradient-x-input", "random"], checks={name: QUICK.get(name, name)},
        boxes=[[(0, 0, 2, 3)]] * 4, training_data=toys.labelled(), out=tmp_path / "run", progress=False,
    )  # fmt: skip
    assert run_.manifest["failures"] == []
    assert run_.manifest["status"] == "complete"
    (declared,) = ({metric["name"]: metric for metric in check["metrics"]} for check in run_.manifest["checks"])
    rows = run_.rows()
    odd = set(rows[rows.method == ""].metric) - set(declared)
    assert odd == set()
    assert set(rows[rows.method != ""].metric) <= {*declared, "score", "completeness-gap"}
