"""Trained weights kept on disk, named by everything that made them."""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from heatproof import artifacts
from heatproof.data import Dataset
from heatproof.zoo import training as loop
from heatproof.zoo.recipes import Training
from heatproof.zoo.training import Trained, seeded, train

Network = Callable[[], nn.Module]  # a class, or a partial of one


class Loads(Protocol):
    """What gives samples: a source, or one with permuted labels."""

    def load(self) -> Dataset: ...


def trained(network: Network, training: Training, train_part: Loads, test_part: Loads) -> Trained:
    """The network trained by the recipe: from the cache if these very weights were made before, else trained and kept.

    The name of the weights is a digest of the recipe, the network's and the loop's source, the first weights, torch's
    version and all samples, so that nothing stale is ever read. A file that cannot be read is made again. Training runs
    on one thread, because sums on two differ in their last bits: everybody's demo network is the same on the same kind
    of processor.

    Raises: TrainingError if the required accuracy is not reached (then nothing is kept); StoreError if the cache
        folder cannot be written.
    """
    return made(network, training, train_part.load(), test_part.load())


def made(network: Network, training: Training, data: Dataset, test: Dataset) -> Trained:
    """`trained`, of samples that are loaded already."""
    result: Trained = artifacts.kept(
        file_name(network, training, data, test),
        read=partial(_read, network),
        make=partial(_made, network, training, data, test),
        write=partial(_write, training),
    )
    return result


def found(network: Network, training: Training, data: Dataset, test: Dataset) -> Trained | None:
    """What `made` would give without training: None if the weights are not in the cache."""
    path = artifacts.folder() / file_name(network, training, data, test)
    return _read(network, path) if path.is_file() else None


def file_name(network: Network, training: Training, data: Dataset, test: Dataset) -> str:
    """The name of the weights' file in the cache folder."""
    return f"{_class(network).__name__.lower()}-{fingerprint(network, training, data, test)[:16]}.safetensors"


def fingerprint(network: Network, training: Training, data: Dataset, test: Dataset) -> str:
    """SHA-256 of everything that decides the weights but the processor."""
    with one_thread(), seeded(training):
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


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums on one thread: those on two differ in their last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _made(network: Network, training: Training, data: Dataset, test: Dataset) -> Trained:
    with one_thread():
        return train(network, training, data, test)


def _read(network: Network, path: Path) -> Trained | None:
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["heatproof"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    # Building draws first weights, which the kept ones replace at once.
    with torch.random.fork_rng(devices=[]):
        model = network().eval()
    model.load_state_dict(weights)
    return Trained(model=model, **facts)


def _write(training: Training, result: Trained, path: Path) -> None:
    facts = {
        "train_accuracy": result.train_accuracy,
        "test_accuracy": result.test_accuracy,
        "epochs": result.epochs,
        "seconds": result.seconds,
    }
    metadata = {"heatproof": json.dumps(facts), "training": json.dumps(asdict(training))}
    weights = {name: tensor.contiguous() for name, tensor in result.model.state_dict().items()}
    save_file(weights, path, metadata=metadata)
