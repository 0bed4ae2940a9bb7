"""The arguments of a call by name, in the order of the function that was called.

torch has many spellings of one operation, and their orders differ: `F.batch_norm` takes (input, mean, variance, weight,
bias), `torch.batch_norm` and `aten.batch_norm` (input, weight, bias, mean, variance). A call is read by its own
function's signature: a Python function's code, an operator's schema, and for what is built in the schema of the
operator of that name, of several overloads the first one that the arguments fit.
"""

import inspect
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload, OpOverloadPacket
from torch.overrides import get_testing_overrides

# One name for what torch calls differently from function to function, NumPy's names among them.
_SAME = {
    "self": "input",
    "x": "input",
    "axis": "dim",
    "keepdims": "keepdim",
    "train": "training",
    "epsilon": "eps",
    "ord": "p",
    "attn_bias": "attn_mask",
}


class Parameter(NamedTuple):
    """A parameter of a signature: its name, torch's name of its type ("" for any), whether only a keyword gives it, and
    whether it may be left out."""

    name: str
    type: str
    by_keyword: bool
    optional: bool


Signature = tuple[Parameter, ...]


def bound(function: Callable[..., Any], name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The given arguments of `function`, the operation `name`, by name; those left out are not there."""
    named = {_SAME.get(key, key): value for key, value in kwargs.items()}
    kinds = (function, name, _kinds(args), tuple(named), _kinds(named.values()) if named else ())
    known = _known.get(kinds)
    if known is not None:
        names, gathered = known
        given = (args[0], tuple(args[1:])) if gathered else args
        return dict(zip(names, given, strict=False)) | named
    for signature in _signatures(function, name):
        for given in _spread(signature, args):
            if (read := _read(signature, given, named)) is not None:
                if len(_known) >= MOST:
                    _known.clear()
                _known[kinds] = (tuple(p.name for p in signature if not p.by_keyword), given is not args)
                return read
    return dict(zip(("input", "other"), args, strict=False)) | named


# What arguments of these kinds are called, and whether sizes were given one by one: looked up, it takes a tenth.
_known: dict[Hashable, tuple[tuple[str, ...], bool]] = {}
MOST = 4096  # calls of other kinds


def _kinds(values: Collection[Any]) -> tuple[Any, ...]:
    """All that decides whether values fit the types of a signature."""
    kinds = tuple(map(type, values))
    if _SINGLE.issuperset(kinds):
        return kinds
    return tuple([(type(v), _kinds(v)) if isinstance(v, tuple | list) else type(v) for v in values])


_SINGLE = frozenset((Tensor, torch.nn.Parameter, int, float, bool, str, type(None), torch.dtype, torch.device))


def _spread(signature: Signature, args: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The arguments as they are, and with sizes that were given one by one gathered: `h.view(2, 3)`."""
    yield args
    if len(args) > 1 and len(signature) > 1 and all(isinstance(arg, int) for arg in args[1:]):
        yield (args[0], tuple(args[1:]))


def _read(signature: Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    places = [parameter for parameter in signature if not parameter.by_keyword]
    if len(args) > len(places):
        return None
    read = {parameter.name: value for parameter, value in zip(places, args, strict=False)}
    known = {parameter.name: parameter for parameter in signature}
    if read.keys() & kwargs.keys() or not kwargs.keys() <= known.keys():
        return None
    read |= kwargs
    fits = all(_fits(value, known[name].type) for name, value in read.items())
    return read if fits and all(p.optional or p.name in read for p in signature) else None


def _fits(value: Any, type_: str) -> bool:
    if type_.startswith("Optional["):
        return value is None or _fits(value, type_.removeprefix("Optional[").removesuffix("]"))
    if type_.startswith("List["):
        several = isinstance(value, tuple | list)
        item = type_.removeprefix("List[").removesuffix("]")
        return (several or "Tensor" not in item) and all(_fits(one, item) for one in (value if several else (value,)))
    match type_:
        case "":
            return True
        case "Tensor":
            return isinstance(value, Tensor)
        case "int" | "SymInt":  # a dtype is an int to the compiler
            return isinstance(value, int | torch.SymInt | torch.dtype) and not isinstance(value, bool)
        case "bool":
            return isinstance(value, bool)
        case "str":
            return isinstance(value, str)
        case "float" | "number" | "Scalar":
            return isinstance(value, int | float | complex | torch.SymInt | torch.SymFloat)
    return not isinstance(value, Tensor)


@cache
def _signatures(function: Callable[..., Any], name: str) -> tuple[Signature, ...]:
    if isinstance(function, OpOverload):
        return (_of_schema(function),)
    if isinstance(function, OpOverloadPacket):
        return _of_packet(function)
    if inspect.isfunction(function) and (code := _of_code(function)) is not None:
        return (code,)
    for each in (getattr(function, "__name__", ""), name):
        packet = getattr(torch.ops.aten, each, None) if each.isidentifier() and not each.startswith("__") else None
        if isinstance(packet, OpOverloadPacket):
            return _of_packet(packet)
    return ()


def _of_packet(packet: OpOverloadPacket) -> tuple[Signature, ...]:
    names: list[str] = packet.overloads()  # type: ignore[no-untyped-call]
    overloads = [getattr(packet, each) for each in names if "names" not in each]
    tensors = [each for each in overloads if any("Tensor" in str(a.type) for a in each._schema.arguments)]
    return tuple(_of_schema(each) for each in tensors)


def _of_schema(overload: OpOverload) -> Signature:
    return tuple(
        Parameter(_SAME.get(a.name, a.name), str(a.type), bool(a.kwarg_only), a.has_default_value())
        for a in overload._schema.arguments
    )


def _of_code(function: Callable[..., Any]) -> Signature | None:
    """The signature of a Python function; of one that hides it, what torch says that users may override."""
    code = inspect.signature(function, follow_wrapped=False).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in code):
        told = get_testing_overrides().get(function)
        if told is None:
            return None
        code = inspect.signature(told).parameters.values()
        if any(p.kind is p.VAR_POSITIONAL for p in code):
            return None
    return tuple(
        Parameter(_SAME.get(p.name, p.name), "", p.kind is p.KEYWORD_ONLY, True)
        for p in code
        if p.kind is not p.VAR_KEYWORD
    )
