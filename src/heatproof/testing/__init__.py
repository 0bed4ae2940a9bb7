"""The published contract: what every method and check promises, as a test that a new one joins with one line."""

from heatproof.testing.checks import CHECK_CLAUSES, check_check
from heatproof.testing.methods import CLAUSES, check_method
from heatproof.testing.networks import ContractNet
from heatproof.testing.relations import RELATIONS, check_relations, relation_table
from heatproof.testing.snapshots import ContractError

__all__ = [
    "CHECK_CLAUSES",
    "CLAUSES",
    "RELATIONS",
    "ContractError",
    "ContractNet",
    "check_check",
    "check_method",
    "check_relations",
    "relation_table",
]
