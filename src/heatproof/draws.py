"""Random numbers that depend on what they are for, never on order, batch, worker or the global generator.

A key, such as (seed, "smoothgrad", digest of the sample, 3), is hashed with SHA-256 into the seed of a generator on the
CPU. Numbers are drawn there in float32 and moved afterwards, so that every device and precision sees the same ones.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
Key = str | int | float | bool | None


def generator(*key: Key) -> torch.Generator:
    """A fresh CPU generator that depends on `key` alone."""
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    # manual_seed takes 64 bits; the sign bit is left out, because older versions read it as negative.
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def digests(inputs: Tensor) -> list[str]:
    """One digest a sample of `inputs` (N, …), from its values in float32: the sample's name in a key."""
    flat = inputs.detach().to("cpu", torch.float32).reshape(len(inputs), -1).contiguous()
    shape = str(tuple(inputs.shape[1:])).encode()
    return [hashlib.sha256(shape + row.numpy().tobytes()).hexdigest() for row in flat]


def normal(inputs: Tensor, *key: Key, samples: Sequence[str] | None = None) -> Tensor:
    """Standard normal numbers of the shape, dtype and device of `inputs` (N, …); each sample has its own stream.

    `samples` are the digests of `inputs`, for callers that draw many times for the same inputs.
    """
    names = digests(inputs) if samples is None else samples
    shape = inputs.shape[1:]
    drawn = [torch.randn(shape, generator=generator(*key, name), dtype=torch.float32) for name in names]
    return torch.stack(drawn).to(inputs.device, inputs.dtype)


def uniform(inputs: Tensor, *key: Key, samples: Sequence[str] | None = None) -> Tensor:
    """Like `normal`, uniform on [-1, 1)."""
    names = digests(inputs) if samples is None else samples
    shape = inputs.shape[1:]
    drawn = [torch.rand(shape, generator=generator(*key, name), dtype=torch.float32) for name in names]
    return (torch.stack(drawn) * 2 - 1).to(inputs.device, inputs.dtype)


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
