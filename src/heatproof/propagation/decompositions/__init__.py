"""Operations that have no rule of their own, in operations that have one: a name, and the same written out.

The plain call computes the values, bit for bit; the rules of the operations inside make the derivative. To add an
operation is one entry in one of the tables.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from heatproof.propagation.decompositions import (
    arithmetic,
    complexes,
    distances,
    groups,
    losses,
    order,
    pooling,
    products,
    sampling,
    statistics,
)

if TYPE_CHECKING:
    from heatproof.propagation.calls import Call

Body = Callable[..., Any]

# Always written out.
BODIES: dict[str, Body] = {
    **arithmetic.BODIES,
    **distances.BODIES,
    **groups.BODIES,
    **losses.BODIES,
    **order.BODIES,
    **pooling.BODIES,
    **products.BODIES,
    **statistics.BODIES,
    **complexes.BODIES,
}
# Linear in one of their tensors (by its place): written out where another depends on the input.
LINEAR_IN: dict[str, int] = {
    **dict.fromkeys(("affine_grid", "affine_grid_generator", "stft", "istft"), 0),
    **dict.fromkeys(("grid_sample", "grid_sampler", "grid_sampler_2d", "grid_sampler_3d"), 0),
    **dict.fromkeys(("linalg_solve", "linalg_solve_triangular"), 1),
    **dict.fromkeys(("cholesky_solve", "lu_solve"), 0),
    **dict.fromkeys(("torchvision::deform_conv2d", "torchvision::ps_roi_align", "torchvision::roi_align"), 0),
}
# A rule of their own where one tensor depends on the input, written out where more do.
OF_SEVERAL: dict[str, Body] = {**arithmetic.OF_SEVERAL, **products.OF_SEVERAL, **sampling.OF_SEVERAL}
# A rule of their own, written out where several constants stand beside the one tensor that depends on the input.
OF_CONSTANTS: dict[str, Body] = products.OF_CONSTANTS


def body_of(call: "Call") -> Body | None:
    """The decomposition to open this call with; None where its kind has a rule."""
    if call.complex and (body := complexes.body_of(call)):
        return body
    if (body := BODIES.get(call.name)) is not None:
        return body
    if call.name in LINEAR_IN:
        return None if is_linear(call) else OF_SEVERAL.get(call.name)
    if len(call.inputs) > 1:
        return OF_SEVERAL.get(call.name)
    if call.kind == "nonlinearity" and call.constants:
        return arithmetic.spread(call)
    return OF_CONSTANTS.get(call.name) if len(call.constants) > 1 else None


def is_linear(call: "Call") -> bool:
    """Whether a call of kind `map` is linear in what depends on the input."""
    at = LINEAR_IN.get(call.name)
    return at is None or (len(call.inputs) == 1 and call.position(call.inputs[0]) == at)
