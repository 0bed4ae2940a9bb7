"""What a plan is made of: methods and checks under their labels, conditions of the model, questions."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from heatproof.checks.base import CHECKS, Check, State
from heatproof.described import unit
from heatproof.methods.base import METHODS, Attribution
from heatproof.methods.fitted import learners
from heatproof.methods.given import Given
from heatproof.recipes import describe, text

SHOWN = ("trained", "randomized", "retrained")  # kinds of states whose maps are kept for the gallery


@dataclass(frozen=True)
class NamedMethod:
    """A method under its label in the rows."""

    label: str
    recipe: Attribution

    @property
    def name(self) -> str | None:
        """The registered name, for methods of ours."""
        return METHODS.name_of(self.recipe)

    @property
    def uses_model(self) -> bool:
        """Whether the method looks at the model at all."""
        return bool(getattr(self.recipe, "uses_model", True))

    @property
    def is_given(self) -> bool:
        """Whether its maps are given: there is none of another network, nor a second one of this."""
        return isinstance(self.recipe, Given)

    def describe(self) -> dict[str, Any]:
        """What the manifest says of this method."""
        return {
            "label": self.label,
            "name": self.name,
            "recipe": describe(self.recipe),
            "text": text(self.recipe),
            "controls": not self.uses_model,
            "given": self.is_given,
            "unit": unit(self.recipe),
            "learns": [
                {
                    "method": type(one).__name__,
                    "given": one.fitted is not None,
                    "changed": one.on_changed_model,
                    "because": one.on_changed_because,
                }
                for one in learners(self.recipe)
            ],
        }


@dataclass(frozen=True)
class NamedCheck:
    """A check under its label in the rows."""

    label: str
    name: str
    recipe: Check

    @property
    def id(self) -> str:
        """What readers know it by: the registered name of its class, or of the class that it derives from."""
        return CHECKS.id_of(type(self.recipe)) or self.name or self.label


class Question(NamedTuple):
    """What one check asks about one method (or the network, method "") in one state, of every block.

    About a pair of methods where there is an `other` one, whose label sorts after the first's. With a block it makes a
    cell: its rows are all there, or none.
    """

    check: str
    state: str
    method: str
    other: str = ""


@dataclass(frozen=True)
class Condition:
    """A state that attributions are computed in, and the checks that read them, each with its own name for it."""

    id: str
    state: State
    readers: tuple[tuple[NamedCheck, State], ...]

    def states_of(self, check: NamedCheck) -> list[State]:
        """What this check calls the condition."""
        return [state for reader, state in self.readers if reader.label == check.label]

    @property
    def shown_as(self) -> list[str]:
        """The names of the condition in a gallery; its maps are kept under the first."""
        return [state.name for _, state in self.readers if state.kind in SHOWN]
