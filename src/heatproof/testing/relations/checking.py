"""The table of relations and methods, and the check of one method on one network."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from heatproof.errors import HeatproofError, InputError, unknown
from heatproof.methods.base import Attribution
from heatproof.testing.relations.base import Known, Outcome, Relation, Subject, known_on
from heatproof.testing.relations.batch import BATCH
from heatproof.testing.relations.building import build, samples
from heatproof.testing.relations.forms import FORMS
from heatproof.testing.relations.layout import LAYOUT
from heatproof.testing.relations.nothing import NOTHING
from heatproof.testing.relations.specs import NetworkSpec
from heatproof.testing.relations.spelling import SPELLING
from heatproof.testing.relations.trace import TRACE
from heatproof.testing.relations.traits import Traits, traits_of
from heatproof.testing.relations.units import UNITS
from heatproof.testing.snapshots import ContractError

RELATIONS: tuple[Relation, ...] = (*SPELLING, *FORMS, *LAYOUT, *BATCH, *NOTHING, *UNITS, *TRACE)


def relations(*names: str) -> tuple[Relation, ...]:
    """The relations of these names or families.

    Raises: UnknownNameError for a name that none has.
    """
    known = {name for one in RELATIONS for name in (one.name, one.family)}
    for name in names:
        if name not in known:
            raise unknown("relation", name, known)
    return tuple(one for one in RELATIONS if one.name in names or one.family in names)


def check_relations(
    method: Attribution,
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    relations: Iterable[Relation] = RELATIONS,
    traits: Traits | None = None,
) -> dict[str, Outcome]:
    """Hold a method to relations on a network; what came of each, by its name.

    A relation changes the network, the inputs (N, …), in float64, or the batch in a way that means nothing, and the map
    must follow. One that says nothing of such a method or such a network is `inapplicable`, with the reason. A fitted
    method learns anew from the inputs, and again on each changed network.

    Args:
        traits: what the method is, where it is not one of this package: its degree of homogeneity, say. By default only
            what its class shows, and relations that need more do not apply.

    Raises: ContractError, whose `clause` names the first relation that does not hold.
    """
    if inputs.dtype != torch.float64:
        raise InputError(f"Expected inputs in float64, in which maps are compared, but got {inputs.dtype}.")
    subject = Subject(model, inputs, targets, inputs, targets)
    traits = traits_of(method) if traits is None else traits
    known = known_on(method, subject)
    found: dict[str, Outcome] = {}
    for relation in relations:
        found[relation.name] = _outcome(relation, known, subject, traits, relation.prepared(subject))
        if found[relation.name].kind == "fails":
            raise ContractError(
                relation.name, f"expected the map to follow {relation.says}, but it {found[relation.name].words}."
            )
    return found


def _outcome(relation: Relation, known: Known, subject: Subject, traits: Traits, prepared: Any) -> Outcome:
    reason = relation.applies(traits)
    if reason is not None:
        return Outcome("inapplicable", words=reason)
    try:
        return relation.outcome(known, subject, traits, prepared)
    except Exception as error:  # a raw error is what a user would meet
        return Outcome("fails", torch.inf, f"raises {type(error).__name__}: {error}")


@dataclass
class Cell:
    """What came of one relation for one method, over all networks that were tried."""

    holds: int = 0
    worst: float = 0.0
    refused: Counter[str] = field(default_factory=Counter)
    reason: str = ""
    failures: list[tuple[str, str]] = field(default_factory=list)

    def enter(self, network: str, outcome: Outcome) -> None:
        """One more network."""
        match outcome.kind:
            case "holds":
                self.holds += 1
                self.worst = max(self.worst, outcome.distance)
            case "refused":
                self.refused[outcome.words] += 1
            case "fails":
                self.failures.append((network, outcome.words))

    @property
    def draws(self) -> int:
        """How often it was tried."""
        return self.holds + sum(self.refused.values()) + len(self.failures)


Table = dict[tuple[str, str], Cell]


def relation_table(
    methods: Mapping[str, Attribution],
    networks: Iterable[NetworkSpec | tuple[str, Subject]],
    *,
    relations: Sequence[Relation] = RELATIONS,
    table: Table | None = None,
) -> Table:
    """Every relation for every method on every network: (relation, method) → what came of it.

    A network is a spec, which is built and gets inputs, or a name with a subject. One that a method refuses as it is
    says nothing of that method.
    """
    table = {} if table is None else table
    kinds = {name: traits_of(method) for name, method in methods.items()}
    for relation in relations:
        for name, traits in kinds.items():
            cell = table.setdefault((relation.name, name), Cell())
            cell.reason = relation.applies(traits) or ""
    for network in networks:
        told, subject = (repr(network), subject_of(network)) if isinstance(network, NetworkSpec) else network
        knowns = {name: known for name, method in methods.items() if (known := _known(method, subject)) is not None}
        for relation in relations:
            cells = {name: cell for name in knowns if not (cell := table[relation.name, name]).reason}
            prepared = relation.prepared(subject) if cells else None
            for name, cell in cells.items():
                cell.enter(told, _outcome(relation, knowns[name], subject, kinds[name], prepared))
    return table


def _known(method: Attribution, subject: Subject) -> Known | None:
    try:
        return known_on(method, subject)
    except HeatproofError:
        return None


def subject_of(spec: NetworkSpec, count: int = 3) -> Subject:
    """The network of a spec, with inputs of its own and eight further ones to learn from."""
    labels = torch.arange(8) % spec.outputs
    targets = torch.arange(count) % spec.outputs
    return Subject(build(spec), samples(spec, count), targets, samples(spec, 8, seed=1), labels)
