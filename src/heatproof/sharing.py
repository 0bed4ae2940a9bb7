"""What several methods need of one network on the same samples is computed once: the gradient under saliency, say.

A method says in `needs` which others it asks for the same samples; then `explain` answers it with what there is. Who
runs several methods opens `shared` around them, and nobody else knows of it: results are the same to the bit.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from heatproof.by_tensor import writes

if TYPE_CHECKING:
    from heatproof.methods.base import Explanation, Method


class Samples:
    """Samples (N, …) as they were when somebody began to keep what is made of them."""

    def __init__(self, inputs: Tensor) -> None:
        self.inputs, self._written = inputs, writes(inputs)

    def are(self, inputs: Tensor) -> bool:
        """Whether these are the same values in the same place, into which nothing was written since.

        Not so without a version that tells: of tensors made under inference mode.
        """
        known = self._written is not None and same(inputs, self.inputs)
        return known and writes(inputs) == self._written


class _Shared:
    """Explanations of these samples that will be asked for again, and the network's outputs on them."""

    def __init__(self, model: nn.Module, inputs: Tensor, targets: Tensor, recipes: Iterable[Any]) -> None:
        self.model, self.samples, self.targets = model, Samples(inputs), targets
        self.left = Counter(asked for recipe in recipes for asked in _asked(recipe))
        self.explanations: dict[Any, Explanation] = {}
        self.seconds: dict[Any, float] = {}  # what each took, or would have taken
        self.outputs: Tensor | None = None
        self.saved = 0.0  # seconds, by all answers so far


_OUTPUTS = "outputs"
_shared: ContextVar[_Shared | None] = ContextVar("shared", default=None)


@contextmanager
def shared(model: nn.Module, inputs: Tensor, targets: Tensor, recipes: Iterable[Any]) -> Iterator[None]:
    """While open, `recipes` on these very samples share what they need; the model must stay as it is.

    Maps that another recipe still asks for are kept until it has; outputs to the end.
    """
    token = _shared.set(_Shared(model, inputs, targets, recipes))
    try:
        yield
    finally:
        _shared.reset(token)


@contextmanager
def nothing() -> Iterator[None]:
    """In here everything is computed."""
    token = _shared.set(None)
    try:
        yield
    finally:
        _shared.reset(token)


class Clock:
    """Seconds since it was made, as if nothing had been shared: what others had computed counts for whoever asks."""

    def __init__(self) -> None:
        self._began, self._saved = time.perf_counter(), _saved()

    def seconds(self) -> float:
        """Until now."""
        return time.perf_counter() - self._began + self.saved()

    def saved(self) -> float:
        """Those that others' work took, which has been shared since."""
        return _saved() - self._saved


def _saved() -> float:
    here = _shared.get()
    return 0.0 if here is None else here.saved


def is_open() -> bool:
    """Whether several methods share what they need now."""
    return _shared.get() is not None


def known(method: "Method", model: nn.Module, inputs: Tensor, targets: Tensor) -> "Explanation | None":
    """The method's explanation of these samples, where there is one."""
    here = _shared.get()
    if here is None or here.model is not model or not _hashed(method) or method not in here.explanations:
        return None
    if not (here.samples.are(inputs) and same(targets, here.targets)):
        return None
    found = here.explanations[method]
    here.saved += here.seconds[method]
    _count(here, method)
    return found


def keep(
    method: "Method", model: nn.Module, inputs: Tensor, targets: Tensor, found: "Explanation", seconds: float
) -> None:
    """Keep the explanation, which took so many seconds, where it will be asked for again."""
    here = _shared.get()
    if here is None or here.model is not model or not _hashed(method) or here.left[method] < 2:
        return
    if here.samples.are(inputs) and same(targets, here.targets):
        here.explanations[method], here.seconds[method] = found, seconds
        _count(here, method)


def known_outputs(model: nn.Module, inputs: Tensor) -> Tensor | None:
    """The network's outputs (N, C) on these samples, made without a graph, where they are known."""
    here = _shared.get()
    if here is None or here.outputs is None or here.model is not model or not here.samples.are(inputs):
        return None
    here.saved += here.seconds[_OUTPUTS]
    return here.outputs


def keep_outputs(model: nn.Module, inputs: Tensor, outputs: Tensor, seconds: float) -> None:
    """Keep them; they took so many seconds."""
    here = _shared.get()
    if here is not None and here.model is model and here.samples.are(inputs):
        here.outputs, here.seconds[_OUTPUTS] = outputs, seconds


def _asked(recipe: Any) -> Iterator[Any]:
    """A recipe and everything that it needs, directly or not; nothing of callables that say nothing."""
    needs = getattr(recipe, "needs", None)
    if isinstance(needs, tuple) and _hashed(recipe):
        yield recipe
        for need in needs:
            yield from _asked(need)


def _hashed(recipe: Any) -> bool:
    """Whether it has a hash: a plug-in's fields may have none."""
    try:
        hash(recipe)
    except TypeError:
        return False
    return True


def _count(here: _Shared, method: "Method") -> None:
    here.left[method] -= 1
    if here.left[method] == 0:
        here.explanations.pop(method, None)


def same(one: Tensor, other: Tensor) -> bool:
    """Whether these are the same values in the same place: the tensor itself, or without a graph."""
    if one is other:
        return True
    alike = one.shape == other.shape and one.dtype == other.dtype and one.stride() == other.stride()
    return alike and one.device == other.device and one.data_ptr() == other.data_ptr() != 0
