"""Each relation bites: a method that is wrong in one way, or a fault put back into ours, and the relation's name."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from heatproof.methods.backward import gradients
from heatproof.methods.base import one_hot
from heatproof.models import forward
from heatproof.testing import RELATIONS, ContractError, check_relations
from heatproof.testing.relations import NetworkSpec, Step, Traits, build, relations, samples
from heatproof.testing.relations.parts import Network
from heatproof.testing.relations.spelling import SPELLING

IMAGE = NetworkSpec(
    (3, 6, 8),
    (
        Step("conv"),
        Step("batch_norm"),
        Step("relu"),
        Step("residual", inner=(Step("conv", width=0), Step("batch_norm"))),
        Step("silu"),
    ),
    "pooled",
)
PLAIN = NetworkSpec((3, 6, 8), (Step("conv"), Step("relu"), Step("conv", width=4), Step("relu")), "dense", biases=False)
TOKENS = NetworkSpec((5, 4), (Step("linear"), Step("layer_norm"), Step("attention"), Step("relu")))


def plain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    outputs, pull = gradients(model, inputs, times=inputs)
    return pull(one_hot(targets, outputs))


@dataclass(frozen=True)
class OfModules:
    """Gradient × input that knows operations by their modules: it doubles what comes back through one kind."""

    kind: type[nn.Module]

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        def double(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
            return 2 * output - output.detach()

        handles = [m.register_forward_hook(double) for m in model.modules() if type(m) is self.kind]
        try:
            return plain(model, inputs, targets)
        finally:
            for handle in handles:
                handle.remove()


def of_class(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """A network known by its class: a wrapper of it is another one."""
    return plain(model, inputs, targets) * (2.0 if type(model) is Network else 1.0)


@dataclass(frozen=True)
class OfIdentity:
    """A network known by where it lies in memory: a copy is another one."""

    known: list[int]

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        self.known.append(id(model))
        return plain(model, inputs, targets) * (2.0 if self.known[0] == id(model) else 1.0)


def of_heights(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Rows by their sums alone: height is taken for width where an image is transposed."""
    maps = plain(model, inputs, targets)
    return maps.sum(-1, keepdim=True).expand_as(maps)


def of_left(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    return plain(model, inputs, targets).cumsum(-1)


def of_top(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    return plain(model, inputs, targets).cumsum(-2)


def of_channels(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Channel means that are weighed as red, green and blue are."""
    maps = plain(model, inputs, targets)
    return maps * torch.arange(1.0, 1 + maps.shape[1], dtype=maps.dtype).view(1, -1, 1, 1)


def of_memory(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """The position of a value taken for its place in memory."""
    ramp = torch.arange(1.0, 1 + inputs.untyped_storage().nbytes() // 8, dtype=inputs.dtype)
    places = torch.as_strided(ramp, inputs.shape, inputs.stride(), inputs.storage_offset())
    return plain(model, inputs, targets) * places


def of_batch(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Maps in units of the whole batch."""
    maps = plain(model, inputs, targets)
    weights = torch.arange(1.0, 1 + len(maps), dtype=maps.dtype).view(-1, *[1] * (maps.dim() - 1))
    return maps / (maps.abs() * weights).sum() / len(maps)


def of_parts(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Relevance shared among modules, those that do nothing too."""
    return plain(model, inputs, targets) / len(list(model.modules()))


def of_labels(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    return plain(model, inputs, targets) / forward(model, inputs).shape[1]


def stabilized(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """An ε that is a number, whatever the size of what it is added to."""
    with torch.no_grad():
        score = forward(model, inputs).gather(1, targets[:, None]).abs()
    return plain(model, inputs, targets) * (score / (score + 1e-2)).view(-1, *[1] * (inputs.dim() - 1))


def threshold(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """A number below which an input counts as nothing, whatever its unit."""
    return plain(model, inputs, targets) * (inputs.abs() > 1e-2)


def of_one_sigma(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """A step of one size for all columns: a share of the whole sample's range."""
    flat = inputs.flatten(1)
    sigma = 0.15 * (flat.amax(1) - flat.amin(1)).view(-1, *[1] * (inputs.dim() - 1))
    outputs, pull = gradients(model, inputs + sigma, times=inputs)
    return pull(one_hot(targets, outputs))


def keeping_nothing(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """A network that is run as it is: what it keeps is other than before."""
    out = model(inputs.clone().requires_grad_())
    return torch.autograd.grad(out.sum(), list(model.parameters())[:1])[0].new_zeros(inputs.shape)


def training(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """A method that switches to training mode, and back where nothing went wrong."""
    model.train()
    with torch.no_grad():
        model(inputs)
    model.eval()
    return inputs


def stepping(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    next(model.parameters()).data.mul_(1.001)
    return plain(model, inputs, targets)


Bite = tuple[Callable[..., Tensor], NetworkSpec]
KINDS = {
    "relu": nn.ReLU,
    "linear": nn.Linear,
    "bias": nn.Conv2d,
    "batch": nn.BatchNorm2d,
    "mean": nn.AdaptiveAvgPool2d,
    "silu": nn.SiLU,
    "spelled": nn.ReLU,
    "in": nn.ReLU,
}
BITES: dict[str, Bite] = {
    **{one.name: (OfModules(KINDS.get(one.name.split("-")[0], nn.ReLU)), IMAGE) for one in SPELLING},
    "spelled-aten-lowered": (OfModules(nn.BatchNorm2d), IMAGE),
    "softmax-written-out": (OfModules(nn.Softmax), TOKENS),
    "layer-norm-written-out": (OfModules(nn.LayerNorm), TOKENS),
    **{one.name: (of_class, PLAIN) for one in relations("form")},
    **{name: (OfIdentity([]), PLAIN) for name in ("copied", "pickled", "state-loaded")},
    "transposed": (of_heights, IMAGE),
    "transposed-slanted": (of_heights, IMAGE),
    "mirrored": (of_left, IMAGE),
    "upside-down": (of_top, IMAGE),
    "channels-permuted": (of_channels, IMAGE),
    **dict.fromkeys(("channels-last", "non-contiguous", "strides-inverse"), (of_memory, IMAGE)),
    **{one.name: (of_batch, PLAIN) for one in relations("batch")},
    **{one.name: (of_parts, IMAGE) for one in relations("nothing happened")},
    "dead-label": (of_labels, IMAGE),
    "split-bias": (of_parts, IMAGE),
    **{one.name: (stabilized, PLAIN) for one in relations("units")},
    **dict.fromkeys(("unit-1e-06", "unit-1e+06"), (threshold, IMAGE)),
    "one-column": (of_one_sigma, IMAGE),
    **{one.name: (keeping_nothing, PLAIN) for one in relations("no trace")},
    "stateless": (stepping, PLAIN),
    "after-error": (training, PLAIN),
}


def test_every_relation_has_a_fault_that_it_finds():
    assert set(BITES) == {relation.name for relation in RELATIONS}


@pytest.mark.parametrize("name", sorted(BITES))
def test_a_relation_finds_its_fault(name):
    method, spec = BITES[name]
    (relation,) = relations(name)
    model, x = build(spec), samples(spec, 3)
    targets = torch.arange(3) % spec.outputs
    traits = Traits(degree=1, unit=0)
    with pytest.raises(ContractError) as caught:
        check_relations(method, model, x, targets, relations=[relation], traits=traits)
    assert caught.value.clause == name
