"""What a method that is not ours leaves behind is put back, and named."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import audit_toys as toys
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_hook

from heatproof.auditing import foreign
from heatproof.errors import InputError
from heatproof.fingerprint import network_fingerprint
from heatproof.methods import GradientXInput, SmoothGrad

INPUTS, TARGETS = toys.images(2), torch.tensor([0, 1])


def replace_relu(model: nn.Sequential) -> None:
    model[1] = nn.Softplus()


def state(model: nn.Module) -> list[Any]:
    """What somebody may have changed, where it can be compared."""
    return [
        network_fingerprint(model),
        [module.training for module in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [dict(parameter._backward_hooks or {}) for parameter in model.parameters()],
        [type(module) for module in model.modules()],
        [getattr(module, "inplace", None) for module in model.modules()],
        nn.ReLU.forward,
        F.relu,
        len(torch.nn.modules.module._global_forward_hooks),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.is_anomaly_enabled(),
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002  # the one that others draw from
        random.getstate(),
    ]


MISCHIEF: dict[str, Callable[[nn.Sequential], Any]] = {
    "left training mode on the network and 6 more": lambda model: model.train(),
    "left training mode on 1": lambda model: model[1].train(),
    "left hooks on 1": lambda model: model[1].register_forward_hook(lambda *_: None),
    "left hooks on 5": lambda model: model[5].register_full_backward_hook(lambda *_: None),
    "left hooks on 0.weight": lambda model: model[0].weight.register_hook(lambda grad: grad * 2),
    "left a hook on all modules": lambda model: register_module_forward_hook(lambda *_: None),
    "left other parts in the network": replace_relu,
    "changed forward of 1": lambda model: setattr(model[1], "forward", torch.tanh),
    "changed inplace of 1": lambda model: setattr(model[1], "inplace", True),
    "changed the class of 1": lambda model: setattr(model[1], "__class__", nn.Tanh),
    "replaced ReLU.forward": lambda model: setattr(nn.ReLU, "forward", nn.Tanh.forward),
    "replaced torch.nn.functional.relu": lambda model: setattr(F, "relu", torch.tanh),
    "changed 0.weight": lambda model: model[0].weight.data.mul_(2),
    "changed 5.bias": lambda model: setattr(model[5].bias, "data", torch.zeros(4, dtype=torch.float64)),
    "changed requires_grad of 0.weight, 0.bias, 3.weight": lambda model: model.requires_grad_(False),
    "set torch's number of threads to 2": lambda model: torch.set_num_threads(2),
    "set the default dtype to torch.float64": lambda model: torch.set_default_dtype(torch.float64),
    "set whether gradients are recorded to False": lambda model: torch.set_grad_enabled(False),
    "set anomaly detection to True": lambda model: torch.set_anomaly_enabled(True),
    "seeded torch's global generator": lambda model: torch.manual_seed(0),
}


@pytest.mark.parametrize("said", MISCHIEF)
@pytest.mark.parametrize("dies", [False, True], ids=["returns", "raises"])
def test_all_is_put_back_and_named(said: str, dies: bool) -> None:
    def mischievous(model: nn.Sequential, inputs: Tensor, targets: Tensor) -> Tensor:
        MISCHIEF[said](model)
        if dies:
            raise RuntimeError("no luck")
        return torch.ones_like(inputs)

    model = toys.network()
    before = state(model)
    error, message = (RuntimeError, "no luck") if dies else (InputError, rf", but it {said}\. It was put back\.")
    with pytest.raises(error, match=message):
        foreign.explain(mischievous, model, INPUTS, TARGETS, "key")
    assert state(model) == before


def test_who_draws_from_any_generator_repeats_and_leaves_no_trace() -> None:
    def drawing(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        drawn = torch.rand(()) + np.random.rand() + random.random()  # noqa: NPY002  # as others draw
        return torch.ones_like(inputs) * drawn

    model = toys.network()
    before = state(model)
    one, again, other = (foreign.explain(drawing, model, INPUTS, TARGETS, key).maps for key in ("a", "a", "b"))
    assert state(model) == before
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_network_that_counts_its_calls_is_no_method_s_fault() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.calls = toys.network(), 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            out: Tensor = self.net(x)
            return out

    model = Counting().eval()
    foreign.explain(lambda model, x, y: model(x)[:, :1, None, None].expand_as(x), model, INPUTS, TARGETS, "key")
    assert model.calls == 0  # and the next method finds it as it was


def test_methods_of_ours_around_somebody_else_s_are_watched_too() -> None:
    assert foreign.is_ours(SmoothGrad(GradientXInput()))
    assert not foreign.is_ours(SmoothGrad(lambda model, x, y: x))  # type: ignore[arg-type]  # as users do


def test_one_that_leaves_training_mode_on_costs_its_own_rows_alone(tmp_path: Path) -> None:
    def careless(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        model.train()
        return torch.rand_like(inputs)

    model = toys.network()
    run = toys.run(tmp_path, model=model, methods=[careless, "gradient"], checks=["calibration"])
    (failure,) = run.manifest["failures"]
    assert (failure["method"], failure["count"]) == ("careless", 3)
    assert "leaves the model as it is, but it left training mode on the network and 6 more." in failure["error"]
    assert set(run.rows().method) == {"", "gradient"}
    assert not model.training


class TestMapsThatAreNoNumbers:
    def test_none_at_all_on_the_trained_network_is_a_failure(self, tmp_path: Path) -> None:
        def nothing(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
            return torch.full_like(inputs, torch.nan)

        run = toys.run(tmp_path, methods=[nothing, "gradient"], checks=["calibration", "completeness"])
        assert run.manifest["status"] == "incomplete"
        (failure,) = run.manifest["failures"]
        assert failure["error"] == (
            "InputError: Expected finite attributions, but every map of this block holds NaN or infinity."
        )
        assert "nothing" not in set(run.rows().method)

    def test_some_are_nan_in_the_rows_and_counted(self, tmp_path: Path) -> None:
        def some(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
            maps = inputs.clone()
            maps[0] = torch.inf
            return maps

        run = toys.run(tmp_path, methods=[some], checks=["completeness"], batch=7)
        assert run.manifest["unusable"] == {"some": 1}
        rows = run.rows()
        bad = rows[(rows.method == "some") & (rows["sample"] == "0")]
        assert bad.value.isna().all()
        assert len(bad)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (lambda model, x, y: x.numpy().astype(str), "that broadcast to (2, 1, 12, 12), but got ndarray."),
        (lambda model, x, y: [x], "Expected floating attributions that broadcast to (2, 1, 12, 12), but got list."),
    ],
)
def test_what_is_no_tensor_is_named(method: Any, message: str) -> None:
    with pytest.raises(InputError) as raised:
        foreign.explain(method, toys.network(), INPUTS, TARGETS, "key")
    assert message in str(raised.value)


def test_an_array_is_taken() -> None:
    found = foreign.explain(lambda model, x, y: 2 * x.numpy().astype("float64"), toys.network(), INPUTS, TARGETS, "key")
    assert torch.equal(found.maps, 2 * INPUTS)


def test_an_explainer_object_is_told_the_two_lines(tmp_path: Path) -> None:
    class Saliency:
        def __init__(self, model: nn.Module) -> None:
            self.model = model

        def attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
            return inputs

    # The object, its class, and what it is called by, which takes inputs where a method takes the model.
    for given in (Saliency(toys.network()), Saliency, Saliency(toys.network()).attribute):
        with pytest.raises(InputError) as raised:
            toys.run(tmp_path, methods=[given])
        assert "def method(model, inputs, targets):\n    return Saliency(model).attribute(inputs" in str(raised.value)
    with pytest.raises(InputError, match=r"Make one of it: GradientXInput\(\)\."):
        toys.run(tmp_path, methods=[GradientXInput])


def test_a_callable_that_takes_inputs_first_is_told_the_two_lines(tmp_path: Path) -> None:
    class GradCAM:
        def __init__(self, model: nn.Module) -> None:
            self.model = model

        def __call__(self, input_tensor: Tensor, targets: Tensor) -> Tensor:
            return input_tensor

    with pytest.raises(InputError, match=r"takes 'input_tensor' first.*\n.*\n    return GradCAM\(model\)\(inputs, "):
        toys.run(tmp_path, methods=[GradCAM(toys.network())])


def test_an_explainer_that_holds_its_network_is_known_by_its_weights(tmp_path: Path) -> None:
    class Explainer:
        def __init__(self, net: nn.Module) -> None:
            self.net = net

        def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
            return inputs * next(self.net.parameters()).mean()

    asked = [
        toys.run(tmp_path / str(seed), methods={"it": Explainer(toys.network(seed))}, checks=["calibration"]).manifest
        for seed in (0, 1)
    ]
    assert set(asked[0]["questions"]) != set(asked[1]["questions"])
