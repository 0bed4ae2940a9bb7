"""What an audit has to compute: blocks of samples, states of the model, methods, checks, and the cells they make."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import torch
from torch import nn

from heatproof.auditing.parts import Cell, Condition, NamedCheck, NamedMethod, Samples
from heatproof.checks.base import State, Study
from heatproof.data.base import Dataset
from heatproof.draws import digests
from heatproof.features import Features
from heatproof.fingerprint import model_fingerprint, tensor_digest
from heatproof.methods.base import Attribution, Method
from heatproof.methods.fitted import learners
from heatproof.metrics import Metric
from heatproof.models import select
from heatproof.outputs import LABELS, Outputs
from heatproof.recipes import describe, digest, text
from heatproof.rows import SCHEMA


@dataclass(kw_only=True)
class Plan:
    """Everything an engine needs; the same spec gives the same plan on every machine."""

    model: nn.Module
    samples: Samples
    methods: Sequence[NamedMethod]
    checks: Sequence[NamedCheck]
    features: Features
    batch: int
    outputs: int
    meaning: Outputs = LABELS  # what the outputs are
    training: Dataset | None = None
    learned: dict[str, Attribution] = field(default_factory=dict)  # by label: methods, fitted on the trained model
    lost: set[tuple[str, str]] = field(default_factory=set)  # labels and conditions in which no maps can be made
    shown: frozenset[str] = field(default_factory=frozenset)

    @cached_property
    def study(self) -> Study:
        """What checks may know before anything has run: the first block's inputs, and the model."""
        rows = torch.arange(self.batch)
        inputs = self.samples.inputs[: self.batch]
        return Study(
            model=select(self.model, rows),
            example=inputs,
            outputs=self.outputs,
            features=self.features,
            boxed=self.samples.boxes is not None,
            training=self.training,
            meaning=self.meaning,
        )

    @property
    def labels(self) -> list[str]:
        """The methods' labels."""
        return [method.label for method in self.methods]

    @property
    def blocks(self) -> range:
        """The numbers of the blocks."""
        return range(-(-len(self.samples.ids) // self.batch))

    def members(self, block: int) -> list[int]:
        """The samples of a block, by position."""
        return list(range(block * self.batch, min((block + 1) * self.batch, len(self.samples.ids))))

    @cached_property
    def model_fingerprint(self) -> str:
        """What the model is."""
        return model_fingerprint(self.model)

    @cached_property
    def sample_keys(self) -> list[str]:
        """What each sample is: its id, values, target and boxes."""
        names = digests(self.samples.inputs)
        keys = [
            f"{name}:{values}:{int(target)}"
            for name, values, target in zip(self.samples.ids, names, self.samples.targets, strict=True)
        ]
        if self.samples.boxes is None:
            return keys
        return [f"{key}:{[list(box) for box in boxes]}" for key, boxes in zip(keys, self.samples.boxes, strict=True)]

    @cached_property
    def data_fingerprint(self) -> str:
        """What the samples are."""
        return digest([self.sample_keys, tensor_digest(self.samples.inputs)])

    @cached_property
    def conditions(self) -> list[Condition]:
        """The states of all checks, each computed once, in the order of their first appearance: "trained" first."""
        readers: dict[str, list[tuple[NamedCheck, State]]] = {}
        for check in self.checks:
            for state in check.recipe.states(self.study):
                identity = digest([dict(state.key), state.targets, state.replicate])
                readers.setdefault(identity, []).append((check, state))
        return [Condition(identity, pairs[0][1], tuple(pairs)) for identity, pairs in readers.items()]

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """Every cell of this audit by id. The id hashes what determines the cell's values, and nothing else."""
        recipes = {"": None, **{method.label: digest(self._identity(method.recipe)) for method in self.methods}}
        common = {
            "schema": SCHEMA,
            "model": self.model_fingerprint,
            "features": describe(self.features),
            "dtype": str(self.samples.inputs.dtype),
            "outputs": self.meaning.kind,
            "batch": self.batch,
            "example": self.sample_keys[: self.batch],
        }
        asked = [
            (
                check,
                state,
                digest(
                    [
                        common,
                        check.label,
                        describe(check.recipe),
                        state.describe(),
                        dict(state.key),
                        dict(state.rests_on),
                    ]
                ),
            )
            for condition in self.conditions
            for check, state in condition.readers
        ]
        cells: dict[str, Cell] = {}
        for block in self.blocks:
            samples = digest([self.sample_keys[i] for i in self.members(block)])
            for check, state, question in asked:
                for label, recipe in recipes.items():
                    cell = Cell(check=check.label, state=state.name, method=label, block=block)
                    cells[digest([question, samples, label, recipe])] = cell
                for one, two in combinations(sorted(self.labels), 2) if check.recipe.pairs else ():
                    cell = Cell(check=check.label, state=state.name, method=one, block=block, other=two)
                    cells[digest([question, samples, one, recipes[one], two, recipes[two]])] = cell
        return cells

    @cached_property
    def passes(self) -> dict[str, float]:
        """The forward and backward passes a sample that each method's map costs, as far as the method says so."""
        shape = self.samples.inputs.shape[1:]
        return {
            method.label: method.recipe.cost(self.outputs, shape) if isinstance(method.recipe, Method) else 1.0
            for method in self.methods
        }

    def _in_units(self, metric: Metric) -> Metric:
        """A metric of scores in the outputs' own unit, where it was said."""
        return replace(metric, unit=self.meaning.unit) if self.meaning.unit and metric.unit == "score" else metric

    def _identity(self, recipe: Attribution) -> Any:
        """What decides a method's maps: the recipe, and for one that learns in the audit the data to learn from."""
        learns = any(one.fitted is None or one.on_changed_model == "refit" for one in learners(recipe))
        if not learns or self.training is None:
            return describe(recipe)
        return {"recipe": describe(recipe), "training": self.training.fingerprint}

    @cached_property
    def passes_of_checks(self) -> dict[tuple[str, str, str], float]:
        """The same that the own work of a check takes in a state for a method, or for all of them together ("")."""
        study = self.study
        return {
            # A forward pass is a third: the backward pass beside it counts as two.
            (check.label, state.name, method.label if method else ""): check.recipe.passes(study, state, method) / 3
            for condition in self.conditions
            for check, state in condition.readers
            for method in (None, *self.methods)
        }

    @cached_property
    def cells_by_block(self) -> dict[int, dict[str, Cell]]:
        """The same cells, block by block."""
        found: dict[int, dict[str, Cell]] = {block: {} for block in self.blocks}
        for key, cell in self.cells.items():
            found[cell.block][key] = cell
        return found

    def describe(self) -> dict[str, Any]:
        """What the manifest says of methods, checks and states."""
        study = self.study
        seen: dict[str, dict[str, Any]] = {}
        for condition in self.conditions:
            for _, state in condition.readers:
                seen.setdefault(state.name, state.describe())
        return {
            "methods": [method.describe() for method in self.methods],
            "checks": [
                {
                    "label": check.label,
                    "name": check.name,
                    "id": check.id,
                    "recipe": describe(check.recipe),
                    "text": text(check.recipe),
                    "metrics": [self._in_units(metric).describe() for metric in check.recipe.metrics(study)],
                    "notes": list(check.recipe.notes(study)),
                }
                for check in self.checks
            ],
            "states": list(seen.values()),
            "aliases": {
                name: c.shown_as[0] for c in self.conditions for name in c.shown_as[1:] if name != c.shown_as[0]
            },
        }
