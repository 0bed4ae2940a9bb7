"""Writes docs/relations.md: which relations hold for which methods, on networks drawn at random and on real ones."""

import argparse
import logging
import sys
import time
import warnings
from pathlib import Path

import torch

from heatproof.testing.relations import (
    RELATIONS,
    Cell,
    Relation,
    Subject,
    draw,
    filled,
    quick_methods,
    relations,
    survey,
    traits_of,
)
from heatproof.testing.relations.base import LEARNED, TOLERANCE
from heatproof.testing.relations.checking import Table
from heatproof.testing.relations.spelling import STABILIZED

ROOT = Path(__file__).resolve().parent.parent
METHODS = quick_methods()
TORCHVISION = ("squeezenet1_1", "resnet18", "mobilenet_v2", "shufflenet_v2_x0_5")
TIMM = (
    "test_resnet", "test_efficientnet", "test_byobnet", "test_convnext", "test_vit", "test_vit2", "test_nfnet",
    "test_mambaout", "test_coatnet",
)  # fmt: skip
# Relations that edit a network need to know its parts; real networks are held to those that any network can be.
ANY = (
    "spelling",
    "form",
    "batch",
    "no trace",
    "channels-last",
    "non-contiguous",
    "outputs-times-one",
    "identity-layers",
)
REASONS: dict[str, str] = {}

HEAD = """# Relations that must hold

Written by `python docs/relations.py`. A relation does something that means nothing to a network, its inputs or their
batch: the map must stay, or change in a known way. Each is tried for every registered method, in float64, on networks
that are drawn at random (`heatproof.testing.relations.draw`): images from 1 × T to 8 : 1, sequences and tables, of
convolutions, transposed and depthwise ones, four norms, nine activations, pooling, padding, residual sums,
concatenations, gates, attention and five heads, a third of them without biases.

- A number is the largest difference over all networks, relative to the largest magnitude of a map: the relation holds
  up to it. Beside it, in parentheses, stands on how many networks it was tried.
- A letter is the reason why the relation says nothing of the method.
- **R** and a letter: refused by name, and why; beside a number: some networks are, and it holds on the others.
- Allowed are {tolerance:.0e}; {learned:.0e} for methods that keep what they learned in float32; {stabilized:.0e} for
  LRP, CLRP and deep Taylor in rows with a *, where their stabilizer stands in other sums.
- `tests/relations/test_bites.py` has a fault for each relation that it finds; `test_kept_failures.py` the networks that
  relations found faults with, shrunk.
"""


def real_networks() -> list[tuple[str, Subject]]:
    """Small networks of torchvision and timm, with random weights that keep a signal alive, in float64."""
    sys.path.insert(0, str(ROOT / "tests" / "propagation"))
    import timm
    import torchvision
    from networks import revive

    found = []
    for name in (*TORCHVISION, *TIMM):
        torch.manual_seed(0)
        size = 160 if name in TIMM else 48
        x = torch.randn(6, 3, size, size)
        make = timm.create_model if name in TIMM else torchvision.models.get_model
        with torch.random.fork_rng(devices=[]):
            model = revive(make(name, num_classes=7), x).double().eval()
        x = x.double()
        labels = torch.arange(6) % 7
        found.append((name, Subject(model, x[:2], labels[:2], x[2:], labels[2:])))
    return found


def letter(reason: str) -> str:
    """The letter of a reason."""
    count = len(REASONS)
    return REASONS.setdefault(reason, chr(ord("a") + count) if count < 26 else "a" + chr(ord("a") + count - 26))


def cell(relation: Relation, name: str, found: Cell) -> str:
    """One cell of the table."""
    if (reason := relation.applies(traits_of(METHODS[name]))) is not None:
        return letter(reason)
    if found.failures:
        return f"**fails** ({len(found.failures)} of {found.draws})"
    refused = "".join(f" **R** {letter(why)}" for why in found.refused)
    if not found.holds:
        return f"{refused.strip()} ({found.draws})" if refused else letter(NONE)
    size = "0" if found.worst == 0 else f"{found.worst:.0e}"
    return f"{size}{refused} ({found.draws})"


def table_of(family: str, table: Table) -> list[str]:
    """The rows of one family."""
    rows = relations(family)
    lines = [f"| {family} | " + " | ".join(METHODS) + " |", "| --- |" + " --- |" * len(METHODS)]
    for relation in rows:
        star = "*" if relation.stabilized else ""
        cells = [cell(relation, name, table.get((relation.name, name), Cell())) for name in METHODS]
        lines.append(f"| `{relation.name}`{star} | " + " | ".join(cells) + " |")
    return ["", *(f"- `{one.name}`: {one.says}" for one in rows), "", *lines]


def on_drawn(networks: int, tries: int, table: Table) -> None:
    """Every cell on networks that are drawn."""
    begun = time.monotonic()
    for first in range(0, networks, 50):
        drawn = [draw(10_000 + i) for i in range(first, min(first + 50, networks))]
        survey(METHODS, drawn, seed=first, table=table)
        print(f"{first + len(drawn)} networks, {time.monotonic() - begun:.0f} s", flush=True)
    filled(METHODS, table, tries=tries)
    print(f"filled, {time.monotonic() - begun:.0f} s", flush=True)


def on_real(networks: list[tuple[str, Subject]], repeats: int, table: Table) -> None:
    """Some cells on real networks; not those where a stabilizer stands in other sums, again in every layer."""
    exact = [relation for relation in relations(*ANY) if not relation.stabilized]
    few = {name: method for name, method in METHODS.items() if name not in LONG}
    for repeat in range(repeats):
        for place, network in enumerate(networks):
            seed = 100 * repeat + place
            survey(few, [network], relations=exact, methods_each=4, seed=seed, table=table)
            print(network[0], flush=True)


def main() -> None:
    """Try every relation, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=1000)
    parser.add_argument("--tries", type=int, default=60, help="networks that are tried for a cell that is empty")
    parser.add_argument("--real", type=int, default=1, help="draws of methods and relations for each real network")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("torch._dynamo").setLevel(logging.CRITICAL)
    table: Table = {}
    on_drawn(given.networks, given.tries, table)
    drawn = compared(table)
    real = real_networks() if given.real else []
    on_real(real, given.real, table)
    write(table, given.networks, drawn, [name for name, _ in real])


def compared(table: Table) -> int:
    """How many maps were compared."""
    return sum(found.draws for found in table.values())


def write(table: Table, networks: int, drawn: int, real: list[str]) -> None:
    """The page. Exits with an error where a relation fails."""
    lines = [HEAD.format(tolerance=TOLERANCE, learned=LEARNED, stabilized=STABILIZED)]
    lines.append(
        f"{networks:,} networks drawn, each under five relations with three methods, and more for cells that were "
        f"empty: {drawn:,} comparisons."
        + (f" Real networks ({', '.join(real)}): {compared(table) - drawn:,} more." if real else "")
    )
    for family in dict.fromkeys(relation.family for relation in RELATIONS):
        lines += table_of(family, table)
    lines += ["", *(f"- **{mark}**: {reason}." for reason, mark in REASONS.items()), ""]
    (ROOT / "docs" / "relations.md").write_text("\n".join(lines), encoding="utf-8")
    if failing := [key for key, found in table.items() if found.failures]:
        sys.exit(f"Expected every relation to hold, but these fail: {failing}.")


NONE = "no network that the method accepts has such an operation"
# Seconds a map on a real network.
LONG = {"iba-readout", "meaningful-perturbation", "integrated-gradients-smoothgrad", "integrated-gradients-vargrad"}

if __name__ == "__main__":
    main()
