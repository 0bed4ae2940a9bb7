"""Audits: spec → plan → engine → store. Imported lazily, so that reading a run needs no torch."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heatproof.auditing.manifest import About
    from heatproof.auditing.run import Run, audit

__all__ = ["About", "Run", "audit"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from heatproof.auditing import run

        return getattr(run, name)
    raise AttributeError(f"module 'heatproof.auditing' has no attribute {name!r}")
