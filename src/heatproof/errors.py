"""Errors that say what was expected, what came, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class HeatproofError(Exception):
    """Base of every error that heatproof raises on purpose."""


class InputError(HeatproofError, ValueError):
    """Data, a model or a setting that a call cannot work with."""


class UnknownNameError(InputError, LookupError):
    """A name that nothing is registered under."""


class OperationError(HeatproofError, RuntimeError):
    """An operation of the model that a method cannot work with: no rule, no derivative, or it mixes samples."""


class StoreError(HeatproofError, RuntimeError):
    """A run folder that cannot be read, written or continued."""


class DamagedError(HeatproofError, RuntimeError):
    """A kept file that does not hold what was written into it, or what belongs under its name."""


class HeatproofWarning(UserWarning):
    """A result that is right but surely not what was wanted, or a kept file that is damaged and made anew."""


class FailureWarning(HeatproofWarning):
    """Something in an audit failed, and the rest went on: the rows of what failed are missing or NaN."""


class AuditError(HeatproofError, RuntimeError):
    """An audit that stopped because too much of it failed."""


class MissingExtraError(HeatproofError, ImportError):
    """A package that only some users need is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package!r}. Install it with: pip install 'heatproof[{extra}]'")


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that is not among `known`, with the nearest one that is."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(names)}."
    return UnknownNameError(f"Expected the name of a {kind}, but got {name!r}; {hint}")
