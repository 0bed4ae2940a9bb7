"""What a model was seen to do in passes that are derived, and so what the next pass has to be watched for."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import nn
from torch.utils.hooks import RemovableHandle


class UnseenError(BaseException):
    """A pass that was not watched put hooks on, or another thread did: the call is begun again, and all is watched.

    It goes past everybody who takes errors for those of a method or a model.
    """


class Habits:
    """Of one model, as long as it is built and hooked as it is; nothing is known before a pass was watched.

    With `always`, every pass is to be watched whatever was seen.
    """

    def __init__(self, *, always: bool = False) -> None:
        self.always, self.known = always, False
        self.hooks = False  # whether somebody put hooks on something
        self.on_tensors = False  # whether the model did, on tensors of its own

    @property
    def to_be_watched(self) -> bool:
        """Whether the next pass is to be watched: for hooks that are put on tensors meanwhile."""
        return self.always or not self.known or self.hooks


_of_call: ContextVar[tuple[nn.Module, Habits] | None] = ContextVar("habits", default=None)


@contextmanager
def settled(model: nn.Module, habits: Habits) -> Iterator[None]:
    """While open, these are the habits of the model that is explained."""
    token = _of_call.set((model, habits))
    try:
        yield
    finally:
        _of_call.reset(token)


def of(model: nn.Module) -> Habits:
    """The model's habits, if it is the one that is explained; those of any other are not known."""
    here = _of_call.get()
    return here[1] if here is not None and here[0] is model else Habits()


def note_tensor_hook() -> None:
    """The model that is explained puts a hook on one of its tensors."""
    if (here := _of_call.get()) is not None:
        here[1].on_tensors = True


def hooks_so_far() -> int:
    """How many hooks were put on tensors and modules since the process began: a number that every one of them takes."""
    return RemovableHandle.next_id
