"""A model that is partly random for as long as a context lasts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from threading import Thread
from typing import ClassVar, overload
from weakref import WeakValueDictionary, ref

import torch
from torch import Tensor

from heatproof import prefix
from heatproof.errors import InputError
from heatproof.models import memory
from heatproof.randomization.layers import Layer
from heatproof.undo import Undoing

# The stage that each model's tensors are in now, by the tensor's id: a stage holds its tensors, so ids stay theirs.
_ENTERED: dict[int, str] = {}


class _Held:
    """What the randomizations of one model hold of it: their values, and room for the trained ones."""

    _of: ClassVar[WeakValueDictionary[int, "_Held"]] = WeakValueDictionary()

    def __init__(self, model: Tensor) -> None:
        self._model = model  # one of its tensors: while it lives no other has its id
        self._users: list[ref[Drawn]] = []  # the one that was asked last stands last
        self._room: dict[int, Tensor] = {}

    @classmethod
    def of(cls, model: Tensor) -> "_Held":
        found = cls._of.get(id(model))
        if found is None:
            found = cls._of[id(model)] = cls(model)
        return found

    def used_by(self, drawn: "Drawn") -> None:
        """Let go the values that were used longest ago, where all of them are more than is kept."""
        self._users = [one for one in self._users if one() not in (None, drawn)] + [ref(drawn)]
        alive = [one for user in self._users if (one := user()) is not None]
        size, most = sum(one.size for one in alive), kept_bytes(self._model.device)
        for other in alive[:-1]:
            if size <= most:
                break
            size -= other.size
            other.let_go()

    def saved(self, tensors: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Tensors with copies of their values, in memory that the next stage's take again: fresh pages cost more."""
        with torch.inference_mode(False), torch.no_grad():  # room made in it could not be written in outside of it
            return [(tensor, self._room_of(tensor).copy_(tensor.detach())) for tensor in tensors]

    def _room_of(self, tensor: Tensor) -> Tensor:
        room = self._room.get(id(tensor))
        place = (tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
        if room is None or (room.shape, room.stride(), room.dtype, room.device) != place:
            room = self._room[id(tensor)] = torch.empty_like(tensor.detach())
        return room


class Drawn:
    """The values that a randomization puts into each layer, drawn when first asked for, and kept.

    All randomizations of a model together keep `kept_bytes`, or those of one where these are more; what was let go is
    drawn again, to the same values. `by_name` says of which layers they depend on nothing that the model holds.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        draw: Callable[[Layer], dict[str, Tensor]],
        by_name: Callable[[Layer], bool] = lambda _: False,
    ) -> None:
        self._draw, self._by_name, self.held = draw, by_name, _Held.of(layers[0].weights[0].tensor)
        self._early: dict[str, dict[str, Tensor]] = {}
        self._thread: Thread | None = None
        self._values: dict[str, list[tuple[Tensor, Tensor]]] = {}
        self.size = 0  # bytes

    def values(self, layer: Layer) -> list[tuple[Tensor, Tensor]]:
        """Pairs (tensor of the model, its new value in the same dtype and on the same device)."""
        if layer.name not in self._values:
            new = self._drawn_ahead(layer) or self._draw(layer)
            tensors = [(weight.tensor, new[weight.name]) for weight in layer.weights]
            pairs = [(tensor, on_its_way(value, tensor)) for tensor, value in tensors]
            self._values[layer.name] = pairs
            self.size += sum(value.nbytes for _, value in pairs)
        self.held.used_by(self)
        return self._values[layer.name]

    def ahead(self, layers: Sequence[Layer]) -> None:
        """Begin to draw, in a thread, what is missing of these layers, as far as the model may be random meanwhile."""
        missing = [layer for layer in layers if layer.name not in self._values and self._by_name(layer)]
        if missing and self._thread is None:
            self._thread = Thread(target=self._draw_early, args=(missing,), name="heatproof-drawing")
            self._thread.start()

    def _draw_early(self, layers: Sequence[Layer]) -> None:
        for layer in layers:
            try:
                self._early[layer.name] = self._draw(layer)
            except Exception:  # raised where it is asked for: it is drawn again there
                return

    def _drawn_ahead(self, layer: Layer) -> dict[str, Tensor] | None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        return self._early.pop(layer.name, None)

    def let_go(self) -> None:
        """Forget all values."""
        self._values.clear()
        self.size = 0


def on_its_way(value: Tensor, like: Tensor) -> Tensor:
    """The value as `like` is, on its device and in its dtype; a GPU is sent it and not waited for."""
    if like.is_cuda and not value.is_cuda:
        value = value.pin_memory()  # which nobody takes again before it has arrived
    return value.to(like.device, like.dtype, non_blocking=like.is_cuda)


def kept_bytes(device: torch.device) -> int:
    """How much of drawn values is kept for a model: 1 GiB, on a GPU an eighth of its memory."""
    return 2**30 if device.type == "cpu" else memory(device) // 8


class Stage(Undoing):
    """A context in which some layers of a model hold random values, in place.

    On exit, also by an exception, the layers' parameters and a batch norm's statistics are what they were, bit for
    bit: an interrupt on the way back waits for its end. `requires_grad`, `.grad`, training mode, hooks and the global
    generators are never touched. It can be entered again after it was left; two stages of one model at a time are an
    error. One model, one thread.

    Attributes:
        name: unique and stable, such as `cascading/he/seed0/03-features.12`.
        index: 1 … S in the order of the stages.
        label: the layer or block that this stage randomizes and the one before does not.
        layers: every layer that is random here, in the order in which the randomization reaches them.
        complete: whether no layer that the model uses stays trained, nor a weight that no module holds.
        fixed: where every layer is random, what still decides the outputs: buffers and attributes by name.

    >>> first, last = hp.randomization.Cascading().stages(net, images)
    >>> first.name, first.layers, first.complete, last.complete
    ('cascading/he/seed0/01-3', ('3',), False, True)
    """

    def __init__(
        self,
        *,
        name: str,
        index: int,
        label: str,
        chosen: Sequence[Layer],
        used: Sequence[Layer],
        drawn: Drawn,
        finish: Sequence[Callable[[Sequence[Layer]], None]] = (),
        fixed: Sequence[str] = (),
        hidden: Sequence[str] = (),
    ) -> None:
        self.name, self.index, self.label = name, index, label
        self.layers = tuple(layer.name for layer in chosen)
        whole = len(chosen) == len(used)
        self.complete, self.fixed = whole and not hidden, (*fixed, *hidden) if whole else ()
        self._chosen, self._used, self._drawn, self._finish = chosen, used, drawn, finish
        self._saved: list[tuple[Tensor, Tensor]] = []
        self._pairs: list[tuple[Tensor, Tensor]] = []

    def __repr__(self) -> str:
        return f"Stage({self.name!r}, {len(self.layers)} of {len(self._used)} layers)"

    def ahead(self) -> None:
        """Begin to draw what is to be random here, while the model is in use, in this stage or another one."""
        self._drawn.ahead(self._chosen)

    def __enter__(self) -> "Stage":
        refuse_entered(self._used, self.name)
        self._pairs = [pair for layer in self._chosen for pair in self._drawn.values(layer)]
        # Everything is saved before anything is written, and lives until all of it is written back.
        self._saved = self._drawn.held.saved([tensor for tensor, _ in self._pairs])
        super().__enter__()
        return self

    def _change(self) -> None:
        _ENTERED.update((id(weight.tensor), self.name) for layer in self._used for weight in layer.weights)
        prefix.randomized.add([tensor for tensor, _ in self._saved])
        _write(self._pairs)
        for finish in self._finish:
            finish(self._chosen)

    def _undo(self) -> None:
        _write(self._saved)
        prefix.randomized.remove([tensor for tensor, _ in self._saved])
        for layer in self._used:
            for weight in layer.weights:
                _ENTERED.pop(id(weight.tensor), None)
        self._saved, self._pairs = [], []


class Stages(Sequence[Stage]):
    """The stages of a randomization, in order.

    Attributes:
        unused: names of parameters that the model did not use on the inputs given; they are left as they are. A
            parameter that ought to matter and stands here is one that the model uses on other inputs only, or keeps a
            copy of.
        fixed: names of buffers and attributes that decide the outputs and are drawn by no stage.
        hidden: weights that no module holds (in a closure, a global, an object that is no module), by operation and
            shape; where there are any, no stage is complete. Register them as parameters or buffers.

    >>> stages = hp.randomization.Cascading().stages(net, images)
    >>> len(stages), stages.unused
    (2, ())
    """

    def __init__(
        self, stages: Sequence[Stage], unused: tuple[str, ...], *, fixed: tuple[str, ...], hidden: tuple[str, ...]
    ) -> None:
        self._stages, self.unused, self.fixed, self.hidden = tuple(stages), unused, fixed, hidden

    @overload
    def __getitem__(self, index: int) -> Stage: ...
    @overload
    def __getitem__(self, index: slice) -> "Stages": ...
    def __getitem__(self, index: int | slice) -> "Stage | Stages":
        chosen = self._stages[index]
        if isinstance(chosen, Stage):
            return chosen
        return Stages(chosen, self.unused, fixed=self.fixed, hidden=self.hidden)

    def __iter__(self) -> Iterator[Stage]:
        return iter(self._stages)

    def __len__(self) -> int:
        return len(self._stages)

    def __repr__(self) -> str:
        return f"Stages({[stage.name for stage in self]})"


def refuse_entered(used: Sequence[Layer], wanted: str) -> None:
    """Refuse a model that is inside a stage: its values are not the trained ones."""
    for layer in used:
        for weight in layer.weights:
            if (inside := _ENTERED.get(id(weight.tensor))) is not None:
                raise InputError(
                    f"Expected a model outside every stage for {wanted!r}, but it is inside stage {inside!r}; "
                    "leave that one first."
                )


def _write(pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    # copy_, not .data: it counts the tensors' versions up, so that nothing computed from other values passes as fresh.
    with torch.inference_mode(False), torch.no_grad():
        for tensor, value in pairs:
            with torch.inference_mode() if tensor.is_inference() else nullcontext():  # made in it, it is written in it
                tensor.copy_(value)
