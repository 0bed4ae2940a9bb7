"""A state's name is what its maps and failures are kept under."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import audit_toys as toys
import pytest

from heatproof.checks import TRAINED, Check, Scores, State
from heatproof.errors import InputError
from heatproof.metrics import Metric


@dataclass(frozen=True, kw_only=True)
class InAnotherState(Check):
    """The mean of a map in a state that goes by the same name whatever it is."""

    which: int

    def metrics(self, study: Any) -> tuple[Metric, ...]:
        return (Metric(name="mean", text="The mean."),)

    def states(self, study: Any) -> Sequence[State]:
        return (TRAINED, State(name="another", key={"state": "another", "which": self.which}))

    def rows(self, block: Any, state: Any, method: Any, maps: Any, kept: Any, shared: Any) -> Iterator[Scores]:
        yield Scores(metric="mean", values=maps.values.flatten(1).mean(1), position=float(state.name == "another"))


def test_two_states_under_one_name_are_refused(tmp_path: Path) -> None:
    said = r"different names, but a and b both have one called 'another'; give one of them other seeds"
    with pytest.raises(InputError, match=said):
        toys.run(tmp_path / "run", checks={"a": InAnotherState(which=1), "b": InAnotherState(which=2)})
    assert not (tmp_path / "run").exists()


def test_one_state_of_two_checks_may_have_one_name(tmp_path: Path) -> None:
    done = toys.run(tmp_path / "run", checks={"a": InAnotherState(which=1), "b": InAnotherState(which=1)})
    assert [state["name"] for state in done.manifest["states"]] == ["trained", "another"]
