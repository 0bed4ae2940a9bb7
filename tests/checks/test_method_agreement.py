from itertools import combinations

import check_toys as toys
import pandas as pd
import pytest
import torch
from torch import nn

import heatproof as hp
from heatproof.checks import MethodAgreement
from heatproof.errors import FailureWarning
from heatproof.methods import Gradient, GradientXInput, Random, Saliency
from heatproof.testing.playing import Row
from reference import similarity as twin

METHODS = {"saliency": Saliency(), "gradient-x-input": GradientXInput(), "gradient": Gradient(), "random": Random()}
MEASURES = ("spearman", "spearman-absolute")


def pooled(method, model=None):
    inputs = toys.images()
    return method(model or toys.network(), inputs, torch.arange(3)).sum(1)


def test_every_pair_stands_once_under_the_label_that_sorts_first():
    rows = toys.played(MethodAgreement(), methods=METHODS)
    pairs = combinations(sorted(METHODS), 2)
    assert set(rows) == {Row(one, two, 0.0, 0, metric) for one, two in pairs for metric in MEASURES}


def test_values_are_what_scalar_loops_give():
    rows = toys.played(MethodAgreement(), methods=METHODS)
    for one, two in combinations(sorted(METHODS), 2):
        for i, (first, second) in enumerate(zip(pooled(METHODS[one]), pooled(METHODS[two]), strict=True)):
            first, second = first.flatten().tolist(), second.flatten().tolist()
            signed = twin.spearman(first, second)
            absolute = twin.spearman([abs(v) for v in first], [abs(v) for v in second])
            assert toys.row(rows, one, "spearman", two)[i].item() == pytest.approx(signed, abs=1e-12)
            assert toys.row(rows, one, "spearman-absolute", two)[i].item() == pytest.approx(absolute, abs=1e-12)


def test_a_constant_map_agrees_with_nobody_and_is_no_zero():
    dead = toys.network(last=nn.Threshold(1e9, 0.0))
    rows = toys.played(MethodAgreement(), model=dead, methods=METHODS)
    for row, values in rows.items():
        assert values.isnan().all(), row


def test_other_measures_stand_under_their_names():
    rows = toys.played(MethodAgreement(similarities=("ssim", "mse")), methods=METHODS)
    assert {row.metric for row in rows} == {"ssim", "mse"}
    expected = hp.similarity.get("ssim")(pooled(Gradient()), pooled(Random()))
    assert torch.equal(toys.row(rows, "gradient", "ssim", "random"), expected)


def audited(folder, methods, **changes):
    settings = {"checks": ["method-agreement"], "batch": 2, "out": folder, "progress": False}
    return hp.audit(toys.network(), toys.images(3), methods=methods, **{**settings, **changes})


asked = []  # not in a closure, which would be part of the method's identity


def counted(model, inputs, targets):
    asked.append(len(inputs))
    return inputs.square()


def test_an_added_method_computes_its_own_pairs_alone(tmp_path):
    asked.clear()
    first = audited(tmp_path, {"counted": counted, "gradient": "gradient"}).rows()
    before = {path: path.read_bytes() for path in (tmp_path / "rows").iterdir()}
    assert len(asked) == 2  # one map a block
    rows = audited(tmp_path, {"random": "random", "counted": counted, "gradient": "gradient"}).rows()
    assert len(asked) == 4  # its map was kept nowhere
    assert {path: path.read_bytes() for path in before} == before
    kept = rows[(rows.method == "counted") & (rows.setting == "gradient")].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, first, check_exact=True)
    assert len(rows) == 3 * len(first)  # three pairs
    audited(tmp_path, {"random": "random", "counted": counted, "gradient": "gradient"})
    assert len(asked) == 4  # nothing is missing


def test_the_order_of_methods_changes_nothing(tmp_path):
    names = ["gradient", "random", "saliency"]
    one = audited(tmp_path / "a", names).rows()
    pd.testing.assert_frame_equal(audited(tmp_path / "b", names[::-1]).rows(), one, check_exact=True)
    before = sorted(path.name for path in (tmp_path / "a" / "rows").iterdir())
    audited(tmp_path / "a", names[::-1])
    assert sorted(path.name for path in (tmp_path / "a" / "rows").iterdir()) == before


def test_a_failing_method_costs_its_own_pairs_only(tmp_path):
    def broken(model, inputs, targets):
        raise ValueError("no luck")

    with pytest.warns(FailureWarning, match="broken failed"):
        run = audited(tmp_path, {"broken": broken, "gradient": "gradient", "random": "random"})
    assert run.manifest["status"] == "incomplete"
    assert set(zip(run.rows().method, run.rows().setting, strict=True)) == {("gradient", "random")}
    assert [f["method"] for f in run.manifest["failures"]] == ["broken"]


def test_a_failing_pair_is_recorded_and_the_others_stand(tmp_path, monkeypatch):
    def fails(self, block, state, methods, maps, shared):
        if methods[1].label == "saliency":
            raise ValueError("no luck")
        return whole(self, block, state, methods, maps, shared)

    whole = MethodAgreement.pair_rows
    monkeypatch.setattr(MethodAgreement, "pair_rows", fails)
    with pytest.warns(FailureWarning, match="gradient failed in method-agreement"):
        run = audited(tmp_path, ["gradient", "random", "saliency"])
    assert set(zip(run.rows().method, run.rows().setting, strict=True)) == {("gradient", "random")}
    assert {(f["method"], f["check"], f["error"]) for f in run.manifest["failures"]} == {
        ("gradient", "method-agreement", "ValueError: no luck"),
        ("random", "method-agreement", "ValueError: no luck"),
    }
