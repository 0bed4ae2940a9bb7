"""Where inside a network a tensor is read or replaced: a submodule, which of its runs, which of its results."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from heatproof.complaints import shown_outputs
from heatproof.errors import InputError, unknown
from heatproof.undo import hooked

_NOTATION = re.compile(
    r"(?P<module>[^#\[\]()]*)(?:\((?P<argument>\w+)\))?(?:#(?P<run>\d+))?(?P<items>(?:\[[^\[\]]+\])*)"
)


@dataclass(frozen=True)
class Place:
    """The output of a submodule, as `name`, `name#2` (its second run) or `name[0]` (the first of its results).

    Or what goes into it: `name(0)`, its first argument, or `name(mask)`, the one of that name, as it was called.

    A submodule that runs once needs no number, and one that returns a tensor no item. Items are indices, or keys and
    attributes by name; they may follow one another: `lstm[1][0]` is the hidden state of an LSTM, (output, (h, c)).
    """

    text: str
    module: str
    run: int | None = None
    items: tuple[str, ...] = ()
    argument: str | None = None

    @classmethod
    def of(cls, net: nn.Module, text: str) -> "Place":
        """Raises: InputError for anything but such a name of one of the network's submodules."""
        known = [name for name, _ in net.named_modules()]
        found = _NOTATION.fullmatch(text) if isinstance(text, str) else None
        if found is None or found["module"] not in known:
            if isinstance(text, nn.Module):
                name = next((name for name, module in net.named_modules() if module is text), None)
                advice = f"its name there is {name!r}" if name else "it is none of the network's"
                raise InputError(
                    f"Expected the name of a submodule of {type(net).__name__}, but got a {type(text).__name__} "
                    f"itself; {advice}."
                )
            raise unknown(f"submodule of {type(net).__name__}", found["module"] if found else text, known[1:])
        run = None if found["run"] is None else int(found["run"])
        if run == 0:
            raise InputError(f"Expected runs to be counted from 1, but got {text!r}; the first is {found['module']}#1.")
        items = tuple(re.findall(r"\[([^\]]+)\]", found["items"]))
        return cls(text, found["module"], run, items, found["argument"])

    @contextmanager
    def met(self, net: nn.Module, see: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
        """While the network runs once, `see` is handed the tensor here; what it returns takes its place.

        Raises: InputError, at the end, if the submodule did not run, or several times and none of them was named.
        """
        runs = 0

        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            nonlocal runs
            runs += 1
            if runs != (self.run or 1):
                return None
            return _replaced(output, self.items, see, self)

        def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            nonlocal runs
            runs += 1
            if runs != (self.run or 1):
                return None
            return self._given_instead(args, kwargs, see)

        way = (hook, {}) if self.argument is None else (before, {"before": True, "with_kwargs": True})
        with hooked((net.get_submodule(self.module), *way)):
            yield
        if runs < (self.run or 1) or (self.run is None and runs > 1):
            expected = "once" if self.run is None else f"{self.run} times or more"
            which = f"; say which run: {self.module + '#1'!r} to {f'{self.module}#{runs}'!r}" if runs > 1 else ""
            raise InputError(
                f"Expected submodule {self.module!r} to run {expected}, but it ran {runs} times"
                f"{which if self.run is None else ''}."
            )

    def _given_instead(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], see: Callable[[Tensor], Tensor | None]
    ) -> Any:
        """The arguments with another one here; None where they stay as they are."""
        at = str(self.argument)
        key: Any = int(at) if at.isdigit() else at
        if not (0 <= key < len(args) if isinstance(key, int) else key in kwargs):
            known = [*map(str, range(len(args))), *kwargs]
            raise unknown(f"argument that {self.module!r} was called with", at, known)
        new = _replaced(args[key] if isinstance(key, int) else kwargs[key], self.items, see, self)
        if new is None:
            return None
        if isinstance(key, int):
            return (*args[:key], new, *args[key + 1 :]), kwargs
        return args, {**kwargs, key: new}


def _replaced(output: Any, items: tuple[str, ...], see: Callable[[Tensor], Tensor | None], place: Place) -> Any:
    """`output` with what `see` makes of the tensor that `items` lead to; None where it stays as it is."""
    if not items:
        if not isinstance(output, Tensor):
            there, _ = shown_outputs(output, -1)
            raise InputError(
                f"Expected {place.text!r} to be a tensor, but it is a {type(output).__name__} with {there}; choose one "
                f"of them, such as {place.text + '[0]'!r}."
            )
        return see(output)
    item, key = items[0], _key(output, items[0])
    try:
        inner = getattr(output, item) if key is None else output[key]
    except (AttributeError, IndexError, KeyError, TypeError):
        there, _ = shown_outputs(output, -1)
        raise InputError(
            f"Expected item [{item}] in what {place.module!r} returns, but it is a {type(output).__name__} "
            f"with {there}."
        ) from None
    new = _replaced(inner, items[1:], see, place)
    if new is None:
        return None
    if isinstance(output, tuple):
        parts = [new if i == key else each for i, each in enumerate(output)]
        return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)
    if isinstance(output, list):
        return [new if i == key else each for i, each in enumerate(output)]
    if isinstance(output, Mapping):
        changed = type(output)(**output) if hasattr(output, "to_tuple") else type(output)(output)  # type: ignore[call-arg]  # a dict, or one of transformers' results
        changed[key] = new  # type: ignore[index]
        return changed
    raise InputError(
        f"Expected {place.module!r} to return a tensor, tuple, list or dict to explain {place.text!r} of, but got "
        f"{type(output).__name__}."
    )


def _key(output: Any, item: str) -> Any:
    """The index or key that an item means; None for an attribute."""
    if isinstance(output, tuple | list):
        if item.lstrip("-").isdigit():
            return int(item) % len(output) if -len(output) <= int(item) < len(output) else int(item)
        fields = getattr(output, "_fields", ())
        return fields.index(item) if item in fields else None
    if isinstance(output, Mapping):
        return item
    return None
