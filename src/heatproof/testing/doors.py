"""Clauses about what a method refuses, with an error that says what to do."""

from collections.abc import Callable, Iterator
from copy import deepcopy

import torch
from torch import Tensor, nn

from heatproof.errors import InputError
from heatproof.methods.base import Method
from heatproof.testing.case import Case, forward_width


def refuses_training_mode(case: Case) -> Iterator[str]:
    """A model in training mode, wholly or in part, is refused."""
    for whole in (True, False):
        model = deepcopy(case.model)
        (model if whole else list(model.modules())[-1]).training = True
        if not _refused(case, model, case.inputs, case.targets):
            yield "expected InputError for a model, or one submodule, in training mode, but none came."


def refuses_bad_inputs(case: Case) -> Iterator[str]:
    """NaN, infinity and integers are refused."""
    for value in (torch.nan, torch.inf):
        inputs = case.inputs.clone()
        inputs[0].view(-1)[0] = value
        if not _refused(case, case.model, inputs, case.targets):
            yield f"expected InputError for inputs that hold {value}, but none came."
    if not _refused(case, case.model, case.inputs.to(torch.int64), case.targets):
        yield "expected InputError for integer inputs, but none came."


def refuses_bad_targets(case: Case) -> Iterator[str]:
    """Targets that name no output of each sample are refused."""
    wrong = {
        "of a float dtype": case.targets.to(case.inputs.dtype),
        "of shape (N, 1)": case.targets[:, None],
        "one too few": case.targets[1:],
        "below 0": case.targets - 1 - case.targets.max(),
    }
    if case.uses_model:
        wrong["beyond the last output"] = case.targets + forward_width(case.model, case.inputs)
    for what, targets in wrong.items():
        if not _refused(case, case.model, case.inputs, targets):
            yield f"expected InputError for targets {what}, but none came."


def _refused(case: Case, model: nn.Module, inputs: Tensor, targets: Tensor) -> bool:
    return not isinstance(case.method, Method) or refuses(lambda: case.method(model, inputs, targets))


def refuses(call: Callable[[], object]) -> bool:
    """Whether a call ends in an InputError."""
    try:
        call()
    except InputError:
        return True
    except Exception:  # an error, but not one that says what to do
        return False
    return False
