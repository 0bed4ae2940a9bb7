"""What a run says of itself, as far as reading its rows takes: states, checks, methods, and what is known of it."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from heatproof.errors import StoreError
from heatproof.metrics import Metric
from heatproof.reading.entries import CheckInfo, MethodInfo, StateInfo
from heatproof.rows import SCHEMA, Role


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
        return [StateInfo.of(state) for state in self.manifest["states"]]

    @cached_property
    def checks(self) -> list[CheckInfo]:
        """Every check, in the run's order."""
        return [CheckInfo.of(check) for check in self.manifest["checks"]]

    @cached_property
    def methods(self) -> list[MethodInfo]:
        """Every method, in the run's order."""
        return [MethodInfo.of(method) for method in self.manifest["methods"]]

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
