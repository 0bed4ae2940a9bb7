"""Errors that say what was expected, what came, and what to do."""

from collections.abc import Iterable
from typing import Any

_SHOWN = 200  # letters of a text that came
BOUND = 2**63  # whole numbers are below it: rows, seeds and sizes have 64 bits


class HeatproofError(Exception):
    """Base of every error that heatproof raises on purpose."""


class InputError(HeatproofError, ValueError):
    """Data, a model or a setting that a call cannot work with."""


class ModelError(InputError, RuntimeError):
    """A model raised on the inputs that it was given."""


class MapsError(InputError):
    """What a method returned is no attribution of the inputs that it was given."""


class UnknownNameError(InputError, LookupError):
    """A name that nothing is registered under."""


class OperationError(HeatproofError, RuntimeError):
    """An operation of the model that a method cannot work with: no rule, no derivative, or it mixes samples."""


class StoreError(HeatproofError, RuntimeError):
    """A run folder that cannot be read, written or continued."""


class TrainingError(HeatproofError, RuntimeError):
    """What was trained here did not reach what its recipe requires."""


class TornError(StoreError):
    """A file of a run does not hold what was written into it."""


class DamagedError(HeatproofError, RuntimeError):
    """A kept file that does not hold what was written into it, or what belongs under its name."""


class HeatproofWarning(UserWarning):
    """A result that is right but surely not what was wanted, or a kept file that is damaged and made anew."""


class FailureWarning(HeatproofWarning):
    """Something in an audit failed, and the rest went on: the rows of what failed are missing or NaN."""


class AuditError(HeatproofError, RuntimeError):
    """An audit that stopped because too much of it failed."""


class MissingExtraError(HeatproofError, ImportError):
    """A package that only some users need is not installed: one of an extra, or with no `extra` one by itself."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        wanted = f"'heatproof[{extra}]'" if extra else package
        super().__init__(f"{purpose} needs the package {package!r}. Install it with: pip install {wanted}")


def bounded(value: Any) -> bool:
    """Whether a whole number has at most 64 bits."""
    return bool(-BOUND <= value < BOUND)


def unknown(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that is not among `known`, with the nearest one if one is near."""
    names = sorted(name if name.isprintable() else repr(name) for name in map(str, known))
    near = _nearest(name, names) if isinstance(name, str) and len(name) <= _SHOWN else None
    hint = f"did you mean {near!r}?" if near else f"known are: {', '.join(names) or 'none'}."
    article = "an" if kind[:1] in "aeio" else "a"
    return UnknownNameError(f"Expected the name of {article} {kind}, but got {shown(name)}; {hint}")


def shown(value: object) -> str:
    """A value that came, in an error: text and numbers as they are, anything else by what it is, nothing at length."""
    kind = type(value)
    if isinstance(value, str) and len(value) > _SHOWN:
        return f"{value[:_SHOWN]!r}… ({len(value)} characters)"
    if value is None or kind in (str, bool):
        return repr(value)
    if isinstance(value, int) and not bounded(value):  # Python refuses to write out some of them
        return f"a whole number of {int(value).bit_length()} bits"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    try:
        shape = getattr(value, "shape", None)
        if isinstance(shape, tuple):
            return f"a {kind.__name__} {tuple(shape)} of {getattr(value, 'dtype', '?')}"
        text = repr(value)
    except Exception:  # whatever somebody's class raises
        return f"a {kind.__name__}"
    return f"{text} ({kind.__name__})" if len(text) <= 60 and "\n" not in text else f"a {kind.__name__}"


def _nearest(name: str, names: Iterable[str]) -> str | None:
    """The known name that differs from `name` in at most a third of its letters, or that one of both begins with."""

    def distance(other: str) -> float:
        short, long = sorted((name.lower(), other.lower()), key=len)
        edits = _edits(short, long)
        return min(edits / max(len(long), 1), 0.3 if len(short) > 2 and long.startswith(short) else 1.0)

    nearest = min(names, key=distance, default=None)
    return nearest if nearest is not None and distance(nearest) <= 1 / 3 else None


def _edits(one: str, other: str) -> int:
    """How many letters are to be put in, left out, replaced or swapped with their neighbor."""
    rows = [list(range(len(other) + 1))]
    for i, a in enumerate(one, start=1):
        row = [i]
        for j, b in enumerate(other, start=1):
            best = min(rows[-1][j] + 1, row[j - 1] + 1, rows[-1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and b == one[i - 2]:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]
