"""What a model is, so that two models never answer for each other."""

import hashlib
import inspect
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from heatproof.models import Bound, forward, plain_attributes
from heatproof.recipes import describe

PROBE_TOLERANCE = 1e-3


def model_fingerprint(model: nn.Module) -> str:
    """SHA-256 of class names, `repr`, the source of every module class outside torch, all tensors, and what binds it.

    Non-persistent buffers, plain attributes of modules and preprocessing count. The device does not.
    """
    digest = hashlib.sha256(repr(model).encode())
    for name, module in model.named_modules():
        digest.update(f"{name}:{type(module).__module__}.{type(module).__qualname__}".encode())
        digest.update(json.dumps(plain_attributes(module), sort_keys=True).encode())
        if isinstance(module, Bound):
            digest.update(json.dumps([_code(module.output), _code(module.preprocessing)]).encode())
            _update_tensors(digest, module.given)
    for kind in sorted({type(module) for module in model.modules()}, key=lambda k: (k.__module__, k.__qualname__)):
        if not kind.__module__.startswith("torch."):
            digest.update(_code(kind).encode())
    _update_tensors(digest, {**dict(model.named_parameters()), **dict(model.named_buffers())})
    return digest.hexdigest()


def tensor_digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's dtype, shape and values."""
    digest = hashlib.sha256(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def probe(model: nn.Module, inputs: Tensor) -> list[list[float]]:
    """The model's outputs on (at most) two samples, kept in the manifest to recognize it by what it does."""
    with torch.no_grad():
        values: list[list[float]] = forward(model, inputs[:2], torch.arange(len(inputs[:2]))).double().cpu().tolist()
    return values


def same_outputs(recorded: list[list[float]], now: list[list[float]]) -> bool:
    """Whether two probes agree to 1e-3 of their largest value."""
    a, b = torch.tensor(recorded), torch.tensor(now)
    return a.shape == b.shape and bool((a - b).abs().max() <= PROBE_TOLERANCE * a.abs().max())


def _update_tensors(digest: Any, tensors: Mapping[str, Tensor]) -> None:
    for name in sorted(tensors):
        digest.update(f"{name}={tensor_digest(tensors[name])}".encode())


def _code(value: Any) -> Any:
    """What tells a callable, a class or a name apart: its source and its state."""
    if isinstance(value, nn.Module):
        return model_fingerprint(value)
    if not isinstance(value, type):
        return describe(value)
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        return f"{value.__module__}.{value.__qualname__}"
