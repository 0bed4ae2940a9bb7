"""A gate for automatic builds: does a run surely keep what is required of it? It fails closed. No torch."""

from heatproof.gate.changes import Change, changes
from heatproof.gate.gate import check
from heatproof.gate.junit import broken, junit
from heatproof.gate.outcome import Outcome
from heatproof.gate.requirements import Requirement, parse

__all__ = ["Change", "Outcome", "Requirement", "broken", "changes", "check", "junit", "parse"]
