"""What somebody else brings to an audit costs its own rows where it fails, and changes nobody's."""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import audit_toys as toys
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import heatproof as hp
from heatproof.checks import Check, Maps, Scores
from heatproof.checks.base import TRAINED, State
from heatproof.metrics import Metric
from heatproof.randomization.initializers import Initializer

HONEST = {"methods": {"honest": "gradient-x-input"}, "checks": {"randomized": "parameter-randomization"}}


class Net(nn.Sequential):
    """A network of somebody's, which keeps more than torch's own do."""


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(432, 4)
        net = Net(*layers).eval()
    net.scale, net.notes, net.table = 1.0, ["a"], torch.ones(2)
    return net


def audited(folder: Any, **more: Any) -> tuple[Any, list[dict[str, Any]], Any]:
    net = network()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("heatproof.runs.failures.warn", lambda _: None)
        run = hp.audit(
            net, toys.images(3), out=folder, threads=1, progress=False, gallery=2,
            methods={**more.get("methods", {}), **HONEST["methods"]},
            checks={**more.get("checks", {}), **HONEST["checks"]},
        )  # fmt: skip
    rows = run.rows()
    honest = rows[(rows["method"].isin(["honest", ""])) & (rows["check"] == "randomized")]
    columns = [name for name in honest.columns if name not in ("question", "cell")]
    return honest[columns].to_csv(index=False, float_format="%a"), run.manifest["failures"], net


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> str:
    rows, failures, _ = audited(tmp_path_factory.mktemp("alone") / "run")
    assert (failures, rows.count("\n") > 20) == ([], True)
    return rows


def of_forward(net: nn.Module) -> None:
    net[2].forward = torch.tanh


LEAVING = {
    "a hook": lambda net: net[2].register_forward_hook(lambda _m, _i, out: out * 2),
    "a hook on all modules": lambda net: nn.modules.module.register_module_forward_hook(lambda _m, _i, out: out * 2),
    "a forward of its own": of_forward,
    "an attribute of a norm": lambda net: setattr(net[1], "eps", 10.0),
    "another parameter": lambda net: setattr(net[0], "bias", nn.Parameter(torch.ones(3))),
    "another buffer": lambda net: setattr(net[1], "running_mean", torch.ones(3)),
    "other values": lambda net: net[4].weight.data.zero_(),
    "training mode": lambda net: net.train(),
    "another module": lambda net: setattr(net, "2", nn.Tanh()),
    "no module": lambda net: delattr(net, "2"),
    "another activation": lambda net: setattr(F, "relu", torch.tanh),
    "another tensor method": lambda net: setattr(torch.Tensor, "relu", torch.tanh),
    "another precision": lambda net: torch.set_float32_matmul_precision("medium"),
    "another device": lambda net: torch.set_default_device("meta"),
}
UNBLAMED = {
    "a number": lambda net: setattr(net, "scale", 3.0),
    "a list": lambda net: net.notes.append("b"),
    "a tensor that is no buffer": lambda net: net.table.zero_(),
    "an attribute": lambda net: setattr(net, "new", 1),
}


@pytest.mark.parametrize("what", [*LEAVING, *UNBLAMED])
def test_what_a_method_leaves_behind_changes_no_other_rows(tmp_path: Any, alone: str, what: str) -> None:
    change = {**LEAVING, **UNBLAMED}[what]

    def bad(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        change(model)
        return inputs.clone()

    rows, failures, net = audited(tmp_path / "run", methods={"bad": bad})
    assert rows == alone
    assert {failed["method"] for failed in failures} == ({"bad"} if what in LEAVING else set())
    assert all("It was put back" in failed["error"] for failed in failures)
    assert (net.scale, net.notes, net.table.tolist(), hasattr(net, "new")) == (1.0, ["a"], [1.0, 1.0], False)
    assert torch.get_default_device().type == "cpu"
    assert torch.get_float32_matmul_precision() == "highest"


@dataclass(frozen=True, kw_only=True)
class Theirs(Check):
    """A check that does something wrong somewhere."""

    wrong: str

    def metrics(self, study: Any) -> Any:
        return (Metric(name="m", low=0.0, high=1.0, chance=0.5, ideal=1.0, higher_is_better=True),)

    def states(self, study: Any) -> Any:
        @contextmanager
        def opened(model: nn.Module) -> Any:
            if self.wrong == "state":
                raise RuntimeError("it cannot be opened")
            if self.wrong == "left open":
                model[4].weight.data.zero_()
            yield model
            if self.wrong == "leaving":
                raise RuntimeError("it cannot be left")

        return (TRAINED, State(name="theirs", key={"state": self.wrong}, kind="control", open=opened))

    def shared(self, block: Any, state: Any) -> Any:
        if self.wrong == "shared":
            raise RuntimeError("nothing to share")
        if self.wrong == "shared changes":
            block.model[4].weight.data.zero_()

    def rows(self, block: Any, state: Any, method: Any, maps: Maps, kept: Any, shared: Any) -> Any:
        n = len(block.inputs)
        values: Any = {
            "none": None,
            "short": torch.zeros(1),
            "matrix": torch.zeros(n, 2),
            "number": torch.tensor(1.0),
            "sparse": torch.zeros(n).to_sparse(),
            "meta": torch.zeros(n, device="meta"),
            "complex": torch.zeros(n, dtype=torch.complex64),
            "list": [0.0] * n,
        }.get(self.wrong, torch.zeros(n))
        if self.wrong == "raises":
            raise RuntimeError("no rows")
        if self.wrong == "changes":
            block.model.train()
        if self.wrong == "in place":
            maps.values.zero_()
        if self.wrong == "no scores":
            yield "nonsense"
        metric: Any = 3 if self.wrong == "metric" else "m"
        position: Any = "x" if self.wrong == "position" else 0.0
        yield Scores(metric=metric, values=values, position=position, seed=2**70 if self.wrong == "seed" else 0)

    def summary(self, rows: Any) -> Any:
        if self.wrong == "summary":
            return rows.drop(columns="metric")
        return None


WRONG = (
    "none", "short", "matrix", "number", "sparse", "meta", "complex", "list", "raises", "changes", "no scores",
    "metric", "position", "seed", "summary", "state", "leaving", "shared", "shared changes",
)  # fmt: skip


@pytest.mark.parametrize("wrong", [*WRONG, "left open"])
def test_a_check_that_does_something_wrong_costs_its_own_rows(tmp_path: Any, alone: str, wrong: str) -> None:
    rows, failures, net = audited(tmp_path / "run", checks={"theirs": Theirs(wrong=wrong)})
    assert rows == alone
    assert {failed["check"] for failed in failures} == (set() if wrong in ("left open", "leaving") else {"theirs"})
    assert torch.equal(net[4].weight, network()[4].weight)


@dataclass(frozen=True, kw_only=True)
class Draws(Initializer):
    """An initializer that draws something wrong."""

    name = "draws"
    wrong: str

    def draw(self, layer: Any, seed: int) -> Any:
        if self.wrong == "raises":
            raise RuntimeError("no draw")
        if self.wrong == "nothing":
            return {}
        made = {weight.name: torch.zeros_like(weight.tensor) for weight in layer.weights}
        if self.wrong == "shape":
            return {name: torch.zeros(7) for name in made}
        if self.wrong == "sparse":
            return {name: value.to_sparse() for name, value in made.items()}
        return dict.fromkeys(made, "nonsense")


@pytest.mark.parametrize("wrong", ["raises", "nothing", "shape", "sparse", "type"])
def test_an_initializer_that_draws_something_wrong_costs_its_own_rows(tmp_path: Any, alone: str, wrong: str) -> None:
    theirs = hp.checks.ParameterRandomization(
        randomization=hp.randomization.Cascading(initializer=Draws(wrong=wrong)), similarities=("spearman",)
    )
    rows, failures, net = audited(tmp_path / "run", checks={"theirs": theirs})
    assert rows == alone
    assert "theirs" in {failed["check"] for failed in failures} or wrong == "sparse"
    assert torch.equal(net[4].weight, network()[4].weight)
