"""What rows are made of: their columns, the roles of states, and the settings in which states are compared."""

from enum import StrEnum

SCHEMA = 3
COLUMNS = (
    "check", "method", "setting", "role", "stage", "position", "sample", "metric", "value", "seed", "question",
)  # fmt: skip


class Role(StrEnum):
    """What the rows of a state are about."""

    TRAINED = "trained"
    RANDOMIZED = "randomized"
    CHANCE = "chance"  # the trained map against itself permuted
    FLOOR = "floor"  # two independently randomized networks
    REPLICATE = "replicate"  # the trained network with the method's other noise
    RETRAINED = "retrained"
    CHANGED = "changed"  # a change that should change nothing


def floor_of(group: str) -> str:
    """The setting in which two networks of a randomization are compared."""
    return f"{group} floor"


def chance_of(group: str) -> str:
    """The setting in which the trained map is compared with itself permuted."""
    return f"{group} chance"
