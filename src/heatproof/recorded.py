"""A method of one network, for whoever calls it again and again: recorded once for inputs of a shape, then replayed."""

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from heatproof import deferred, door, modes, sharing, tape
from heatproof.captured import as_laid_out, captured
from heatproof.compiled import uncompiled
from heatproof.devices import PRECISIONS
from heatproof.errors import HeatproofError, HeatproofWarning, InputError, OperationError
from heatproof.hooks import forward_hooks
from heatproof.methods.base import Explanation, Method, Targets, outputs_of
from heatproof.models import as_model, check_targets, within_bound
from heatproof.modules import modules_of
from heatproof.propagation.independence import Settled
from heatproof.refusals import check_precision, looked
from heatproof.seen import Seen
from heatproof.state import same_bits
from heatproof.targets.base import Target

KEPT = 8  # recordings of a network as it is, one for each shape of inputs
# Of the largest value, where a GPU adds up in an order that it does not keep.
ROUNDING = 1e-4
_ATTENTION = [
    getattr(torch.backends.cuda, f"{kind}_sdp_enabled") for kind in ("flash", "mem_efficient", "math", "cudnn")
]
IN_VAIN = 3  # recordings in a row that were never replayed, of which a warning speaks


class Recorded:
    """`method(model, inputs, targets)` for loops over many inputs of few shapes: its operations alone.

    The first call with inputs of a shape runs the method and records the operations that it came to, those of the way
    back included; every further one replays them: on a CPU one after the other, on a GPU as a CUDA graph. Nothing of
    the engine, of autograd or of the model's Python runs again, so that the time is that of the operations alone.

    Maps and diagnostics are those of the method to the bit, which is held against a plain call on other inputs before a
    recording is used (on a GPU up to 1e-4 of the largest value, as its kernels add up in no fixed order). Inputs and
    targets are refused as the method refuses them.

    A recording is made anew when something has changed that the code of model and method can see: modules, modes,
    tensors and what was written into them, attributes, classes, closures, global variables (`seen.Seen`). What no look
    at these tells must stay as it is: values written through `.data` or NumPy, arrays, files, settings of other
    packages. Under inference mode, function or dispatch modes of others, and function transforms, the method itself is
    called.

    The first call gives warnings and progress as the method does; a replay tells no progress and warns only of values.

    Args:
        method: a method whose steps do not hang on values: not one that draws until something holds, or trains.
        model: the network, or a `Bound`.

    Cost: four calls for the first of a shape, and its memory: what the call makes on the way, all at once while it is
    recorded. A GPU keeps each recording's memory; at most 8 are kept. Copies (`copy`, `pickle`) record anew.

    Raises: OperationError, at the first call, for what cannot be replayed: steps that depend on values, random numbers
    without a seed of the method's own, a model with hooks or one that keeps something between calls: a tensor, a count.

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
        self._seen: Seen | None = None
        self._structure: tuple[Any, ...] = ()
        self._in_vain = 0  # times that it was recorded because something had changed, since a recording was used
        self._recordings: dict[Any, _Recording] = {}
        self._turn = threading.RLock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.method!r}, {type(self.model).__name__})"

    def __call__(self, inputs: Tensor, targets: Targets) -> Tensor:
        """Attributions of labels `targets` for `inputs` (N, …), as the method gives them."""
        return self._asked(inputs, targets, alone=True).maps

    def explain(self, inputs: Tensor, targets: Targets) -> Explanation:
        """The same with the method's diagnostics: a recording of its own, which takes the steps for these, too."""
        return self._asked(inputs, targets, alone=False)

    def _asked(self, inputs: Tensor, targets: Targets, *, alone: bool) -> Explanation:
        if isinstance(targets, Target):
            raise InputError(
                f"Expected labels, but got {type(targets).__name__}; call the method itself, which settles it anew."
            )
        labels = door.as_labels(inputs, targets)
        if not isinstance(labels, Tensor):
            raise InputError(f"Expected targets ({len(inputs)},), one label a sample, but got {targets!r}.")
        if _watched():
            return _plain(self.method, self.model, inputs, labels, alone=alone)
        with door.entered(self.model, inputs, labels, runs=self.method.uses_model) as (settled, x, own):
            assert own is not None
            check_precision(x.device)
            with self._turn:
                found = self._replayed(settled, x.resolve_neg(), own, alone=alone)
        # What the method refuses or warns of by values, it says itself.
        return found or _plain(self.method, self.model, inputs, labels, alone=alone)

    def _replayed(self, settled: Settled, x: Tensor, labels: Tensor, *, alone: bool) -> Explanation | None:
        about = (x.shape, x.stride(), x.dtype, x.device, labels.stride(), within_bound(sys.maxsize))
        key = (alone, *about, *_surroundings(x))
        known = self._recordings.get(key)
        # Before anybody looks whether what is replayed still holds: a GPU works meanwhile.
        ahead = None
        if known is not None and settled.structure is self._structure:
            with suppress(InputError):  # of labels that the network had no output for: said below, if it has none now
                ahead = known.run(x, labels)
        recording = self._recording(settled, key, x, labels)
        return recording.told(ahead if recording is known and ahead is not None else recording.run(x, labels))

    def _recording(self, settled: Settled, key: tuple[Any, ...], x: Tensor, labels: Tensor) -> "_Recording":
        alone: bool = key[0]
        changed = self._changed(settled)
        if changed:
            self._recordings.clear()
        found = self._recordings.pop(key, None)
        if found is None:
            with sharing.nothing():
                _plain(self.method, self.model, x, labels, alone=alone)  # what is refused is; what is prepared is
                _check(self.model, settled)
                if self._seen is None or (changed := self._changed(settled)):  # perhaps in that very call
                    self._say(changed)
                    self._recordings.clear()
                    self._structure, self._seen = settled.structure, Seen(self.method, self.model)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # they were given
                    found = _Recording(self.method, self.model, x, labels, alone=alone)
                    found.prove(self.method, self.model, x, labels)
            if (changed := self._seen.changed()) is not None:
                self._seen = None
                self._recordings.clear()
                raise _keeps(self.model, f"every call changes {changed}")
            while len(self._recordings) >= KEPT:
                del self._recordings[next(iter(self._recordings))]
        else:
            self._in_vain = 0
        self._recordings[key] = found  # the last used is the last to go
        return found

    def _changed(self, settled: Settled) -> str | None:
        """What is not as it was when it was recorded, in words."""
        if self._seen is None:
            return None
        return "how it is built" if settled.structure != self._structure else self._seen.changed()

    def _say(self, changed: str | None) -> None:
        """Warn of a model that is another one at every call."""
        self._in_vain += changed is not None
        if self._in_vain == IN_VAIN:
            warnings.warn(
                f"Expected a model that stays as it is from call to call, but {IN_VAIN} times in a row "
                f"{type(self.model).__name__} was recorded anew before a recording was used, lately as {changed} "
                "changed, and every time costs four calls; keep it as it is, or call the method itself.",
                HeatproofWarning,
                stacklevel=5,
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.method, self.model)


class _Recording:
    """One call, for inputs of one shape."""

    def __init__(self, method: Method, model: nn.Module, x: Tensor, labels: Tensor, *, alone: bool) -> None:
        self._alone, drawn = alone, torch.get_rng_state()
        names: list[str] = []

        def call(x: Tensor, labels: Tensor) -> list[Tensor]:
            with deferred.collected() as asked:
                found = _plain(method, model, x, labels, alone=alone)
            names[:] = found.diagnostics
            flags = [flag.detach().reshape(()).to(torch.bool) for flag, _ in asked]
            return [found.maps, *found.diagnostics.values(), *([torch.stack(flags).any()] if flags else [])]

        # A copy lies where nothing of the model's does: it may be handed its own weights.
        x, labels = as_laid_out(x, x), labels.clone()
        with uncompiled(), looked(x, labels):
            played = tape.recorded(call, x, labels)
        if not torch.equal(torch.get_rng_state(), drawn):
            torch.set_rng_state(drawn)
            raise OperationError(
                f"Expected a method that draws by a seed of its own, but {type(method).__name__} draws from torch's "
                "generator; call the method itself."
            )
        self._names = names
        self._outputs = outputs_of(model, x).shape[1] if method.uses_model else None
        self._played = captured(played, x, labels) if x.is_cuda else played

    def run(self, x: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """What the recorded steps give for these; nothing where one of them raises."""
        check_targets(x, labels, self._outputs)
        try:
            return self._played(x, labels)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, IndexError, ValueError):  # an operation's, of values: a row that a table does not have
            return ()

    def told(self, made: tuple[Tensor, ...]) -> Explanation | None:
        """What the call gives; None where it would say something of these inputs, or raise."""
        if not made:
            return None
        maps, *rest = made
        if len(rest) > len(self._names) and bool(rest[-1]):
            return None
        return Explanation(maps, dict(zip(self._names, rest, strict=False)))

    def prove(self, method: Method, model: nn.Module, x: Tensor, labels: Tensor) -> None:
        """Hold it against plain calls on other inputs, until one gives numbers alone."""
        labels = labels.roll(1) if self._outputs is None else (labels + 1) % self._outputs
        held = False
        for other in _others(x):
            try:
                with deferred.collected() as asked:
                    plain = _plain(method, model, other, labels, alone=self._alone)
            except HeatproofError:
                continue
            if any(bool(flag) for flag, _ in asked):
                continue
            self._compare(plain, self.told(self.run(other, labels)), method, model)
            held = True
            if bool(torch.isfinite(plain.maps).all()):
                return
        if not held:
            raise OperationError(
                f"Expected a call that can be held against one on other inputs, but {type(method).__name__} refuses "
                f"those that were made of these for {type(model).__name__}; call the method itself."
            )

    def _compare(self, plain: Explanation, found: Explanation | None, method: Method, model: nn.Module) -> None:
        size = float(plain.maps.abs().flatten(1).sum(1).max())  # what diagnostics are sums and remainders of
        expected = {"maps": plain.maps, **plain.diagnostics}
        made = {} if found is None else {"maps": found.maps, **found.diagnostics}
        for name, value in expected.items():
            one, room = made.get(name), 0.0 if name == "maps" else size
            if one is None or not (same_bits(one, value) or (one.is_cuda and _near(one, value, room))):
                raise OperationError(
                    f"Expected a call that is the same operations for all values, but the {name} that "
                    f"{type(method).__name__} gives for other inputs are not those of its recording: something in "
                    f"{type(model).__name__} decides by values; call the method itself."
                )


def _plain(method: Method, model: nn.Module, x: Tensor, labels: Tensor, *, alone: bool) -> Explanation:
    """What the method gives: its maps alone, or with its diagnostics."""
    return Explanation(method(model, x, labels)) if alone else method.explain(model, x, labels)


def _others(x: Tensor) -> Iterator[Tensor]:
    """Inputs of the same kind that decisions by values are taken otherwise for: mirrored, and every second one negated;
    and mirrored alone, for models that take no number below 0."""
    signs = 1 - 2 * (torch.arange(x[0].numel(), device=x.device) % 2).reshape(x.shape[1:])
    yield as_laid_out(-x.flip(-1) * signs / 2, x)
    yield as_laid_out(x.flip(-1) / 2, x)


def _surroundings(x: Tensor) -> tuple[Any, ...]:
    """What torch computes by, and a recording was made under."""
    backends, kind = torch.backends, x.device.type
    return (
        torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled(),
        torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind),
        *(str(mode.device) for mode in modes.entered() if isinstance(mode, DeviceContext)),
        backends.cudnn.enabled, backends.cudnn.deterministic, backends.cudnn.benchmark, backends.mkldnn.enabled,
        *(place.fp32_precision for place in PRECISIONS), *(enabled() for enabled in _ATTENTION),
    )  # fmt: skip


def _watched() -> bool:
    """Whether the method itself is to be called: somebody looks at what is called, or changes it, or it is not seen."""
    others = any(not isinstance(mode, DeviceContext) for mode in modes.entered()) or _get_current_dispatch_mode_stack()
    return bool(others) or torch.is_inference_mode_enabled() or torch._C._functorch.maybe_current_level() is not None


def _keeps(model: nn.Module, what: str) -> OperationError:
    return OperationError(
        f"Expected a model that keeps nothing between calls, but {type(model).__name__} does: {what}, and nothing of "
        "it would happen in a replay; call the method itself."
    )


def _check(model: nn.Module, settled: Settled) -> None:
    """Refuse a model whose calls do more than to compute."""
    if settled.leaves_traces:
        raise _keeps(model, "a call changed one of its tensors")
    if any(isinstance(module, torch.jit.ScriptModule) for module in modules_of(model)):
        raise OperationError(
            "Expected a model whose state Python sees, but a part of it is a TorchScript module; use the module that "
            "it was made from, or call the method itself."
        )
    if any(forward_hooks(model)) or settled.habits.on_tensors:
        raise OperationError(
            "Expected a model without hooks, which would not be called in a replay, but it has some; remove them (the "
            "handle's .remove()), or call the method itself."
        )


def _near(one: Tensor, other: Tensor, size: float) -> bool:
    size = max(size, float(other.nan_to_num(0, 0, 0).abs().max()))
    return torch.allclose(one, other, rtol=0, atol=ROUNDING * size, equal_nan=True)
