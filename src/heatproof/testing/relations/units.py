"""Units: the same question with numbers in other units."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from heatproof.testing.relations.base import Change
from heatproof.testing.relations.editing import edited, first_linear
from heatproof.testing.relations.layout import KEYED
from heatproof.testing.relations.traits import Traits

UNSTATED = "how its maps go with the units of the input is not stated"
LIKELIHOOD = "it reads the likelihood of the label, and larger logits are another question"
TOGETHER = "it takes all scalars of a sample, or of a position, together: in one unit"
FACTORS = (1e-13, 1e-6, 1e-3, 1e6)
SECOND = 1e-3  # the unit of the scalars with an odd number, in that of the others


@dataclass(frozen=True, kw_only=True)
class Rescaled(Change):
    """A relation of this family."""

    family: ClassVar[str] = "units"


def _homogeneous(factor: float) -> Rescaled:
    """R(c·x) = c^k · R(x) on networks with f(c·x) = c · f(x): rectifiers without biases."""
    return Rescaled(
        name=f"homogeneous-{factor:.0e}",
        says=f"inputs times {factor:.0e}, on networks of rectifiers without biases",
        inputs=lambda inputs: inputs * factor,
        outputs=lambda outputs: outputs / factor,
        undo=lambda maps, traits: maps / factor ** (traits.degree or 0),
        excuse=lambda traits: _excuse(traits, traits.degree),
    )


def _excuse(traits: Traits, exponent: int | None) -> str:
    if traits.draws:
        return KEYED
    if exponent is None:
        return LIKELIHOOD if traits.likelihood else UNSTATED
    return ""


def _of_columns(traits: Traits) -> str:
    return _excuse(traits, traits.unit) or ("" if traits.per_scalar else TOGETHER)


def _columns(inputs: Tensor) -> Tensor:
    """The unit of each channel, column or component of the embedding, to multiply inputs (N, …) by."""
    along = 1 if inputs.dim() in (2, 4) else inputs.dim() - 1
    units = torch.ones(inputs.shape[along], dtype=inputs.dtype, device=inputs.device)
    units[1::2] = SECOND
    return units.view([-1 if dim == along else 1 for dim in range(inputs.dim())])


def _in_units(units: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, Tensor], nn.Module | str]:
    """The network that takes inputs in other units: the first layer's weights divided by them."""

    def change(model: nn.Module, inputs: Tensor) -> nn.Module | str:
        name = first_linear(model, inputs)
        if name is None:
            return "no linear operation alone reads the input"
        each = units(inputs)

        def edit(module: nn.Module, before: nn.Module | None) -> nn.Module | None:
            grouped = getattr(module, "groups", 1) != 1 or isinstance(module, nn.ConvTranspose2d)
            if grouped and each.numel() > 1:
                return None
            assert isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
            with torch.no_grad():
                flat = each.flatten()
                along = (1, -1, *[1] * (module.weight.dim() - 2)) if flat.numel() > 1 else [1] * module.weight.dim()
                module.weight.div_(flat.view(along))
            return module

        return edited(model, edit, only=name)

    return change


def _one(factor: float) -> Callable[[Tensor], Tensor]:
    return lambda inputs: torch.full((), factor, dtype=inputs.dtype, device=inputs.device)


def _whole(factor: float) -> Rescaled:
    units = _one(factor)
    return Rescaled(
        name=f"unit-{factor:.0e}",
        says=f"inputs times {factor:.0e}, the first layer's weights divided by it",
        network=_in_units(units),
        inputs=lambda inputs: inputs * factor,
        undo=lambda maps, traits: maps / factor ** (traits.unit or 0),
        excuse=lambda traits: _excuse(traits, traits.unit),
    )


UNITS = (
    *map(_homogeneous, FACTORS),
    *map(_whole, (1e-6, 1e6)),
    Rescaled(
        name="one-column",
        says="every second channel or column a thousandth as large, the first layer's weights as much larger",
        network=_in_units(_columns),
        inputs=lambda inputs: inputs * _columns(inputs),
        undo=lambda maps, traits: maps / _columns(maps) ** (traits.unit or 0),
        excuse=_of_columns,
    ),
)
