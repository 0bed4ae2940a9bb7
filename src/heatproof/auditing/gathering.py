"""What one state of a block gives: rows, maps to be shown, costs. It stays on its device until all of it is asked for.

The host waits for a device once a state, not once a map or question: meanwhile it hands on the work of the next ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from heatproof import sharing
from heatproof.auditing.entries import Condition
from heatproof.metrics import EXCLUDE, SHRUNK
from heatproof.runs.blocks import ROW_SCHEMA
from heatproof.runs.workers import Failure

About = Mapping[str, Any]
Array = NDArray[Any]


class Rows:
    """Rows as they come: a metric's values of all samples at a time, told apart by what is the same in all of them."""

    def __init__(self) -> None:
        self.about: list[About] = []
        self.samples: list[tuple[str, ...]] = []
        self.values: list[Array] = []

    def add(self, about: About, samples: tuple[str, ...], values: Array) -> None:
        """One value a sample."""
        self.about.append(about)
        self.samples.append(samples)
        self.values.append(values)

    def table(self) -> pa.Table:
        """All of them, as a run keeps them."""
        counts = [len(samples) for samples in self.samples]
        places = pa.array(np.repeat(np.arange(len(counts)), counts))
        columns = {
            "sample": pa.array([name for samples in self.samples for name in samples], pa.string()),
            "value": pa.array(np.concatenate([np.zeros(0), *self.values])),
        }
        for one in ROW_SCHEMA:
            if one.name not in columns:
                columns[one.name] = pa.array([about[one.name] for about in self.about], one.type).take(places)
        return pa.table({one.name: columns[one.name] for one in ROW_SCHEMA}, schema=ROW_SCHEMA)


@dataclass
class Finished:
    """What one state of a block gave: rows and the questions they answer, maps of shown samples, costs, failures."""

    condition: Condition
    questions: list[str] = field(default_factory=list)
    rows: Rows = field(default_factory=Rows)
    maps: dict[tuple[str, str, str], Array] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    unusable: dict[str, int] = field(default_factory=dict)  # maps that hold NaN or infinity, by method
    about: dict[str, set[str]] = field(default_factory=dict)  # the questions that are about each method


class Stopwatch:
    """What some work took, on a device that it is not waited for: told once it has been."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._host = device, sharing.Clock()
        self._ends = [self._mark()]

    def stop(self) -> None:
        """The work is handed on."""
        self._seconds, self._saved = self._host.seconds(), self._host.saved()
        self._ends.append(self._mark())

    def seconds(self) -> float:
        """From its making to the stop, as if nothing had been shared; by the device's clock, where it has one.

        What was shared is added by the host's clock: what it took to ask the device for it.
        """
        begin, end = self._ends
        if begin is None or end is None:
            return self._seconds
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1000 + self._saved

    def _mark(self) -> torch.cuda.Event | None:
        if self._device.type != "cuda":
            return None
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch does not annotate it
        event.record(torch.cuda.current_stream(self._device))
        return event


class _Answer(NamedTuple):
    """The rows of one question, by the places of their columns; `blank` is that of what is to be NaN."""

    question: str
    methods: tuple[str, str]
    rows: list[tuple[dict[str, Any], int]]
    blank: int | None
    shrunk: int | None


class Gathering:
    """What a state has given so far, of samples that count."""

    def __init__(self, condition: Condition, samples: tuple[str, ...]) -> None:
        self.done, self.samples = Finished(condition), samples
        self._columns: list[Tensor] = []
        self._blanks: dict[int, tuple[int, Tensor]] = {}  # by id, which is its own while the tensor is held
        self._answers: list[_Answer] = []
        self._unusable: dict[str, int] = {}
        self._watches: dict[str, Stopwatch] = {}
        self._shown: list[tuple[str, str, tuple[str, ...], Tensor]] = []

    def answer(
        self,
        question: str,
        methods: tuple[str, str],
        rows: Sequence[tuple[dict[str, Any], Tensor]],
        *,
        blank: Tensor | None,
        shrunk: int | None,
    ) -> None:
        """The rows of one question: what they are about, and values (n,) float64; NaN where a map is `blank` (N,).

        `shrunk` are the rows a pass that anything behind them has come down to.
        """
        places = [(about, self._column(values)) for about, values in rows]
        at = None if blank is None else self._blank(blank)
        self._answers.append(_Answer(question, methods, places, at, shrunk))

    def made(self, method: str, blank: Tensor, watch: Stopwatch) -> None:
        """The maps of a method, of which some are `blank` (N,), and what they took."""
        self._unusable[method], self._watches[method] = self._blank(blank), watch

    def show(self, state: str, method: str, maps: Mapping[int, Tensor]) -> None:
        """The maps of a method in a state that are to be shown, by the samples' numbers."""
        if maps:
            samples = tuple(self.samples[i] for i in maps)
            self._shown.append((state, method, samples, torch.stack(list(maps.values())).float()))

    def finished(self) -> Finished:
        """All of it, in memory."""
        columns = on_host(self._columns)
        for one in self._answers:
            self._enter(one, columns)
        for method, place in self._unusable.items():
            if number := int(columns[place].sum()):
                self.done.unusable[method] = number
        for method, watch in self._watches.items():
            self.done.seconds[method] = watch.seconds()
        for (state, method, samples, _), maps in zip(
            self._shown, on_host([one[-1] for one in self._shown]), strict=True
        ):
            self.done.maps.update({(state, method, sample): one for sample, one in zip(samples, maps, strict=True)})
        return self.done

    def _enter(self, one: _Answer, columns: Sequence[Array]) -> None:
        done, nothing = self.done, None if one.blank is None else columns[one.blank] != 0
        found = []
        for about, place in one.rows:
            values = columns[place]
            if nothing is not None and about["metric"] != EXCLUDE.name:
                values = np.where(nothing, np.nan, values)
            found.append((about, values))
        if found and one.shrunk is not None:
            about, values = found[0]
            found.append(({**about, "metric": SHRUNK.name}, np.full_like(values, one.shrunk)))
        for about, values in found:
            done.rows.add(about, self.samples, values)
        done.questions.append(one.question)
        for label in {*one.methods} - {""}:
            done.about.setdefault(label, set()).add(one.question)

    def _column(self, values: Tensor) -> int:
        self._columns.append(values)
        return len(self._columns) - 1

    def _blank(self, blank: Tensor) -> int:
        """The place of what several questions about the same maps have in common."""
        if id(blank) not in self._blanks:
            self._blanks[id(blank)] = self._column(blank[: len(self.samples)].double()), blank
        return self._blanks[id(blank)][0]


def on_host(tensors: Sequence[Tensor]) -> list[Array]:
    """The same tensors, in memory; those of one device and shape together, so that it is waited for once."""
    alike: dict[Any, list[int]] = {}
    for place, one in enumerate(tensors):
        alike.setdefault((one.device, one.shape), []).append(place)
    found: dict[int, Array] = {}
    for places in alike.values():
        found |= zip(places, torch.stack([tensors[place] for place in places]).cpu().numpy(), strict=True)
    return [found[place] for place in range(len(tensors))]
