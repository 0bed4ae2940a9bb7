"""Trained weights kept on disk, named by everything that made them."""

import hashlib
import inspect
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn

from heatproof import artifacts
from heatproof.arithmetic import pinned
from heatproof.artifacts import Stored
from heatproof.data import Dataset
from heatproof.zoo import training as loop
from heatproof.zoo.recipes import Training
from heatproof.zoo.training import Trained, seeded, train

Network = Callable[[], nn.Module]  # a class, or a partial of one
FACTS = ("train_accuracy", "test_accuracy", "epochs", "seconds")  # of a Trained


class Loads(Protocol):
    """What gives samples: a source, or one with permuted labels."""

    def load(self) -> Dataset: ...


def trained(network: Network, training: Training, train_part: Loads, test_part: Loads) -> Trained:
    """The network trained by the recipe: from the cache if these very weights were made before, else trained and kept.

    The name of the weights is a digest of the recipe, the network's and the loop's source, the first weights, torch's
    version and all samples, so that nothing stale is ever read. A damaged file is made again. Training runs
    on one thread, because sums on two differ in their last bits: everybody's demo network is the same on the same kind
    of processor.

    Raises: TrainingError if the required accuracy is not reached (then nothing is kept); StoreError if the cache
        folder cannot be written.
    """
    return made(network, training, train_part.load(), test_part.load())


def made(network: Network, training: Training, data: Dataset, test: Dataset) -> Trained:
    """`trained`, of samples that are loaded already."""
    return artifacts.kept_tensors(
        file_name(network, training, data, test),
        read=partial(_together, network),
        make=partial(_made, network, training, data, test),
        parts=_parts,
    )


def found(network: Network, training: Training, data: Dataset, test: Dataset) -> Trained | None:
    """What `made` would give without training: None if the weights are not in the cache."""
    return artifacts.found_tensors(file_name(network, training, data, test), partial(_together, network))


def file_name(network: Network, training: Training, data: Dataset, test: Dataset) -> str:
    """The name of the weights' file in the cache folder."""
    return f"{_class(network).__name__.lower()}-{fingerprint(network, training, data, test)[:16]}.safetensors"


def fingerprint(network: Network, training: Training, data: Dataset, test: Dataset) -> str:
    """SHA-256 of everything that decides the weights but the processor."""
    with pinned(threads=1), seeded(training):
        first = network().state_dict()
    weights = hashlib.sha256()
    for name, tensor in first.items():
        weights.update(f"{name}{tuple(tensor.shape)}".encode())
        weights.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    parts = {
        "network": inspect.getsource(_class(network)),
        "arguments": repr(network.keywords) if isinstance(network, partial) else "",
        "first weights": weights.hexdigest(),
        "loop": inspect.getsource(loop),
        "training": asdict(training),
        "data": [data.fingerprint, test.fingerprint],
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _class(network: Network) -> type[Any]:
    found = network.func if isinstance(network, partial) else network
    assert isinstance(found, type)
    return found


def _made(network: Network, training: Training, data: Dataset, test: Dataset) -> Trained:
    with pinned(threads=1):
        return train(network, training, data, test)


def _together(network: Network, stored: Stored) -> Trained:
    # Building draws first weights, which the kept ones replace at once.
    with torch.random.fork_rng(devices=[]):
        model = network().eval()
    weights, facts = artifacts.matching(stored, model.state_dict(), FACTS)
    model.load_state_dict(weights)
    return Trained(model=model, **facts)


def _parts(result: Trained) -> Stored:
    return Stored(result.model.state_dict(), {name: getattr(result, name) for name in FACTS})
