"""Backward hooks that somebody left on a network's modules."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from heatproof.errors import InputError

_GLOBAL = ("_global_backward_hooks", "_global_backward_pre_hooks")


def with_backward_hooks(model: nn.Module) -> list[str]:
    """The names of modules with full backward hooks, which put a step of their own into every graph."""
    everywhere = any(getattr(nn.modules.module, hooks, None) for hooks in _GLOBAL)
    return ["every module (a global hook)"] * everywhere + [
        f"{name!r} ({type(module).__name__})" if name else f"the model itself ({type(module).__name__})"
        for name, module in model.named_modules()
        if module._backward_pre_hooks or (module._backward_hooks and module._is_full_backward_hook)
    ]


def left_on(modules: list[str]) -> InputError:
    """The error that names them."""
    return InputError(
        f"Expected a model without full backward hooks, but {', '.join(modules[:8])} "
        f"{'has' if len(modules) == 1 else 'have'} some: what they return would stand in the derivative, and torch has "
        "none where an operation in place follows; remove them (the handle's .remove())."
    )


@contextmanager
def hooks_named(model: nn.Module) -> Iterator[None]:
    """torch's error for an operation in place after a full backward hook, as a sentence that names the hooks."""
    try:
        yield
    except RuntimeError as error:
        if "BackwardHookFunction" not in str(error):
            raise
        raise left_on(with_backward_hooks(model)) from None
