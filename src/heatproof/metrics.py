"""What a number of a check means: declared once by whatever computes it, shown by every report."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric's name, unit, range and reference points. None stands for unbounded, or for "there is none".

    `chance` is the expected value for maps that know nothing; `ideal` the value of a perfect method;
    `higher_is_better` is None where neither end is a merit. `text` is one plain line for the reader of a report.
    """

    name: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    ideal: float | None = None
    higher_is_better: bool | None = None
    text: str = ""

    def describe(self) -> dict[str, Any]:
        """The fields as plain data."""
        return asdict(self)
