"""What is known of a tensor that was computed from the input: what it depends on, and which place each element is."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Place(NamedTuple):
    """Along one axis of the input, the place that each element of a tensor stands for; −1 for none.

    `at` has the tensor's shape, perhaps expanded; places count in steps of their own, so that their order alone says
    something. `along` are the tensor's axes along which they differ.
    """

    axis: int
    at: Tensor
    along: frozenset[int]


class Fact(NamedTuple):
    """What is known of one tensor.

    `flow` has its shape, values without meaning, and a graph whose derivative is not 0 exactly where an element depends
    on what stands before, whatever the weights are. `raw`: no operation has mixed the input's elements yet.
    """

    flow: Tensor
    places: tuple[Place, ...]
    raw: bool


class _Signs(torch.autograd.Function):
    """The identity, whose derivative hands on whether anything came back: sums over many paths neither die nor grow."""

    @staticmethod
    def forward(_context: Any, flow: Tensor) -> Tensor:
        return flow.view_as(flow)

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].sign()


def known(flow: Tensor, places: Iterable[Place], *, raw: bool = False) -> Fact:
    """A fact whose flow is a node of its own."""
    return Fact(_Signs.apply(flow), tuple(places), raw)  # type: ignore[no-untyped-call]


def place(axis: int, at: Tensor) -> Place | None:
    """The places of one axis of the input, or None where no element stands for any."""
    if at.numel() == 0:
        return None
    shape, along = at.shape, frozenset(i for i in range(at.dim()) if _differs(at, i))
    for i in range(at.dim()):
        at = at if i in along else at.narrow(i, 0, 1)
    if bool((at < 0).all()):
        return None
    return Place(axis, at.clone().expand(shape), along)  # no larger than it has to be


def first(shape: Sequence[int]) -> Fact:
    """The fact of the input itself."""
    flow = torch.zeros(shape).requires_grad_()
    return Fact(flow, tuple(line(axis, shape, axis) for axis in range(len(shape))), raw=True)


def line(axis: int, shape: Sequence[int], along: int) -> Place:
    """Places 0, 1, 2, … along one axis of a tensor."""
    steps = torch.arange(shape[along], dtype=torch.float32).view(-1, *[1] * (len(shape) - along - 1))
    return Place(axis, steps.expand(*shape), frozenset((along,) if shape[along] > 1 else ()))


def joined(parts: Iterable[Place]) -> tuple[Place, ...]:
    """Places from several operands: what two of them say alike is said once, and what one says more finely by that one.

    Where two differ (each pair of tokens: one stands for the first's place, and for the second's), both are kept.
    """
    found: dict[tuple[int, frozenset[int]], Place] = {}
    for part in parts:
        found.setdefault((part.axis, part.along), part)
    return tuple(
        p for p in found.values() if not any(p.axis == other.axis and p.along < other.along for other in found.values())
    )


def _differs(at: Tensor, axis: int) -> bool:
    if at.shape[axis] < 2 or at.stride(axis) == 0:
        return False
    return bool((at.narrow(axis, 1, at.shape[axis] - 1) != at.narrow(axis, 0, 1)).any())
