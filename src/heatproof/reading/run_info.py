"""What a run says of itself, typed: its manifest as dataclasses."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from heatproof.errors import StoreError
from heatproof.metrics import Metric
from heatproof.rows import SCHEMA, Role


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


@dataclass(frozen=True, kw_only=True)
class CheckInfo:
    """A check under its label. `id` is the registered name of its class, or of the class that it derives from."""

    label: str
    id: str
    recipe: Mapping[str, Any]
    metrics: Mapping[str, Metric]


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


class RunInfo:
    """The manifest of a run, as far as reading its rows takes."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        found = manifest.get("schema")
        if found != SCHEMA:
            raise StoreError(
                f"Expected a run of schema {SCHEMA}, but this one has {found}: it was made by another version of "
                "heatproof; run its audit again, or read it with the version that made it."
            )
        self.manifest = manifest

    @cached_property
    def states(self) -> list[StateInfo]:
        """Every state, in the run's order."""
        known = {field.name for field in fields(StateInfo)} - {"role"}
        return [
            StateInfo(role=Role(state["kind"]), **{name: value for name, value in state.items() if name in known})
            for state in self.manifest["states"]
        ]

    @cached_property
    def checks(self) -> list[CheckInfo]:
        """Every check, in the run's order."""
        return [
            CheckInfo(
                label=check["label"],
                id=check["id"],
                recipe=check["recipe"],
                metrics={metric["name"]: Metric(**metric) for metric in check["metrics"]},
            )
            for check in self.manifest["checks"]
        ]

    @cached_property
    def methods(self) -> list[MethodInfo]:
        """Every method, in the run's order."""
        return [
            MethodInfo(
                label=method["label"],
                name=method["name"],
                control=bool(method.get("controls")),
                given=bool(method.get("given")),
                excluded="; ".join(
                    dict.fromkeys(one["because"] for one in method.get("learns", ()) if one["changed"] == "exclude")
                ),
            )
            for method in self.manifest["methods"]
        ]

    @cached_property
    def similarities(self) -> dict[str, str]:
        """The similarity measures of all checks, each with its title."""
        return {name: metric.title or name for name, metric in self._measures.items()}

    @cached_property
    def itself(self) -> dict[str, float]:
        """What each similarity gives a map and itself."""
        return {name: metric.itself for name, metric in self._measures.items() if metric.itself is not None}

    @cached_property
    def _measures(self) -> dict[str, Metric]:
        metrics = [metric for check in self.checks for metric in check.metrics.values()]
        return {metric.name: metric for metric in metrics if metric.itself is not None}

    @cached_property
    def known(self) -> str:
        """How often the network is right, in a sentence; empty where that was not measured."""
        found = self.manifest.get("knowledge") or {}
        return str(found["sentence"]) if found.get("measure") else ""

    @cached_property
    def unmeasured(self) -> str:
        """Why nothing is known of how right the network is; empty where it was measured."""
        return "" if self.known else str((self.manifest.get("knowledge") or {}).get("sentence", ""))

    @cached_property
    def withheld(self) -> str:
        """Why no map of this run may be called good; empty where nothing speaks against it."""
        found = self.manifest.get("knowledge") or {}
        return f"Withheld: {found['sentence']}" if found.get("near_chance") else ""

    @property
    def outputs(self) -> int:
        """How many outputs the network has."""
        return int(self.manifest["model"]["outputs"])

    def of(self, *ids: str) -> Iterator[CheckInfo]:
        """The checks of these kinds."""
        return (check for check in self.checks if check.id in ids)

    @cached_property
    def controls(self) -> list[str]:
        """The labels of the methods that look at no model."""
        return [method.label for method in self.methods if method.control]

    def excluded(self, method: str) -> str:
        """Why a method was left out of changed networks; empty where it was not."""
        return next((one.excluded for one in self.methods if one.label == method), "")

    @cached_property
    def randomizations(self) -> list[str]:
        """Every randomization of parameters, in the run's order."""
        return list(dict.fromkeys(state.group for state in self.states if state.role is Role.RANDOMIZED))

    @cached_property
    def complete_randomizations(self) -> list[str]:
        """Those that end with every layer random: only these can be judged."""
        unfinished = {state.group for state in self._last_states() if not state.complete}
        return [group for group in self.randomizations if group not in unfinished]

    def dead(self, group: str) -> str:
        """What to say of a randomization whose last network was found dead, with what to set; empty for a live one."""
        found = next((s for s in self._last_states() if s.group == group and s.dead), None)
        return "" if found is None else f"The randomized network is dead: {found.dead}; set {found.remedy}."

    def unfinished(self, group: str) -> str:
        """Why a randomization is shown and not judged; empty for one that is judged."""
        if group in self.complete_randomizations:
            return ""
        found = next((s.agreement for s in self._last_states() if s.group == group and s.agreement), None)
        if found is None:
            return "this randomization never has every layer random"
        return f"fully randomized, its outputs still correlate by {found:.2f} with the trained ones"

    def last_stage(self, group: str) -> float:
        """Position of the last stage of a randomization."""
        return float(max(s.index for s in self.states if s.role is Role.RANDOMIZED and s.group == group))

    def _last_states(self) -> Iterator[StateInfo]:
        return (
            state
            for state in self.states
            if state.role is Role.RANDOMIZED and state.index == self.last_stage(state.group)
        )
