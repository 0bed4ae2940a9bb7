"""Maps of one sample on the trained network and on any stage of its randomization, and how alike they are.

Everything is computed as an audit computes it: the same stages, methods, pooling, measures and chance. Not for two
threads at a time.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from heatproof.auditing import foreign
from heatproof.auditing.fits import Lessons
from heatproof.checks.base import Maps
from heatproof.checks.random_states import state_of
from heatproof.checks.similarities import chance_rows, fitting, similarity_rows
from heatproof.data import Dataset
from heatproof.described import unit
from heatproof.errors import InputError, unknown
from heatproof.features import Features
from heatproof.fingerprint import model_fingerprint
from heatproof.layouts.inputs import features_of
from heatproof.methods.base import Attribution, Explanation, Method
from heatproof.methods.fitted import FittedMethod, learners, with_learners
from heatproof.models import check_model, check_targets
from heatproof.randomization import Randomization, Stage, Stages
from heatproof.randomization.layers import Usage
from heatproof.view.drawn import drawn
from heatproof.view.dropped import dropped
from heatproof.view.opened import Opened, answer, opened
from heatproof.view.subject import Subject

MOST_SAMPLES, MOST_MAPS, MOST_STAGES = 32, 256, 4  # kept

K = TypeVar("K")
V = TypeVar("V")


class At(NamedTuple):
    """A stage of a randomization."""

    by: str
    seed: int
    stage: Stage

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells it from any other."""
        return self.by, self.seed, self.stage.index


class Bench:
    """One network on which samples are opened and maps made."""

    def __init__(self, subject: Subject) -> None:
        check_model(subject.model)
        self.subject = subject
        self._features: Features | None = None
        self._usage: Usage | None = None
        self._example: Opened | None = None
        self._fingerprint = ""
        self._samples: OrderedDict[str, Opened] = OrderedDict()
        self._stages: OrderedDict[tuple[str, int], Stages] = OrderedDict()
        self._maps: OrderedDict[tuple[Any, ...], Maps] = OrderedDict()
        self._answers: OrderedDict[tuple[Any, ...], Tensor] = OrderedDict()
        self._fits: dict[str, Attribution] = {}

    def about(self) -> dict[str, Any]:
        """What there is to choose from."""
        told = self.subject
        return {
            "name": told.name,
            "samples": 0 if told.samples is None else len(told.samples),
            "methods": list(told.methods),
            "chosen": [label for label in told.chosen if label in told.methods],
            "randomizations": list(told.randomizations),
            "pictures": told.picture is not None,
            "no_picture": told.no_picture,
        }

    def drop(self, raw: bytes) -> dict[str, Any]:
        """Open a picture from outside, by the bytes of its file.

        Raises: PictureError for what cannot be decoded; InputError for what the network does not take.
        """
        if self.subject.picture is None:
            raise InputError(self.subject.no_picture)
        data = dropped(raw, self.subject.picture)
        return self._open(f"picture-{data.ids[0]}", data)

    def sample(self, place: int) -> dict[str, Any]:
        """Open a sample of the data. Raises: InputError where there is none, or it cannot be used."""
        samples = self.subject.samples
        count = 0 if samples is None else len(samples)
        if samples is None or not 0 <= place < count:
            raise InputError(f"Expected one of {count} samples, from 0 on, but got {place}.")
        data = samples.read(place, place + 1)
        if not len(data):
            raise InputError(f"Sample {place + 1} cannot be used: {data.skipped[0][1] if data.skipped else 'unread'}.")
        return self._open(f"sample-{place}", data)

    def stages(self, by: str, seed: int) -> dict[str, list[str]]:
        """What each stage of a randomization randomizes that the one before does not, and the measures of likeness.

        Raises: InputError where no sample is open, which shows which layers the network uses.
        """
        stages = [stage.label for stage in self._of(by, seed)]
        assert self._example is not None
        measures, _ = fitting((), self._grid(self._example))
        return {"stages": stages, "measures": [measure.metric.name for measure in measures]}

    def map(self, sample: str, label: int | None, method: str, by: str, seed: int, stage: int) -> dict[str, Any]:
        """A method's map at a stage (0: the trained network), drawn, with its likeness to the trained one.

        `alike` holds for each measure its value, and that of the trained map with itself permuted, which is chance.

        Cost: one map of each of the two networks, and an answer; what was computed before is kept.
        """
        if sample not in self._samples:
            raise InputError("Expected a sample that is open, but this one is so no more; choose it again.")
        one = _latest(self._samples, sample, MOST_SAMPLES)
        if label is None or one.fixed:
            label = one.label
        check_targets(one.inputs, torch.tensor([label]), one.outputs.shape[1])
        if method not in self.subject.methods:
            raise unknown("method", method, self.subject.methods)
        trained = self._made(one, label, method, None)
        shown, alike, outputs = trained, {}, one.outputs
        if stage:
            stages = self._of(by, seed)
            if not 1 <= stage <= len(stages):
                raise InputError(f"Expected a stage from 0 to {len(stages)}, but got {stage}.")
            at = At(by, seed, stages[stage - 1])
            shown, outputs = self._made(one, label, method, at), self._outputs(one, at)
            alike = _alike(trained, shown, one.data.ids, seed)
        values = shown.values[0].detach().double().cpu().numpy()
        words = one.data.tokens[0] if one.data.tokens else None
        return {
            "map": drawn(values, self._grid(one), words),
            "unit": unit(self.subject.methods[method]),
            "alike": alike,
            "network": one.said(outputs, label),
        }

    def _open(self, id_: str, data: Dataset) -> dict[str, Any]:
        one = self._samples.get(id_) or opened(id_, data, self.subject.model, self.subject)
        self._samples[id_] = one
        self._example = self._example or one
        return _latest(self._samples, id_, MOST_SAMPLES).describe()

    def _of(self, by: str, seed: int) -> Stages:
        """The stages of a randomization, as the sample that was opened first shows them."""
        if by not in self.subject.randomizations:
            raise unknown("randomization", by, self.subject.randomizations)
        if self._example is None:
            raise InputError("Expected a sample to be opened first: it shows which layers the network uses.")
        if (by, seed) not in self._stages:
            model, example = self._example.model, self._example.inputs
            self._usage = self._usage or Randomization.seen(model, example)
            randomization = replace(self.subject.randomizations[by], seed=seed)
            self._stages[by, seed] = randomization.stages(model, example, self._usage)
        return _latest(self._stages, (by, seed), MOST_STAGES)

    def _made(self, one: Opened, label: int, method: str, at: At | None) -> Maps:
        """A method's pooled map, on the trained network or at a stage."""
        key = (one.id, label, method, at and at.key)
        if key not in self._maps:
            recipe = self._learned(method, one)
            with nullcontext() if at is None else at.stage:
                if at is not None and learners(recipe):
                    recipe = self._changed(method, recipe, one, at)
                found = _explained(recipe, one, torch.tensor([label], device=one.inputs.device))
            self._maps[key] = Maps(self._pooling(one).pool(found.maps, one.inputs.shape[1:]), found.diagnostics)
        return _latest(self._maps, key, MOST_MAPS)

    def _outputs(self, one: Opened, at: At) -> Tensor:
        """What the network answers at a stage."""
        key = (one.id, at.key)
        if key not in self._answers:
            with at.stage:
                self._answers[key] = answer(one.model, one.inputs)
        return _latest(self._answers, key, MOST_MAPS)

    def _pooling(self, one: Opened) -> Features:
        self._features = self._features or self.subject.features or features_of(one.model, one.inputs)
        return self._features

    def _grid(self, one: Opened) -> tuple[int, ...]:
        return self._pooling(one).grid(one.inputs.shape[1:])

    def _learned(self, method: str, one: Opened) -> Attribution:
        """The method, with what it learns of the trained network."""
        recipe = self.subject.methods[method]
        if learners(recipe) and method not in self._fits:
            lessons = self._lessons(one)
            self._fits[method] = with_learners(
                recipe, lambda part: part if part.fitted else replace(part, fitted=lessons.fit(part, one.model))
            )
        return self._fits.get(method, recipe)

    def _changed(self, method: str, recipe: Attribution, one: Opened, at: At) -> Attribution:
        """A method that learns, as it attributes where the network is random: as an audit does it."""
        state = state_of(at.stage, self.subject.randomizations[at.by], at.seed, kind="randomized", group=at.by)
        lessons = self._lessons(one)

        def again(part: FittedMethod) -> FittedMethod:
            if part.on_changed_model == "refit":
                return replace(part, fitted=lessons.refit(part, one.model, state.key))
            if (found := part.on_changed(one.model, ())) is None:
                raise InputError(f"{method} has no map of a network that was changed: {part.on_changed_because}")
            return found

        return with_learners(recipe, again)

    def _lessons(self, one: Opened) -> Lessons:
        if self.subject.training is None:
            raise InputError("Expected data to learn from, but the spec has no [training_data].")
        self._fingerprint = self._fingerprint or model_fingerprint(one.model)
        return Lessons(fingerprint=self._fingerprint, data=self.subject.training, like=one.inputs)


def _explained(recipe: Attribution, one: Opened, targets: Tensor) -> Explanation:
    if isinstance(recipe, Method) and foreign.is_ours(recipe):
        return recipe.explain(one.model, one.inputs, targets)
    return foreign.explain(recipe, one.model, one.inputs, targets, "foreign", 0, one.data.ids[0])


def _alike(trained: Maps, shown: Maps, ids: Sequence[str], seed: int) -> dict[str, list[float | None]]:
    """By measure its value and what is chance; None where either is degenerate."""
    measures, _ = fitting((), tuple(shown.values.shape[1:]))
    chance = chance_rows(measures, trained, shown, "chance of its own", seed, samples=tuple(ids), setting="")
    pairs = zip(similarity_rows(measures, trained, shown), chance, strict=True)
    return {value.metric: [_finite(value.values), _finite(other.values)] for value, other in pairs}


def _finite(values: Tensor) -> float | None:
    value = float(values[0])
    return value if math.isfinite(value) else None


def _latest(kept: OrderedDict[K, V], key: K, most: int) -> V:
    """What is kept under a key, which is now the last to be given up."""
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)
    return kept[key]
