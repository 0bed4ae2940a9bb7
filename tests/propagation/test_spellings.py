"""One operation, many spellings: every method gives every one of them the map of the first."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.export import Dim, export, unflatten

from heatproof.errors import OperationError
from heatproof.methods import LRP, METHODS
from heatproof.propagation.composites import Composite
from heatproof.propagation.rules import Epsilon

A = torch.ops.aten
NAMES = ("lrp-epsilon", "lrp-alpha1-beta0", "lrp-epsilon-gamma-box", "deeplift", "guided-backprop")


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


IMAGE, ROWS = (3, 6, 6), (6,)
K, B = drawn(4, 3, 3, 3), drawn(4, seed=1)
KT = drawn(3, 4, 3, 3)
W6, B6 = drawn(6, 6, seed=2), drawn(6, seed=3)
MEAN, VARIANCE, GAIN, SHIFT = drawn(3), drawn(3, seed=1).abs() + 0.5, drawn(3, seed=2), drawn(3, seed=3)
G6, C3 = drawn(6, seed=4), drawn(3, 1, 3)
ones, zeros, two = [1, 1], [0, 0], [2, 2]

SPELLINGS = {
    "conv2d": (IMAGE, [
        lambda h: F.conv2d(h, K, B, 2, 1),
        lambda h: F.conv2d(input=h, weight=K, bias=B, stride=2, padding=1),
        lambda h: torch.conv2d(h, K, padding=1, bias=B, stride=[2, 2]),
        lambda h: A.conv2d(h, K, B, two, ones), lambda h: A.conv2d.default(h, K, B, two, ones),
        lambda h: A.convolution(h, K, B, two, ones, ones, False, zeros, 1),
        lambda h: A.convolution.default(h, K, B, two, ones, ones, False, zeros, 1),
        lambda h: torch.convolution(h, K, B, two, ones, ones, False, zeros, 1),
    ]),
    "conv2d by words": (IMAGE, [
        lambda h: F.conv2d(h, K, B, padding="same"), lambda h: A.conv2d.padding(h, K, B, ones, "same"),
        lambda h: A.convolution(h, K, B, ones, ones, ones, False, zeros, 1),
    ]),
    "conv_transpose2d": (IMAGE, [
        lambda h: F.conv_transpose2d(h, KT, B, 2, 1, 1, 1, 1), lambda h: torch.conv_transpose2d(h, KT, B, 2, 1, 1),
        lambda h: A.conv_transpose2d(h, KT, B, two, ones, ones),
        lambda h: A.convolution(h, KT, B, two, ones, ones, True, ones, 1),
    ]),
    "batch_norm": (IMAGE, [
        lambda h: F.batch_norm(h, MEAN, VARIANCE, GAIN, SHIFT, eps=0.1),
        lambda h: torch.batch_norm(h, GAIN, SHIFT, MEAN, VARIANCE, False, 0.1, 0.1, False),
        lambda h: A.batch_norm(h, GAIN, SHIFT, MEAN, VARIANCE, False, 0.1, 0.1, False),
        lambda h: A.batch_norm.default(h, GAIN, SHIFT, MEAN, VARIANCE, False, 0.1, 0.1, False),
        lambda h: A.native_batch_norm(h, GAIN, SHIFT, MEAN, VARIANCE, False, 0.1, 0.1)[0],
        lambda h: A._native_batch_norm_legit(h, GAIN, SHIFT, MEAN.clone(), VARIANCE.clone(), False, 0.1, 0.1)[0],
        lambda h: A._native_batch_norm_legit_no_training(h, GAIN, SHIFT, MEAN, VARIANCE, 0.1, 0.1)[0],
    ]),
    "batch_norm without weights": (IMAGE, [
        lambda h: F.batch_norm(h, MEAN, VARIANCE),
        lambda h: torch.batch_norm(h, None, None, MEAN, VARIANCE, False, 0.1, 1e-5, False),
    ]),
    "instance_norm": (IMAGE, [
        lambda h: F.instance_norm(h, weight=GAIN, bias=SHIFT, eps=0.1),
        lambda h: torch.instance_norm(h, GAIN, SHIFT, None, None, True, 0.1, 0.1, False),
        lambda h: A.instance_norm(h, GAIN, SHIFT, None, None, True, 0.1, 0.1, False),
    ]),
    "group_norm": (IMAGE, [
        lambda h: F.group_norm(h, 3, GAIN, SHIFT, 0.1), lambda h: torch.group_norm(h, 3, GAIN, SHIFT, 0.1),
        lambda h: A.group_norm.default(h, 3, GAIN, SHIFT, 0.1),
        lambda h: A.native_group_norm(h, GAIN, SHIFT, len(h), 3, 36, 3, 0.1)[0],
    ]),
    "layer_norm": (ROWS, [
        lambda h: F.layer_norm(h, (6,), G6, B6, 0.1), lambda h: torch.layer_norm(h, (6,), G6, B6, 0.1),
        lambda h: A.layer_norm.default(h, [6], G6, B6, 0.1), lambda h: A.native_layer_norm(h, [6], G6, B6, 0.1)[0],
        lambda h: torch.native_layer_norm(h, [6], G6, B6, 0.1)[0],
    ]),
    "rms_norm": (ROWS, [
        lambda h: F.rms_norm(h, (6,), G6, 0.1), lambda h: torch.rms_norm(h, (6,), G6, 0.1),
        lambda h: A.rms_norm(h, [6], G6, 0.1), lambda h: A._fused_rms_norm(h, [6], G6, 0.1)[0],
    ]),
    "linear": (ROWS, [
        lambda h: F.linear(h, W6, B6), lambda h: A.linear(h, W6, B6), lambda h: torch.addmm(B6, h, W6.T),
        lambda h: A.addmm.default(B6, h, A.t(W6)), lambda h: B6.addmm(h, W6.T), lambda h: h @ W6.T + B6,
        lambda h: torch.addmm(2 * B6, h, W6.T / 4, beta=0.5, alpha=4), lambda h: F.linear(h, W6.to(h), B6.type_as(h)),
    ]),
    "max_pool2d": (IMAGE, [
        lambda h: F.max_pool2d(h, 2), lambda h: torch.max_pool2d(h, 2), lambda h: A.max_pool2d.default(h, two),
        lambda h: A.max_pool2d_with_indices(h, two)[0], lambda h: F.max_pool2d(h, 2, return_indices=True)[0],
        lambda h: F.max_pool2d_with_indices(h, 2)[0], lambda h: F.max_pool2d(input=h, kernel_size=2, stride=None),
        lambda h: A.max_pool2d_with_indices.default(h, two, [])[0], lambda h: F.adaptive_max_pool2d(h, 3),
        lambda h: A.adaptive_max_pool2d(h, [3, 3])[0], lambda h: F.adaptive_max_pool2d(h, 3, return_indices=True)[0],
    ]),
    "max_pool1d": ((4, 6), [
        lambda h: F.max_pool1d(h, 2), lambda h: torch.max_pool1d(h, 2), lambda h: A.max_pool1d(h, [2]),
        lambda h: torch.max_pool1d_with_indices(h, 2)[0], lambda h: A.adaptive_max_pool1d(h, [3])[0],
    ]),
    "adaptive_avg_pool2d": (IMAGE, [
        lambda h: F.adaptive_avg_pool2d(h, 3), lambda h: A.adaptive_avg_pool2d(h, [3, 3]),
        lambda h: A._adaptive_avg_pool2d(h, [3, 3]), lambda h: F.avg_pool2d(h, 2), lambda h: A.avg_pool2d(h, two),
    ]),
    "interpolate": (IMAGE, [
        lambda h: F.interpolate(h, scale_factor=2.0, mode="bilinear"),
        lambda h: A.upsample_bilinear2d.vec(h, None, False, [2.0, 2.0]),
        lambda h: A.upsample_bilinear2d(h, [12, 12], False),
    ]),
    "softmax": (ROWS, [
        lambda h: F.softmax(h, 1), lambda h: F.softmax(h, dim=-1), lambda h: h.softmax(1),
        lambda h: torch.softmax(h, axis=1), lambda h: torch.special.softmax(h, 1), lambda h: A.softmax.int(h, 1),
        lambda h: A._softmax(h, 1, False),
    ]),
    "log_softmax": (ROWS, [
        lambda h: F.log_softmax(h, 1), lambda h: h.log_softmax(dim=1), lambda h: A._log_softmax(h, -1, False),
    ]),
    "logsumexp": (IMAGE, [
        lambda h: torch.logsumexp(h, (2, 3)), lambda h: h.logsumexp(dim=[2, 3]), lambda h: A.logsumexp(h, [2, 3]),
    ]),
    "amax": (IMAGE, [
        lambda h: h.flatten(2).amax(2), lambda h: h.flatten(2).max(2)[0], lambda h: torch.amax(h, (2, 3)),
        lambda h: torch.max(h.flatten(2), dim=-1).values, lambda h: A.amax(h, [2, 3]),
        lambda h: A.max.dim(A.view(h, [len(h), 3, 36]), 2)[0], lambda h: torch.amax(h, axis=(2, 3)),
    ]),
    "topk": (ROWS, [
        lambda h: torch.topk(h, 2)[0], lambda h: h.topk(k=2).values, lambda h: A.topk(h, 2, -1, True, True)[0],
    ]),
    "sort": (ROWS, [
        lambda h: torch.sort(h, 1, True)[0], lambda h: h.sort(descending=True)[0], lambda h: A.sort(h, 1, True)[0],
        lambda h: torch.sort(h, stable=True, descending=True).values,
    ]),
    "norm": (IMAGE, [
        lambda h: torch.linalg.vector_norm(h, dim=(2, 3)), lambda h: h.norm(dim=(2, 3)), lambda h: h.norm(2, (2, 3)),
        lambda h: torch.norm(h, dim=(2, 3), p=2), lambda h: A.linalg_vector_norm(h, 2, [2, 3]),
        lambda h: A.norm.ScalarOpt_dim(h, 2, [2, 3]),
    ]),
    "var": (IMAGE, [
        lambda h: h.var((2, 3), False), lambda h: torch.var(h, (2, 3), unbiased=False),
        lambda h: torch.var(h, dim=(2, 3), correction=0), lambda h: A.var.correction(h, [2, 3], correction=0),
        lambda h: A.var.dim(h, [2, 3], False),
    ]),
    "relu": (ROWS, [
        lambda h: F.relu(h), lambda h: torch.relu_(h.clone()), lambda h: h.clone().relu_(), lambda h: A.relu.default(h),
        lambda h: A.relu_.default(h.clone()), lambda h: F.relu(h.clone(), inplace=True),
    ]),
    "gelu": (ROWS, [
        lambda h: F.gelu(h, approximate="tanh"), lambda h: A.gelu(h, approximate="tanh"),
        lambda h: nn.GELU("tanh")(h),
    ]),
    "hardtanh": (ROWS, [
        lambda h: F.hardtanh(h, 0.0, 6.0), lambda h: F.relu6(h), lambda h: A.hardtanh(h, 0.0, 6.0),
        lambda h: h.clamp(0, 6), lambda h: torch.clip(h, 0, 6), lambda h: A.clamp(h, 0, 6),
        lambda h: A.hardtanh_(h.clone(), 0.0, 6.0),
    ]),
    "dropout": (ROWS, [
        lambda h: F.dropout(h, 0.5, False), lambda h: torch.dropout(h, 0.5, False), lambda h: A.dropout(h, 0.5, False),
        lambda h: A.native_dropout(h, 0.5, False)[0], lambda h: h,
    ]),
    "cat": (ROWS, [
        lambda h: torch.cat([h, -h], 1), lambda h: torch.concat((h, -h), dim=-1), lambda h: torch.cat([h, -h], axis=1),
        lambda h: A.cat([h, -h], 1), lambda h: torch.hstack([h, -h]),
    ]),
    "select": (IMAGE, [
        lambda h: h[:, 1, 2:5], lambda h: A.slice.Tensor(A.select.int(h, 1, 1), 1, 2, 5),
        lambda h: A.slice_copy(A.select_copy(h, 1, 1), 1, 2, 5), lambda h: h.select(1, 1).narrow(1, 2, 3),
        lambda h: A.index.Tensor(h, [None, torch.tensor(1), torch.arange(2, 5)]),
    ]),
    "attention": ((5, 6), [
        lambda h: F.scaled_dot_product_attention(h, h, h),
        lambda h: A.scaled_dot_product_attention(h, h, h),
        lambda h: A._scaled_dot_product_flash_attention_for_cpu(h[:, None], h[:, None], h[:, None])[0],
        lambda h: A._scaled_dot_product_attention_math(h, h, h)[0],
    ]),
    "glu": (ROWS, [lambda h: F.glu(h, 1), lambda h: F.glu(h, dim=-1), lambda h: A.glu(h, 1)]),
    "broadcast": (ROWS, [
        lambda h: h * G6, lambda h: h * G6.expand_as(h), lambda h: h * G6.type_as(h), lambda h: h * G6.to(h),
        lambda h: h * G6.expand(len(h), -1).reshape_as(h), lambda h: h * G6.repeat(len(h)).view_as(h),
        lambda h: torch.mul(*torch.broadcast_tensors(h, G6)), lambda h: torch.mul(*A.broadcast_tensors([h, G6])),
        lambda h: torch.mul(*torch.atleast_2d(h, G6)), lambda h: h * torch.broadcast_to(G6, h.shape),
        lambda h: torch.mul(*torch.meshgrid(h[0], G6, indexing="ij")).diagonal()[None].expand(len(h), -1)
        + (h - h[:1]) * G6,
    ]),
}  # fmt: skip


class Around(nn.Module):
    """A linear layer, a ReLU, a linear layer, the operation, and a linear layer, with weights of their shapes."""

    def __init__(self, shape, operation):
        super().__init__()
        self.operation = operation
        self.weights = nn.ParameterList([drawn(6, 6, seed=5), drawn(6, 6, seed=8)])
        with torch.no_grad():
            features = operation(drawn(2, *shape)).flatten(1).shape[1]
        self.register_buffer("head", drawn(3, features, seed=6))

    def forward(self, x):
        h = F.linear(F.relu(F.linear(x, self.weights[0])), self.weights[1])
        return F.linear(self.operation(h).flatten(1), self.head)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("operation", SPELLINGS)
def test_every_spelling_has_the_map_of_the_first(operation, name):
    shape, (first, *others) = SPELLINGS[operation]
    x, targets = drawn(2, *shape, seed=7), torch.tensor([0, 2])
    method = METHODS.get(name)
    expected = method(Around(shape, first).eval(), x, targets)
    for place, other in enumerate(others, 1):
        found = method(Around(shape, other).eval(), x, targets)
        error = (found - expected).abs().max() / expected.abs().max()
        assert error < 1e-12, (place, float(error))


R = {2: drawn(6, 3, seed=9), 1: drawn(6, seed=10)}
SUMS = {
    "addmm": lambda x: torch.addmm(x @ R[2], x @ W6, R[2]),
    "addmm, scaled": lambda x: torch.addmm(x @ R[2], x @ W6, R[2], beta=0.5, alpha=3),
    "Tensor.addmm": lambda x: (x @ R[2]).addmm(x, R[2], beta=-2),
    "addmm_": lambda x: (x @ R[2]).addmm_(x, R[2], alpha=2),
    "addmm_, as a statement": lambda x: written(x @ R[2], lambda h: h.addmm_(x, R[2], alpha=2)),
    "aten.addmm": lambda x: torch.ops.aten.addmm.default(x @ R[2], x, R[2]),
    "addmm of its addend alone": lambda x: torch.addmm(x @ R[2], B6.expand(len(x), -1), R[2]),
    "addmm without its addend": lambda x: torch.addmm(x @ R[2], x, R[2], beta=0),
    "addmv": lambda x: torch.addmv((x @ R[1]), x, R[1], alpha=2)[:, None] * G6[:3],
    "baddbmm": lambda x: torch.baddbmm(x[:, None] @ R[2], x[:, None], R[2].expand(len(x), -1, -1), beta=2)[:, 0],
    "addbmm": lambda x: torch.addbmm(x @ R[2], torch.stack([x, 2 * x]), torch.stack([R[2], -R[2] + 1])),
    "a bias": lambda x: torch.stack([F.linear(B6, R[2].T, row[:3]) for row in x]),
    "a bias, and the data": lambda x: torch.stack([F.linear(row, R[2].T, row[:3]) for row in x]),
    "a convolution's bias": lambda x: torch.stack([F.conv1d(row[None, None], C3, row[:3]).sum(2)[0] for row in x]),
    "weights": lambda x: torch.stack([F.linear(B6, row.view(1, 6) * R[2].T) for row in x]),
    "addr": lambda x: torch.stack([torch.addr(row.outer(B6), row, G6, alpha=2)[:, 0] for row in x]),
}  # fmt: skip


def written(h, statement):
    statement(h)
    return h


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("name", ["lrp", "deeplift"])
@pytest.mark.parametrize("case", SUMS)
def test_an_addend_is_a_part_of_the_sum(case, name):
    """Each function is linear in its input: the relevance of a feature is its derivative times its value."""
    nothing = Epsilon(epsilon=0.0)
    methods = {"lrp": LRP(composite=Composite(convolution=nothing, dense=nothing)), "deeplift": METHODS.get("deeplift")}
    x, targets = drawn(2, 6, seed=7), torch.tensor([0, 2])
    model = Function(SUMS[case]).eval()
    expected = METHODS.get("gradient-x-input")(model, x, targets)
    torch.testing.assert_close(methods[name](model, x, targets), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["lrp-epsilon", "deeplift"])
def test_weights_and_data_of_the_input_share_as_factors_do(name):
    x, targets = drawn(2, 6, seed=7), torch.tensor([0, 2])
    weighted = Function(lambda x: torch.stack([F.linear(row, row.view(1, 6) * R[2].T) for row in x])).eval()
    multiplied = Function(lambda x: (x * x) @ R[2]).eval()
    expected = METHODS.get(name)(multiplied, x, targets)
    torch.testing.assert_close(METHODS.get(name)(weighted, x, targets), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["lrp-epsilon", "deeplift", "guided-backprop"])
def test_what_a_call_returns_besides_has_no_rule(name):
    model = Function(lambda x: F.relu(torch.native_layer_norm(x, [6], None, None, 1e-5)[2] * x[:, :3])).eval()
    with pytest.raises(OperationError, match="has lost its path"):
        METHODS.get(name)(model, drawn(2, 6), torch.tensor([0, 2]))


def test_a_result_in_memory_of_somebody_is_refused():
    model = Function(lambda x: torch.mul(x, 2, out=torch.zeros(2, 6, dtype=x.dtype))).eval()
    with pytest.raises(OperationError, match="it writes into `out`"):
        METHODS.get("lrp-epsilon")(model, drawn(2, 6), torch.tensor([0, 2]))


class Small(nn.Module):
    """Convolution, batch norm, ReLU in place, pooling, attention, layer norm, GELU: what exported networks call."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(True), nn.MaxPool2d(2))
            self.grouped = nn.Conv2d(6, 6, 3, padding=1, groups=3, bias=False)
            self.norm, self.group = nn.LayerNorm(6), nn.GroupNorm(2, 6)
            self.mix = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Dropout(0.1), nn.Linear(8, 6))
            self.head = nn.Linear(6, 4)
            for parameter in self.parameters():
                nn.init.normal_(parameter, std=0.5)
            nn.init.uniform_(self.stem[1].running_var, 0.5, 1.5)
            nn.init.normal_(self.stem[1].running_mean)

    def forward(self, x):
        h = self.stem(x)
        h = h + F.relu(self.group(self.grouped(h)))
        h = h.flatten(2).transpose(1, 2)
        query, key, value = (part.unflatten(2, (2, 3)).transpose(1, 2) for part in (h, 2 * h, self.norm(h)))
        h = h + F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        h = h + self.mix(self.norm(h))
        return self.head(h.mean(1))


@pytest.fixture(scope="module")
def forms():
    network = Small().eval()
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # torch's own, of its own
        program = export(network, (torch.zeros(2, 3, 8, 8),), dynamic_shapes=({0: Dim("batch")},))
        whole, parts, plain = program.module(), unflatten(program), program.run_decompositions().module()
    for form in (whole, parts, plain):
        for module in form.modules():
            module.training = False
    return network, {"whole": whole, "parts": parts, "decomposed": plain}


RULES = [name for name in METHODS.names() if name.startswith("lrp-")]


@pytest.mark.parametrize("name", [*RULES, "clrp", "deep-taylor", "deeplift", "guided-backprop", "deconvnet"])
def test_an_exported_network_has_the_map_of_its_own_or_is_refused_by_name(forms, name):
    network, exported = forms
    x = drawn(2, 3, 8, 8).float()
    with torch.no_grad():
        targets = network(x).argmax(1)
    expected = METHODS.get(name)(network, x, targets)
    for form, program in exported.items():
        error = (METHODS.get(name)(program, x, targets) - expected).abs().max() / expected.abs().max()
        assert error < 1e-5, (form, float(error))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("copied", [lambda x: x.new_tensor(2 * x), lambda x: B6.new_tensor(2 * x)])
@pytest.mark.parametrize("name", ["lrp-epsilon", "deeplift"])
def test_a_value_that_is_copied_without_its_path_is_refused(copied, name):
    model = Function(lambda x: (x * copied(x))[:, :3]).eval()
    with pytest.raises(OperationError, match=r"cuts the path to the input"):
        METHODS.get(name)(model, drawn(2, 6), torch.tensor([0, 2]))


def test_what_takes_only_its_shape_from_the_input_does_not_depend_on_it():
    like = Function(lambda x: (x * torch.ones_like(x) + torch.full_like(x, 2.0) * G6.new_tensor(1.5))[:, :3]).eval()
    plain = Function(lambda x: (x + 3.0)[:, :3]).eval()
    x, targets = drawn(2, 6, seed=7), torch.tensor([0, 2])
    for name in ("lrp-epsilon", "deeplift"):
        torch.testing.assert_close(METHODS.get(name)(like, x, targets), METHODS.get(name)(plain, x, targets))
