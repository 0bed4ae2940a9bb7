"""Which tensors have no value below 0, as the operations that made them tell: nobody has to look at their values."""

from typing import Any

from heatproof.propagation.calls import Call
from heatproof.propagation.carried import AVERAGES, JOINS, listed
from heatproof.propagation.facts import Facts

# Whatever they are given.
_ABOVE = "relu relu6 sigmoid hardsigmoid abs absolute square exp exp2 softplus sqrt softmax erfc cosh vector_norm norm"
ABOVE = frozenset(_ABOVE.split())
# Of what is not below 0, more of that: sums with weights of at least 0.
SUMS = AVERAGES | JOINS | {"add", "mean", "sum", "cumsum", "positive", "hstack", "vstack", "dstack", "column_stack"}
FILLED = frozenset(("masked_fill", "where", "nan_to_num"))  # rearrangements that bring numbers of their own
UPSAMPLED = frozenset(("interpolate", "upsample", "upsample_bilinear", "upsample_nearest"))


class Signs:
    """The tensors that are known to have no value below 0."""

    def __init__(self) -> None:
        self._known: Facts[bool] = Facts()

    def above(self, tensor: Any) -> bool:
        """Whether it is known."""
        return self._known.get(tensor) is True

    def note(self, result: Any) -> None:
        """Take note that what a call has made has none."""
        for out in listed(result):
            self._known[out] = True

    def hand_over(self, known: Any, other: Any) -> None:
        """What is known of one tensor holds for another, which has got its value."""
        self._known.hand_over(known, other)

    def tells(self, call: Call) -> bool:
        """Whether what a call is about to make has none."""
        if call.name in ABOVE:
            return not any(tensor.is_complex() for tensor in call.inputs) or call.name in ("abs", "absolute")
        if call.name in ("hardtanh", "clamp", "clamp_min", "threshold"):
            return _clamps(call)
        if not call.inputs or call.constants or not all(map(self.above, call.inputs)):
            return False
        given = call.bind() if call.name in UPSAMPLED | {"add", "pad"} else {}
        if call.name in UPSAMPLED:
            return str(given.get("mode", "nearest")) != "bicubic"
        if call.name == "add":
            return len(call.inputs) == 2 and _at_least(given.get("alpha", 1))
        if call.name == "pad":
            return _at_least(given.get("value") or 0)
        if call.name == "mul":
            return len(call.inputs) == 2
        moved = call.kind in ("structural", "max-pool") and call.name not in FILLED
        return moved or call.name in SUMS | {"amax", "amin"}


def _clamps(call: Call) -> bool:
    """Whether the lowest value that the call lets through is at least 0."""
    given = call.bind()
    if call.name == "threshold":
        return _at_least(given.get("threshold")) and _at_least(given.get("value"))
    lowest = given.get("min_val", -1.0) if call.name == "hardtanh" else given.get("min")
    highest = given.get("max_val", 1.0) if call.name == "hardtanh" else given.get("max")
    return _at_least(lowest) and (highest is None or _at_least(highest))


def _at_least(value: Any) -> bool:
    return isinstance(value, int | float) and value >= 0
