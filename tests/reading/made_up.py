"""Rows whose answers are known by construction, and the manifest of their run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from heatproof.metrics import Metric
from heatproof.reading import Verdicts
from heatproof.reading.base import Finding
from heatproof.rows import COLUMNS, SCHEMA, chance_of, floor_of

GROUP, STAGES, SAMPLES = "cascading he", 3, 40
PR = "parameter-randomization"
BOTH = ("spearman", "spearman-absolute")
Level = float | Sequence[float]


def values_of(level: Level, samples: int, spread: float, key: int) -> np.ndarray:
    """The samples' values themselves, or some of a mean with a spread."""
    if not isinstance(level, float | int):
        return np.asarray(level, dtype=np.float64)
    noise = np.random.default_rng(key).normal(size=samples)
    noise = (noise - noise.mean()) / noise.std()
    return level + spread * noise


def rows_of(
    check: str,
    method: str,
    metrics: Mapping[str, Level],
    *,
    setting: str = "",
    position: float = 0.0,
    samples: int = SAMPLES,
    spread: float = 0.03,
    seed: int = 0,
) -> pd.DataFrame:
    """One row a sample for each metric."""
    found = []
    for k, (metric, level) in enumerate(metrics.items()):
        values = values_of(
            level, samples, spread, key=k + 10 * seed + hash_of(f"{check} {method} {setting} {position}")
        )
        found += [
            (check, method, setting, "", "", float(position), f"s{i:03}", metric, float(value), seed, "c")
            for i, value in enumerate(values)
        ]
    return pd.DataFrame(found, columns=COLUMNS)


def hash_of(text: str) -> int:
    return sum(map(ord, text))


def randomized(
    levels: Mapping[str, Level],
    *,
    method: str = "m",
    metrics: Sequence[str] = BOTH,
    group: str = GROUP,
    steady: float | None = 0.95,
    **kwargs: Any,
) -> pd.DataFrame:
    """Parameter randomization with given s, f, r and c, beside a steadiness with the same c."""
    places = {
        "s": (group, STAGES),
        "f": (floor_of(group), STAGES),
        "r": ("replicate", 0),
        "c": (chance_of(group), STAGES),
    }
    spread = kwargs.pop("spread", 0.03)
    parts = [
        rows_of(
            PR, method, dict.fromkeys(metrics, level), setting=places[name][0], position=places[name][1],
            spread=0.0 if name == "r" and np.isscalar(level) and level == 1 else spread, **kwargs,
        )
        for name, level in levels.items()
    ]  # fmt: skip
    if steady is not None:
        parts += [
            rows_of("steadiness", method, dict.fromkeys(metrics, level), setting=setting, **kwargs)
            for setting, level in (("parameters", steady), ("parameters chance", 0.0))
        ]
    return pd.concat(parts, ignore_index=True)


def manifest_of(
    methods: Sequence[str] = ("m",),
    *,
    controls: Sequence[str] = (),
    checks: Mapping[str, Sequence[Metric]] | None = None,
    states: Sequence[Mapping[str, Any]] = (),
    **others: Any,
) -> dict[str, Any]:
    """The manifest of a run whose checks have their ids as labels."""
    known = {PR: (), "steadiness": (), **(checks or {})}
    last = {"name": "last", "kind": "randomized", "group": GROUP, "label": "conv1", "index": STAGES, "complete": True}
    return {
        "schema": SCHEMA,
        "methods": [{"label": label, "name": label, "controls": label in controls} for label in (*methods, *controls)],
        "checks": [
            {"label": name, "id": name, "recipe": {}, "metrics": [metric.describe() for metric in metrics]}
            for name, metrics in known.items()
        ],
        "states": [{"name": "trained", "kind": "trained"}, *(states or [last])],
        "model": {"outputs": 10},
        "costs": {},
        **others,
    }


def read(rows: pd.DataFrame, manifest: Mapping[str, Any] | None = None) -> Verdicts:
    return Verdicts.of(rows, manifest or manifest_of(sorted(set(rows["method"]) - {""})))


def one(verdicts: Verdicts, question: str, method: str = "m") -> Finding:
    """What counts as the answer to a question."""
    return verdicts.by_question(method)[question]
