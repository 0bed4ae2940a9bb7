"""The papers that define heatproof, each rebuilt by one command, its claims beside our figures."""

from heatproof.errors import unknown
from heatproof.papers.bottlenecks import PAPER as BOTTLENECKS
from heatproof.papers.competition import PAPER as COMPETITION
from heatproof.papers.measure import Measured, Pick, Results
from heatproof.papers.paper import SCALES, Answer, Claim, Paper, Picture
from heatproof.papers.run import run
from heatproof.papers.sanity import PAPER as SANITY
from heatproof.papers.shortcomings import PAPER as SHORTCOMINGS
from heatproof.papers.unification import PAPER as UNIFICATION

PAPERS = {paper.id: paper for paper in (COMPETITION, SANITY, SHORTCOMINGS, UNIFICATION, BOTTLENECKS)}


def get(name: str) -> Paper:
    """The paper of that id.

    Raises: UnknownNameError for one that is not here.
    """
    if name not in PAPERS:
        raise unknown("paper", name, PAPERS)
    return PAPERS[name]


__all__ = [
    "PAPERS",
    "SCALES",
    "Answer",
    "Claim",
    "Measured",
    "Paper",
    "Pick",
    "Picture",
    "Results",
    "get",
    "run",
]
