"""Hooks that somebody left on a network's modules, or on the tensors that it makes: what they return for a gradient."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from heatproof.errors import InputError
from heatproof.habits import note_tensor_hook
from heatproof.modules import modules_of
from heatproof.state import same_bits
from heatproof.undo import Undoing

EVERYWHERE = ("_global_backward_hooks", "_global_backward_pre_hooks")
OF_MODULES = ("_backward_hooks", "_backward_pre_hooks")
FORWARD_EVERYWHERE = ("_global_forward_hooks", "_global_forward_pre_hooks")
FORWARD_OF_MODULES = ("_forward_hooks", "_forward_pre_hooks")


def any_backward_hooks(modules: Iterable[nn.Module]) -> bool:
    """Whether a module has backward hooks, of any kind, or all modules have."""
    if any(getattr(nn.modules.module, hooks, None) for hooks in EVERYWHERE):
        return True
    for module in modules:
        own = module.__dict__
        if own.get("_backward_hooks") or own.get("_backward_pre_hooks"):
            return True
    return False


def forward_hooks(model: nn.Module) -> list[tuple[int, ...]]:
    """The numbers of the forward hooks on the model's modules, and on all modules: no number is given twice."""
    found = [tuple(getattr(nn.modules.module, kind)) for kind in FORWARD_EVERYWHERE]
    for module in modules_of(model):
        found += [tuple(own) for kind in FORWARD_OF_MODULES if (own := module.__dict__.get(kind))]
    return found


def with_backward_hooks(model: nn.Module) -> list[str]:
    """The names of modules with full backward hooks, which put a step of their own into every graph."""
    if not any_backward_hooks(modules_of(model)):
        return []
    everywhere = any(getattr(nn.modules.module, hooks, None) for hooks in EVERYWHERE)
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


def hooks_behind(error: Exception, model: nn.Module) -> InputError | None:
    """torch's error for an operation in place after a full backward hook, as a sentence that names the hooks."""
    met = isinstance(error, RuntimeError) and "BackwardHookFunction" in str(error)
    return left_on(with_backward_hooks(model)) if met else None


class hooks_watched(Undoing):  # noqa: N801  # reads like contextlib's own
    """In here, backward hooks of modules are held to looking: one that changes a gradient raises as it does so.

    torch takes a module's hooks into the graph when the module runs, so that they are held to it ever after.
    """

    def __init__(self, model: nn.Module) -> None:
        everywhere = [("", nn.modules.module, name) for name in EVERYWHERE]
        modules = [(name, module, kind) for name, module in model.named_modules() for kind in OF_MODULES]
        self._own: list[tuple[dict[int, Callable[..., Any]], int, Callable[..., Any], str]] = []
        for name, owner, kind in (*everywhere, *modules):
            hooks: dict[int, Callable[..., Any]] | None = getattr(owner, kind, None)
            if not hooks:
                continue
            place = f"module {name!r} ({type(owner).__name__})" if name else "the model, or on every module,"
            self._own += [(hooks, key, hook, place) for key, hook in hooks.items()]

    def _change(self) -> None:
        for hooks, key, hook, place in self._own:
            hooks[key] = _held(hook, f"a backward hook on {place}")

    def _undo(self) -> None:
        for hooks, key, hook, _ in self._own:
            if key in hooks:
                hooks[key] = hook


def register_held(args: tuple[Any, ...], kwargs: dict[str, Any], place: str) -> Any:
    """`Tensor.register_hook`, called in `place`, of a hook that is held to looking."""
    tensor, hook = (*args, *kwargs.values())
    note_tensor_hook()
    return tensor.register_hook(_held(hook, f"a tensor hook that was registered in {place}"))


def _held(hook: Callable[..., Any], what: str) -> Callable[..., Any]:
    """The hook, which raises where it changes a gradient: of its arguments the first that is no module."""

    def held(*args: Any) -> Any:
        gradients = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
        versions = [gradient._version for gradient in gradients]
        returned = hook(*args)
        before = next(arg for arg in args if not isinstance(arg, nn.Module))
        written = versions != [gradient._version for gradient in gradients]
        if written or (returned is not None and not _same(returned, before)):
            raise InputError(
                f"Expected hooks that only look at gradients, but {what} changes one, and what it makes of it would "
                "stand in the map; remove it (the .remove() of its handle, or of the handle of the forward hook that "
                "registers it)."
            )
        return returned

    return held


def _same(returned: Any, before: Any) -> bool:
    if isinstance(returned, Tensor) and isinstance(before, tuple) and len(before) == 1:
        return _same(returned, before[0])
    if isinstance(returned, Tensor) and isinstance(before, Tensor):
        return returned is before or same_bits(returned, before)
    if isinstance(returned, tuple | list) and isinstance(before, tuple | list):
        return len(returned) == len(before) and all(map(_same, returned, before))
    return returned is before
