"""What a caller asks of an audit, beside model and data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from heatproof.checks import Check
from heatproof.data.base import Dataset
from heatproof.data.blocks import Blocks
from heatproof.errors import BOUND, InputError, shown
from heatproof.features import Features
from heatproof.methods.base import Attribution
from heatproof.outputs import Outputs

LOWEST = {"batch": 1, "threads": 1, "gallery": 0, "max_errors": 0}
MOST_THREADS = 4096
MEASURED = "measured"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The settings of `heatproof.audit`; methods and checks by label."""

    methods: Mapping[str, Attribution]
    checks: Mapping[str, tuple[str, Check]]
    outputs: str | Outputs | None = None
    training: Dataset | Blocks | None = None
    features: Features | str | None = None
    batch: int | Literal["measured"] | None = None
    threads: int | None = None
    believable: tuple[str, ...] = ()
    gallery: int = 6
    max_errors: int = 10
    mixed: bool = False
    shrink_on_oom: bool = False
    fast: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, lowest in LOWEST.items():
            value = getattr(self, name)
            if name == "batch" and isinstance(value, str) and value == MEASURED:
                continue
            highest = MOST_THREADS if name == "threads" else BOUND
            if value is not None and (type(value) is not int or not lowest <= value < highest):
                below = f", below {highest}" if type(value) is int and value >= highest else ""
                other = f' or "{MEASURED}"' if name == "batch" else ""
                raise InputError(
                    f"Expected {name} to be a whole number from {lowest} on{below}{other}, but got {shown(value)}."
                )
