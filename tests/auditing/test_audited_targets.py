"""Audits of what is no label: every check works on it, in its unit, or refuses it in a sentence."""

from pathlib import Path
from typing import Any

import audit_toys as toys
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.auditing.from_spec import run as run_spec
from heatproof.auditing.spec import parse
from heatproof.errors import InputError
from heatproof.targets import Box, Complement, Difference, Function, Index, Label, LabelSet, Region, Scalar

CHECKS = {
    "parameter-randomization": hp.checks.ParameterRandomization(similarities=("spearman",)),
    "sensitivity-n": hp.checks.SensitivityN(sets=10, sizes=2, tile=4),
    "degradation": hp.checks.Degradation(tile=6),
    "completeness": "completeness",
}
METHODS = ("gradient-x-input", "random")


def pixelwise() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1)).eval()


class Detector(nn.Module):
    """One box a sample, of the whole picture."""

    def __init__(self) -> None:
        super().__init__()
        self.net = toys.network()

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        box = torch.tensor([[0.0, 0.0, 12.0, 12.0]])
        return [{"boxes": box, "labels": torch.tensor([1]), "scores": one[:1]} for one in self.net(x)]


def margin(out: Tensor) -> Tensor:
    return out[:, 1] - out[:, 0]


def one_logit() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(144, 5), nn.ReLU(), nn.Linear(5, 1)).eval()


CASES: dict[str, tuple[Any, nn.Module, str, str]] = {
    "region": (Region(), pixelwise(), "scalars", "score"),
    "box": (Box(), Detector().eval(), "scalars", "score"),
    "difference": (Difference(), toys.network(), "scalars", "score"),
    "millimeters": (Scalar(2, unit="mm"), toys.network(), "scalars", "mm"),
    "function": (Function(margin, unit="dB"), toys.network(), "scalars", "dB"),
    "callable": (margin, toys.network(), "scalars", "score"),
    "label set": (LabelSet((0, 2)), toys.network(), "scalars", "score"),
    "index": (Index((2, 5, 5), labels=0), pixelwise(), "labels", ""),
    "runner-up": (Label("runner-up"), toys.network(), "labels", ""),
    "complement": (Complement(), one_logit(), "logit", ""),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("targets")
    return {
        name: hp.audit(
            model, toys.images(4), target, methods=METHODS, checks=CHECKS, out=folder / name.replace(" ", "-"),
            batch=2, threads=1, progress=False,
        )
        for name, (target, model, _, _) in CASES.items()
    }  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_check_works_on_it(runs: dict[str, Any], name: str) -> None:
    run, (target, _, kind, unit) = runs[name], CASES[name]
    manifest = run.manifest
    assert manifest["status"] == "complete"
    assert not manifest["failures"]
    assert (manifest["model"]["meaning"]["kind"], manifest["model"]["meaning"]["unit"]) == (kind, unit)
    assert manifest["target"]["name"] == hp.targets.as_target(target).name
    rows = run.rows()
    assert set(rows["check"]) == set(CHECKS)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[2] == "scalars"])
def test_nothing_says_probability_of_it(runs: dict[str, Any], name: str) -> None:
    run, unit = runs[name], CASES[name][3]
    metrics = {metric["name"]: metric for check in run.manifest["checks"] for metric in check["metrics"]}
    rows = run.rows()
    assert "probability" not in set(rows["metric"])
    assert metrics["score"]["unit"] == metrics["target-score"]["unit"] == metrics["attribution-sum"]["unit"] == unit
    assert "not judged" in run.manifest["knowledge"]["sentence"] or "not known" in run.manifest["knowledge"]["sentence"]
    page = run.report().read_text(encoding="utf-8")
    assert "probability" not in page.split("<body")[1].split("<script")[0].lower().replace("no probability", "")


@pytest.mark.parametrize("name", [name for name in CASES if name != "complement"])
def test_of_samples_that_are_read_block_by_block_it_is_settled_when_their_turn_comes(
    runs: dict[str, Any], name: str, tmp_path: Path
) -> None:
    target, model, _, _ = CASES[name]
    run = hp.audit(
        model, hp.data.as_blocks(toys.images(4)), target, methods=METHODS, checks=CHECKS, out=tmp_path, batch=2,
        threads=1, progress=False,
    )  # fmt: skip
    assert not run.manifest["failures"]
    pd.testing.assert_frame_equal(run.rows(), runs[name].rows(), check_exact=True)
    for part in ("target", "model"):
        one, other = (dict(found.manifest[part]) for found in (run, runs[name]))
        assert {**one, "fingerprint": 0, "probe": 0} == {**other, "fingerprint": 0, "probe": 0}


def test_processes_settle_their_own_blocks(runs: dict[str, Any], tmp_path: Path) -> None:
    target, model, _, _ = CASES["region"]
    settings: dict[str, Any] = {"methods": METHODS, "checks": CHECKS, "batch": 2, "threads": 1, "progress": False}
    blocks = hp.data.as_blocks(toys.images(4))
    hp.audit(model, blocks, target, out=tmp_path, shard="1/2", **settings)
    run = hp.audit(model, blocks, target, out=tmp_path, workers=1, **settings)
    pd.testing.assert_frame_equal(run.rows(), runs["region"].rows(), check_exact=True)


@pytest.mark.parametrize("target", [LabelSet([[0], [1], [2], [0]]), LabelSet((0, 1), of="each"), Complement()])
def test_what_lists_something_for_each_sample_needs_all_of_them(target: Any, tmp_path: Path) -> None:
    model = one_logit() if isinstance(target, Complement) else toys.network()
    with pytest.raises(InputError, match="a target that is the same for every sample of data that are read block by"):
        hp.audit(
            model, hp.data.as_blocks(toys.images(4)), target, methods=METHODS, checks=CHECKS, out=tmp_path,
            progress=False,
        )  # fmt: skip


def test_one_output_is_called_what_it_is(runs: dict[str, Any]) -> None:
    assert runs["difference"].manifest["data"]["classes"] == [
        "the predicted label less the label with the second largest output"
    ]
    assert runs["millimeters"].manifest["data"]["classes"] == ["output 0", "output 1", "output 2", "output 3"]


def test_the_scores_are_those_of_the_target(runs: dict[str, Any]) -> None:
    rows = runs["region"].rows()
    found = rows[(rows["check"] == "completeness") & (rows["metric"] == "target-score")]["value"].tolist()
    scores = pixelwise()(toys.images(4)).detach()
    winners = scores.argmax(1)
    labels = [int(one.flatten().mode()[0]) for one in winners]
    expected = [float(s[k][w == k].sum()) for s, w, k in zip(scores, winners, labels, strict=True)]
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_likely_label_keeps_its_probability(runs: dict[str, Any]) -> None:
    rows = runs["complement"].rows()
    found = rows[(rows["metric"] == "probability") & (rows["setting"] == "original")]["value"].tolist()
    logits = one_logit()(toys.images(4)).detach()[:, 0]
    assert found == pytest.approx((-logits).sigmoid().tolist(), rel=1e-5)


def test_each_label_of_a_set_is_a_sample(tmp_path: Path) -> None:
    sets = [[0, 1], [2], [1, 3], [0]]
    run = hp.audit(
        toys.network(), toys.images(4), LabelSet(sets, of="each"), ids=["a", "b", "c", "d"], methods=["gradient"],
        checks=["completeness"], out=tmp_path / "run", progress=False, threads=1,
    )  # fmt: skip
    rows = run.rows()
    found = rows[rows["metric"] == "target-score"].set_index("sample")["value"]
    scores = toys.network()(toys.images(4)).detach()
    expected = {f"{name} · {label}": float(scores[i, label]) for i, name in enumerate("abcd") for label in sets[i]}
    assert found.to_dict() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("targets", [2, [2, 2, 2], np.array([2, 2, 2]), torch.tensor([2, 2, 2], dtype=torch.int32)])
def test_labels_come_in_any_form(tmp_path: Path, targets: Any) -> None:
    run = hp.audit(
        toys.network(), toys.images(3), targets, labels=np.array([2, 2, 1], dtype=np.int16), methods=["random"],
        checks=["completeness"], out=tmp_path / "run", progress=False, threads=1,
    )  # fmt: skip
    rows = run.rows()
    found = rows[rows["metric"] == "target-score"]["value"].tolist()
    assert found == pytest.approx(toys.network()(toys.images(3))[:, 2].tolist(), rel=1e-5)
    assert run.manifest["knowledge"]["n"] == 3


def test_the_own_label_of_each_network(tmp_path: Path) -> None:
    settings = {"methods": ["gradient"], "progress": False, "threads": 1}
    checks = {"mprt": hp.checks.ParameterRandomization(similarities=("spearman",))}
    own = hp.audit(toys.network(), toys.images(3), Label("own"), checks=checks, out=tmp_path / "own", **settings)
    asked = {"mprt": hp.checks.ParameterRandomization(similarities=("spearman",), targets="own")}
    other = hp.audit(toys.network(), toys.images(3), checks=asked, out=tmp_path / "other", **settings)
    assert own.rows().equals(other.rows())


@pytest.mark.parametrize(
    ("target", "settings", "said"),
    [
        (
            Scalar(0, unit="mm"),
            {"outputs": "labels"},
            "no `outputs` beside a target .* output 0 are scalars, but got 'labels'",
        ),
        (Label("given"), {}, "Expected labels to explain the given label, but got none"),
        (Scalar(9), {}, "between 0 and 3"),
        (Difference(), {"methods": ["meaningful-perturbation"]}, "probabilities are read, but they are scalars"),
        ("predicted", {}, "but got str"),
    ],
)
def test_refusals(tmp_path: Path, target: Any, settings: dict[str, Any], said: str) -> None:
    asked = {"methods": ["gradient"], "checks": ["completeness"], "out": tmp_path, "progress": False, **settings}
    with pytest.raises(InputError, match=said):
        hp.audit(toys.network(), toys.images(3), target, **asked)


def test_a_two_sided_network_is_a_logit(tmp_path: Path) -> None:
    """Its softmax would be the sigmoid of twice the logit."""
    both = hp.outputs.TwoSided(one_logit())
    settings = {
        "methods": ["random"],
        "checks": {"d": hp.checks.Degradation(tile=6)},
        "out": tmp_path,
        "progress": False,
    }
    rows = hp.audit(both, toys.images(3), **settings).rows()
    found = rows[(rows["metric"] == "probability") & (rows["setting"] == "original")]["value"].tolist()
    logits = one_logit()(toys.images(3)).detach()[:, 0]
    assert found == pytest.approx(logits.abs().sigmoid().tolist(), rel=1e-5)
    with pytest.raises(InputError, match="outputs='logit' of a TwoSided network, but got 'labels'"):
        hp.audit(both, toys.images(3), outputs="labels", **{**settings, "out": tmp_path / "other"})


SPEC = """
methods = ["gradient"]
checks = ["completeness"]
targets = TARGETS
threads = 1

[model]
name = "spec_of_targets:net"

[data]
name = "demo"
limit = 2
"""


@pytest.mark.parametrize(
    ("said", "target"),
    [
        ("3", Label(3)),
        ('"predicted"', Label()),
        ('"label"', Label("given")),
        ('{ name = "label", which = "runner-up" }', Label("runner-up")),
        ('{ name = "scalar", index = 1, unit = "mm" }', Scalar(1, unit="mm")),
        ('{ name = "label-set", labels = [0, 2] }', LabelSet((0, 2))),
        ('{ name = "region", label = 2, mask = "all", of = "mean" }', Region(2, "all", of="mean")),
        ('{ name = "box", label = 3, overlap = 0.7 }', Box(label=3, overlap=0.7)),
        ('{ name = "index", index = [-1, 42] }', Index((-1, 42))),
        ('{ name = "difference", a = 3, b = { name = "label", which = "predicted" } }', Difference(3, Label())),
        ('{ name = "complement" }', Complement()),
    ],
)
def test_every_target_in_a_spec(said: str, target: Any) -> None:
    import tomllib

    spec = parse(tomllib.loads(SPEC.replace("TARGETS", said)))
    assert spec.targets == target


def test_a_spec_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tomllib

    def load(*_: Any) -> Any:
        raise AssertionError("all samples at once")

    monkeypatch.setattr(hp.data.DemoDigits, "load", load)
    (tmp_path / "spec_of_targets.py").write_text(
        "import torch\nfrom torch import nn\n\n"
        "def net():\n"
        "    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1))\n"
        "def spread(out):\n"
        "    return out.flatten(1).amax(1) - out.flatten(1).amin(1)\n"
    )
    for number, said in enumerate(
        (
            '{ name = "region", label = 1, mask = "all" }',
            '{ name = "python", call = "spec_of_targets:spread", unit = "K" }',
        )
    ):
        spec = parse(tomllib.loads(SPEC.replace("TARGETS", said)), tmp_path)
        run = run_spec(spec, tmp_path / f"run{number}", progress=False)
        assert run.manifest["status"] == "complete"
    assert run.manifest["model"]["meaning"] == {"kind": "scalars", "unit": "K"}
