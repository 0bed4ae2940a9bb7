"""The curves of randomization: how like itself each map stays, stage by stage."""

from collections.abc import Mapping, Sequence
from typing import Any

from heatproof.reading.depends import CHECK as RANDOMIZATION
from heatproof.reading.picture import CHECK as CONTROLS
from heatproof.reading.run_info import RunInfo
from heatproof.reading.values import Interval, Key
from heatproof.report.gallery import number
from heatproof.report.words import order
from heatproof.rows import Role, chance_of, floor_of

CALIBRATION = "calibration"
PANELS = {
    "shared-zeros": "Zero in both maps",
    "surviving-share": "Features that survive competition",
    "surviving-energy": "Energy that survives competition",
    "relative-energy": "Energy against the trained map",
}


def panels_of(means: Mapping[Key, Interval], info: RunInfo) -> dict[str, str]:
    """What is drawn beside the similarities, by metric: ours, and what methods say that no check declares."""
    declared = {name for check in info.checks for name in check.metrics}
    said = {key[4] for key in means if key[0] == RANDOMIZATION and key[1] and key[2] in info.randomizations}
    return {**PANELS, **{name: name.replace("-", " ").capitalize() for name in sorted(said - declared - set(PANELS))}}


def curves_of(means: Mapping[Key, Interval], info: RunInfo) -> dict[str, Any]:
    """By randomization: stages, bands, and curves by metric and method as [position, mean, low, high, n, nan]."""
    labels, measures = [method.label for method in info.methods], info.similarities
    drawn, found = {*measures, *panels_of(means, info)}, dict[str, Any]()
    for group in info.randomizations:
        stages = {s.index: s.label for s in info.states if s.role is Role.RANDOMIZED and s.group == group}
        lines: dict[str, Any] = {}
        for (check, method, setting, position, metric), interval in means.items():
            if (check, setting) == (RANDOMIZATION, group) and method in labels and metric in drawn:
                lines.setdefault(metric, {}).setdefault(method, []).append([position, *_numbers(interval)])
        for metric in measures.keys() & lines.keys():
            for points in lines[metric].values():  # the trained map against itself, by definition
                points.insert(0, [0, info.itself[metric], None, None, 0, 0])
        found[group] = {
            "stages": [[0, "trained"], *([k, stages[k]] for k in sorted(stages))],
            "independent": group.partition(" ")[0] == "independent",
            "axis": order(group).axis,
            "lines": lines,
            "bands": {metric: _bands(means, group, metric, labels) for metric in measures if metric in lines},
        }
    return found


def _bands(means: Mapping[Key, Interval], group: str, metric: str, labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By method: [mean, low, high] of its calibration, floors and controls; "" holds those of no method."""
    found: dict[str, dict[str, Any]] = {}
    for (check, method, setting, _, measured), interval in means.items():
        if measured != metric or (method and method not in labels):
            continue
        name = ""
        if check == CALIBRATION:
            name = f"noise: {setting}"
        elif check == CONTROLS:
            name = f"control: {setting}"
        elif setting == floor_of(group):
            name = "two random networks"
        elif setting == chance_of(group):
            name = "itself permuted"
        elif setting == "replicate":
            name = "two runs, same network"
        if name:
            found.setdefault(method, {})[name] = _numbers(interval)[:3]
    return found


def _numbers(interval: Interval) -> list[float | int | None]:
    return [number(value) for value in interval]
