"""What decides outputs is drawn, wherever a network keeps it; what is not is named."""

import math
import warnings
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from randomizable import changed, mlp, snapshot
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import prune
from torch.nn.utils import spectral_norm as spectral_norm_by_hooks
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from heatproof.randomization import Cascading, Independent, Stages
from heatproof.randomization.layers import usage


def inputs(count: int = 6, size: int = 8) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(1))


def correlation(model: nn.Module, x: Tensor, stages: Stages) -> float:
    """Between the trained and the fully random outputs, centered over samples, over samples and labels."""
    with torch.no_grad():
        trained = model(x)
        with stages[-1]:
            random = model(x)
    a, b = ((y - y.mean(0)).flatten() for y in (trained, random))
    return float(F.cosine_similarity(a, b, dim=0))


class Quantized(nn.Module):
    """Integer weights and their scales in buffers; biases alone are parameters (weight-only quantization)."""

    def __init__(self, sizes: tuple[int, ...] = (8, 32, 32, 10)) -> None:
        super().__init__()
        for i, (n, m) in enumerate(pairwise(sizes)):
            self.register_buffer(f"w{i}", torch.randint(-127, 128, (m, n)).to(torch.int8))
            self.register_buffer(f"s{i}", torch.rand(m, 1) * math.sqrt(2 / n) / 73)
            self.register_parameter(f"bias{i}", nn.Parameter(torch.zeros(m)))
        self.depth = len(sizes) - 1

    def forward(self, x: Tensor) -> Tensor:
        for i in range(self.depth):
            x = F.linear(x, getattr(self, f"w{i}").float() * getattr(self, f"s{i}"), getattr(self, f"bias{i}"))
            x = x.relu() if i < self.depth - 1 else x
        return x


def test_integer_weights_and_their_scales_are_permuted() -> None:
    model = Quantized().eval()
    before = snapshot(model)
    stages = Cascading().stages(model, inputs())
    assert stages.fixed == ()
    assert stages[-1].complete
    with stages[-1]:
        assert changed(model, before) == {f"{kind}{i}" for kind in "ws" for i in range(3)}  # biases were zero
        for name, tensor in snapshot(model).items():
            assert tensor.dtype == before[name].dtype
            assert torch.equal(tensor.flatten().sort().values, before[name].flatten().sort().values)
    assert not changed(model, before)
    assert abs(correlation(model, inputs(), stages)) < 0.5


@pytest.mark.parametrize("initializer", ["truncated-normal", "uniform", "he", "permutation"])
def test_integers_are_permuted_under_every_initializer(initializer: str) -> None:
    model = Quantized().eval()
    with Cascading(initializer=initializer).stages(model, inputs())[-1]:
        drawn = snapshot(model)
    with Cascading().stages(model, inputs())[-1]:
        assert torch.equal(model.w1, drawn["w1"])


def test_integers_may_be_parameters() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.whole = nn.Parameter(torch.randint(-127, 128, (10, 8)).to(torch.int8), requires_grad=False)
            self.scale = nn.Parameter(torch.rand(10, 1) / 100)

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.whole.float() * self.scale)

    model = Packed().eval()
    before = snapshot(model)
    with Cascading().stages(model, inputs())[-1]:
        assert changed(model, before) == {"whole", "scale"}
        assert torch.equal(model.whole.flatten().sort().values, before["whole"].flatten().sort().values)
        assert torch.equal(model.scale.flatten().sort().values, before["scale"].flatten().sort().values)
    assert not changed(model, before)


class Codebook(nn.Module):
    """A weight that integer codes pick from a small table (product quantization)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.randn(16))
        self.register_buffer("codes", torch.randint(0, 16, (10, 8)))
        self.register_buffer("order", torch.randperm(8))
        self.bias = nn.Parameter(torch.zeros(10))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x[:, self.order], self.table[self.codes], self.bias)


def test_codes_are_permuted_and_an_index_of_the_input_is_named() -> None:
    model = Codebook().eval()
    before = snapshot(model)
    stages = Cascading().stages(model, inputs())
    assert stages.fixed == ("order",)
    with stages[-1]:
        assert changed(model, before) == {"table", "codes"}


class Converted(nn.Module):
    """Everything in float buffers, as a converted graph has it: products, additions, a norm's constants."""

    def __init__(self) -> None:
        super().__init__()
        shapes = {"w1": (8, 32), "b1": (32,), "w2": (32, 10), "b2": (10,), "mean": (1, 8), "code": (1, 4, 8)}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.randn(shape))

    def forward(self, x: Tensor) -> Tensor:
        h = (x - self.mean)[:, None] + self.code
        return (torch.add(torch.matmul(h, self.w1), self.b1).relu() @ self.w2 + self.b2).mean(1)


def test_weights_and_biases_in_float_buffers_are_drawn_and_constants_named() -> None:
    model = Converted().eval()
    before = snapshot(model)
    stages = Cascading().stages(model, inputs())
    assert stages.fixed == ("mean", "code")
    assert stages[-1].complete
    with stages[-1]:
        assert changed(model, before) == {"w1", "w2", "b1", "b2"}
        assert torch.equal(model.b1, torch.zeros(32))
        # Fan-in of a matrix on the right of a product is its rows.
        assert float(model.w2.square().mean()) == pytest.approx(2 / 32, rel=5 * math.sqrt(2 / 320))
    assert abs(correlation(model, inputs(), stages)) < 0.5
    assert not changed(model, before)


class Attributed(nn.Module):
    """Weights in plain attributes: alone, in a list, in a mapping; one is a view of a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.randn(8, 8)
        self.several = [torch.randn(8, 8), {"last": torch.randn(10, 8)}]
        self.weight = nn.Parameter(torch.randn(8, 8))
        self.seen = self.weight.detach().t()

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(F.linear(F.linear(x, self.first), self.several[0]).relu(), self.seen)
        return F.linear(x, self.several[1]["last"])


def test_plain_attributes_are_drawn() -> None:
    model = Attributed().eval()
    (layer,) = usage(model, inputs()).layers
    assert [weight.name for weight in layer.weights] == ["weight", "first", "several.0", "several.1.last"]
    kept = [model.first.clone(), model.several[1]["last"].clone()]
    stages = Cascading().stages(model, inputs())
    with stages[-1]:
        assert not torch.equal(model.first, kept[0])
        assert not torch.equal(model.several[1]["last"], kept[1])
    assert torch.equal(model.first, kept[0])
    assert torch.equal(model.several[1]["last"], kept[1])


@pytest.mark.parametrize("computed", [False, True])
def test_a_weight_that_no_module_holds_is_named_and_leaves_no_stage_complete(computed: bool) -> None:
    weight = torch.randn(8, 8)

    class Closed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            found = 0.9 * weight + torch.eye(8) if computed else weight
            return self.head(F.linear(x, found) @ torch.eye(8))  # what is made in the run alone is the architecture

    stages = Cascading().stages(Closed().eval(), inputs())
    assert stages.hidden == ("a tensor (8, 8) that no module holds, in linear",)
    assert not stages[-1].complete


def test_packed_weights_are_named() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch moves these elsewhere
        inner = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(8, 8)).eval(), {nn.Linear})
    stages = Cascading().stages(nn.Sequential(inner, nn.LayerNorm(8)).eval(), inputs())
    assert stages.hidden == ("packed weights, in quantized::linear_dynamic",)
    assert not stages[-1].complete


def test_one_number_in_a_buffer_is_named_and_an_expanded_one_too() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("gain", torch.tensor(0.5))
            self.register_buffer("ones", torch.ones(1).expand(8, 8))
            self.head = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x @ self.ones, self.head.weight * self.gain)

    assert Cascading().stages(Scaled().eval(), inputs()).fixed == ("gain", "ones")


def test_weights_made_in_inference_mode_are_drawn_and_restored() -> None:
    model = Converted().eval()
    with torch.inference_mode():
        model.w1 = model.w1.clone()
    before = model.w1.clone()
    with Cascading().stages(model, inputs())[-1]:
        assert not torch.equal(model.w1, before)
    assert torch.equal(model.w1, before)


@pytest.mark.parametrize("amount", [0.5, 0.9])
def test_a_pruning_mask_is_permuted_and_its_weight_drawn_for_what_it_lets_through(amount: float) -> None:
    model = nn.Sequential(nn.Linear(400, 300), nn.ReLU(), nn.Linear(300, 10)).eval()
    prune.l1_unstructured(model[0], "weight", amount=amount)
    x = inputs(size=400)
    model(x)
    mask = model[0].weight_mask.clone()
    before = snapshot(model)
    with Cascading().stages(model, x)[-1]:
        model(x)
        drawn, weight = model[0].weight_mask, model[0].weight.detach()
        assert {"0.weight_mask", "0.weight_orig"} <= changed(model, before)
        assert not torch.equal(drawn, mask)
        assert drawn.sum() == mask.sum()
        assert set(drawn.unique().tolist()) == {0.0, 1.0}
        # E[w²] = 2 / fan-in over all that stand there: the signal keeps its size.
        kept = 300 * 400 * (1 - amount)
        assert float(weight.square().mean()) == pytest.approx(2 / 400, rel=5 * math.sqrt(2 / kept))
    model(x)
    assert torch.equal(model[0].weight_mask, mask)


def sharp(by: object) -> nn.Sequential:
    """A deep network under spectral norms, trained: each matrix far from what it was when its vectors were made."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for n, m in ((8, 32), (32, 32), (32, 32), (32, 10)):
        layers += [by(nn.Linear(n, m)), nn.ReLU()]  # type: ignore[operator]  # either of torch's two
    model = nn.Sequential(*layers[:-1]).train()
    for _ in range(30):
        model(torch.randn(4, 8))
    return model.eval()


@pytest.mark.parametrize("by", [spectral_norm, spectral_norm_by_hooks])
def test_a_spectral_norm_divides_by_the_drawn_matrix(by: object) -> None:
    model = sharp(by)
    before = snapshot(model)
    with torch.no_grad():
        trained = model(inputs()).std()
    stages = Cascading().stages(model, inputs())
    assert stages[-1].complete
    assert stages.fixed == ()
    with stages[-1], torch.no_grad():
        random = model(inputs()).std()
        for i in (0, 2, 4, 6):
            norm = torch.linalg.matrix_norm(model[i].weight, 2)
            assert float(norm) == pytest.approx(1.0, abs=1e-5)
        assert sum(name.endswith(("_u", "_v", ".0._u", ".0._v")) for name in changed(model, before)) == 8
    assert 0.05 < float(random / trained) < 20  # with the trained vectors: thousands of times
    assert not changed(model, before)
    with Independent().stages(model, inputs())[0]:
        assert all(name.startswith("6.") for name in changed(model, before))


def test_a_spectral_norm_of_convolutions_divides_by_the_drawn_matrix() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(spectral_norm(nn.Conv2d(3, 8, 3)), nn.ReLU(), spectral_norm(nn.ConvTranspose2d(8, 6, 3)))
    x = torch.randn(4, 3, 6, 6)
    for _ in range(20):
        model.train()(x)
    with Cascading().stages(nn.Sequential(model, nn.Flatten()).eval(), x)[-1]:
        first, second = model[0].weight.detach().flatten(1), model[2].weight.detach().transpose(0, 1).flatten(1)
        assert float(torch.linalg.matrix_norm(first, 2)) == pytest.approx(1.0, abs=1e-5)
        assert float(torch.linalg.matrix_norm(second, 2)) == pytest.approx(1.0, abs=1e-5)


def test_a_network_converted_through_onnx_keeps_nothing(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="converts through ONNX")
    converter = pytest.importorskip("onnx2torch", reason="converts through ONNX")

    class Products(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w1, self.b1 = nn.Parameter(torch.randn(8, 16)), nn.Parameter(torch.randn(16))
            self.w2 = nn.Parameter(torch.randn(16, 10))

        def forward(self, x: Tensor) -> Tensor:
            return (x @ self.w1 + self.b1).relu() @ self.w2

    path = str(tmp_path / "net.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is the older one
        torch.onnx.export(Products().eval(), (inputs(),), path, dynamo=False)
        model = converter.convert(path).eval()
    buffers = dict(model.named_buffers())
    assert len(buffers) == 3
    before = snapshot(model)
    labels = [stage.label for stage in Cascading().stages(model, inputs())]
    assert [tuple(buffers[label].shape) for label in labels] == [(16, 10), (16,), (8, 16)]
    stages = Cascading().stages(model, inputs())
    assert stages.fixed == ()
    assert stages[-1].complete
    with stages[-1]:
        assert changed(model, before) == set(buffers)
    assert abs(correlation(model, inputs(), stages)) < 0.5


class Hyper(nn.Module):
    """Weights made from a code by a network of their own, which has nothing to do with the input."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(8, 3)
        self.maker = nn.Linear(4, 64)
        self.code = nn.Parameter(torch.randn(4))
        self.first = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        made = self.maker(self.code).view(8, 8)
        return self.last(F.linear(self.first(x).relu(), made).relu())


def test_a_weight_is_used_where_it_meets_the_input() -> None:
    # `maker` runs before everything else, and what it makes stands between `first` and `last`.
    model = Hyper().eval()
    assert [layer.name for layer in usage(model, inputs()).layers] == ["first", "(root)", "maker", "last"]
    assert [stage.label for stage in Cascading().stages(model, inputs())] == ["last", "maker", "(root)", "first"]


class Averaged(nn.Module):
    """Runs a network with weights that arithmetic makes of its own: all first, in the opposite order."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: Tensor) -> Tensor:
        weights = {name: 0.9 * value + 0.1 * value.mean() for name, value in reversed([*self.net.named_parameters()])}
        return functional_call(self.net, weights, (x,))


def test_the_order_of_a_functional_call_is_that_of_its_operations() -> None:
    model = Averaged().eval()
    x = inputs(size=4)
    assert [layer.name for layer in usage(model, x).layers] == ["net.0", "net.2", "net.4"]
    assert [stage.label for stage in Cascading().stages(model, x)] == ["net.4", "net.2", "net.0"]


def test_a_module_that_only_keeps_weights_is_no_layer() -> None:
    class Kept(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            shapes = {"v": (3, 8), "c": (3,), "w": (8, 8), "b": (8,)}
            self.kept = nn.ParameterDict({name: torch.randn(shape) for name, shape in shapes.items()})

        def forward(self, x: Tensor) -> Tensor:
            kept = self.kept
            return F.linear(F.linear(x, kept["w"], kept["b"]).relu(), kept["v"], kept["c"])

    model = Kept().eval()
    assert [stage.label for stage in Cascading().stages(model, inputs())] == ["kept.v", "kept.w"]
    assert [stage.label for stage in Cascading(blocks=("kept",)).stages(model, inputs())] == ["kept"]


def test_a_sparse_weight_is_named() -> None:
    class Sparse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", torch.eye(8).to_sparse())
            self.head = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.sparse.mm(self.weight, x.t()).t())

    stages = Cascading().stages(Sparse().eval(), inputs())
    assert stages.hidden == ("weight (Tensor, sparse_coo), whose values lie in no memory of their own",)
    assert not stages[-1].complete


def test_weight_norm_stands_at_its_product() -> None:
    model = nn.Sequential(nn.Linear(8, 8), weight_norm(nn.Linear(8, 8)), nn.Linear(8, 3)).eval()
    assert [layer.name for layer in usage(model, inputs()).layers] == ["0", "1", "2"]


def test_what_becomes_of_the_input_in_a_buffer_is_no_weight() -> None:
    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("cache", torch.zeros(6, 8), persistent=False)
            self.head = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.cache[: len(x)] = x.relu()
            return self.head(self.cache[: len(x)])

    found = usage(Caching().eval(), inputs())
    assert [layer.name for layer in found.layers] == ["head"]


@pytest.mark.parametrize("spelling", ["aten", "torch", "native", "no_training"])
def test_a_batch_norm_in_another_spelling_is_reset(spelling: str) -> None:
    class Spelled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 4, 1), nn.Linear(4, 3)
            self.scale, self.shift = nn.Parameter(torch.rand(4)), nn.Parameter(torch.rand(4))
            self.register_buffer("mu", torch.randn(4))
            self.register_buffer("spread", torch.rand(4) + 0.5)

        def forward(self, x: Tensor) -> Tensor:
            h, kept = self.conv(x.view(-1, 1, 2, 4)), (self.scale, self.shift, self.mu, self.spread)
            if spelling == "aten":
                h = torch.ops.aten.batch_norm.default(h, *kept, False, 0.1, 1e-5, False)
            elif spelling == "torch":
                h = torch.batch_norm(h, *kept, False, 0.1, 1e-5, False)
            elif spelling == "native":
                h = torch.native_batch_norm(h, *kept, False, 0.1, 1e-5)[0]
            else:
                h = torch.ops.aten._native_batch_norm_legit_no_training.default(h, *kept, 0.1, 1e-5)[0]
            return self.head(h.mean((2, 3)))

    model = Spelled().eval()
    with Cascading().stages(model, inputs())[-1]:
        assert torch.equal(model.scale, torch.ones(4))
        assert torch.equal(model.shift, torch.zeros(4))
        assert torch.equal(model.mu, torch.zeros(4))
        assert torch.equal(model.spread, torch.ones(4))
    with Cascading(batch_norm="re-estimate").stages(model, inputs())[-1]:
        h = model.conv(inputs().view(-1, 1, 2, 4))
        assert torch.allclose(model.mu, h.mean((0, 2, 3)), atol=1e-6)
    assert Cascading(batch_norm="keep").stages(model, inputs()).fixed == ("mu", "spread")


def test_an_exported_network_is_randomized_as_the_eager_one() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).eval()
    nn.init.uniform_(net[1].running_var, 0.5, 2)
    x = torch.randn(2, 2, 4, 4)
    exported = torch.export.export(net, (x,)).module()
    for module in exported.modules():
        module.training = False  # a flag that nothing in it reads: export has made the mode part of the graph
    found = usage(exported, x)
    roles = {f"{layer.name}.{weight.name}": weight.role for layer in found.layers for weight in layer.weights}
    assert [layer.name for layer in found.layers] == ["0", "1", "4"]
    assert (roles["1.running_var"], roles["1.weight"], roles["0.weight"]) == ("variance", "gamma", None)
    with Cascading().stages(net, x)[-1]:
        expected = net(x)
    with Cascading().stages(exported, x)[-1]:
        assert torch.allclose(exported(x), expected, atol=1e-6)


def test_complex_weights_are_drawn_with_the_variance_of_real_ones() -> None:
    class Phases(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(400, 400, dtype=torch.complex64))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x.to(torch.complex64), self.weight).abs()

    model = Phases().eval()
    before = snapshot(model)
    with Cascading().stages(model, inputs(size=400))[-1]:
        drawn = model.weight.detach()
        # |w|² of a complex normal is exponential: standard deviation equal to its mean.
        assert float(drawn.abs().square().mean()) == pytest.approx(2 / 400, rel=5 / 400)
        assert abs(float((drawn.real * drawn.imag).mean())) < 5 / 400 / 400
    assert not changed(model, before)
