"""The rows of a run, ready to be asked: values by seed and sample, and their means."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from heatproof.reading.run_info import RunInfo
from heatproof.reading.table import Rows, Table, intervals
from heatproof.reading.values import Interval, Key, Values, known_mean


@dataclass(frozen=True, eq=False)
class Evidence:
    """A run's rows beside what it says of itself. Checks stand under their labels.

    >>> run = hp.audit(net, images, labels, methods=["gradient"], checks=["calibration"], out="run", progress=False)
    >>> evidence = hp.readings.Evidence.of(run.rows(), run.manifest)
    >>> evidence.samples, evidence.settings("calibration", "gradient")[:2]
    (4, ['map-vs-gaussian', 'map-vs-uniform'])
    """

    info: RunInfo
    gathered: Table

    @classmethod
    def of(cls, rows: Rows, manifest: Mapping[str, Any]) -> "Evidence":
        """The evidence of rows and a manifest. Raises: StoreError for a run of another schema."""
        return cls(RunInfo(manifest), Table.of(rows))

    @property
    def table(self) -> Mapping[Key, Values]:
        """The values of every (check, method, setting, position, metric)."""
        return self.gathered.values

    @cached_property
    def by_id(self) -> Table:
        """The same with checks under their ids, whatever labels the run gave them."""
        return self.gathered.under({check.label: check.id for check in self.info.checks})

    @cached_property
    def means(self) -> Mapping[Key, Interval]:
        """The mean of each of those over samples and seeds, with its interval."""
        return intervals(self.by_id)

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self.gathered.samples)

    def column(
        self, check: str, method: str, metric: str, *, setting: str = "", position: float = 0.0
    ) -> Values | None:
        """The values, NaN where degenerate; None where nothing was measured."""
        return self.table.get((check, method, setting, position, metric))

    def averaged(
        self, check: str, method: str, metric: str, *, setting: str = "", after: float | None = None
    ) -> Values | None:
        """The same averaged over the positions (those beyond `after`): set sizes, say, or numbers of regions."""
        found = [
            self.table[key]
            for key in self._positions.get((check, method, setting, metric), ())
            if after is None or key[3] > after
        ]
        if not found:
            return None
        seeds = found[0].seeds
        stacked = np.stack([one.array for one in found if one.seeds == seeds])
        return Values(known_mean(stacked), seeds)

    def mean(self, check: str, method: str, metric: str, *, setting: str = "", position: float = 0.0) -> float:
        """The mean; NaN where nothing was measured."""
        found = self.column(check, method, metric, setting=setting, position=position)
        return float("nan") if found is None else found.mean

    def settings(self, check: str, method: str) -> list[str]:
        """The settings that a check has rows of a method in."""
        return self._settings.get((check, method), [])

    @cached_property
    def _settings(self) -> dict[tuple[str, str], list[str]]:
        found: dict[tuple[str, str], dict[str, None]] = {}
        for check, method, setting, _, _ in self.table:
            found.setdefault((check, method), {})[setting] = None
        return {key: list(settings) for key, settings in found.items()}

    @cached_property
    def _positions(self) -> dict[tuple[str, str, str, str], list[Key]]:
        keys: dict[tuple[str, str, str, str], list[Key]] = {}
        for key in self.table:
            keys.setdefault((key[0], key[1], key[2], key[4]), []).append(key)
        return keys
