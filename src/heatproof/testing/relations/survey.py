"""Many networks, each with a few methods and relations: every cell of the table is tried on networks of its own."""

import random
from collections.abc import Iterable, Mapping, Sequence

from heatproof.methods.base import Attribution
from heatproof.testing.relations.base import Relation, Subject
from heatproof.testing.relations.checking import RELATIONS, Table, relation_table
from heatproof.testing.relations.specs import NetworkSpec, draw
from heatproof.testing.relations.traits import traits_of


def survey(
    methods: Mapping[str, Attribution],
    networks: Iterable[NetworkSpec | tuple[str, Subject]],
    *,
    relations: Sequence[Relation] = RELATIONS,
    methods_each: int = 3,
    relations_each: int = 5,
    seed: int = 0,
    table: Table | None = None,
) -> Table:
    """Some methods under some relations on each network, chosen at random; the table of what came of it.

    Cost: `methods_each` · (1 + `relations_each`) maps a network.
    """
    stream = random.Random(seed)
    table = {} if table is None else table
    for network in networks:
        some = stream.sample(sorted(methods), min(methods_each, len(methods)))
        chosen = stream.sample(list(relations), min(relations_each, len(relations)))
        relation_table({name: methods[name] for name in some}, [network], relations=chosen, table=table)
    return table


def filled(
    methods: Mapping[str, Attribution],
    table: Table,
    *,
    relations: Sequence[Relation] = RELATIONS,
    fewest: int = 1,
    tries: int = 300,
    seed: int = 100_000,
) -> Table:
    """The table with every cell tried on `fewest` networks at least, where some of `tries` more can be found for it.

    Cells stay empty where a method refuses, or a relation does not apply to, all of them.
    """
    by_name = {relation.name: relation for relation in relations}
    for (relation, method), cell in missing(methods, table, relations, fewest).items():
        for number in range(tries):
            if cell >= fewest:
                break
            relation_table({method: methods[method]}, [draw(seed + number)], relations=[by_name[relation]], table=table)
            cell = table[relation, method].draws
    return table


def missing(
    methods: Mapping[str, Attribution], table: Table, relations: Sequence[Relation] = RELATIONS, fewest: int = 1
) -> dict[tuple[str, str], int]:
    """The cells that were tried on fewer networks, with how many; not those that the relation says nothing of."""
    found = {}
    for relation in relations:
        for name, method in methods.items():
            tried = table[relation.name, name].draws if (relation.name, name) in table else 0
            if tried < fewest and relation.applies(traits_of(method)) is None:
                found[relation.name, name] = tried
    return found
