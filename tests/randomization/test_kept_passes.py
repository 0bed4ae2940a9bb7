"""What lies below the randomized layers is not computed again, and nothing of a result changes by that."""

from collections import Counter
from contextlib import nullcontext

import pytest
import randomizable
import torch
from randomizable import mlp
from torch import Tensor, nn

import heatproof as hp
from heatproof import prefix, sharing
from heatproof.auditing import block
from heatproof.checks import ParameterRandomization
from heatproof.checks.swapping import swapped, tensors_of
from heatproof.methods import Explanation, GradCAM, Gradient, GradientXInput, IntegratedGradients, Method, Saliency
from heatproof.methods.base import outputs_of
from heatproof.models import Bound, forward
from heatproof.prefix import Kept
from heatproof.randomization import RANDOMIZATIONS, Cascading

LARGE = 2**20


class Residual(nn.Module):
    """What a layer below gave is written to after the layer above has run; ReLUs are in place."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.above, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.sin(self.below(x))  # whose derivative needs its input, not its output
        h += torch.relu_(self.above(h))
        return self.head(torch.relu_(h))


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        return gradient * (x.sigmoid() * (1 + x * (1 - x.sigmoid())))


class Custom(nn.Module):
    """A derivative of its own, a part without one, and a step that values could decide."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        with torch.no_grad():
            scale = h.abs().amax(1, keepdim=True)
        h = Swish.apply(self.second(h / scale))
        if bool((h.detach().abs() < 1e9).all()):
            h = h * 2
        return self.third(h)


class Hooked(nn.Module):
    """A forward hook doubles what a layer gives."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()
        self.net[0].register_forward_hook(lambda _module, _given, out: out * 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


NETWORKS = {
    **randomizable.NETWORKS,
    "mlp": (mlp, (4,)),
    "residual": (Residual, (4,)),
    "custom": (Custom, (4,)),
    "hooked": (Hooked, (4,)),
}


def network(name: str, rows: int = 3) -> tuple[nn.Module, Tensor]:
    build, shape = NETWORKS[name]
    torch.manual_seed(0)
    model = build().eval()
    if name == "residual":
        model.requires_grad_(False)  # or the derivative by weights would need what is overwritten
    return model, torch.randn(rows, *shape)


def answers(model: nn.Module, inputs: Tensor, order: str, kept: Kept | None) -> list[Tensor]:
    """Maps and outputs of the trained network and of all stages under two seeds, then of the trained network again."""
    labels, found = torch.arange(len(inputs)) % 3, []

    def look() -> None:
        for method in (Gradient(), IntegratedGradients(steps=3), GradientXInput()):
            found.append(method(model, inputs, labels))
        with torch.no_grad():
            found.append(forward(model, inputs))

    def within() -> None:
        if kept is None:
            look()
        else:
            with kept.opened():
                look()

    within()
    for seed in (0, 1):
        for stage in RANDOMIZATIONS.get(order, seed=seed).stages(model, inputs):
            with stage:
                within()
    within()
    return found


@pytest.mark.parametrize("order", RANDOMIZATIONS.names())
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("rows", [1, 3])
def test_results_are_the_same_to_the_bit(name: str, order: str, rows: int) -> None:
    model, inputs = network(name, rows)
    kept = Kept(model, inputs, LARGE)
    plain, with_kept = answers(model, inputs, order, None), answers(model, inputs, order, kept)
    assert len(plain) == len(with_kept)
    assert all(torch.equal(one, other) for one, other in zip(plain, with_kept, strict=True))
    assert kept.told["recorded"] >= 2
    assert not prefix._random


def linear_calls(model: nn.Module, inputs: Tensor, kept: Kept, stages) -> list[int]:  # type: ignore[no-untyped-def]
    """How many calls each stage computed."""
    counts = []
    for stage in stages:
        before = kept.told["computed"]
        with stage, kept.opened():
            Gradient()(model, inputs, torch.zeros(len(inputs), dtype=torch.int64))
        counts.append(kept.told["computed"] - before)
    return counts


@pytest.mark.parametrize(("order", "computed"), [("cascading", [1, 3, 5]), ("independent", [1, 3, 5]),
                                                 ("bottom-up", [5, 5, 5])])  # fmt: skip
def test_only_what_lies_above_is_computed(order: str, computed: list[int]) -> None:
    model, inputs = network("mlp")
    kept = Kept(model, inputs, LARGE)
    with kept.opened():
        Gradient()(model, inputs, torch.zeros(3, dtype=torch.int64))
    assert kept.told == Counter(recorded=1)
    assert linear_calls(model, inputs, kept, RANDOMIZATIONS.get(order).stages(model, inputs)) == computed
    assert kept.told["answered"] == 15 - sum(computed)
    assert kept.told["again"] == 0


def test_a_second_seed_is_recorded_anew_where_weights_were_written_to() -> None:
    model, inputs = network("mlp")
    kept = Kept(model, inputs, LARGE)
    with kept.opened():
        Gradient()(model, inputs, torch.zeros(3, dtype=torch.int64))
    for seed in (0, 1):
        counts = linear_calls(model, inputs, kept, Cascading(seed=seed).stages(model, inputs))
    assert counts == [0, 3, 5]  # its first stage is the pass that is recorded
    assert kept.told["again"] == 1


def test_weights_that_others_change_are_noticed() -> None:
    model, inputs = network("mlp")
    labels, kept = torch.zeros(3, dtype=torch.int64), Kept(model, inputs, LARGE)
    with kept.opened():
        before = Gradient()(model, inputs, labels)
        with swapped(model, {name: tensor + 0.1 for name, tensor in tensors_of(model).items()}):
            inside = Gradient()(model, inputs, labels)
        model[2].weight.data = model[2].weight.data * 2  # which counts no version up
        moved = Gradient()(model, inputs, labels)
    assert not torch.equal(before, inside)
    assert torch.equal(moved, Gradient()(model, inputs, labels))
    assert not torch.equal(moved, before)


def test_what_was_written_to_is_not_taken_up_before_it_was() -> None:
    """The layer above is random: its result is added to what the layer below gave, which holds the sum already."""
    model, inputs = network("residual")
    kept, labels = Kept(model, inputs, LARGE), torch.zeros(3, dtype=torch.int64)
    with kept.opened():
        Gradient()(model, inputs, labels)
    stage = RANDOMIZATIONS.get("independent", only=("above",)).stages(model, inputs)[0]
    with stage:
        with kept.opened():
            found = Gradient()(model, inputs, labels)
        assert torch.equal(found, Gradient()(model, inputs, labels))
    assert kept.told["again"] == 1


def test_nothing_is_kept_of_more_than_fits() -> None:
    model, inputs = network("mlp")
    labels, kept = torch.zeros(3, dtype=torch.int64), Kept(model, inputs, 100)
    with kept.opened():
        maps = [Gradient()(model, inputs, labels) for _ in range(2)]
    assert torch.equal(*maps)
    assert not kept.told


def test_what_runs_out_of_memory_is_run_without_what_is_kept() -> None:
    model, inputs = network("mlp")
    labels, left = torch.zeros(3, dtype=torch.int64), list[int]()

    def full(_module: nn.Module, _given: tuple[Tensor]) -> None:
        if left:
            left.pop()
            raise torch.OutOfMemoryError("no room")

    model[4].register_forward_pre_hook(full)
    kept = Kept(model, inputs, LARGE)
    expected = Gradient()(model, inputs, labels)
    with kept.opened():
        Gradient()(model, inputs, labels)
        left.append(1)
        assert torch.equal(Gradient()(model, inputs, labels), expected)
        told = Counter(kept.told)
        assert torch.equal(Gradient()(model, inputs, labels), expected)
        assert kept.told == told  # nothing is kept any more
        left.append(1)
        with pytest.raises(torch.OutOfMemoryError, match="no room"):
            Gradient()(model, inputs, labels)


def test_other_samples_and_models_are_run_as_ever() -> None:
    model, inputs = network("mlp")
    other, _ = network("mlp")
    labels, kept = torch.zeros(3, dtype=torch.int64), Kept(model, inputs, LARGE)
    with kept.opened():
        Gradient()(model, inputs, labels)
        told = Counter(kept.told)
        Gradient()(model, inputs + 1, labels)
        Gradient()(other, inputs, labels)
        Saliency()(Bound(model), inputs, labels)
        assert kept.told == told


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_the_rows_of_an_audit_are_the_same(monkeypatch, tmp_path, seeds) -> None:
    model, inputs = network("normed", 5)
    told: list[Counter[str]] = []
    own = block._BlockRun._passes

    def watched(run: block._BlockRun) -> Kept | None:
        kept = own(run)
        assert kept is not None
        told.append(kept.told)
        return kept

    checks = {"randomization": ParameterRandomization(similarities=("mse",), complete_seeds=1, seeds=seeds)}
    methods = ["gradient", "saliency", "integrated-gradients", "guided-backprop", "lrp-epsilon-plus", "smoothgrad"]
    rows = []
    for keeping in (watched, lambda _run: None):
        monkeypatch.setattr(block._BlockRun, "_passes", keeping)
        out = tmp_path / str(len(rows))
        run = hp.audit(model, inputs, methods=methods, checks=checks, batch=2, progress=False, out=out)
        rows.append(run.rows())
    assert rows[0].equals(rows[1])
    assert len(told) == 3
    assert all(each["answered"] > each["computed"] / 2 for each in told)


class FreesItsGraph(Method):
    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        x = inputs.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(forward(model, x).gather(1, targets[:, None]).sum(), x)
        return Explanation(gradient)


class HooksItsLeaf(Method):
    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        x = inputs.detach().requires_grad_()
        x.register_hook(lambda gradient: 2 * gradient)
        out = forward(model, x).gather(1, targets[:, None]).sum()
        (gradient,) = torch.autograd.grad(out, x, retain_graph=True)
        return Explanation(gradient)


class WritesIntoInputs(Method):
    """By how much the first output falls without the first feature, which is put back."""

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        before, trained = inputs.clone(), outputs_of(model, inputs)
        inputs[:, 0] = 0
        fall = trained - outputs_of(model, inputs)
        inputs.copy_(before)
        return Explanation(fall[:, :1].expand_as(inputs))


@pytest.mark.parametrize("first", [FreesItsGraph(), HooksItsLeaf(), WritesIntoInputs()])
def test_graphs_and_writes_of_somebodys_own_method_change_no_other_map(first: Method) -> None:
    model, inputs = network("mlp")
    labels, methods = torch.tensor([0, 1, 2]), (Gradient(), first, Gradient())
    expected = [method(model, inputs, labels) for method in methods]
    with sharing.shared(model, inputs, labels, methods), Kept(model, inputs, LARGE).opened():
        found = [method(model, inputs, labels) for method in methods]
    assert expected[1].any()
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    with sharing.shared(model, inputs, labels, methods), Kept(model, inputs, LARGE).opened():
        found = [method(model, inputs, labels) for method in methods[1:]]
    assert all(torch.equal(one, other) for one, other in zip(found, expected[1:], strict=True))


class WritesIntoMemory(nn.Module):
    """What a layer below gave is doubled in memory, which counts no version up."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.below(x)
        h.detach().numpy()[:] *= 2
        return self.head(h)


def test_what_is_written_into_a_tensors_memory_is_not_taken_up() -> None:
    torch.manual_seed(0)
    model, inputs = WritesIntoMemory().eval(), torch.randn(3, 4)
    kept = Kept(model, inputs, LARGE)
    with torch.no_grad(), kept.opened():
        forward(model, inputs)
    with RANDOMIZATIONS.get("independent").stages(model, inputs)[0], torch.no_grad():
        expected = forward(model, inputs)
        with kept.opened():
            assert torch.equal(forward(model, inputs), expected)


def test_a_layer_before_a_relu_in_place_is_seen_once_and_as_it_was() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.ReLU(inplace=True), nn.Flatten()]
    model, inputs = nn.Sequential(*layers, nn.Linear(64, 3)).eval(), torch.randn(2, 1, 8, 8)
    labels, kept = torch.tensor([0, 1]), Kept(model, inputs, LARGE)

    class Seen(Method):
        def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
            seen: list[Tensor] = []
            handle = model[2].register_forward_hook(lambda _module, _given, out: seen.append(out.clone()))
            with torch.no_grad():
                forward(model, inputs)
            handle.remove()
            (made,) = seen
            return Explanation(made.mean((1, 2, 3), keepdim=True).expand_as(inputs))

    def look() -> list[Tensor]:
        return [outputs_of(model, inputs), GradCAM(layer="2")(model, inputs, labels), Seen()(model, inputs, labels)]

    for stage in (nullcontext(), *Cascading().stages(model, inputs), *Cascading(seed=1).stages(model, inputs)):
        with stage:
            expected = look()
            with kept.opened():
                found = look()
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
