"""What a model is, so that two models never answer for each other, and no fit outlives the code it was made on."""

import math
import weakref
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from heatproof.by_tensor import stamp
from heatproof.identity import combined, identity
from heatproof.models import Bound, forward
from heatproof.propagation.independence import structure_of

PROBE_TOLERANCE = 1e-3
Outputs = list[list[float | str]]
_PLAINLY_BOUND = vars(Bound(nn.Identity()))


def model_fingerprint(model: nn.Module, network: str | None = None) -> str:
    """SHA-256 of what a model computes: `network_fingerprint`, and the arguments that a Bound fills in.

    `network` is the first of these, where it is known. Cost: one look at all weights and at the code; no pass.
    """
    network = network or network_fingerprint(model)
    if not isinstance(model, Bound):
        return network
    return combined("bound", network, identity(dict(model.given)))


def network_fingerprint(model: nn.Module) -> str:
    """SHA-256 of what a network computes, whatever samples it is bound to.

    Classes with the code of their methods (and the functions of the user's own modules that these call), settings,
    callables and overrides kept by an instance, hooks left on it, all tensors (parameters, buffers, plain attributes),
    and what a Bound explains of it: where, which output, after which preprocessing. Device, dtype and modes do not
    count, nor whether a module works in place. See `identity` for what of code counts.
    Cost: one look at all weights and at the code; no pass.
    """
    if not isinstance(model, Bound):
        return identity(model)
    bound = {
        name: value
        for name, value in vars(model).items()
        if name[0] != "_" and name not in ("given", "origin", "training") and value != _PLAINLY_BOUND.get(name)
    }
    if type(model) is not Bound:
        bound["class"] = type(model)
    net = network_fingerprint(model.net)
    return combined(net, identity(bound)) if bound else net


def lasting_fingerprint(model: nn.Module) -> str:
    """`network_fingerprint`, for who asks in every call: what was found is kept while the network is as it was.

    That is: the same modules, hooks, modes and tensors, and nobody has written into these. Writes past torch's count
    of them (through `.data` or NumPy) and settings of a module are not noticed.
    """
    tensors = [*model.parameters(), *model.buffers()]
    if any(tensor.is_inference() for tensor in tensors):
        return network_fingerprint(model)
    state = structure_of(model), [stamp(tensor) for tensor in tensors]
    known: _Known | None = _found.get(model)  # type: ignore[no-untyped-call]
    if known is None or known.state != state or any(a() is not b for a, b in zip(known.of, tensors, strict=True)):
        known = _Known(state, [weakref.ref(tensor) for tensor in tensors], network_fingerprint(model))
        _found[model] = known
    return known.fingerprint


class _Known(NamedTuple):
    state: tuple[Any, ...]
    of: list["weakref.ref[Tensor]"]
    fingerprint: str


_found = WeakIdKeyDictionary()


def tensor_digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's dtype, shape and values."""
    return combined(str(tensor.dtype), identity(tensor))


def probe(model: nn.Module, inputs: Tensor) -> Outputs:
    """The model's outputs on (at most) two samples, kept beside what was computed to recognize it by what it does."""
    with torch.no_grad():
        values = forward(model, inputs[:2], torch.arange(len(inputs[:2]))).double().cpu().tolist()
    # JSON has no word for them.
    return [[value if math.isfinite(value) else str(value) for value in row] for row in values]


def same_outputs(recorded: Outputs, now: Outputs) -> bool:
    """Whether two probes agree to 1e-3 of their largest finite value, and exactly in what is not finite."""
    a, b = (torch.tensor([[float(value) for value in row] for row in rows]) for rows in (recorded, now))
    if a.shape != b.shape:
        return False
    largest = a.abs().nan_to_num(posinf=0.0).max() if a.numel() else torch.zeros(())
    return torch.allclose(b, a, rtol=0.0, atol=float(PROBE_TOLERANCE * largest), equal_nan=True)
