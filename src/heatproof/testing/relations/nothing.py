"""Nothing happened: something is added to the network that changes none of its values."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from heatproof.testing.relations.base import Change
from heatproof.testing.relations.editing import LINEAR, edited, first_linear, last_linear
from heatproof.testing.relations.spelling import LEARNED, STABILIZED
from heatproof.testing.relations.traits import Traits

SIGNED = "its rule for linear layers parts signs, and a sum or an identity matrix hands on both"
READS = "all labels' scores are among the features that it learns from"
STEPPED = "it learns a direction for each linear operation, also for those that change nothing"
# No sigmoid: what it makes is a gate to rules of relevance, and a sum is none.
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.ELU, nn.Softplus, nn.Hardswish)


@dataclass(frozen=True, kw_only=True)
class Nothing(Change):
    """A relation of this family."""

    family: ClassVar[str] = "nothing happened"


class Beside(nn.Module):
    """A module, and a branch beside it whose weights are zero."""

    def __init__(self, module: nn.Module, branch: nn.Module) -> None:
        super().__init__()
        self.module, self.branch = module, branch

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.module(x) + self.branch(x)
        return out


class Plus(nn.Module):
    """A module, and zero times its output."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.share = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.module(x)
        return out + out * self.share


class Shifted(nn.Module):
    """A module, and a constant a channel."""

    def __init__(self, module: nn.Module, offset: Tensor) -> None:
        super().__init__()
        self.module, self.offset = module, nn.Parameter(offset.clone())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.module(x) + self.offset
        return out


class Halves(nn.Module):
    """A linear layer as two, each of half of its outputs."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        half = (layer.out_features + 1) // 2
        self.parts = nn.ModuleList([_rows(layer, slice(0, half)), _rows(layer, slice(half, None))])

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.parts], -1)


class Summands(nn.Module):
    """A linear layer as the sum of two, each of half of its inputs; the first has the bias."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.cut = (layer.in_features + 1) // 2
        self.first = _columns(layer, slice(0, self.cut), bias=True)
        self.second = _columns(layer, slice(self.cut, None), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.first(x[..., : self.cut]) + self.second(x[..., self.cut :])
        return out


class Unchanged(nn.Module):
    """A network whose outputs are multiplied by 1."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x) * 1.0
        return out


def _rows(layer: nn.Linear, rows: slice) -> nn.Linear:
    part = deepcopy(layer)
    part.weight = nn.Parameter(layer.weight[rows].detach().clone())
    part.out_features = len(part.weight)
    if layer.bias is not None:
        part.bias = nn.Parameter(layer.bias[rows].detach().clone())
    return part


def _columns(layer: nn.Linear, columns: slice, *, bias: bool) -> nn.Linear:
    part = deepcopy(layer)
    part.weight = nn.Parameter(layer.weight[:, columns].detach().clone())
    part.in_features = part.weight.shape[1]
    if not bias:
        part.register_parameter("bias", None)
    return part


def _after_activations(make: Callable[[nn.Module], nn.Module]) -> Callable[[nn.Module, Tensor], nn.Module | str]:
    def edit(module: nn.Module, before: nn.Module | None) -> nn.Module | None:
        return make(module) if isinstance(module, ACTIVATIONS) else None

    return lambda model, inputs: edited(model, edit)


def _zero_branch(model: nn.Module, inputs: Tensor) -> nn.Module | str:
    """A convolution or linear layer of zeros beside each activation whose width is known."""

    def edit(module: nn.Module, before: nn.Module | None) -> nn.Module | None:
        if not isinstance(module, ACTIVATIONS):
            return None
        width = getattr(before, "num_features", getattr(before, "out_channels", getattr(before, "out_features", None)))
        if width is None:
            return None
        linear = isinstance(before, nn.Linear)
        branch: nn.Module = nn.Linear(width, width, bias=False) if linear else nn.Conv2d(width, width, 1, bias=False)
        for parameter in branch.double().parameters():
            nn.init.zeros_(parameter)
        return Beside(module, branch)

    return edited(model, edit)


def _dead_label(model: nn.Module, inputs: Tensor) -> nn.Module | str:
    """One more label, of the last linear layer, whose score is −10⁹ whatever the input: one that is masked."""
    name = last_linear(model)
    with torch.no_grad():
        width = model(inputs[:1]).shape[1]

    def edit(module: nn.Module, before: nn.Module | None) -> nn.Module | None:
        if not isinstance(module, nn.Linear | nn.Conv2d) or len(module.weight) != width:
            return None
        dead = torch.zeros_like(module.weight[:1])
        module.weight = nn.Parameter(torch.cat([module.weight.detach(), dead]))
        bias = module.weight.new_zeros(width) if module.bias is None else module.bias.detach()
        module.bias = nn.Parameter(torch.cat([bias, bias.new_full((1,), -1e9)]))
        if isinstance(module, nn.Linear):
            module.out_features += 1
        else:
            module.out_channels += 1
        return module

    return edited(model, edit, only=name) if name else "no linear layer gives the outputs"


def _split_bias(model: nn.Module, inputs: Tensor) -> nn.Module | str:
    def edit(module: nn.Module, before: nn.Module | None) -> nn.Module | None:
        if not isinstance(module, nn.Linear | nn.Conv2d) or module.bias is None:
            return None
        with torch.no_grad():
            module.bias.mul_(0.5)
        along = module.bias.detach().view(-1, *[1] * (module.weight.dim() - 2))
        return Shifted(module, along)

    return edited(model, edit)


def _last(make: Callable[[nn.Linear], nn.Module | None]) -> Callable[[nn.Module, Tensor], nn.Module | str]:
    """Something else in the place of the last linear layer, where that is not the first as well."""

    def edit(module: nn.Module, before: nn.Module | None) -> nn.Module | None:
        return make(module) if isinstance(module, nn.Linear) else None

    def change(model: nn.Module, inputs: Tensor) -> nn.Module | str:
        name = last_linear(model)
        if name is None or name == first_linear(model, inputs):
            return "its only linear operation is the first"
        return edited(model, edit, only=name)

    return change


def _after_identity(layer: nn.Linear) -> nn.Module:
    unit = nn.Linear(layer.in_features, layer.in_features, bias=False).to(layer.weight)
    nn.init.eye_(unit.weight)
    return nn.Sequential(unit, layer)


def _learned(traits: Traits) -> str:
    return LEARNED if traits.patterns else ""


def _stepped(traits: Traits) -> str:
    return STEPPED if traits.patterns else SIGNED if traits.parts else ""


def _identities(model: nn.Module, inputs: Tensor) -> nn.Module | str:
    """`nn.Identity` and dropout behind every linear operation and activation."""

    def edit(module: nn.Module, before: nn.Module | None) -> nn.Module | None:
        if not isinstance(module, (*LINEAR, *ACTIVATIONS, nn.Sigmoid)):
            return None
        return nn.Sequential(module, nn.Identity(), nn.Dropout(0.3)).eval()

    return edited(model, edit)


NOTHING = (
    Nothing(name="zero-branch", says="a branch of weight zero beside each activation", network=_zero_branch),
    Nothing(name="zero-residual", says="zero times itself added to each activation", network=_after_activations(Plus)),
    Nothing(
        name="outputs-times-one",
        says="logits multiplied by 1",
        network=lambda model, inputs: Unchanged(deepcopy(model)).eval(),
    ),
    Nothing(
        name="identity-layers", says="`nn.Identity` and dropout in eval mode behind each operation", network=_identities
    ),
    Nothing(
        name="dead-label",
        says="one more label, whose score is constant and far below",
        network=_dead_label,
        stabilized=STABILIZED,
        excuse=lambda traits: READS if traits.reads_outputs else "",
    ),
    Nothing(
        name="split-bias",
        says="half of each bias in its layer, half added behind",
        network=_split_bias,
        excuse=_learned,
    ),
    Nothing(
        name="linear-in-halves",
        says="the last linear layer as two, of half of its outputs each",
        network=_last(Halves),
        stabilized=STABILIZED,
    ),
    Nothing(
        name="linear-as-sum",
        says="the last linear layer as the sum of two, of half of its inputs each",
        network=_last(Summands),
        excuse=_stepped,
        stabilized=STABILIZED,
    ),
    Nothing(
        name="linear-after-identity",
        says="the last linear layer behind an identity matrix",
        network=_last(_after_identity),
        excuse=_stepped,
        stabilized=STABILIZED,
    ),
)
