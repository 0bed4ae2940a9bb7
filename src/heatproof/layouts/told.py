"""What the operations that read the input say about its axes: which are positions, and which hold features."""

from collections.abc import Sequence
from typing import Literal

from heatproof.layouts.facts import Fact

Meaning = Literal["position", "feature"]


class Told:
    """Notes, for each axis of a sample, what was said of it.

    Only those count that read the input's own elements, rearranged and rescaled at most. A linear operation mixes
    features at each position: a convolution its channels, a linear or recurrent layer the last dimension. Where none
    says anything, a normalization does, and an axis that is averaged away is one of positions.
    """

    def __init__(self, dims: int) -> None:
        self.dims = dims  # of the input, with that of the samples
        self._said: dict[bool, dict[int, set[Meaning]]] = {False: {}, True: {}}

    def mixed(self, fact: Fact, mixed: frozenset[int], *, weak: bool = False) -> None:
        """An operation mixes a tensor's elements along the axes `mixed`."""
        if not fact.raw:
            return
        places = [p for p in fact.places if p.axis and p.along]
        outside = {p.axis for p in places if not p.along <= mixed}
        inside = {p.axis for p in places if p.along <= mixed} - outside
        if not outside and len(inside) > 1:
            return  # everything is mixed with everything
        for axis in outside:
            self._say(axis, "position", weak)
        for axis in inside:
            self._say(axis, "feature", weak)

    def pooled(self, fact: Fact, over: frozenset[int]) -> None:
        """An operation pools a tensor over its axes `over`, with others left."""
        places = [p for p in fact.places if p.axis and p.along]
        if fact.raw and any(not p.along & over for p in places):
            for p in places:
                if p.along <= over:
                    self._say(p.axis, "position", weak=True)

    def meaning(self, axis: int) -> Meaning | None:
        """What the axis is; None where nothing was said, or two operations say different things."""
        for weak in (False, True):
            said = self._said[weak].get(axis)
            if said:
                return next(iter(said)) if len(said) == 1 else None
        return None

    def axes(self, count: int) -> Sequence[int]:
        """The input's axes that `count` axes of positions stand for in their order, as far as that can be told."""
        positions = [axis for axis in range(1, self.dims) if self.meaning(axis) != "feature"]
        if len(positions) == count + 1 and all(self.meaning(axis) is None for axis in positions):
            positions = positions[1:]  # torch's own order: channels first
        return positions if len(positions) == count else ()

    def _say(self, axis: int, meaning: Meaning, weak: bool) -> None:
        self._said[weak].setdefault(axis, set()).add(meaning)
