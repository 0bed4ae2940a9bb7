"""Maps that are given, and methods of others, in audits from Python and from a spec."""

from pathlib import Path
from typing import Any

import audit_toys as toys
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.adapters import Captum, Python, Zennit
from heatproof.auditing.from_spec import run as run_spec
from heatproof.auditing.spec import parse, read_table
from heatproof.errors import InputError
from heatproof.methods import Given, GradientXInput, SmoothGrad

IDS = tuple("abcdefg")
BOXES = [[(2, 2, 7, 7)]] * 7
CHECKS: dict[str, Any] = {
    "parameter-randomization": hp.checks.ParameterRandomization(similarities=("spearman", "spearman-absolute")),
    "steadiness": "steadiness",
    "sensitivity-n": hp.checks.SensitivityN(sets=10, sizes=2, tile=4),
    "degradation": hp.checks.Degradation(tile=6),
    "bounding-box": "bounding-box",
    "completeness": "completeness",
    "method-agreement": "method-agreement",
    "input-controls": "input-controls",
}
OF_MAPS = ("sensitivity-n", "degradation", "bounding-box", "completeness")


def predicted() -> Tensor:
    found: Tensor = toys.network()(toys.images()).argmax(1)
    return found


def ours() -> Tensor:
    return GradientXInput()(toys.network(), toys.images(), predicted())


def foreign(model: nn.Module, inputs: Tensor, targets: Tensor) -> np.ndarray:
    """Gradient × input of somebody else, as an array."""
    x = inputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).gather(1, targets[:, None]).sum(), x)
    return (gradient * x).detach().numpy()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("given")
    np.savez(folder / "maps.npz", maps=ours().numpy(), ids=np.array(IDS))
    return hp.audit(
        toys.network(), toys.images(), ids=IDS, boxes=BOXES, checks=CHECKS, out=folder / "run", batch=3, threads=1,
        progress=False,
        methods={
            "ours": "gradient-x-input",
            "foreign": foreign,
            "file": Given(folder / "maps.npz"),
            "edges": "edge-detector",
        },
    )  # fmt: skip


def values(rows: pd.DataFrame, method: str, check: str) -> Any:
    found = rows[(rows["method"] == method) & (rows["check"] == check)]
    keys = ["setting", "position", "sample", "metric"]
    return found.set_index(keys)["value"].sort_index()


@pytest.mark.parametrize("check", OF_MAPS)
def test_the_same_map_given_three_ways_has_the_same_rows(run: Any, check: str) -> None:
    rows = run.rows()
    theirs = values(rows, "file", check)
    assert len(theirs)
    pd.testing.assert_series_equal(theirs, values(rows, "foreign", check))
    mine = values(rows, "ours", check)
    pd.testing.assert_series_equal(theirs, mine[theirs.index], rtol=1e-5)


def test_nothing_failed_and_nothing_was_made_up(run: Any) -> None:
    assert run.manifest["status"] == "complete"
    assert not run.manifest["failures"]
    rows = run.rows()
    of_file = rows[(rows["method"] == "file") & (rows["check"].isin(["parameter-randomization", "steadiness"]))]
    assert set(of_file["stage"]) <= {"trained"}
    agreement = rows[(rows["check"] == "method-agreement") & (rows["method"] == "file")]
    same = agreement[agreement["setting"].isin(["foreign", "ours"])]  # the label that sorts first has the rows
    assert len(same) >= 7
    assert same["value"].tolist() == pytest.approx([1.0] * len(same))


def test_what_needs_another_map_is_unknown(run: Any) -> None:
    found = run.verdicts().set_index(["method", "question"])
    for question in ("repeats", "steady", "depends"):
        assert tuple(found.loc[("file", question), ["answer", "word"]]) == ("unknown", "no method given")
        assert found.loc[("ours", question), "word"] != "no method given"
    assert "No method given: its maps were made elsewhere" in found.loc[("file", "depends"), "why"]
    for question in ("faithful", "localizes", "more-than-the-picture"):
        assert found.loc[("file", question), "word"] == found.loc[("foreign", question), "word"]
    assert found.loc[("file", "believable"), "answer"] != "yes"
    assert "no method given" in run.report().read_text(encoding="utf-8")


def test_the_same_maps_in_another_form_are_the_same_method(run: Any) -> None:
    """In the other start nothing is computed: rows are named by what the maps are, not by where they come from."""
    before = {path: path.stat().st_mtime_ns for path in (run.path / "rows").rglob("0*.parquet")}
    recipes = {"ours": "gradient-x-input", "foreign": foreign, "file": Given(ours(), IDS), "edges": "edge-detector"}
    hp.audit(
        toys.network(), toys.images(), ids=IDS, boxes=BOXES, checks=CHECKS, out=run.path, batch=3, threads=1,
        progress=False, methods=recipes,
    )  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in (run.path / "rows").rglob("0*.parquet")} == before


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (
            Given(torch.rand(3, 1, 12, 12), "abc"),
            "a map of each sample, but there is none of 'd', 'e', 'f', 'g'; it has",
        ),
        (SmoothGrad(Given(ours(), IDS)), "maps that are given to stand by themselves, but .* is made of some"),
        (Given(), "Expected `maps`, a file or arrays by sample id, but got none"),
    ],
)
def test_the_door(tmp_path: Path, method: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        hp.audit(
            toys.network(), toys.images(), ids=IDS, methods={"maps": method}, checks=["completeness"], out=tmp_path,
            progress=False,
        )  # fmt: skip


SPEC = """
checks = ["completeness", { name = "degradation", tile = 8, steps = 2 }]
threads = 1
batch = 2
methods = [
    { name = "captum", explainer = "InputXGradient" },
    { name = "zennit", label = "zennit" },
    { name = "python", call = "spec_of_maps:twice", label = "python" },
    { name = "given", maps = "maps.npz", label = "given" },
]

[model]
name = "spec_of_maps:net"

[data]
name = "demo"
limit = 4
"""


def test_each_from_a_spec(tmp_path: Path) -> None:
    for package in ("captum", "zennit"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    data = hp.data.get("demo", limit=4).load()
    code = (
        "import torch\nfrom torch import nn\n\n"
        "def net():\n"
        "    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(FEATURES, 10, bias=False))\n\n"
        "def twice(model, inputs, targets):\n"
        "    return 2 * inputs\n"
    )
    (tmp_path / "spec_of_maps.py").write_text(code.replace("FEATURES", str(data.inputs[0].numel())))
    maps = dict(zip(data.ids, 2 * data.inputs.numpy(), strict=True))
    np.savez(tmp_path / "maps.npz", **maps)
    (tmp_path / "spec.toml").write_text(SPEC)
    run = run_spec(parse(read_table(tmp_path / "spec.toml"), tmp_path), tmp_path / "run", progress=False)
    assert not run.manifest["failures"]
    rows = run.rows()
    for check in ("completeness", "degradation"):
        pd.testing.assert_series_equal(values(rows, "given", check), values(rows, "python", check))
    sums = rows[rows["metric"] == "attribution-sum"].groupby("method")["value"].mean()
    scores = rows[(rows["metric"] == "target-score") & (rows["method"] == "")]["value"].mean()
    assert sums["captum"] == pytest.approx(scores, rel=1e-5)  # the network has no bias


def test_labels_of_methods(tmp_path: Path) -> None:
    """Where nobody names them they are called by their recipes."""
    methods = [Python(foreign), Given(ours(), IDS), Zennit(), Captum("Saliency")]
    from heatproof.auditing.listing import named
    from heatproof.methods.base import METHODS, Method

    labels = list(named(methods, METHODS, Method))
    assert labels[0].startswith("Python('")
    assert labels[1].startswith("Given(<7 maps")
    assert labels[2:] == ["Zennit('')", "Captum('Saliency')"]
