"""A method of one network, for whoever calls it again and again: recorded once for inputs of a shape, then replayed."""

import sys
import threading
from typing import Any

import torch
from torch import Tensor, nn

from heatproof import deferred, door, tape
from heatproof.compiled import uncompiled
from heatproof.errors import InputError, OperationError
from heatproof.hooks import forward_hooks
from heatproof.methods.base import Explanation, Method, Targets, outputs_of
from heatproof.models import as_model, check_targets, within_bound
from heatproof.modules import modules_of
from heatproof.propagation.independence import Settled
from heatproof.refusals import check_precision
from heatproof.state import same_bits
from heatproof.targets.base import Target

_Container = dict[Any, Any] | list[Any] | set[Any]

KEPT = 8  # recordings of a network as it is, one for each shape of inputs
# Of the largest value, where a GPU adds up in an order that it does not keep.
ROUNDING = 1e-4


class Recorded:
    """`method(model, inputs, targets)` for loops over many inputs of few shapes: its operations alone.

    The first call with inputs of a shape runs the method and records the operations that it came to, those of the way
    back included; every further one replays them: on a CPU one after the other, on a GPU as a CUDA graph. Nothing of
    the engine, of autograd or of the model's Python runs again, so that the time is that of the operations alone.

    Maps and diagnostics are those of the method to the bit, which is held against a plain call on other inputs before a
    recording is used (on a GPU up to 1e-4 of the largest value, as its kernels add up in no fixed order). Inputs and
    targets are refused as the method refuses them.

    A recording is made anew when the model has changed: modules, modes, tensors, what was written into them (but
    through `.data` or NumPy), and numbers, names and flags that its modules keep. What a model reads elsewhere (a
    global variable, a closure) must stay as it is.

    Args:
        method: a method whose steps do not hang on values: not one that draws until something holds, or trains.
        model: the network, or a `Bound`.

    Cost: four calls for the first of a shape, and its memory: what the call makes on the way, all at once while it is
    recorded. A GPU keeps each recording's memory; at most 8 are kept.

    Raises: OperationError, at the first call, for what cannot be replayed: steps that depend on values, random numbers
    without a seed of the method's own, a model with hooks or one that keeps something between calls.

    >>> fast = hp.Recorded(hp.methods.GradientXInput(), line)
    >>> fast(x, 0)
    tensor([[1., 2.]])
    >>> fast(2 * x, 0)
    tensor([[2., 4.]])
    """

    def __init__(self, method: Method, model: nn.Module) -> None:
        if not isinstance(method, Method):
            raise InputError(
                f"Expected a method of heatproof.methods, but got {type(method).__name__}; call others as they are."
            )
        self.method, self.model = method, as_model(model)
        self._seen: _Seen | None = None
        self._recordings: dict[Any, _Recording] = {}
        self._turn = threading.RLock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.method!r}, {type(self.model).__name__})"

    def __call__(self, inputs: Tensor, targets: Targets) -> Tensor:
        """Attributions of labels `targets` for `inputs` (N, …), as the method gives them."""
        return self.explain(inputs, targets).maps

    def explain(self, inputs: Tensor, targets: Targets) -> Explanation:
        """The same with the method's diagnostics."""
        if isinstance(targets, Target):
            raise InputError(
                f"Expected labels, but got {type(targets).__name__}; call the method itself, which settles it anew."
            )
        labels = door.as_labels(inputs, targets)
        if not isinstance(labels, Tensor):
            raise InputError(f"Expected targets ({len(inputs)},), one label a sample, but got {targets!r}.")
        with door.entered(self.model, inputs, labels, runs=self.method.uses_model) as (settled, x, own):
            assert own is not None
            check_precision(x.device)
            with self._turn:
                found, clean = self._recording(settled, x, own).play(x, own)
        # What the method refuses or warns of by values, it says itself.
        return found if clean else self.method.explain(self.model, inputs, targets)

    def _recording(self, settled: Settled, x: Tensor, labels: Tensor) -> "_Recording":
        if self._seen is None or not self._seen.still(settled):
            self._recordings.clear()
        key = (x.shape, x.stride(), x.dtype, x.device, labels.stride(), within_bound(sys.maxsize), _surroundings())
        found = self._recordings.pop(key, None)
        if found is None:
            self.method.explain(self.model, x, labels)  # what is refused is refused; what is prepared is prepared
            _check(self.model, settled)
            found = _Recording(self.method, self.model, x, labels)
            found.prove(self.method, self.model, x, labels)
            while len(self._recordings) >= KEPT:
                del self._recordings[next(iter(self._recordings))]
            self._seen = _Seen(self.model, settled)
        self._recordings[key] = found  # the last used is the last to go
        return found


class _Recording:
    """One call, for inputs of one shape."""

    def __init__(self, method: Method, model: nn.Module, x: Tensor, labels: Tensor) -> None:
        drawn = torch.get_rng_state()
        names: list[str] = []

        def call(x: Tensor, labels: Tensor) -> list[Tensor]:
            with deferred.collected() as asked:
                found = method.explain(model, x, labels)
            names[:] = found.diagnostics
            flags = [flag.detach().reshape(()).to(torch.bool) for flag, _ in asked]
            return [found.maps, *found.diagnostics.values(), *([torch.stack(flags).any()] if flags else [])]

        with uncompiled():
            played = tape.recorded(call, x, labels)
        if not torch.equal(torch.get_rng_state(), drawn):
            torch.set_rng_state(drawn)
            raise OperationError(
                f"Expected a method that draws by a seed of its own, but {type(method).__name__} draws from torch's "
                "generator; call the method itself."
            )
        self._names = names
        self._outputs = outputs_of(model, x).shape[1] if method.uses_model else None
        self._played = _captured(played, x, labels) if x.is_cuda else played

    def play(self, x: Tensor, labels: Tensor) -> tuple[Explanation, bool]:
        """What the call gives for these, and whether nothing was to be said of it."""
        check_targets(x, labels, self._outputs)
        with torch.no_grad():
            maps, *rest = self._played(x, labels)
        clean = len(rest) == len(self._names) or not bool(rest[-1])
        return Explanation(maps, dict(zip(self._names, rest, strict=False))), clean

    def prove(self, method: Method, model: nn.Module, x: Tensor, labels: Tensor) -> None:
        """Hold it against a plain call on other inputs."""
        other, labels = x.flip(-1) / 2, labels.roll(1)
        found, clean = self.play(other, labels)
        if not clean:
            return
        plain = method.explain(model, other, labels)
        size = float(plain.maps.abs().flatten(1).sum(1).max())  # what diagnostics are sums and remainders of
        pairs = [("maps", found.maps, plain.maps, 0.0)]
        pairs += [(name, found.diagnostics[name], value, size) for name, value in plain.diagnostics.items()]
        for name, one, expected, size in pairs:
            if not (same_bits(one, expected) or (one.is_cuda and _near(one, expected, size))):
                raise OperationError(
                    f"Expected a call that is the same operations for all values, but the {name} that "
                    f"{type(method).__name__} gives for other inputs are not those of its recording: something in "
                    f"{type(model).__name__} decides by values; call the method itself."
                )


def _captured(played: tape.Played, x: Tensor, labels: Tensor) -> tape.Played:
    """The same as a CUDA graph, with its own place for what comes in."""
    with torch.cuda.device(x.device):
        return _graph(played, x, labels)


def _graph(played: tape.Played, x: Tensor, labels: Tensor) -> tape.Played:
    given = (x.clone(memory_format=torch.preserve_format), labels.clone())
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch does not annotate it
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.no_grad():  # libraries make room for themselves before it is captured
        for _ in range(2):
            played(*given)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph), torch.no_grad():
            made = played(*given)
    except RuntimeError as error:
        raise OperationError(
            "Expected steps that a CUDA graph can hold, but one of them cannot be captured; call the method itself. "
            f"torch says: {str(error).splitlines()[0]}"
        ) from error

    def replayed(*now: Tensor) -> tuple[Tensor, ...]:
        for place, value in zip(given, now, strict=True):
            place.copy_(value)
        graph.replay()
        return tuple(tensor.clone() for tensor in made)

    return replayed


class _Seen:
    """A model as it was, as far as every call can look: what its modules hold, what was written into its tensors."""

    def __init__(self, model: nn.Module, settled: Settled) -> None:
        self._structure = settled.structure
        self._containers: list[_Container] = []
        for module in modules_of(model):
            own = vars(module)
            self._containers.append(own)
            for name, value in own.items():
                if isinstance(value, dict | list | set) and "hook" not in name:  # which are part of the structure
                    self._containers.append(value)
        self._held = [_values(container) for container in self._containers]  # so that no number is given twice
        self._numbers = [[*map(id, values)] for values in self._held]
        tensors = [value for values in self._held for value in values if isinstance(value, Tensor)]
        self._tensors = list({id(tensor): tensor for tensor in tensors}.values())
        self._states = [*map(_state, self._tensors)]

    def still(self, settled: Settled) -> bool:
        """Whether it is so now."""
        return (
            settled.structure == self._structure
            and [[*map(id, _values(container))] for container in self._containers] == self._numbers
            and [*map(_state, self._tensors)] == self._states
        )


def _values(container: "_Container") -> list[Any]:
    return [*container.values()] if isinstance(container, dict) else [*container]


def _state(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), -1 if tensor.is_inference() else tensor._version, tensor.shape, tensor.stride()


def _surroundings() -> tuple[Any, ...]:
    """What torch computes by, and a recording was made under."""
    backends = torch.backends
    return (
        torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled(), backends.cudnn.deterministic,
        backends.cudnn.benchmark, backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32, backends.mkldnn.enabled,
    )  # fmt: skip


def _check(model: nn.Module, settled: Settled) -> None:
    """Refuse a model whose calls do more than to compute."""
    if settled.leaves_traces:
        raise OperationError(
            f"Expected a model that keeps nothing between calls, but {type(model).__name__} does, and nothing of it "
            "would happen in a replay; call the method itself."
        )
    if any(forward_hooks(model)) or settled.habits.hooks:
        raise OperationError(
            "Expected a model without hooks, which would not be called in a replay, but it has some; remove them (the "
            "handle's .remove()), or call the method itself."
        )


def _near(one: Tensor, other: Tensor, size: float) -> bool:
    size = max(size, float(other.nan_to_num(0, 0, 0).abs().max()))
    return torch.allclose(one, other, rtol=0, atol=ROUNDING * size, equal_nan=True)
