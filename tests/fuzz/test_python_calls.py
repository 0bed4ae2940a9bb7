"""Bad values in Python calls: constructors of everything registered, methods, randomizations, and audits."""

import dataclasses
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import limits
import pytest
import torch
import values
from torch import nn

import heatproof as hp
from heatproof.adapters.base import ADAPTERS
from heatproof.checks import CHECKS
from heatproof.data import DATA
from heatproof.errors import HeatproofError
from heatproof.methods.base import METHODS
from heatproof.models import Bound
from heatproof.randomization import RANDOMIZATIONS
from heatproof.recipes import NOUNS

QUICK = ("gradient", "gradient-x-input", "grad-cam", "lrp-epsilon", "occlusion", "random", "edge-detector", "deeplift")


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3)).eval()


NET = network()


def constructor(generator: random.Random) -> Any:
    """A registered recipe with one field that holds something else."""
    registry: Any = generator.choice([METHODS, CHECKS, DATA, ADAPTERS, *NOUNS.values()])
    try:
        default = registry.get(generator.choice(registry.names()))
    except HeatproofError:
        return lambda: None
    fields = [one.name for one in dataclasses.fields(default) if one.init] if dataclasses.is_dataclass(default) else []
    if not fields:
        return lambda: None
    name, value = generator.choice(fields), values.strange(generator)
    return lambda: dataclasses.replace(default, **{name: value})


def by_name(generator: random.Random) -> Any:
    """A look-up of something that is no name, or with fields that there are not."""
    registry: Any = generator.choice([METHODS, CHECKS, DATA, ADAPTERS, *NOUNS.values()])
    name: Any = values.strange(generator) if generator.random() < 0.5 else generator.choice(registry.names())
    field = generator.choice(["seed", "nonsense", "steps", "layer"])
    return lambda: registry.get(name, **{field: values.strange(generator)})


def attribution(generator: random.Random) -> Any:
    """A method called with something else for the model, the inputs or the targets."""
    method = METHODS.get(generator.choice(QUICK))
    given: list[Any] = [NET, torch.zeros(2, 1, 8, 8), torch.tensor([0, 1])]
    place = generator.randrange(3)
    given[place] = values.tensor(generator) if generator.random() < 0.7 else values.strange(generator)
    return lambda: method(*given)


def randomization(generator: random.Random) -> Any:
    """The stages of something else, or on something else."""
    recipe = RANDOMIZATIONS.get(generator.choice(RANDOMIZATIONS.names()))
    given: list[Any] = [NET, torch.zeros(2, 1, 8, 8)]
    given[generator.randrange(2)] = values.tensor(generator) if generator.random() < 0.5 else values.strange(generator)
    return lambda: list(recipe.stages(*given))


def bound(generator: random.Random) -> Any:
    """A network with something else filled in."""
    name = generator.choice(["at", "given", "output", "layer", "reduction", "layout", "net"])
    value = values.strange(generator)
    return lambda: Bound(value) if name == "net" else Bound(NET, **{name: value})(torch.zeros(2, 1, 8, 8))


def audit(generator: random.Random) -> Any:
    """An audit with one argument that is something else."""
    given: dict[str, Any] = {"methods": ["gradient"], "checks": ["calibration"], "progress": False, "threads": 1}
    places = [
        "model",
        "data",
        "targets",
        "methods",
        "checks",
        "ids",
        "boxes",
        "masks",
        "labels",
        "outputs",
        "training_data",
    ]
    place = generator.choice([*places, "features", "batch", "threads", "believable", "gallery", "max_errors", "about"])
    given |= {"model": NET, "data": torch.zeros(2, 1, 8, 8)}
    given[place] = values.tensor(generator) if generator.random() < 0.3 else values.strange(generator)

    def call() -> None:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            hp.audit(given.pop("model"), given.pop("data"), out=out, **given)

    return call


KINDS = [(constructor, 10), (by_name, 4), (attribution, 4), (randomization, 1), (bound, 2), (audit, 1)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("times", [300, pytest.param(5000, marks=pytest.mark.slow)])
def test_no_call_ends_in_an_error_that_is_not_ours(times: int) -> None:
    generator, found, began = random.Random(times), Counter[str](), limits.memory()
    kinds, weights = zip(*KINDS, strict=True)
    for number in range(times):
        make = generator.choices(kinds, weights)[0]
        said = limits.wrong(make(generator))
        if said:
            found[f"{make.__name__} (case {number}): {said}"] += 1
    assert not found, "\n".join(found)
    assert limits.memory() - began < limits.MEMORY
    assert torch.is_grad_enabled()
