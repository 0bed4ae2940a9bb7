"""What each question of a page asks, what its answer cannot tell, whose idea it is, and how a failure is said in brief.

Questions of other packages have no entry here: their panel says what their check says of itself.
"""

from typing import NamedTuple


class Question(NamedTuple):
    """A question in plain words. `fails` continues "it …", `few` "two of them …", `passes` "whether they …"."""

    short: str
    asks: str
    cannot: str
    source: str
    fails: str
    few: str
    passes: str
    checks: str  # what to add to an audit so that it is answered


QUESTIONS = {
    "repeats": Question(
        short="repeats",
        asks="The method is run twice on the same network, with other draws of its own noise: is it the same map?",
        cannot="A map that repeats may repeat something wrong.",
        source="Ours.",
        fails="draws another map every time",
        few="draw another map every time",
        passes="repeat",
        checks="parameter-randomization",
    ),
    "steady": Question(
        short="steady",
        asks="The parameters, and then the input, are changed so little that nobody who uses the network would notice: "
        "does the map stay?",
        cannot="A steady map need not show anything of the network: an edge detector is steady.",
        source="Ours; its counterpart in the input is max-sensitivity (Yeh et al. 2019).",
        fails="changes when nothing happened to the network",
        few="change when nothing happened",
        passes="are steady",
        checks="steadiness",
    ),
    "depends": Question(
        short="depends",
        asks="Every layer is made random, so that nothing learned is left: does the map change?",
        cannot="A map that changes has passed this one test. Noise changes too, and a low similarity is no merit: see "
        "steady, repeats and faithful.",
        source="Adebayo et al. 2018; floors and chance after Binder et al. 2023.",
        fails="looks much the same for a network that learned nothing",
        few="look much the same for a network that learned nothing",
        passes="depend on the network",
        checks="parameter-randomization",
    ),
    "more-than-the-picture": Question(
        short="more than the picture",
        asks="How much of the map is found in maps made of the input alone, such as its edges?",
        cannot="A map unlike every control may still be wrong; one like a control may be right where the object is all "
        "there is to see.",
        source="Adebayo et al. 2018, Fig. 10 (edge detectors look convincing).",
        fails="draws the picture, as an edge detector does",
        few="draw the picture, not what this network learned",
        passes="are more than the picture",
        checks="input-controls",
    ),
    "labels": Question(
        short="labels",
        asks="The network is trained anew on shuffled labels, which mean nothing: does the map change?",
        cannot="Networks trained twice on the true labels differ as well: what they share is the yardstick beside it.",
        source="Adebayo et al. 2018, section 4; Gupta & Arora 2019, 4.2.",
        fails="stays the same when the labels were shuffled",
        few="stay the same when the labels were shuffled",
        passes="depend on the labels",
        checks="data-randomization",
    ),
    "faithful": Question(
        short="faithful",
        asks="What the map calls relevant is taken away: does the network lose its answer faster than by the best map "
        "made without a network?",
        cannot="What stands in for a missing feature is a choice, and a network may react to its strangeness; a sharp "
        "map of a small region and a broad one are asked different things.",
        source="Ancona et al. 2018 (Sensitivity-n); Schulz et al. 2020 (degradation); Samek et al. 2017.",
        fails="points at what matters no better than a map made without a network",
        few="point at what matters no better than a map made without a network",
        passes="are faithful",
        checks="degradation",
    ),
    "localizes": Question(
        short="localizes",
        asks="Do the highest pixels lie in the object's boxes or mask, more than those of the best map made without a "
        "network?",
        cannot="A network may use what lies outside of the object, and a map that says so is right.",
        source="Schulz et al. 2020, 4.5; Zhang et al. 2018 (pointing game).",
        fails="finds the object no better than without a network",
        few="find the object no better than without a network",
        passes="point at the evidence",
        checks="bounding-box",
    ),
    "complete": Question(
        short="complete",
        asks="Does the map add up to what its method promises, such as the score?",
        cannot="Numbers that add up may stand in the wrong places.",
        source="Sundararajan et al. 2017 (completeness); Bach et al. 2015 (conservation).",
        fails="does not add up to what it promises",
        few="do not add up to what they promise",
        passes="add up to what they promise",
        checks="completeness",
    ),
    "competition": Question(
        short="competition",
        asks="Does less of the map survive the competition of labels where the network is random?",
        cannot="It is told of competitive maps alone, and is no part of what makes a map believable.",
        source="Gupta & Arora 2019, sections 3 and 4.1.",
        fails="loses nothing to competition when the network is random",
        few="lose nothing to competition when the network is random",
        passes="",
        checks="parameter-randomization",
    ),
    "complexity": Question(
        short="concentration",
        asks="Over how many of its features is the map spread?",
        cannot="Neither end is a merit: noise is spread evenly, and so is an honest map of an object that fills the "
        "picture; a map of few features is easier to look at, and no truer for it.",
        source="Bhatt et al. 2020 (entropy of a map); Chalasani et al. 2020 (Gini index).",
        fails="",
        few="",
        passes="",
        checks="complexity",
    ),
    "efficient-parameter-randomization": Question(
        short="rise of entropy",
        asks="Every layer is made random: does the entropy of the map's values rise?",
        cannot="A rise is no merit by itself: pure noise has the most, and a map of few values has little to lose. "
        "It is no part of what makes a map believable.",
        source="Hedström et al. 2024 (Efficient MPRT).",
        fails="",
        few="",
        passes="",
        checks="efficient-parameter-randomization",
    ),
    "cost": Question(
        short="cost",
        asks="How long does a map take, against the cheapest method that looks at the network?",
        cannot="Another machine, batch or network gives other times.",
        source="Measured in this run.",
        fails="",
        few="",
        passes="",
        checks="",
    ),
}  # fmt: skip


def short(question: str) -> str:
    """The name of a question above a column."""
    return _said(question, "short", "{}")


def fails(question: str) -> str:
    """How a failure is said of one method."""
    return _said(question, "fails", "fails {}")


def few(question: str) -> str:
    """How a failure is said of several methods."""
    return _said(question, "few", "fail {}")


def passes(question: str) -> str:
    """How it is said of several methods that they do not fail."""
    return _said(question, "passes", "pass {}")


def _said(question: str, field: str, otherwise: str) -> str:
    known = QUESTIONS.get(question)
    found: str = getattr(known, field) if known else ""
    return found or otherwise.format(question.replace("-", " "))
