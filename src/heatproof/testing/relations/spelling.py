"""Spelling: the same operation under another name, in place, or written out by arithmetic."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from heatproof.testing.relations import arithmetic, names, parts
from heatproof.testing.relations.aten_names import ATEN, LOWERED
from heatproof.testing.relations.base import Change
from heatproof.testing.relations.editing import LINEAR, Respelled, edited
from heatproof.testing.relations.names import Spellings
from heatproof.testing.relations.traits import Traits

WRITES_SAFELY = (*LINEAR, nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d)  # torch needs no output of theirs again
FOLDS = "its rules part signs, and fold a batch norm, but not what is written out, into the weights"
LEARNED = "it learns from what a linear operation returns, and the bias is no part of that any more"
UNTOLD = "an `einsum` of tokens does not tell which dimension is which; it asks for `features` or `layout`"
SLOPES = "it takes slopes between two values operation by operation, and these are other operations"
SHARES = "its rule for a softmax is not that of a quotient of exponentials"
HELD = "its rule for a normalization is not that of the operations that it is made of"
KNOWS_FEW = "it refuses networks with such an operation"


def _knows_few(traits: Traits) -> str:
    return KNOWS_FEW if traits.patterns else ""


@dataclass(frozen=True, kw_only=True)
class Spelled(Change):
    """A relation of this family; methods that know few operations may refuse the others by name."""

    family: ClassVar[str] = "spelling"
    refuses: Callable[[Traits], str] = _knows_few


def _respelling(table: Spellings) -> Callable[[nn.Module, Tensor], nn.Module | str]:
    def edit(module: nn.Module, before: nn.Module | None) -> nn.Module | None:
        function = table.get(type(module))
        return None if function is None else Respelled(module, function)

    return lambda model, inputs: edited(model, edit)


def _in_place(model: nn.Module, inputs: Tensor) -> nn.Module | str:
    def edit(module: nn.Module, before: nn.Module | None) -> nn.Module | None:
        function = names.IN_PLACE.get(type(module))
        return Respelled(module, function) if function is not None and isinstance(before, WRITES_SAFELY) else None

    return edited(model, edit)


def _spelled(name: str, says: str, table: Spellings) -> Spelled:
    return Spelled(name=f"spelled-{name}", says=says, network=_respelling(table))


def _written(
    name: str,
    says: str,
    table: Spellings,
    excuse: Callable[[Traits], str] = lambda traits: "",
    stabilized: float = 0.0,
    refuses: Callable[[Traits], str] = _knows_few,
) -> Spelled:
    change = _respelling(table)
    return Spelled(name=name, says=says, network=change, excuse=excuse, stabilized=stabilized, refuses=refuses)


def _learned(traits: Traits) -> str:
    return LEARNED if traits.patterns else ""


def _folded(traits: Traits) -> str:
    return KNOWS_FEW if traits.patterns else FOLDS if traits.folds else ""


def _own_rule(reason: str) -> Callable[[Traits], str]:
    """Methods with a rule of their own for what is written out."""

    def excuse(traits: Traits) -> str:
        if traits.patterns or traits.secants:
            return KNOWS_FEW if traits.patterns else SLOPES
        return reason if traits.rules and not traits.clamps else ""

    return excuse


# ε stands in other sums where an operation is two, or its outputs are not known to be one layer's: LRP's stabilizer
# shows.
STABILIZED = 1e-2
SPELLING = (
    _spelled("functional", "every operation as `torch.nn.functional` has it", names.FUNCTIONAL),
    _spelled("torch", "every operation as `torch` has it, `torch.batch_norm` among them", names.TORCH),
    _spelled("rarely", "`torch.convolution`, `special.expit`, `clip`, `einsum`, `hstack` and their like", names.RARE),
    _spelled("methods", "every operation as a method of tensors", names.METHODS),
    _spelled("aten", "every operation as `torch.ops.aten` has it", ATEN),
    _spelled("aten-lowered", "as decompositions have it: `native_layer_norm`, `addmm`, `convolution`, tuples", LOWERED),
    Spelled(name="in-place", says="activations and residual sums in place", network=_in_place),
    _written("relu-as-clamp", "ReLUs as `x.clamp(min=0)`", {nn.ReLU: arithmetic.clamp}),
    _written("relu-as-threshold", "ReLUs as `F.threshold(x, 0, 0)`", {nn.ReLU: arithmetic.threshold}),
    _written("relu-as-maximum", "ReLUs as `torch.maximum(x, 0)`", {nn.ReLU: arithmetic.maximum}),
    _written(
        "relu-as-product",
        "ReLUs as `x * (x > 0)`",
        {nn.ReLU: arithmetic.masked},
    ),
    _written(
        "relu-as-where",
        "ReLUs as `torch.where(x > 0, x, 0)`",
        {nn.ReLU: arithmetic.where},
    ),
    _written("linear-as-addmm", "linear layers as `torch.addmm(b, x, W.T)`", {nn.Linear: arithmetic.addmm}),
    _written(
        "linear-as-matmul", "linear layers as `x @ W.T + b`", {nn.Linear: arithmetic.matmul}, _learned,
    ),
    _written(
        "linear-as-einsum", "linear layers as `einsum` and a sum", {nn.Linear: arithmetic.einsum}, _learned, STABILIZED,
        refuses=lambda traits: _knows_few(traits) or (UNTOLD if traits.asks or traits.layers else ""),
    ),
    _written(
        "bias-apart", "a convolution's bias added after it", {nn.Conv2d: arithmetic.bias_apart}, _learned,
    ),
    _written(
        "batch-norm-as-scale", "batch norms as `x * scale + shift`", {nn.BatchNorm2d: arithmetic.scale_and_shift},
        _folded, STABILIZED,
    ),
    _written(
        "batch-norm-as-formula", "batch norms as `(x − μ) / √(σ² + ε) · γ + β`",
        {nn.BatchNorm2d: arithmetic.standardized}, _folded, STABILIZED,
    ),
    _written(
        "softmax-written-out", "softmax as exponentials and their sum", {nn.Softmax: arithmetic.exponentials},
        _own_rule(SHARES),
    ),
    _written(
        "layer-norm-written-out", "layer norms as means and squares",
        {nn.LayerNorm: arithmetic.centered, parts.ChannelNorm: arithmetic.centered_channels}, _own_rule(HELD),
    ),
    _written("mean-written-out", "average pooling as a sum and a quotient", {nn.AdaptiveAvgPool2d: arithmetic.average}),
    _written(
        "silu-as-product", "SiLU as `x · σ(x)`", {nn.SiLU: arithmetic.gated},
        lambda traits: KNOWS_FEW if traits.patterns else SLOPES if traits.secants else "",
    ),
)  # fmt: skip
