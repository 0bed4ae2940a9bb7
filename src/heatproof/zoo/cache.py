"""Trained weights kept on disk, named by everything that made them."""

import hashlib
import inspect
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from heatproof.data import Dataset, Source
from heatproof.errors import StoreError
from heatproof.zoo import training as loop
from heatproof.zoo.recipes import Training
from heatproof.zoo.training import Trained, train

CACHE_VARIABLE = "HEATPROOF_CACHE"


def folder() -> Path:
    """Where weights are kept: HEATPROOF_CACHE, or `heatproof` in the platform's folder for caches."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "heatproof"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "heatproof" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heatproof"


def trained(network: type[nn.Module], training: Training, train_part: Source, test_part: Source) -> Trained:
    """The network trained by the recipe: from the cache if these very weights were made before, else trained and kept.

    The name of the weights is a digest of the recipe, the network's and the loop's source, torch's version and all
    samples, so that nothing stale is ever read. A file that cannot be read is made again. Training runs on one thread,
    because sums on two differ in their last bits: everybody's demo network is the same on the same kind of processor.

    Raises: TrainingError if the required accuracy is not reached (then nothing is kept); StoreError if the cache
        folder cannot be written.
    """
    data, test = train_part.load(), test_part.load()
    path = folder() / f"{network.__name__.lower()}-{fingerprint(network, training, data, test)[:16]}.safetensors"
    kept = _read(path, network)
    if kept is None:
        with _one_thread():
            kept = train(network, training, data, test)
        _write(path, kept, training)
    return kept


def fingerprint(network: type[nn.Module], training: Training, data: Dataset, test: Dataset) -> str:
    """SHA-256 of everything that decides the weights but the processor."""
    parts = {
        "network": inspect.getsource(network),
        "loop": inspect.getsource(loop),
        "training": asdict(training),
        "data": [digest(data), digest(test)],
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def digest(data: Dataset) -> str:
    """SHA-256 of the inputs and targets of `data`."""
    shape = json.dumps([list(data.inputs.shape), str(data.inputs.dtype)]).encode()
    content = hashlib.sha256(shape)
    content.update(data.inputs.contiguous().numpy().data)
    content.update(data.targets.contiguous().numpy().data)
    return content.hexdigest()


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _read(path: Path, network: Callable[[], nn.Module]) -> Trained | None:
    if not path.is_file():
        return None
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


def _write(path: Path, result: Trained, training: Training) -> None:
    facts = {
        "train_accuracy": result.train_accuracy,
        "test_accuracy": result.test_accuracy,
        "epochs": result.epochs,
        "seconds": result.seconds,
    }
    metadata = {"heatproof": json.dumps(facts), "training": json.dumps(asdict(training))}
    weights = {name: tensor.contiguous() for name, tensor in result.model.state_dict().items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        os.close(handle)
        try:
            save_file(weights, temporary, metadata=metadata)
            Path(temporary).replace(path)  # whole or absent, whoever else writes it
        finally:
            Path(temporary).unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        raise StoreError(
            f"Expected to keep trained weights in {str(path.parent)!r}, but writing failed ({error}); "
            f"set {CACHE_VARIABLE} to a folder that can be written."
        ) from error
