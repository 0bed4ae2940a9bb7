"""Writes docs/false_greens.md: how often maps that know no network are called good, in simulated audits.

An audit is n samples of 14 × 14 features, smooth on a flat ground, and a network that is linear around each of them.
Its methods are maps that know nothing of it; its one control is noise, as good as they are and no better. All that
readings read is made of these maps as the checks make it: rank correlations on the trained network and on others
(random, nudged, trained anew), with the map itself permuted as chance; correlations of sums over random sets with what
their removal costs (Sensitivity-n); the area between curves of removal (degradation); the highest features in boxes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata

from heatproof.metrics import Metric
from heatproof.reading import Evidence, Verdicts
from heatproof.reading.run_info import RunInfo
from heatproof.reading.table import Table
from heatproof.reading.values import Key, Values
from heatproof.rows import SCHEMA, chance_of

PAGE = Path(__file__).resolve().parent / "false_greens.md"
AUDITS = 80  # the standard error of a rate of 5 % is 2.4 points
SAMPLES = (5, 8, 16, 24, 64)
SIDE, SETS, GROUP, STAGES = 14, 16, "cascading he", 3
Array = NDArray[np.float64]
Make = Callable[[np.random.Generator, int], Array]

HEAD = """# How often maps that know nothing are called good

Written by `python docs/false_greens.py`: percent of {audits} simulated audits, for each number of samples, in which a
map that knows no network gets a yes; the program says what an audit is. In parentheses stand yeses that are true: noise
of a fixed seed does repeat, and is steady where it sees neither the network nor the values.
"""


def noise(rng: np.random.Generator, n: int) -> Array:
    """White noise (n, SIDE, SIDE)."""
    return rng.standard_normal((n, SIDE, SIDE))


def blurred(rng: np.random.Generator, n: int) -> Array:
    """Noise as smooth as a heatmap."""
    return gaussian_filter(noise(rng, n), (0, 2, 2))


def constant(rng: np.random.Generator, n: int) -> Array:
    """A constant with a little noise."""
    return 1 + 1e-3 * noise(rng, n)


# What is drawn, and what keys it: "call" is drawn anew each time, "run" is the same but in the replicate, "seed" always
# the same, "weights" another on every network, "values" another where input values change at all.
FAKES: Mapping[str, tuple[Make, str]] = {
    "noise, unseeded": (noise, "call"),
    "noise of the run's seed": (noise, "run"),
    "noise of a fixed seed": (noise, "seed"),
    "noise keyed by the weights": (noise, "weights"),
    "noise keyed by the input": (noise, "values"),
    "blurred noise, unseeded": (blurred, "call"),
    "blurred noise of a fixed seed": (blurred, "seed"),
    "blurred noise keyed by the weights": (blurred, "weights"),
    "constant and noise, unseeded": (constant, "call"),
    "constant and noise of a fixed seed": (constant, "seed"),
}
QUESTIONS = ("repeats", "steady", "depends", "labels", "more-than-the-picture", "faithful", "localizes", "believable")
TRUE = {
    ("repeats", "seed"), ("repeats", "weights"), ("repeats", "values"),
    ("steady", "seed"), ("steady", "run"),
}  # fmt: skip


def is_true(question: str, key: str) -> bool:
    """Whether yes is the answer."""
    return (question, key) in TRUE


METRICS = [
    Metric(name="degradation", chance=0.0, ideal=1.0, higher_is_better=True),
    Metric(name="sensitivity-n", chance=0.0, ideal=1.0, higher_is_better=True),
    Metric(name="box-ratio", low=0.0, high=1.0, ideal=1.0, higher_is_better=True),
    Metric(name="pointing-game", low=0.0, high=1.0, ideal=1.0, higher_is_better=True),
]
CHECKS = (
    "parameter-randomization", "steadiness", "data-randomization", "input-controls", "sensitivity-n", "degradation",
    "bounding-box",
)  # fmt: skip


def manifest() -> dict[str, Any]:
    """What a run of these methods and checks would say of itself."""
    last = {"name": "last", "kind": "randomized", "group": GROUP, "label": "", "index": STAGES, "complete": True}
    return {
        "schema": SCHEMA,
        "methods": [{"label": label, "name": label, "controls": label == "random"} for label in (*FAKES, "random")],
        "checks": [
            {"label": name, "id": name, "recipe": {}, "metrics": [one.describe() for one in METRICS]} for name in CHECKS
        ],
        "states": [{"name": "trained", "kind": "trained"}, last],
        "model": {"outputs": 10},
        "costs": {},
    }


def similarities(one: Array, other: Array) -> dict[str, Array]:
    """Rank correlations (n,) of maps (n, SIDE, SIDE), signed and by magnitude."""
    ranks = {
        name: [rankdata(size(maps).reshape(len(maps), -1), axis=1) for maps in (one, other)]
        for name, size in (("spearman", lambda maps: maps), ("spearman-absolute", np.abs))
    }
    centered = {name: [part - part.mean(1, keepdims=True) for part in both] for name, both in ranks.items()}
    return {name: (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1)) for name, (a, b) in centered.items()}


def audit(n: int, rng: np.random.Generator) -> Verdicts:
    """The verdicts of one simulated audit."""
    values: dict[Key, list[Array]] = {}

    def add(check: str, method: str, setting: str, found: Mapping[str, Array], position: float = 0.0) -> None:
        for metric, ours in found.items():
            values.setdefault((check, method, setting, position, metric), []).append(ours)

    ground = gaussian_filter(noise(rng, n), (0, 1, 1))
    inputs = np.where(ground > 0, ground, 0.0)
    network = gaussian_filter(noise(rng, n), (0, 1, 1))
    removed = (inputs * network).reshape(n, -1)  # what each feature's removal costs
    corner = rng.integers(0, SIDE - 5, size=(n, 2))
    boxes = np.zeros((n, SIDE, SIDE), dtype=bool)
    for box, (y, x) in zip(boxes, corner, strict=True):
        box[y : y + 5, x : x + 5] = True
    add("bounding-box", "", "", {"box-area": np.full(n, 25 / SIDE**2)})
    sets = rng.random((n, SETS, SIDE**2)).argsort(2)[:, :, :20]
    control = np.abs(inputs - gaussian_filter(inputs, (0, 1, 1)))  # edges, to be more than
    for label, (make, key) in {**FAKES, "random": (noise, "seed")}.items():
        fixed = make(rng, n)

        def drawn(*, of: str, make: Make = make, key: str = key, fixed: Array = fixed) -> Array:
            """A map in another state: `of` names what is another there."""
            return make(rng, n) if key == "call" or of == key else fixed

        trained = drawn(of="")
        permuted = rng.permuted(trained.reshape(n, -1), axis=1).reshape(trained.shape)
        chance = similarities(trained, permuted)
        for _ in range(3):
            for check, setting, place, of in (
                ("parameter-randomization", GROUP, STAGES, "weights"),
                ("steadiness", "parameters", 0, "weights"),
                ("steadiness", "inputs", 0, "values"),
            ):
                add(check, label, setting, similarities(trained, drawn(of=of)), float(place))
        add("parameter-randomization", label, "replicate", similarities(trained, drawn(of="run")))
        add("parameter-randomization", label, chance_of(GROUP), chance, float(STAGES))
        add("steadiness", label, chance_of("parameters"), chance)
        for setting in ("permuted-labels", "true-labels"):
            add("data-randomization", label, setting, similarities(trained, drawn(of="weights")))
        add("data-randomization", label, chance_of("permuted-labels"), chance)
        add("input-controls", label, "edge-detector", similarities(trained, control))
        add("input-controls", label, chance_of("edge-detector"), chance)
        flat = trained.reshape(n, -1)
        add("sensitivity-n", label, "", {"sensitivity-n": over_sets(flat, removed, sets)})
        add("degradation", label, "", {"degradation": between(flat, removed)})
        order = (-flat).argsort(1)
        inside = np.take_along_axis(boxes.reshape(n, -1), order, 1)
        hit = {"box-ratio": inside[:, :25].mean(1), "pointing-game": inside[:, 0].astype(float)}
        add("bounding-box", label, "", hit)
    names = tuple(f"{k:03}" for k in range(n))
    table = {key: Values(np.stack(found), tuple(range(len(found)))) for key, found in sorted(values.items())}
    return Verdicts(Evidence(RunInfo(manifest()), Table(table, {}, names)))


def over_sets(flat: Array, removed: Array, sets: NDArray[np.int64]) -> Array:
    """Correlation (n,) over sets of their sums of the map with what their removal costs."""
    found = []
    for one in (flat, removed):
        sums = np.take_along_axis(one[:, None], sets, 2).sum(2)
        found.append(sums - sums.mean(1, keepdims=True))
    a, b = found
    correlation: Array = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return correlation


def between(flat: Array, removed: Array) -> Array:
    """The area (n,) between the curves that remove the least and the most relevant features first."""
    order = (-flat).argsort(1)
    most, least = (np.take_along_axis(removed, places, 1).cumsum(1) for places in (order, order[:, ::-1]))
    best = np.take_along_axis(removed, (-removed).argsort(1), 1).cumsum(1)
    worst = np.take_along_axis(removed, removed.argsort(1), 1).cumsum(1)
    area: Array = (most - least).mean(1) / (best - worst).mean(1)
    return area


def rates(n: int, audits: int, rng: np.random.Generator) -> dict[tuple[str, str], float]:
    """By map and question the percentage of audits in which it gets a yes."""
    yes: dict[tuple[str, str], int] = {}
    for _ in range(audits):
        found = audit(n, rng).table
        for method, question in found.loc[found["answer"] == "yes", ["method", "question"]].itertuples(index=False):
            yes[method, question] = yes.get((method, question), 0) + 1
    return {
        (label, question): 100 * yes.get((label, question), 0) / audits for label in FAKES for question in QUESTIONS
    }


def main() -> None:
    """Simulate, and write the page."""
    rng = np.random.default_rng(0)
    found = {n: rates(n, AUDITS, rng) for n in SAMPLES}
    lines = [HEAD.format(audits=AUDITS)]
    lines += [f"| map, n = {', '.join(map(str, SAMPLES))} | {' | '.join(QUESTIONS)} |"]
    lines += ["| --- |" + " --- |" * len(QUESTIONS)]
    for label, (_, key) in FAKES.items():
        cells = []
        for question in QUESTIONS:
            cell = ", ".join(f"{found[n][label, question]:.3g}" for n in SAMPLES)
            cells.append(f"({cell})" if is_true(question, key) else cell)
        lines.append(f"| {label} | {' | '.join(cells)} |")
    PAGE.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
