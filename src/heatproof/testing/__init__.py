"""The published contract: what every method promises, as a test that a new method joins with one line."""

from heatproof.testing.methods import CLAUSES, check_method
from heatproof.testing.networks import ContractNet
from heatproof.testing.snapshots import ContractError

__all__ = ["CLAUSES", "ContractError", "ContractNet", "check_method"]
