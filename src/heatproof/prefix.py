"""What lies below the randomized layers is computed once: of a pass on the same samples only the rest is run again.

The first pass on a block's samples is recorded, call by call of torch's functions. The next one runs the model's own
code, and each call that was recorded with the very same arguments, none of which is a weight that changed, is answered
with its recorded result, graph included; from the first other one on all is computed. So no architecture is known here,
and results are the same to the bit.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_leaves

from heatproof.by_tensor import stamp
from heatproof.hooks import forward_hooks
from heatproof.sharing import Samples

Call = Callable[[Tensor], Any]
PLAIN = (int, float, complex, str, bytes, bool, type(None), slice, torch.dtype, torch.device, torch.layout,
         torch.memory_format, torch.Size, type(Ellipsis))  # fmt: skip

# What hands out a tensor's memory, into which something may be written that nobody sees.
MEMORY = frozenset(("numpy", "__array__", "__dlpack__", "data_ptr", "storage", "untyped_storage"))

# Storages of the weights that a randomization has written to and not yet restored.
_random: Counter[int] = Counter()
_open: ContextVar["Kept | None"] = ContextVar("kept passes", default=None)


class randomized:  # noqa: N801  # a set of its own, so that it reads like one
    """Weights that hold other values for a while."""

    @staticmethod
    def add(tensors: Sequence[Tensor]) -> None:
        _random.update({_storage(tensor) for tensor in tensors})

    @staticmethod
    def remove(tensors: Sequence[Tensor]) -> None:
        for storage in {_storage(tensor) for tensor in tensors}:
            _random.pop(storage, None)


class Kept:
    """Passes of `model` on `inputs` (N, …), with a graph and without; the larger one takes at most `most` bytes.

    Attributes:
        told: how many passes were recorded, how many calls were answered and computed, and how many passes were run
            again as a whole because their calls were not those that were recorded.
    """

    def __init__(self, model: nn.Module, inputs: Tensor, most: int) -> None:
        self.model, self.samples, self.most = model, Samples(inputs), most
        self.told: Counter[str] = Counter()
        self._tapes: dict[bool, _Tape] = {}
        self._leaf: Tensor | None = None
        self._hooks = forward_hooks(model)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """In here passes are recorded and answered."""
        token = _open.set(self)
        try:
            yield
        finally:
            _open.reset(token)

    def run(self, x: Tensor, call: Call) -> Any:
        """What `call` returns on a copy of `x`, whose values are those of the inputs."""
        try:
            return self._run(x, call, torch.is_grad_enabled())
        except torch.OutOfMemoryError:
            if not self.most:
                raise
        self.most = 0  # what is kept may be what was lacking
        self._tapes.clear()
        return call(x.clone())

    def _run(self, x: Tensor, call: Call, graded: bool) -> Any:
        tape = self._tapes.get(graded)
        if tape is None:
            return self._record(x, call, graded)
        replay = _Replay(tape)
        try:
            with replay:
                out = call(tape.start)
        except _Stale:
            replay.stale = True
        if replay.stale or tape.disturbed():
            return self._again(x, call, graded)
        self.told["answered"] += replay.index
        self.told["computed"] += replay.computed
        return out.clone() if isinstance(out, Tensor) and not graded and not replay.computed else out

    def forget(self) -> None:
        """Without what was recorded with a graph, which was not as it should be."""
        self._tapes.pop(True, None)

    def leaf(self) -> Tensor:
        """What a graph that is kept begins with, for who retains it and puts no hook on it."""
        if self._leaf is None:
            self._leaf = self.samples.inputs.detach().requires_grad_()
        return self._leaf

    def keeps(self, x: Tensor) -> bool:
        """Whether a pass on `x` is one of those that are kept.

        A graph from any other leaf is somebody's own; and hooks that a method or a check put on are to be called once
        a pass, and with what a layer gave, not with what was written into it later.
        """
        known = x is self._leaf if torch.is_grad_enabled() else self.samples.are(x)
        return known and forward_hooks(self.model) == self._hooks

    def _record(self, x: Tensor, call: Call, graded: bool) -> Any:
        tape = _Tape(x, self.most)
        with _Recording(tape):
            out = call(tape.start)
        if tape.finish():
            self._tapes[graded] = tape
            self.told["recorded"] += 1
        return out

    def _again(self, x: Tensor, call: Call, graded: bool) -> Any:
        self.told["again"] += 1
        del self._tapes[graded]
        return self._record(x, call, graded)


def room(most: int, device: torch.device) -> int:
    """At most so many bytes, and on a GPU no more than a quarter of what is free there."""
    return min(most, torch.cuda.mem_get_info(device)[0] // 4) if device.type == "cuda" else most


def kept_for(model: nn.Module, x: Tensor, rows: Tensor | None) -> Kept | None:
    """Who keeps passes of this model on these samples, if somebody does."""
    here = _open.get()
    if here is None or not here.most or rows is not None or here.model is not model:
        return None
    return here if here.keeps(x) else None


def forget(model: nn.Module) -> None:
    """What was recorded of this model with a graph is not to be used."""
    here = _open.get()
    if here is not None and here.model is model:
        here.forget()


def leaf_of(model: nn.Module, inputs: Tensor) -> Tensor | None:
    """The leaf of a graph of this model on these samples that is kept, or will be; None where there is none."""
    here = _open.get()
    kept = here is not None and here.most and here.model is model and here.samples.are(inputs)
    return here.leaf() if here is not None and kept else None


class _Stale(Exception):  # noqa: N818  # nobody sees it
    """The pass is not the recorded one, from a call on before which it cannot be taken up."""


class _Called(NamedTuple):
    func: Callable[..., Any]
    leaves: list[Any]  # of arguments
    spec: Any
    versions: list[tuple[int, int] | None]  # of leaves that are weights: version and place; None for others
    result: Any


class _Tape:
    """The calls of one pass."""

    def __init__(self, leaf: Tensor, most: int) -> None:
        self.start, self.most = leaf.clone(), most
        self.calls: list[_Called] = []
        self.graded = torch.is_grad_enabled()
        self.ended = False
        self._made = {_storage(self.start): -1}  # by storage the call that made it
        self._tensors: dict[int, Tensor] = {id(self.start): self.start}
        self._written: list[tuple[int, int]] = []  # the call that wrote, and the one that had made what it wrote to
        self._bytes = 0
        self._weights: set[int] = set()  # their storages
        self._versions: dict[int, int] = {}
        self.whole: list[bool] = []

    def add(self, func: Callable[..., Any], args: Any, kwargs: Any, run: Callable[[], Any]) -> Any:
        """Run a call, and keep it."""
        leaves, spec = tree_flatten((args, kwargs))
        tensors = [one for one in leaves if isinstance(one, Tensor)]
        if getattr(func, "__name__", "") in MEMORY:
            self._drop()
            return run()
        if torch.is_grad_enabled() != self.graded or any(one.is_inference() for one in tensors):
            self._end()  # a part that is not derived, or by a way of its own
            return run()
        before = [one._version for one in tensors]
        versions = [stamp(one) if isinstance(one, Tensor) and id(one) not in self._tensors else None for one in leaves]
        self._weights.update(_storage(one) for one in tensors if _storage(one) not in self._made)
        result = run()
        given = tree_leaves(result)
        place, made = len(self.calls), [one for one in given if isinstance(one, Tensor)]
        written = {_storage(one) for one, then in zip(tensors, before, strict=True) if one._version != then}
        # What gives nothing does something else, such as turning gradients off.
        acts = (result is None and not written) or torch.is_grad_enabled() != self.graded
        used_up = not all(isinstance(one, (Tensor, *PLAIN)) for one in given)  # an iterator, say
        if acts or used_up or written & self._weights or any(one.layout != torch.strided for one in made):
            self._end()
            return result
        self._written += [(place, self._made[storage]) for storage in written]
        for one in made:
            self._tensors[id(one)] = one
            storage = _storage(one)
            if storage not in self._weights and self._made.setdefault(storage, place) == place:
                self._bytes += one.untyped_storage().nbytes()
        self.calls.append(_Called(func, leaves, spec, versions, result))
        if self._bytes > self.most:
            self._drop()
        return result

    def _drop(self) -> None:
        """Nothing is kept of this pass."""
        self.calls.clear()
        self._tensors.clear()
        self._end()

    def _end(self) -> None:
        """What comes now is computed each time."""
        self.ended = True
        self._versions = self._now()

    def _now(self) -> dict[int, int]:
        return {key: one._version for key, one in self._tensors.items()}

    def finish(self) -> bool:
        """Settle where it can be taken up: whether anywhere."""
        self.whole = [True] * (len(self.calls) + 1)
        for wrote, made in self._written:
            # Between the two, what it wrote to is not what it was then.
            for place in range(made + 1, min(wrote, len(self.calls)) + 1):
                self.whole[place] = False
        if self.ended and self.disturbed():
            return False  # what it holds is not what its calls gave
        self._versions = self._now()
        return bool(self.calls)

    def disturbed(self) -> bool:
        """Whether something was written since into what it holds."""
        return self._now() != self._versions


class _Recording(TorchFunctionMode):
    def __init__(self, tape: _Tape) -> None:
        super().__init__()
        self._tape = tape

    def __torch_function__(
        self, func: Any, kinds: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        def run() -> Any:
            return func(*args, **(kwargs or {}))

        return run() if self._tape.ended else self._tape.add(func, args, kwargs or {}, run)


class _Replay(TorchFunctionMode):
    """Answers calls as far as they are those of the tape."""

    def __init__(self, tape: _Tape) -> None:
        super().__init__()
        self._tape, self.index, self.computed = tape, 0, 0
        self.stale = False  # kept, as a model may catch all errors

    def __torch_function__(
        self, func: Any, kinds: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if not self.computed and self._is_next(func, args, kwargs or {}):
            self.index += 1
            return self._tape.calls[self.index - 1].result
        if not self.computed and not self._tape.whole[self.index]:
            self._give_up()
        self.computed += 1
        return func(*args, **(kwargs or {}))

    def _is_next(self, func: Any, args: Any, kwargs: Any) -> bool:
        if self.index >= len(self._tape.calls) or torch.is_grad_enabled() != self._tape.graded:
            return False
        then = self._tape.calls[self.index]
        if func != then.func:
            return False
        leaves, spec = tree_flatten((args, kwargs))
        if spec != then.spec:
            return False
        for one, other, version in zip(leaves, then.leaves, then.versions, strict=True):
            if not _alike(one, other) or (version is not None and _storage(one) in _random):
                return False
            if version is not None and stamp(one) != version:
                self._give_up()  # written to meanwhile: what was recorded holds for values that may be others
        return True

    def _give_up(self) -> None:
        self.stale = True
        raise _Stale


def _alike(one: Any, other: Any) -> bool:
    if one is other:
        return True
    return type(one) is type(other) and isinstance(one, PLAIN) and bool(one == other)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
