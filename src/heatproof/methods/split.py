"""A network cut at a layer: the part below runs once, the part above as often as wanted."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from heatproof.errors import InputError, unknown
from heatproof.models import Bound, forward
from heatproof.undo import Undoing


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """The submodule called `name`, as the network inside a Bound names it, or as the model does.

    Raises: UnknownNameError with the nearest name.
    """
    network: nn.Module = model.net if isinstance(model, Bound) else model
    known: dict[str, nn.Module] = {**dict(model.named_modules()), **dict(network.named_modules())}
    if not name or name not in known:
        raise unknown(f"layer of {type(network).__name__}", name, [one for one in known if one])
    return known[name]


@dataclass(eq=False)
class _Call:
    """One call of a submodule on the way to the layer; `shape` is None unless it ended and gave back one tensor."""

    module: nn.Module
    shape: tuple[int, ...] | None = None
    dtype: torch.dtype = torch.float32
    inner: list["_Call"] = field(default_factory=list)


class _ReachedError(BaseException):
    """The layer's output, thrown out of the network past its own `except Exception`: nothing above the layer runs."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


class _OtherPathError(Exception):
    """The network called its submodules in another order than when it was recorded."""


class Split:
    """A network cut at the output of one layer, which the network calls once.

    `below` runs the network up to the layer and stops there. `above` runs it with another tensor in the place of the
    layer's output; submodules that ended before the layer are not run again. They give back tensors without values
    (device "meta") of the shape that they had: where the network uses such a value above the layer, as a skip
    connection around it does, torch refuses to mix it with real ones, and from then on `above` runs the whole network.
    So a result never depends on a value that was left out. Operations outside submodules, such as a normalization
    written into `forward`, run each time.

    Nothing of the network is changed: each call replaces `forward` of the submodules concerned and puts it back.

    Args:
        model: the network, or a Bound.
        layer: the name of a submodule, whose output is a tensor with one row a sample.
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        self.model, self.name, self.layer = model, layer, find_layer(model, layer)
        self.skips: bool | None = None  # whether `above` leaves out the part below; None before its first call
        self._plan: list[_Call] = []
        self._rows = 0

    def below(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """The layer's output for `x` (M, …), detached, before any hook of the layer; `rows` as in `models.forward`."""
        root = _Call(self.model)
        open_calls = [root]

        def recorded(module: nn.Module, original: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any, **kwargs: Any) -> Any:
                call = _Call(module)
                open_calls[-1].inner.append(call)
                open_calls.append(call)
                output = original(*args, **kwargs)
                if module is self.layer:
                    raise _ReachedError(output)
                open_calls.pop()
                if isinstance(output, Tensor):
                    call.shape, call.dtype = tuple(output.shape), output.dtype
                return output

            return run

        try:
            with torch.no_grad(), _Replaced(self.model.modules(), recorded):
                forward(self.model, x, rows)
        except _ReachedError as reached:
            output = reached.output
        else:
            raise InputError(
                f"Expected layer {self.name!r} to run when the network is called, but it does not; name another layer."
            )
        if not isinstance(output, Tensor) or not output.is_floating_point() or output.shape[:1] != x.shape[:1]:
            got = f"{output.dtype} {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
            raise InputError(
                f"Expected layer {self.name!r} to give a float tensor ({len(x)}, …), one row a sample, but got {got}; "
                "name another layer."
            )
        self._plan, self._rows, self.skips = list(_visited(root.inner)), len(x), None
        return output.detach()

    def above(self, z: Tensor, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """The logits (M, C) with `z` (M, …) in the place of the layer's output for variants `x` (M, …).

        The network gets `z` itself, no leaf of autograd, and may change it in place: give a clone to keep it.

        Raises: InputError where the network calls the layer more than once.
        """
        if self.skips is not False:
            try:
                logits = self._run(z.clone() if self.skips is None else z, x, rows, skip=True)
                self.skips = logits.device == z.device
            except Exception:  # whatever is wrong with the network itself comes again below, with values
                self.skips = False
            if self.skips:
                return logits
        return self._run(z, x, rows, skip=False)

    def _run(self, z: Tensor, x: Tensor, rows: Tensor | None, *, skip: bool) -> Tensor:
        plan = self._plan if skip else []
        position, reached = 0, False

        def stub(module: nn.Module, original: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any, **kwargs: Any) -> Any:
                nonlocal position, reached
                if module is self.layer:
                    return give()
                if reached or not skip:
                    return original(*args, **kwargs)
                if position == len(plan) or plan[position].module is not module:
                    raise _OtherPathError
                call = plan[position]
                position += 1
                if call.shape is None:
                    return original(*args, **kwargs)
                first = len(z) if call.shape[:1] == (self._rows,) else call.shape[0] if call.shape else None
                shape = call.shape if first is None else (first, *call.shape[1:])
                return torch.empty(shape, dtype=call.dtype, device="meta")

            return run

        def give() -> Tensor:
            nonlocal reached
            if reached:
                raise InputError(
                    f"Expected layer {self.name!r} to run once a pass, but the network calls it again; name a layer "
                    "that runs once."
                )
            reached = True
            return z

        with _Replaced({call.module: None for call in plan} | {self.layer: None}, stub):
            return forward(self.model, x, rows)


def _visited(calls: Iterable[_Call]) -> Iterator[_Call]:
    """The calls that happen when those that gave a tensor are not entered, in their order."""
    for call in calls:
        yield call
        if call.shape is None:
            yield from _visited(call.inner)


def _no_script(module: nn.Module) -> bool:
    return not isinstance(module, torch.jit.ScriptModule)


class _Replaced(Undoing):
    """Each module's `forward` replaced by what `by` makes of it, and put back whatever happens."""

    def __init__(
        self, modules: Iterable[nn.Module], by: Callable[[nn.Module, Callable[..., Any]], Callable[..., Any]]
    ) -> None:
        self._by = by
        self._own = [(module, vars(module).get("forward")) for module in filter(_no_script, modules)]

    def _change(self) -> None:
        for module, _ in self._own:
            vars(module)["forward"] = self._by(module, module.forward)

    def _undo(self) -> None:
        for module, own in self._own:
            if own is None:
                vars(module).pop("forward", None)
            else:
                vars(module)["forward"] = own
