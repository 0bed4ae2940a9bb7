"""The entries of a run's manifest, typed: its states, checks and methods."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from heatproof.metrics import Metric
from heatproof.rows import Role


@dataclass(frozen=True, kw_only=True)
class StateInfo:
    """A state of the network in which maps were made. `complete`: nothing that decides its outputs is as trained.

    `dead` says by what a random network was found to answer to nothing, and `remedy` what to set; `agreement` is the
    correlation of its outputs with the trained ones where that is high.
    """

    name: str
    role: Role
    group: str = ""
    label: str = ""
    index: int = 0
    seed: int = 0
    complete: bool = False
    dead: str = ""
    remedy: str = ""
    agreement: float | None = None

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """The state of an entry."""
        known = {field.name for field in fields(cls)} - {"role"}
        return cls(role=Role(state["kind"]), **{name: value for name, value in state.items() if name in known})


@dataclass(frozen=True, kw_only=True)
class CheckInfo:
    """A check under its label. `id` is the registered name of its class, or of the class that it derives from."""

    label: str
    id: str
    recipe: Mapping[str, Any]
    metrics: Mapping[str, Metric]

    @classmethod
    def of(cls, check: Mapping[str, Any]) -> Self:
        """The check of an entry."""
        metrics = {metric["name"]: Metric(**metric) for metric in check["metrics"]}
        return cls(label=check["label"], id=check["id"], recipe=check["recipe"], metrics=metrics)


@dataclass(frozen=True, kw_only=True)
class MethodInfo:
    """A method under its label; whether it looks at no model, and why it was left out of changed networks.

    Of one whose maps were `given` there is no map of another network, nor a second one of the same.
    """

    label: str
    name: str | None
    control: bool
    excluded: str = ""
    given: bool = False

    @classmethod
    def of(cls, method: Mapping[str, Any]) -> Self:
        """The method of an entry."""
        left_out = (one["because"] for one in method.get("learns", ()) if one["changed"] == "exclude")
        return cls(
            label=method["label"],
            name=method["name"],
            control=bool(method.get("controls")),
            given=bool(method.get("given")),
            excluded="; ".join(dict.fromkeys(left_out)),
        )
