"""Numbers that are required: a metric's mean over the samples, by its whole interval."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from heatproof.errors import InputError, unknown
from heatproof.gate.outcome import Outcome
from heatproof.gate.requirements import Requirement
from heatproof.metrics import Metric
from heatproof.reading import Verdicts
from heatproof.reading.entries import CheckInfo

ACCURACY = "accuracy"


def measured(verdicts: Verdicts, one: Requirement, method: str) -> Iterator[Outcome]:
    """A metric of one method, in each check and setting that has it."""
    evidence = verdicts.evidence
    checks = _checks(verdicts, one)
    withheld = evidence.info.withheld
    some = False
    for chosen in checks:
        _decides(one, chosen.metrics[one.metric])
        for setting in evidence.settings(chosen.label, method):
            if one.setting and setting != one.setting:
                continue
            values = evidence.averaged(chosen.label, method, one.metric, setting=setting)
            if values is None:
                continue
            some = True
            found = values.estimate(evidence.samples)
            place = f"{chosen.label}{', ' + setting if setting else ''}"
            missing = f" of {evidence.samples}" if found.n < evidence.samples else ""
            told = _judged(one, method, place, found.mean, found.low, found.high, f"{found.n}{missing}")
            if withheld:  # of a network that has learned nothing no number is a merit
                told = replace(told, kept=False, why=f"{withheld} {told.why}")
            yield told
    if not some:
        where = f" in setting {one.setting!r}" if one.setting else ""
        yield Outcome(one.text, False, f"The run has no value of {one.metric}{where} for it.", method)


def _checks(verdicts: Verdicts, one: Requirement) -> list[CheckInfo]:
    """The checks that have the metric. Raises: UnknownNameError where there is no such check, metric or setting."""
    evidence = verdicts.evidence
    ours = [c for c in evidence.info.checks if one.check in ("", c.id, c.label)]
    if not ours:
        raise unknown("check in this run", one.check, {c.label for c in evidence.info.checks})
    found = [c for c in ours if one.metric in c.metrics]
    if not found:
        raise unknown("metric in this run", one.metric, {name for c in ours for name in c.metrics})
    names = ["", *(method.label for method in evidence.info.methods)]
    settings = {setting for c in found for name in names for setting in evidence.settings(c.label, name)}
    if one.setting and one.setting not in settings:
        raise unknown("setting in this run", one.setting, settings - {""})
    return found


def _decides(one: Requirement, metric: Metric) -> None:
    """Raises: InputError where every value that the metric can have would keep the requirement."""
    end = metric.low if one.operator in (">", ">=") else metric.high
    if end is not None and one.holds(end, end):
        raise InputError(
            f"Expected a bound that some value of {metric.name} breaks, but got {one.text!r}, and none is "
            f"{'below' if end == metric.low else 'above'} {end:g}; for percent write {one.number:g} %."
        )


def _judged(one: Requirement, method: str, place: str, mean: float, low: float, high: float, n: str) -> Outcome:
    told = f"{place}: {mean:.4g}, 95 % interval {low:.4g} to {high:.4g}, {n} samples."
    if not (math.isfinite(low) and math.isfinite(high)):
        return Outcome(one.text, False, f"{told} No interval can be had, so it cannot be told.", method)
    holds = one.holds(low, high)
    unsure = "" if holds is not None else " The interval reaches over the bound: more samples would tell."
    return Outcome(one.text, bool(holds), told + unsure, method)


def accuracy(verdicts: Verdicts, one: Requirement) -> Outcome:
    """How often the network is right on the labels that were given."""
    known: Mapping[str, Any] = verdicts.evidence.info.manifest.get("knowledge") or {}
    if known.get("measure") != ACCURACY or known.get("low") is None:
        return Outcome(one.text, False, "How often the network is right was not measured: give true labels.")
    _decides(one, Metric(name=ACCURACY, low=0.0, high=1.0))
    return _judged(one, "", "the network", known["value"], known["low"], known["high"], str(known["n"]))
