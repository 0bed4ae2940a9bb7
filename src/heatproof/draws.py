"""Random numbers that depend on what they are for, never on order, batch, worker or the global generator.

A key, such as (seed, "smoothgrad"), is hashed with SHA-256, and a sample's values name its stream. Tensors of numbers
are made in float32 on the device that they are for, by `counters`: every device and precision sees the same ones, and
nobody waits. Orders and choices are drawn by a generator on the CPU.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from heatproof import counters
from heatproof.by_tensor import ByTensor

T = TypeVar("T")
Key = str | int | float | bool | None
_named: ByTensor[tuple[int, list[str]]] = ByTensor()
_STANDING: ContextVar[tuple[tuple[Tensor, Tensor], ...]] = ContextVar("standing", default=())  # for others: marks


def generator(*key: Key) -> torch.Generator:
    """A fresh CPU generator that depends on `key` alone."""
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    # manual_seed takes 64 bits; the sign bit is left out, because older versions read it as negative.
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def digests(inputs: Tensor) -> list[str]:
    """One digest a sample of `inputs` (N, …), from its values in float32: the sample's name in a key.

    A device is waited for once, for as long as nobody writes into `inputs`.
    """
    if inputs.is_inference():  # of which nobody can tell
        return _digests(inputs)
    known = _named.get(inputs)
    if known is None or known[0] != inputs._version:
        known = _named[inputs] = (inputs._version, _digests(inputs))
    return list(known[1])


def name(inputs: Tensor, digests: Sequence[str]) -> None:
    """Say what the `digests` of these samples are, where they are known of others: some of them, in another order."""
    if not inputs.is_inference():
        _named[inputs] = (inputs._version, list(digests))


def _digests(inputs: Tensor) -> list[str]:
    flat = inputs.detach().to("cpu", torch.float32).reshape(len(inputs), -1).contiguous().numpy()
    shape = hashlib.sha256(str(tuple(inputs.shape[1:])).encode())
    found = []
    for row in flat:
        digest = shape.copy()
        digest.update(row)
        found.append(digest.hexdigest())
    return found


def marks(inputs: Tensor) -> Tensor:
    """Each sample's name of its values in float32, to draw by: (N, 2) int64 on the device of `inputs` (N, …).

    What `digests` is to the host, without a copy to it.
    """
    own = counters.marks(inputs, _words(*inputs.shape[1:]))
    for changed, original in _STANDING.get():
        same = (own[:, None] == changed).all(2)
        own = torch.where(same.any(1, keepdim=True), original[same.int().argmax(1)], own)
    return own


@contextmanager
def standing_for(changed: Tensor, original: Tensor) -> Iterator[None]:
    """Inside, each sample of `changed` (N, …) has the draws of that of `original`: what changes is the sample alone."""
    if changed is original:
        yield
        return
    token = _STANDING.set((*_STANDING.get(), (marks(changed), marks(original))))
    try:
        yield
    finally:
        _STANDING.reset(token)


def normal(inputs: Tensor, *key: Key, samples: Tensor | None = None, copies: range | None = None) -> Tensor:
    """Standard normal numbers of the shape, dtype and device of `inputs` (N, …); each sample has its own stream.

    `samples` are the `marks` (N, 2) of what names the samples, where that is not `inputs`, or for callers that draw
    many times for the same ones. With `copies` there is a stream for each: (copies, N, …); that of copy 0 is the one
    that is drawn without.
    """
    return _drawn(counters.normal, inputs, key, samples, copies)


def uniform(inputs: Tensor, *key: Key, samples: Tensor | None = None, copies: range | None = None) -> Tensor:
    """Like `normal`, uniform on [-1, 1)."""
    return _drawn(counters.uniform, inputs, key, samples, copies)


def integers(below: int, shape: Sequence[int], *key: Key, samples: Tensor) -> Tensor:
    """Integers (N, *shape) from 0 to `below` − 1, at most 2²⁴, alike often; a stream for each of `samples` (N, 2)."""
    like = torch.empty(len(samples), *shape, dtype=torch.float32, device=samples.device)
    drawn = _drawn(counters.uniform, like, key, samples, None)
    return ((drawn + 1) * (below / 2)).long().clamp_(max=below - 1)  # the sum may be rounded to 2


def _drawn(
    numbers: Callable[[Tensor, int], Tensor],
    inputs: Tensor,
    key: tuple[Key, ...],
    samples: Tensor | None,
    copies: range | None,
) -> Tensor:
    names = marks(inputs) if samples is None else samples
    keys = counters.streams(names, _words(*key), copies or range(1))
    drawn = numbers(keys.flatten(0, 1), math.prod(inputs.shape[1:])).to(inputs.dtype)
    return drawn.view(inputs.shape if copies is None else (len(copies), *inputs.shape))


def _words(*key: Key) -> counters.Words:
    return counters.words_of(hashlib.sha256(json.dumps(key).encode()).digest())


def reseed(recipe: T, replicate: int) -> T:
    """`recipe` with every field called `seed`, nested recipes included, moved to another replicate.

    Replicate 0 is the recipe itself. A recipe without a seed is deterministic and comes back equal.
    """
    if replicate == 0 or not is_dataclass(recipe) or isinstance(recipe, type):
        return recipe
    changes: dict[str, object] = {}
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        if field.name == "seed" and isinstance(value, int):
            changes[field.name] = value + replicate * 2**32
        elif is_dataclass(value):
            changes[field.name] = reseed(value, replicate)
    return replace(recipe, **changes)
