"""What the rows of a run say: intervals, findings, verdicts. It reads tables and the manifest, and imports no torch."""

from heatproof.reading.base import READINGS, Finding, Judgement, Reading
from heatproof.reading.competition import Competition
from heatproof.reading.complete import Complete
from heatproof.reading.complexity import Complexity
from heatproof.reading.cost import Cost
from heatproof.reading.depends import Depends
from heatproof.reading.evidence import Evidence
from heatproof.reading.faithful import Faithful
from heatproof.reading.labels import Labels
from heatproof.reading.localizes import Localizes
from heatproof.reading.picture import MoreThanThePicture
from heatproof.reading.repeats import Repeats
from heatproof.reading.steady import Steady
from heatproof.reading.verdicts import Verdicts


def names() -> list[str]:
    """Every question that has a reading."""
    return READINGS.names()


def get(name: str) -> Reading:
    """The reading of a question."""
    return READINGS.get(name)


__all__ = [
    "READINGS",
    "Competition",
    "Complete",
    "Complexity",
    "Cost",
    "Depends",
    "Evidence",
    "Faithful",
    "Finding",
    "Judgement",
    "Labels",
    "Localizes",
    "MoreThanThePicture",
    "Reading",
    "Repeats",
    "Steady",
    "Verdicts",
    "get",
    "names",
]
