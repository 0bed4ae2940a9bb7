"""The function modes that are on, the last entered last."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _pop_mode, _push_mode


class Passive(TorchFunctionMode):
    """Looks at what is called and changes nothing of it: it stands in nobody's way."""


def entered() -> list[TorchFunctionMode]:
    """The modes themselves."""
    return list(_get_current_function_mode_stack())  # type: ignore[no-untyped-call]


def become(modes: Sequence[TorchFunctionMode]) -> None:
    """Exactly these, in this order, are on afterwards."""
    while (now := entered()) and now != list(modes[: len(now)]):
        _pop_mode()  # type: ignore[no-untyped-call]
    for mode in modes[len(now) :]:
        _push_mode(mode)  # type: ignore[no-untyped-call]


@contextmanager
def none_on() -> Iterator[None]:
    """Nobody sees what is called in here: for what is looked up and is no step of the network."""
    before = entered()
    become(())
    try:
        yield
    finally:
        become(before)
