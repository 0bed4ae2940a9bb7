"""What a number of a check means: declared once by whatever computes it, shown by every report."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric's name, unit, range and reference points. None stands for unbounded, or for "there is none".

    `chance` is the expected value for maps that know nothing; `ideal` the value of a perfect method;
    `higher_is_better` is None where neither end is a merit. `text` is one plain line for the reader of a report,
    `title` a name for it there. `itself` is what a similarity of maps gives a map and itself; None for other metrics.
    """

    name: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    ideal: float | None = None
    higher_is_better: bool | None = None
    text: str = ""
    title: str = ""
    itself: float | None = None

    def describe(self) -> dict[str, Any]:
        """The fields as plain data."""
        return asdict(self)


def _share(name: str, text: str, unit: str = "share of features") -> Metric:
    return Metric(name=name, unit=unit, low=0.0, high=1.0, text=text)


# What was done to a fitted method where the network was changed: one of these stands among its rows there.
REFIT = Metric(name="refit", unit="0 or 1", low=0.0, high=1.0, text="The method learned anew on the changed network.")
REUSE = Metric(
    name="reuse", unit="0 or 1", low=0.0, high=1.0, text="The method kept what it learned on the trained network."
)
EXCLUDE = Metric(
    name="exclude",
    unit="0 or 1",
    low=0.0,
    high=1.0,
    text="The method has no meaning on a changed network: all else is NaN.",
)
TREATMENTS = (REFIT, REUSE, EXCLUDE)
# What an audit says of rows behind which something ran out of memory, and was tried again in smaller passes.
SHRUNK = Metric(name="shrunk", unit="rows", low=1.0, text="Memory ran out: the rows a pass that were possible.")
# What our methods say of their own maps; each method's docstring gives the formula.
DIAGNOSTICS = (
    *TREATMENTS,
    Metric(name="score", unit="score", text="The explained output, as the method computed it."),
    Metric(name="baseline-score", unit="score", text="The explained output of the baseline."),
    Metric(
        name="completeness-gap",
        unit="score",
        ideal=0.0,
        text="The sum of the map minus what the method says that it explains.",
    ),
    Metric(
        name="conservation-gap",
        unit="score",
        ideal=0.0,
        text="The sum of the map minus the relevance that was handed back from the output.",
    ),
    Metric(
        name="condition-number",
        unit="ratio",
        low=0.0,
        text="The sum of the map's magnitudes over the magnitude of what the map should sum to.",
    ),
    Metric(
        name="inherent-gap",
        unit="score",
        text="The part of the conservation gap that neurons without a contribution of the rule's sign account for.",
    ),
    _share("surviving-share", "Share of features that win the competition of labels, of those with a score."),
    _share(
        "surviving-energy", "Squares of the features that win the competition of labels, of all.", "share of squares"
    ),
    _share("tie-rate", "Share of features where the strongest rival label has exactly the same score."),
    _share("probability-before", "The label's probability for the input as it is.", "probability"),
    _share("probability-after", "The label's probability for what the map leaves of the input.", "probability"),
    _share("top-1-after", "How often the label is the likeliest behind the bottleneck.", "share of draws"),
    _share("top-5-after", "How often the label is one of the likeliest five behind the bottleneck.", "share of draws"),
    _share("deleted-share", "The mean of the mask: how much of the input it deletes.", "share of the input"),
    Metric(name="all-zero", unit="0 or 1", low=0.0, high=1.0, ideal=0.0, text="The ReLU left nothing of the map."),
    Metric(name="bits", unit="bits", low=0.0, text="The information that the bottleneck lets through."),
    Metric(name="information", unit="nats an element", low=0.0, text="The same for an average element of the layer."),
)
