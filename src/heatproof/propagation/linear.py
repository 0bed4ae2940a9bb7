"""Every operation that is linear in the explained input and has weights, in one form: z = apply(x, w) + b."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from heatproof.propagation.addends import WITH_ADDEND
from heatproof.propagation.calls import Call
from heatproof.propagation.constants import endless

ROW_BY_ROW = frozenset(("matmul", "mm", "bmm", "addmm", "baddbmm"))
SETTINGS = ("stride", "padding", "dilation", "groups", "output_padding")


@dataclass(kw_only=True, eq=False, slots=True)  # frozen, it would take three times as long to make
class Linear:
    """z = apply(x, weight) + bias, with `apply` linear in both of its arguments. Not changed once it is in use.

    `bias` broadcasts to z. `constant` is a part of the operand that is constant: the operand is x + constant, and
    apply(constant, weight) belongs to the bias. `outputs_at` is the dimension of the weight that goes with the channels
    of z (None where a scale a channel cannot be folded), `groups` a transposed convolution's groups. The weight is
    `unscaled` times a folded `scale`, multiplied when it is asked for: kept, it would double a network's memory.
    `last` says that z has the outputs of one place along its last dimension, `above` that x has no value below 0,
    `rectified` that nothing comes back where z has.
    `added` are the constants that the bias is made of.
    """

    apply: Callable[[Tensor, Tensor], Tensor]
    x: Tensor
    unscaled: Tensor
    scale: Tensor | None = None
    bias: Tensor | None = None
    constant: Tensor | None = None
    convolution: bool = False
    outputs_at: int | None = None
    groups: int = 1
    last: bool = False
    above: bool = False
    rectified: bool = False
    added: tuple[Tensor, ...] = ()

    @property
    def weight(self) -> Tensor:
        """The weight, with every folded scale in it."""
        if self.scale is None:
            return self.unscaled
        if self.outputs_at == 0:
            return self.unscaled * self.scale.view(-1, *[1] * (self.unscaled.dim() - 1))
        # A transposed convolution: (inputs, outputs / groups, …).
        grouped = self.unscaled.reshape(self.groups, -1, *self.unscaled.shape[1:])
        return (grouped * self.scale.view(self.groups, 1, -1, *[1] * (self.unscaled.dim() - 2))).flatten(0, 1)

    def outputs(self) -> tuple[int, ...]:
        """Dimensions of z that hold outputs of one sample, and of no other; none where that is not known."""
        if self.convolution:
            return tuple(range(1 if self.outputs_at is not None else 0, self.x.dim()))
        return (-1,) if self.last else ()

    def offset(self) -> Tensor | None:
        """What z has that does not come from x: the bias and the constant part's share."""
        if self.constant is None:
            return self.bias
        share = self.apply(self.constant, self.weight)
        return share if self.bias is None else share + self.bias

    def value(self, x: Tensor) -> Tensor:
        """z for another x, without a graph."""
        with torch.no_grad():
            z, offset = self.apply(x, self.weight), self.offset()
            return z if offset is None else z + offset

    def bounded(self, y: Tensor) -> tuple["Linear", Tensor]:
        """Itself and its value `y`, both without what is infinite in the bias, as a mask of −∞ over labels is.

        Such outputs hand nothing on; with their value, 0 · ∞ would be what they hand on.
        """
        if self.bias is None or not any(map(endless, self.added)):
            return self, y
        masked = self.bias.isinf()
        return replace(self, bias=torch.where(masked, 0.0, self.bias)), torch.where(masked, 0.0, y)

    def channels(self, constant: object, dims: int) -> Tensor | None:
        """A constant that is one number, or one a channel of z (of `dims` dimensions); None for any other."""
        if isinstance(constant, int | float):
            return self.unscaled.new_tensor(constant)
        if not isinstance(constant, Tensor) or constant.dim() > dims:
            return None
        after = self.unscaled.dim() - 2 if self.convolution else 0
        channels = constant.dim() - 1 - after
        alone = all(size == 1 for at, size in enumerate(constant.shape) if at != channels)
        return constant.detach() if alone and constant.is_floating_point() else None

    def scaled(self, scale: Tensor, shift: Tensor, made_of: Sequence[Tensor] = ()) -> "Linear | None":
        """scale · z + shift, one number a channel, folded into weight and bias; None where that is impossible.

        `made_of` are the constants that scale and shift come from.
        """
        if self.outputs_at is None:
            return None
        along = (-1, *[1] * (self.unscaled.dim() - 2))
        bias = shift.view(along)
        if self.bias is not None:
            bias = bias + self.bias * scale.view(along)
        scale = scale if self.scale is None else scale * self.scale
        return replace(self, scale=scale, bias=bias, added=(*self.added, *made_of))


def linear_of(call: Call) -> Linear | None:
    """The linear form of a call with one marked operand; None for any other call."""
    if len(call.inputs) != 1:
        return None
    if call.kind in ("linear", "convolution"):
        return _weighted(call)
    if call.kind == "product" and call.name not in ("mul", "div", "rdiv"):
        return _matrix(call)
    return None


def _weighted(call: Call) -> Linear | None:
    given = call.bind()
    x, weight, bias = given["input"], given["weight"].detach(), given.get("bias")
    if x is not call.inputs[0]:
        return None
    added = () if bias is None else (bias,)
    bias = None if bias is None else bias.detach()
    if call.kind == "linear":
        fold = 0 if x.dim() == 2 else None
        return Linear(apply=F.linear, x=x, unscaled=weight, bias=bias, outputs_at=fold, last=True, added=added)
    function: Callable[..., Tensor] = getattr(F, call.name)  # whichever way it was called
    settings = {name: given[name] for name in SETTINGS if name in given}

    def apply(x: Tensor, weight: Tensor) -> Tensor:
        return function(x, weight, None, **settings)

    return Linear(
        apply=apply,
        x=x,
        unscaled=weight,
        bias=None if bias is None else bias.view(-1, *[1] * (weight.dim() - 2)),
        convolution=True,
        outputs_at=None if x.dim() != weight.dim() else 1 if "transpose" in call.name else 0,
        groups=given.get("groups", 1),
        added=added,
    )


def _matrix(call: Call) -> Linear | None:
    """A product with a constant matrix, on either side."""
    given = call.bind() if call.name in WITH_ADDEND else {}
    addend, beta = given.get("input"), given.get("beta", 1)
    weights = [constant for constant in call.constants if constant is not addend]
    if len(weights) != 1 or any(tensor is addend for tensor in call.inputs):
        return None
    zeros = {id(constant): torch.zeros_like(constant) for constant in call.constants if constant is addend}
    order = [zeros.get(id(constant)) for constant in call.constants]
    bare = call.released()

    def apply(x: Tensor, weight: Tensor) -> Tensor:
        z: Tensor = bare.run(x, constants=[weight if zero is None else zero for zero in order])
        return z

    bias = None if addend is None or beta == 0 else addend.detach() * beta
    (x,), weight = call.inputs, weights[0].detach()
    on_the_right = call.name in ROW_BY_ROW and call.position(x) < call.position(weights[0]) and weight.dim() > 1
    added = () if addend is None else (addend,)
    return Linear(apply=apply, x=x, unscaled=weight, bias=bias, last=on_the_right, added=added)
