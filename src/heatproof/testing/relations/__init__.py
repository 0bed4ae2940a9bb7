"""Relations that must hold: something that means nothing is done, and the map stays, or changes in a known way.

Networks come from `draw(seed)`, which tells one in a few words, and `build`; `check_relations` holds one method to
relations on one network, `relation_table` many methods on many.
"""

from heatproof.testing.relations.base import Change, Outcome, Relation, Subject
from heatproof.testing.relations.batch import Batched
from heatproof.testing.relations.building import build, samples
from heatproof.testing.relations.checking import (
    RELATIONS,
    Cell,
    check_relations,
    relation_table,
    relations,
    subject_of,
)
from heatproof.testing.relations.quick import quick, quick_methods
from heatproof.testing.relations.specs import NetworkSpec, Step, draw
from heatproof.testing.relations.survey import filled, missing, survey
from heatproof.testing.relations.trace import NoTrace
from heatproof.testing.relations.traits import Traits, traits_of

__all__ = [
    "RELATIONS",
    "Batched",
    "Cell",
    "Change",
    "NetworkSpec",
    "NoTrace",
    "Outcome",
    "Relation",
    "Step",
    "Subject",
    "Traits",
    "build",
    "check_relations",
    "draw",
    "filled",
    "missing",
    "quick",
    "quick_methods",
    "relation_table",
    "relations",
    "samples",
    "subject_of",
    "survey",
    "traits_of",
]
