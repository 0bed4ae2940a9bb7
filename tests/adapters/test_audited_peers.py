"""pytorch-grad-cam, torch-cam and SHAP audited from a spec, beside the same maps of ours and from a file."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import heatproof as hp
from heatproof.adapters import PytorchGradCAM, TorchCAM
from heatproof.auditing.from_spec import run as run_spec
from heatproof.auditing.spec import parse, read_table

for package in ("captum", "pytorch_grad_cam", "torchcam"):
    pytest.importorskip(package, reason=f"{package} is not installed")

SPEC = """
checks = [
    "completeness",
    { name = "degradation", tile = 7, steps = 2 },
    { name = "sensitivity-n", sets = 6, sizes = 2, tile = 7 },
    { name = "steadiness" },
]
threads = 1
batch = 4
methods = [
    { name = "grad-cam", layer = "3", label = "cam: ours" },
    { name = "torch-cam", layer = "3", label = "cam: theirs" },
    { name = "given", maps = "cam.npz", label = "cam: a file" },
    { name = "over-baselines", method = { name = "deeplift" }, baselines = "background.npy", label = "deep: ours" },
    { name = "shap", explainer = "DeepExplainer", background = "background.npy", label = "deep: theirs" },
    { name = "given", maps = "deep.npz", label = "deep: a file" },
    { name = "pytorch-grad-cam", explainer = "LayerCAM", layer = "3", label = "layer: theirs" },
    { name = "python", call = "spec_of_peers:layer_cam", label = "layer: a function" },
    { name = "given", maps = "layer.npz", label = "layer: a file" },
    { name = "torch-cam", explainer = "RefineCAM", layer = ["1", "3"], label = "refined" },
    { name = "shap", background = "background.npy", call = { nsamples = 3 }, label = "expected" },
    { name = "random" },
]

[model]
name = "spec_of_peers:net"

[data]
name = "demo"
limit = 4
"""
CODE = """
import torch
from torch import nn

from heatproof.adapters import PytorchGradCAM


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Linear(16, 10),
    ).eval()


def layer_cam(model, inputs, targets):
    return PytorchGradCAM("LayerCAM", layer="3")(model, inputs, targets)
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    from heatproof.adapters.base import package

    try:
        package("shap", "a test")
    except ImportError:
        pytest.skip("the package shap is not installed")
    folder = tmp_path_factory.mktemp("peers")
    (folder / "spec_of_peers.py").write_text(CODE)
    space: dict[str, Any] = {}
    exec(CODE, space)
    data = hp.data.get("demo", limit=4).load()
    with torch.random.fork_rng():
        net = space["net"]()
    labels, background = net(data.inputs).argmax(1), data.inputs[:2]
    np.save(folder / "background.npy", background.numpy())
    deep = hp.methods.OverBaselines(hp.methods.DeepLIFT(), baselines=background)
    maps: Mapping[str, Any] = {
        "cam": TorchCAM(layer="3"),
        "deep": deep,
        "layer": PytorchGradCAM("LayerCAM", layer="3"),
    }
    for name, method in maps.items():
        found = method(net, data.inputs, labels).numpy()
        np.savez(folder / f"{name}.npz", **dict(zip(data.ids, found, strict=True)))
    (folder / "spec.toml").write_text(SPEC)
    run = run_spec(parse(read_table(folder / "spec.toml"), folder), folder / "run", progress=False)
    assert not run.manifest["failures"]
    assert run.manifest["status"] == "complete"
    found = run.rows()
    assert isinstance(found, pd.DataFrame)
    return found


def values(rows: pd.DataFrame, method: str, check: str) -> Any:
    found = rows[(rows["method"] == method) & (rows["check"] == check)]
    return found.set_index(["setting", "position", "sample", "metric"])["value"].sort_index()


@pytest.mark.parametrize("map_", ["cam", "deep", "layer"])
@pytest.mark.parametrize("check", ["completeness", "degradation", "sensitivity-n"])
def test_the_same_map_three_ways_has_the_same_rows(rows: pd.DataFrame, map_: str, check: str) -> None:
    file = values(rows, f"{map_}: a file", check)
    assert len(file) >= 4
    assert file.notna().any()
    pd.testing.assert_series_equal(file, values(rows, f"{map_}: theirs", check), rtol=1e-4, atol=1e-6)
    third = values(rows, f"{map_}: {'a function' if map_ == 'layer' else 'ours'}", check)
    pd.testing.assert_series_equal(file, third[file.index], rtol=1e-4, atol=1e-6)


def test_they_are_asked_of_other_networks_too(rows: pd.DataFrame) -> None:
    assert values(rows, "cam: a file", "steadiness").empty
    ours = values(rows, "cam: ours", "steadiness")
    assert len(ours) > 4
    for method in ("cam: theirs", "deep: theirs", "layer: theirs", "layer: a function", "refined", "expected"):
        found = values(rows, method, "steadiness")
        assert len(found) == len(ours), method
        assert found.notna().any(), method
