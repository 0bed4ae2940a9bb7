"""What a method must leave as it was: the model, its inputs, and the process."""

import pickle
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from heatproof import state
from heatproof.propagation.independence import check_independent


class ContractError(AssertionError):
    """A method broke a clause of the contract; `clause` is its name.

    >>> class Doubled:
    ...     def __call__(self, model, inputs, targets):
    ...         return inputs.repeat(2, 1, 1, 1)
    ...
    >>> try:
    ...     hp.testing.check_method(Doubled())
    ... except hp.testing.ContractError as error:
    ...     print(error.clause)
    ...
    shape
    """

    def __init__(self, clause: str, message: str) -> None:
        super().__init__(f"{clause}: {message}")
        self.clause = clause


class Before:
    """Every module, parameter, buffer, mode, hook and gradient of a model, and the process's state, at one moment."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.process = model, process_state()
        self.modules = {name: (module, _flags(module)) for name, module in model.named_modules()}
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self.tensors = {
            name: (tensor, tensor.detach().clone(), tensor.requires_grad) for name, tensor in tensors.items()
        }
        self.gradients = {name: _copy(tensor.grad) for name, tensor in tensors.items()}

    def changes(self) -> Iterator[str]:
        """What is not as it was, in words."""
        yield from (f"{key} changed" for key, value in process_state().items() if value != self.process[key])
        modules = dict(self.model.named_modules())
        if modules.keys() != self.modules.keys():
            yield f"submodules are {sorted(modules)}, not {sorted(self.modules)}"
            return
        for name, (module, flags) in self.modules.items():
            if modules[name] is not module:
                yield f"submodule {name!r} was replaced by another {type(modules[name]).__name__}"
            elif (now := _flags(module)) != flags:
                keys = sorted(key for key in now.keys() | flags.keys() if now.get(key) != flags.get(key))
                yield f"{', '.join(keys)} of submodule {name!r} changed"
        tensors = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        if tensors.keys() != self.tensors.keys():
            yield f"parameters and buffers are {sorted(tensors)}, not {sorted(self.tensors)}"
            return
        for name, (tensor, value, requires_grad) in self.tensors.items():
            if tensors[name] is not tensor:
                yield f"{name!r} was replaced by another tensor"
            elif not same_bits(tensor, value):
                yield f"the values of {name!r} changed"
            if tensors[name].requires_grad != requires_grad:
                yield f"requires_grad of {name!r} changed"
            if not same_bits(tensors[name].grad, self.gradients[name]):
                yield f".grad of {name!r} changed"


def process_state() -> dict[str, Any]:
    """Random states and global settings, to compare before with after."""
    return {
        "torch's random state": torch.get_rng_state().tolist(),
        "numpy's random state": pickle.dumps(np.random.get_state()),  # noqa: NPY002  # the global state is what is looked at
        "python's random state": random.getstate(),
        "the grad mode": torch.is_grad_enabled(),
        "the default dtype": torch.get_default_dtype(),
        "the number of threads": torch.get_num_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "cuDNN's flags": (
            torch.backends.cudnn.enabled,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
        ),
    }


@contextmanager
def other_random_state(seed: int) -> Iterator[None]:
    """Global generators in another state, put back afterwards: what a method draws from them shows."""
    legacy, python = np.random.get_state(), random.getstate()  # noqa: NPY002  # the global state is what is moved
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(legacy)  # noqa: NPY002
            random.setstate(python)


@contextmanager
def raising(model: nn.Module, inputs: Tensor, after: int) -> Iterator[None]:
    """The model raises once its submodules without children have run `after` times.

    What is settled once a model is settled on `inputs` before: only the calls of methods count.
    """
    calls, counts = 0, False

    def hook(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        nonlocal calls
        calls += counts
        if calls > after:
            raise RuntimeError("the network failed on purpose")

    handles = [module.register_forward_hook(hook) for module in model.modules() if not list(module.children())]
    try:
        check_independent(model, inputs)
        counts = True
        yield
    finally:
        for handle in handles:
            handle.remove()


def leaf_calls(model: nn.Module, inputs: Tensor) -> int:
    """How often submodules without children run in one forward pass."""
    calls = 0

    def hook(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        nonlocal calls
        calls += 1

    handles = [module.register_forward_hook(hook) for module in model.modules() if not list(module.children())]
    try:
        with torch.no_grad():
            model(inputs.clone())
    finally:
        for handle in handles:
            handle.remove()
    return calls


def same_bits(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether two tensors have the same shape, type and values, NaN equal to NaN."""
    if one is None or other is None:
        return one is other
    return state.same_bits(one.detach(), other.detach())


def _copy(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().clone()


def _flags(module: nn.Module) -> dict[str, Any]:
    """A module's plain attributes, its hooks, and the names of everything it holds: a replaced `forward` shows."""
    plain = {key: value for key, value in vars(module).items() if isinstance(value, bool | int | float | str)}
    hooks = {key: tuple(value) for key, value in vars(module).items() if key.endswith("hooks") and value is not None}
    return {**plain, **hooks, "attributes": tuple(sorted(vars(module)))}
