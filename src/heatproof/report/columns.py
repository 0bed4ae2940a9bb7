"""The states whose maps stand side by side: the trained network, the stages of randomization, networks trained anew."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from heatproof.report.words import order

MOST_STAGES = 16

T = TypeVar("T")


def columns_of(manifest: Mapping[str, Any], kept: set[str]) -> list[dict[str, Any]]:
    """The trained state, then each randomization's stages (first seed), thinned evenly to MOST_STAGES a group.

    `state` is the name under which its maps are stored, `random` says that no layer is as trained.
    """
    aliases = manifest.get("aliases", {})  # states that are the same parameters keep their maps once
    stored = {s["name"]: aliases.get(s["name"], s["name"]) for s in manifest["states"]}
    states = [s for s in manifest["states"] if stored[s["name"]] in kept]
    found = [
        {"state": stored[s["name"]], "group": "", "index": 0, "label": "trained", "said": "trained", "random": False}
        for s in states
        if s["kind"] == "trained"
    ]
    drawn = [s for s in states if s["kind"] == "randomized"]
    for group in dict.fromkeys(s["group"] for s in drawn):
        seed = min(s["seed"] for s in drawn if s["group"] == group)
        stages = sorted((s for s in drawn if (s["group"], s["seed"]) == (group, seed)), key=lambda s: int(s["index"]))
        found += [
            {
                "state": stored[s["name"]],
                "group": group,
                "index": s["index"],
                "label": s["label"],
                "said": f"{order(group).stage} {s['label']}",
                "random": bool(s.get("complete", False)),
            }
            for s in thinned(stages, MOST_STAGES)
        ]
    return found + _retrained([s for s in states if s["kind"] == "retrained"], stored)


def thinned(stages: Sequence[T], most: int) -> list[T]:
    """At most so many, evenly from the first to the last."""
    return [stages[k] for k in sorted(set(np.linspace(0, len(stages) - 1, min(len(stages), most)).round().astype(int)))]


def _retrained(states: Sequence[Mapping[str, Any]], stored: Mapping[str, str]) -> list[dict[str, Any]]:
    """Networks trained anew on other labels (first seed), under one name for all."""
    seed = min((s["seed"] for s in states), default=0)
    first = [s for s in states if s["seed"] == seed]
    alike = len({s["label"] for s in first}) < len(first)  # several checks trained networks, each its own way
    return [
        {
            "state": stored[s["name"]],
            "group": "networks trained anew",
            "index": index,
            "label": s["name"] if alike else s["label"],
            "said": s["name"] if alike else s["label"],
            "random": False,
            "setting": s["group"],
        }
        for index, s in enumerate(first, start=1)
    ]


def trained_of(columns: Sequence[Mapping[str, Any]]) -> str:
    """The state of the trained network; empty where no map of it was kept."""
    return next((str(column["state"]) for column in columns if not column["group"]), "")


def random_of(columns: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """By randomization the state in which no layer is as trained."""
    return {str(column["group"]): str(column["state"]) for column in columns if column["random"]}
