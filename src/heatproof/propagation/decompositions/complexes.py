"""Complex numbers as pairs of real ones.

What is linear over the reals (transforms, rearrangements, sums, products with a constant) keeps its own derivative;
products are written out in real and imaginary parts; anything else has no rule.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from heatproof.propagation.decompositions.distances import vector_norm
from heatproof.propagation.unsupported import UnsupportedCallError

if TYPE_CHECKING:
    from heatproof.propagation.calls import Call

OWN = frozenset(("structural", "sum", "write", "map", "recurrent", "independent", "leak", ""))


def absolute(input: Tensor) -> Tensor:
    """|z|, the Euclidean norm of real and imaginary part."""
    return vector_norm(torch.view_as_real(input), dim=-1)


def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """r·cos φ + i·r·sin φ."""
    return torch.complex(abs * torch.cos(angle), abs * torch.sin(angle))


def body_of(call: "Call") -> Callable[..., Any] | None:
    """The decomposition of a call with complex tensors; None where its own derivative is its rule."""
    if call.kind in OWN or call.name in BODIES:
        return None
    if call.name in ("abs", "absolute"):
        return absolute
    if call.name in ("mul", "div") and len(call.inputs) == 1 and call.inputs[0] is call.target:
        return None
    if call.name == "mul" and len(call.inputs) == 1:
        return None
    if call.kind in ("product", "linear", "convolution") and call.name not in ("div", "rdiv"):
        return _in_parts(call)
    raise UnsupportedCallError("it works on complex numbers, and is not linear in them")


def _in_parts(call: "Call") -> Callable[..., Tensor]:
    """(a + ib)(c + id) = ac − bd + i(ad + bc) for everything bilinear in its first two tensors."""

    def product(*args: Any, **kwargs: Any) -> Tensor:
        names = ("weight", "bias")
        given = list(args) + [kwargs.pop(name) for name in names if name in kwargs and len(args) < 3]
        places = [i for i, each in enumerate(given) if isinstance(each, Tensor)]
        if len(places) not in (2, 3) or (len(places) == 3 and call.kind == "product"):
            raise UnsupportedCallError("it works on more than two complex tensors")
        bias = given[places[2]] if len(places) == 3 else None
        if bias is not None:
            given[places[2]] = None

        def part(a: Tensor, b: Tensor) -> Tensor:
            filled = list(given)
            filled[places[0]], filled[places[1]] = a, b
            result: Tensor = call.function(*filled, **kwargs)
            return result

        (ar, ai), (br, bi) = (_parts(given[i]) for i in places[:2])
        real = part(ar, br) if ai is None or bi is None else part(ar, br) - part(ai, bi)
        others = [part(a, b) for a, b in ((ar, bi), (ai, br)) if a is not None and b is not None]
        out = torch.complex(real, others[0] if len(others) == 1 else others[0] + others[1])
        return out if bias is None else out + (bias if bias.dim() < 1 or call.kind == "linear" else _along(bias, out))

    return product


def _parts(t: Tensor) -> tuple[Tensor, Tensor | None]:
    if not t.is_complex():
        return t, None
    pairs = torch.view_as_real(t.resolve_conj())
    return pairs[..., 0], pairs[..., 1]


def _along(bias: Tensor, out: Tensor) -> Tensor:
    return bias.view(-1, *[1] * (out.dim() - 2))


BODIES: dict[str, Callable[..., Any]] = {"polar": polar}
