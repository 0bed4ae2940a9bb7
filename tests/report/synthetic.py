"""A made-up run folder: digits, a "network" that is a template a class, and maps whose behavior is known by design.

It is as the version before wrote it, of schema 2.

- gradient: smooth noise of the network; nothing survives randomization
- gradient-x-input: the digit times that noise; the digit survives
- cgi: gradient-x-input, thinned by competition, more so the more is randomized
- guided-backprop: mostly the digit's edges, whatever the network
- grad-cam: an unsigned blob; edge-detector: never changes; random: never repeats
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file
from scipy import ndimage
from scipy.stats import rankdata

from heatproof.runs import blocks
from heatproof.similarity import MSE, Spearman

SIDE, LABELS = 24, 10
COLUMNS = [name if name != "question" else "cell" for name in blocks.ROW_SCHEMA.names]
ROW_SCHEMA = pa.schema([pa.field(name, one.type) for name, one in zip(COLUMNS, blocks.ROW_SCHEMA, strict=True)])
LAYERS = ("fc2", "fc1", "conv2", "conv1")
GROUP = "cascading truncated-normal"
METHODS = ("gradient", "gradient-x-input", "cgi", "smoothgrad", "guided-backprop", "grad-cam")
CONTROL_METHODS = ("input-x-random-gradient", "edge-detector", "random")
EVIL = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>"


def digits(count: int) -> tuple[np.ndarray[Any, Any], list[int]]:
    """Pictures (count, SIDE, SIDE) in [0, 1], zero outside the strokes, and their labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    small = data.images[:count] / 16
    large = np.stack([ndimage.zoom(picture, SIDE / 8, order=1) for picture in small])
    return np.where(large > 0.2, large, 0.0), [int(label) for label in data.target[:count]]


def smooth(rng: np.random.Generator, sigma: float = 1.2) -> np.ndarray[Any, Any]:
    field = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), sigma)
    return field / field.std()


def a_map(
    method: str, picture: np.ndarray[Any, Any], sample: int, network: int, noise: int = 0
) -> np.ndarray[Any, Any]:
    """One map; `network` 0 is the trained one, `stage + 100·seed` a randomized one."""
    rng = np.random.default_rng([7, sample, network % 100, network // 100])
    chance = np.random.default_rng([8, sample, noise])
    edges = np.hypot(ndimage.sobel(picture, 0), ndimage.sobel(picture, 1))
    gradient = smooth(rng)
    if method == "gradient":
        return gradient
    if method == "gradient-x-input":
        return gradient * picture
    if method == "cgi":
        keep = 0.55 if network == 0 else 0.2
        return np.where(rng.random(picture.shape) < keep, gradient * picture, 0.0)
    if method == "smoothgrad":
        return gradient + 0.5 * smooth(chance)
    if method == "guided-backprop":
        return edges * (1 + 0.25 * gradient)
    if method == "grad-cam":
        y, x = np.mgrid[:SIDE, :SIDE]
        center = rng.uniform(4, SIDE - 4, 2)
        return np.maximum(np.exp(-((y - center[0]) ** 2 + (x - center[1]) ** 2) / 40) - 0.05, 0)
    if method == "input-x-random-gradient":
        return picture * chance.standard_normal(picture.shape)
    return edges if method == "edge-detector" else chance.standard_normal(picture.shape)


def spearman(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    ranks = rankdata(a.ravel()), rankdata(b.ravel())
    return float(np.corrcoef(*ranks)[0, 1]) if a.std() and b.std() else float("nan")


def similarities(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> dict[str, float]:
    scaled = a / (np.sqrt((a**2).mean()) or 1) - b / (np.sqrt((b**2).mean()) or 1)
    return {"spearman": spearman(a, b), "spearman-absolute": spearman(abs(a), abs(b)), "mse": float((scaled**2).mean())}


def rows_of(pictures: np.ndarray[Any, Any]) -> pd.DataFrame:
    found: list[tuple[Any, ...]] = []
    stages, mask = len(LAYERS), np.random.default_rng(3)

    def add(
        check: str, method: str, setting: str, position: int, i: int, values: dict[str, float], seed: int = 0
    ) -> None:
        place = (check, method, setting, "randomized" if position else "trained", "", float(position), f"s{i}")
        found.extend((*place, k, v, seed, "c") for k, v in values.items())

    for i, picture in enumerate(pictures):
        add("parameter-randomization", "", GROUP, 0, i, {"target-score": 8.0, "dead-target": 0.0})
        add("parameter-randomization", "", GROUP, stages, i, {"target-score": 0.01, "dead-target": 0.0})
        first, second = (a_map("input-x-random-gradient", picture, i, 0, noise) for noise in (0, 1))
        add("input-controls", "", "input-x-random-gradient", 0, i, similarities(first, second))
        noises = [mask.standard_normal(picture.shape) for _ in range(2)]
        add("calibration", "", "gaussian-vs-gaussian", 0, i, similarities(*noises))
        for method in (*METHODS, *CONTROL_METHODS):
            trained = a_map(method, picture, i, 0)
            add("parameter-randomization", method, GROUP, 0, i, {"zeros": float((trained == 0).mean())})
            for control in ("input-x-random-gradient", "edge-detector"):
                add("input-controls", method, control, 0, i, similarities(a_map(control, picture, i, 0, 5), trained))
            add("calibration", method, "map-vs-gaussian", 0, i, similarities(noises[0], trained))
            again = a_map(method, picture, i, 0, noise=1)
            add("parameter-randomization", method, "replicate", 0, i, similarities(trained, again))
            last = [a_map(method, picture, i, stages + 100 * seed) for seed in (0, 1)]
            add("parameter-randomization", method, f"{GROUP} floor", stages, i, similarities(*last), seed=1)
            for stage in range(1, stages + 1):
                drawn = a_map(method, picture, i, stage)
                values = similarities(trained, drawn)
                values["shared-zeros"] = float(((trained == 0) & (drawn == 0)).mean())
                values["relative-energy"] = float((drawn**2).sum() / (trained**2).sum())
                add("parameter-randomization", method, GROUP, stage, i, values)
                if stage == stages:
                    chance = similarities(trained, permuted(trained, drawn, i))
                    add("parameter-randomization", method, f"{GROUP} chance", stage, i, chance)
                    add("steadiness", method, "parameters chance", 0, i, chance)
            nudged = trained + 0.01 * trained.std() * np.random.default_rng([9, i]).standard_normal(trained.shape)
            add("steadiness", method, "parameters", 0, i, similarities(trained, np.where(trained == 0, 0.0, nudged)))
            if method == "cgi":
                for stage in range(stages + 1):
                    own, full = a_map("cgi", picture, i, stage), a_map("gradient-x-input", picture, i, stage)
                    share, energy = (own != 0).sum() / (full != 0).sum(), (own**2).sum() / (full**2).sum()
                    both = {"surviving-share": float(share), "surviving-energy": float(energy)}
                    add("parameter-randomization", method, GROUP, stage, i, both)
            if method == "gradient-x-input":
                add("parameter-randomization", method, GROUP, 0, i, {"completeness-gap": 0.002 * (i % 3)})
    return pd.DataFrame(found, columns=COLUMNS)


def permuted(trained: np.ndarray[Any, Any], drawn: np.ndarray[Any, Any], i: int) -> np.ndarray[Any, Any]:
    """The trained map permuted among the features that are not zero in both."""
    mixed, alive = trained.copy(), (trained != 0) | (drawn != 0)
    mixed[alive] = np.random.default_rng([10, i]).permutation(trained[alive])
    return mixed


def manifest_of(labels: list[int], shown: int) -> dict[str, Any]:
    def state(name: str, kind: str, index: int, seed: int, label: str) -> dict[str, Any]:
        group = "" if kind == "trained" else GROUP
        where = {"name": name, "kind": kind, "group": group, "seed": seed, "index": index, "label": label}
        return {**where, "layers": list(LAYERS[:index]), "complete": index == len(LAYERS)}

    methods = [
        {
            "label": name,
            "name": name,
            "recipe": {"name": name},
            "text": f"What {name} shows.",
            "controls": name in CONTROL_METHODS,
        }
        for name in (*METHODS, *CONTROL_METHODS)
    ]
    names = ("parameter-randomization", "steadiness", "input-controls", "calibration")
    measures = (Spearman(), Spearman(absolute=True), MSE())
    metrics = [measure.metric.describe() for measure in measures]
    return {
        "schema": 2,
        "heatproof": "0.1.0",
        "status": "complete",
        "created": "2026-01-02T03:04:05+00:00",
        "finished": "2026-01-02T03:05:10+00:00",
        "spec": {"methods": [m["label"] for m in methods]},
        "model": {"name": "templates", "fingerprint": "abc123", "parameters": 12345, "outputs": LABELS},
        "data": {
            "name": "digits",
            "fingerprint": "def456",
            "shape": [1, SIDE, SIDE],
            "features": "pixels",
            "grid": [SIDE, SIDE],
            "classes": [EVIL if label == 0 else f"digit {label}" for label in range(LABELS)],
            "samples": [
                {"id": f"s{i}", "target": y, "predicted": y, "probability": 0.97, "target_probability": 0.97}
                for i, y in enumerate(labels)
            ],
        },
        "methods": methods,
        "checks": [
            {"label": n, "name": n, "id": n, "recipe": {}, "text": n, "metrics": metrics, "notes": []} for n in names
        ],
        "states": [
            state("trained", "trained", 0, 0, "trained"),
            *(state(f"{GROUP} 0 {k}", "randomized", k, 0, LAYERS[k - 1]) for k in range(1, len(LAYERS) + 1)),
            state(f"{GROUP} 1 floor", "floor", len(LAYERS), 1, LAYERS[-1]),
        ],
        "environment": {
            "python": "3.11.9",
            "torch": "2.12.1",
            "platform": "Linux",
            "device": "cpu",
            "threads": 2,
            "compute_batch": 64,
            "git": {"sha": "0123456789abcdef", "dirty": False},
        },
        "shown": [f"s{i}" for i in range(shown)],
        "estimate": {"passes": 1000},
        "failures": [],
        "costs": {m["label"]: {"maps": 100, "seconds": 0.1 * (k + 1)} for k, m in enumerate(methods)},
        "cells": ["c"],
    }


# What the methods of the made-up run are worth: how soon the label goes when what they call relevant is taken away.
WORTH = {
    "gradient": 0.6, "gradient-x-input": 0.5, "cgi": 0.5, "smoothgrad": 0.7, "guided-backprop": 0.2, "grad-cam": 0.8,
    "input-x-random-gradient": 0.1, "edge-detector": 0.3, "random": 0.0,
}  # fmt: skip
# How much of a map is left where the labels that were learned mean nothing.
KEPT = {
    "gradient": 0.1,
    "gradient-x-input": 0.8,
    "cgi": 0.2,
    "smoothgrad": 0.1,
    "guided-backprop": 0.9,
    "grad-cam": 0.1,
}
PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)


def more_rows(count: int) -> pd.DataFrame:
    """Rows of the checks of faithfulness, localization, completeness and labels, by `WORTH` and `KEPT`."""
    found: list[tuple[Any, ...]] = []
    rng = np.random.default_rng(5)

    def add(check: str, method: str, setting: str, position: float, i: int, **values: float) -> None:
        place = (check, method, setting, "trained", "", position, f"s{i}")
        found.extend((*place, name.replace("_", "-"), value, 0, "c") for name, value in values.items())

    for i in range(count):
        add("degradation", "", "original", 0.0, i, probability=0.95, top_probability=0.95)
        add("degradation", "", "degraded", 1.0, i, probability=0.1)
        add("bounding-box", "", "", 0.0, i, box_area=0.2)
        add("bounding-box", "", "center", 0.0, i, box_ratio=0.3 + 0.02 * rng.standard_normal())
        for layer, share in enumerate((0.5, 0.7, 0.8)):
            add(
                "network-structure",
                "",
                f"layer{layer}",
                layer + 1.0,
                i,
                non_positive=share + 0.01 * rng.standard_normal(),
            )
        for method, worth in WORTH.items():
            noise = 0.02 * rng.standard_normal()
            for place in PLACES:
                up, down = 0.1 + 0.85 * (1 - place ** (1 + 3 * worth)), 0.1 + 0.85 * (1 - place) ** (1 + 3 * worth)
                add("degradation", method, "morf", place, i, probability=down)
                add("degradation", method, "lerf", place, i, probability=up)
            add("degradation", method, "", 0.0, i, degradation=worth + noise)
            for n in (1, 8, 64):
                add("sensitivity-n", method, "", float(n), i, sensitivity_n=worth * (1 - 0.1 * np.log10(n)) + noise)
            add(
                "bounding-box",
                method,
                "",
                0.0,
                i,
                box_ratio=0.2 + 0.7 * worth + noise,
                pointing_game=float(i % 10 < 10 * worth),
            )
            for control in ("input-x-random-gradient", "edge-detector"):
                chance = {name: 0.02 * rng.standard_normal() for name in ("spearman", "spearman_absolute")}
                add("input-controls", method, f"{control} chance", 0.0, i, **chance)
            if method == "gradient-x-input":
                add("completeness", method, "", 0.0, i, attribution_sum=8.0 + noise, completeness_gap=0.01 * noise)
            spread = {"effective_share": 0.6 - 0.5 * worth + noise, "gini": 0.3 + 0.5 * worth}
            add("complexity", method, "", 0.0, i, **spread)
            if method in KEPT:
                for setting, value in (
                    ("permuted-labels", KEPT[method]),
                    ("true-labels", 0.9),
                    ("permuted-labels chance", 0.0),
                ):
                    both = {"spearman": value + noise, "spearman_absolute": value + noise}
                    add("data-randomization", method, setting, 0.0, i, **both)
    return pd.DataFrame(found, columns=COLUMNS)


def write_whole(run: Path, samples: int = 16, shown: int = 4) -> Path:
    """A run in which every question was asked."""
    write_run(run, samples, shown)
    metrics = {
        "degradation": ({"name": "degradation", "chance": 0.0, "ideal": 1.0, "higher_is_better": True},),
        "sensitivity-n": ({"name": "sensitivity-n", "chance": 0.0, "ideal": 1.0, "higher_is_better": True},),
        "bounding-box": (
            {"name": "box-ratio", "low": 0.0, "high": 1.0, "ideal": 1.0, "higher_is_better": True},
            {"name": "pointing-game", "low": 0.0, "high": 1.0, "ideal": 1.0, "higher_is_better": True},
        ),
        "completeness": ({"name": "completeness-gap", "ideal": 0.0},),
        "data-randomization": tuple(m.metric.describe() for m in (Spearman(), Spearman(absolute=True))),
        "complexity": tuple({"name": name, "low": 0.0, "high": 1.0} for name in ("effective-share", "gini")),
        "network-structure": ({"name": "non-positive", "low": 0.0, "high": 1.0},),
    }
    path = run / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["checks"] += [
        {"label": name, "name": name, "id": name, "recipe": {}, "text": name, "metrics": list(found), "notes": []}
        for name, found in metrics.items()
    ]
    manifest["knowledge"] = {
        "measure": "accuracy",
        "sentence": "The network is right on 98 % of 16 samples (80 % to 100 %); guessing would be right on 11 %.",
    }
    pictures, _ = digits(samples)
    # Rows first: who reads meanwhile finds no checks of which there are no rows yet.
    write_rows(run, pd.concat([rows_of(pictures), more_rows(samples)]))
    replace(path, json.dumps(manifest).encode())
    return run


def replace(path: Path, content: bytes) -> None:
    """Write a file as a whole, as a run's files are written."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.replace(path)


def write_rows(run: Path, rows: pd.DataFrame) -> None:
    """Replace the run's rows."""
    table = pa.Table.from_pandas(rows[ROW_SCHEMA.names], schema=ROW_SCHEMA, preserve_index=False)
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    replace(run / "rows" / "all.parquet", buffer.getvalue().to_pybytes())


def write_run(run: Path, samples: int = 16, shown: int = 4) -> Path:
    """A complete run folder under `run`."""
    pictures, labels = digits(samples)
    manifest = manifest_of(labels, shown)
    for folder in ("rows", "maps"):
        (run / folder).mkdir(parents=True, exist_ok=True)
    write_rows(run, rows_of(pictures))
    inputs, maps = {}, {}
    for i in range(shown):
        inputs[f"s{i}"] = pictures[i][None].astype(np.float32)
        inputs[f"display:s{i}"] = (pictures[i] * 255).astype(np.uint8)
        for method in manifest["methods"]:
            for state in manifest["states"]:
                network = state["index"] + 100 * state["seed"]
                key = json.dumps([state["name"], method["label"], f"s{i}"])
                maps[key] = a_map(method["label"], pictures[i], i, network).astype(np.float32)
    save_file(inputs, run / "maps" / "inputs.safetensors")
    named = {json.loads(name)[1]: ["c"] for name in maps}
    save_file(maps, run / "maps" / "block-0.safetensors", {"cells": json.dumps(named)})
    replace(run / "manifest.json", json.dumps(manifest).encode())
    return run
