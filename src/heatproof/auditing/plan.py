"""What an audit has to compute: a grid of questions and blocks of samples."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import combinations
from typing import Any

from torch import nn

from heatproof.auditing.entries import Condition, NamedCheck, NamedMethod, Question
from heatproof.auditing.samples import Portion, Samples, Source, explained, filled, taken
from heatproof.checks.base import Check, State, Study
from heatproof.data.base import Dataset
from heatproof.data.blocks import Blocks, as_blocks
from heatproof.features import Features
from heatproof.fingerprint import model_fingerprint, network_fingerprint
from heatproof.methods.base import Attribution, Method
from heatproof.methods.fitted import learners
from heatproof.metrics import Metric
from heatproof.models import select
from heatproof.outputs import LABELS, Outputs
from heatproof.recipes import describe, digest, text
from heatproof.rows import SCHEMA, Role

Missing = Mapping[int, frozenset[str]]  # by block, the ids of the questions whose rows are to be computed


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Everything an engine needs; the same spec gives the same plan on every machine.

    Nothing of it grows with the number of samples but what lies in memory already: a block is read when its turn comes.
    It pickles by standard pickle, where model, methods and data do; whoever opens it asks the checks for their states
    again, as these belong to a model.
    """

    model: nn.Module
    source: Source
    example: Samples  # the first block
    first: int = 0  # its number: blocks before it hold no sample that can be used
    methods: tuple[NamedMethod, ...]
    checks: tuple[NamedCheck, ...]
    features: Features
    batch: int
    outputs: int
    meaning: Outputs = LABELS  # what the outputs are
    training: Dataset | Blocks | None = None
    shown: frozenset[str] = frozenset()
    fast: tuple[str, ...] = ()  # names of `heatproof.fast`: how passes are made cheaper
    seconds: float = 0.0  # that a forward pass of the first block took
    shrinks: bool = False  # whether what runs out of memory is tried again with fewer rows a pass

    def __getstate__(self) -> dict[str, Any]:
        """The fields, and the ids: whoever computes uses those of who planned. States are found again."""
        named = {"recipes": self.recipes, "questions": self.questions, "summaries": self.summaries}
        return {one.name: getattr(self, one.name) for one in fields(self)} | named

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)

    @cached_property
    def study(self) -> Study:
        """What checks may know before anything has run: the first block's inputs, and the model."""
        rows = filled(len(self.example.ids), self.batch)
        return Study(
            model=self.bound(self.first, self.example),
            example=self.example.inputs[rows],
            outputs=self.outputs,
            features=self.features,
            boxed=self.example.boxes is not None or self.example.masks is not None,
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
        return range(-(-len(self.source) // self.batch))

    def on(self, device: str) -> "Plan":
        """The same plan for another device of this kind or another; the model is moved, not copied."""
        moved = {name: getattr(self.example, name).to(device) for name in ("inputs", "targets")}
        return replace(self, model=self.model.to(device), example=replace(self.example, **moved))

    def range(self, block: int) -> tuple[int, int]:
        """The positions of a block's samples."""
        return block * self.batch, min((block + 1) * self.batch, len(self.source))

    def read(self, block: int) -> Samples | None:
        """The samples of a block, with what is explained of them; None where none can be used."""
        return self.explained(block, self.source.read(*self.range(block)))

    def explained(self, block: int, portion: Portion) -> Samples | None:
        """A block as it was read, with what is explained of it. Cost: one forward pass."""
        if not portion.ids:
            return None
        return explained(portion, self.model, block * self.batch, self.batch, self.meaning)

    def bound(self, block: int, samples: Samples) -> nn.Module:
        """The model with the side inputs of a block, filled up."""
        as_read = Portion(inputs=samples.inputs, ids=samples.ids, targets=samples.targets, sides=samples.sides)
        return select(taken(self.model, as_read, block * self.batch)[0], filled(len(samples.ids), self.batch))

    @cached_property
    def model_fingerprint(self) -> str:
        """What the model is."""
        return model_fingerprint(self.model, self._network)

    @cached_property
    def _network(self) -> str:
        """What it is whatever its side inputs are, which are a block's own."""
        return network_fingerprint(self.model)

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
    def questions(self) -> dict[str, Question]:
        """Every question by id. The id hashes what determines the rows' values beside the block, and nothing else."""
        recipes = {"": None, **self.recipes}
        common = {
            "schema": SCHEMA,
            "model": self._network,
            "features": describe(self.features),
            "dtype": str(self.example.inputs.dtype),
            "outputs": self.meaning.kind,
            "batch": self.batch,
            "example": self.example.digest,
            **({"fast": sorted(self.fast)} if self.fast else {}),
        }
        found: dict[str, Question] = {}
        for condition in self.conditions:
            for check, state in condition.readers:
                asked = digest(
                    [
                        common,
                        check.label,
                        describe(check.recipe),
                        state.describe(),
                        dict(state.key),
                        dict(state.rests_on),
                    ]
                )
                able = self._able(state)
                for label, recipe in recipes.items():
                    if not label or label in able:
                        found[digest([asked, label, recipe])] = Question(check.label, state.name, label)
                for one, two in combinations(sorted(able), 2) if check.recipe.pairs else ():
                    identity = digest([asked, one, recipes[one], two, recipes[two]])
                    found[identity] = Question(check.label, state.name, one, two)
        return found

    def _able(self, state: State) -> list[str]:
        """The methods that have maps in a state: those that are given are the trained network's."""
        return [one.label for one in self.methods if state.kind == Role.TRAINED or not one.is_given]

    @cached_property
    def recipes(self) -> dict[str, str]:
        """By label, what decides a method's maps: the recipe, and for one that learns in the audit its data."""
        return {method.label: digest(self._identity(method.recipe)) for method in self.methods}

    @cached_property
    def summaries(self) -> dict[str, str]:
        """By check that says something of the whole data set, the id that stands for the question."""
        having = [check.label for check in self.checks if type(check.recipe).summary is not Check.summary]
        return {
            label: digest(
                [
                    "summary",
                    self.source.identity,
                    *sorted(key for key, one in self.questions.items() if one.check == label),
                ]
            )
            for label in having
        }

    @cached_property
    def passes(self) -> dict[str, float]:
        """The forward and backward passes a sample that each method's map costs, as far as the method says so."""
        shape = self.example.inputs.shape[1:]
        return {
            method.label: method.recipe.cost(self.outputs, shape) if isinstance(method.recipe, Method) else 1.0
            for method in self.methods
        }

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

    def asked(self, ids: Collection[str]) -> Iterator[Question]:
        """The questions of these ids."""
        return (self.questions[one] for one in ids)

    def _in_units(self, metric: Metric) -> Metric:
        """A metric of scores in the outputs' own unit, where it was said."""
        return replace(metric, unit=self.meaning.unit) if self.meaning.unit and metric.unit == "score" else metric

    def _identity(self, recipe: Attribution) -> Any:
        learns = any(one.fitted is None or one.on_changed_model == "refit" for one in learners(recipe))
        if not learns or self.training is None:
            return describe(recipe)
        return {"recipe": describe(recipe), "training": as_blocks(self.training).identity}

    def describe(self) -> dict[str, Any]:
        """What the run says of methods, checks, states and questions."""
        study = self.study
        seen: dict[str, dict[str, Any]] = {}
        for condition in self.conditions:
            for _, state in condition.readers:
                seen.setdefault(state.name, state.describe())
        return {
            "methods": [{**method.describe(), "digest": self.recipes[method.label]} for method in self.methods],
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
            "questions": {key: list(question) for key, question in self.questions.items()},
            "summaries": dict(self.summaries),
        }


def distinct(missing: Missing) -> dict[frozenset[str], int]:
    """How many blocks miss the same: there are many blocks and few different answers."""
    found: dict[frozenset[str], int] = {}
    for ids in missing.values():
        found[ids] = found.get(ids, 0) + 1
    return found


def every(missing: Missing) -> frozenset[str]:
    """All questions that any block misses."""
    return frozenset().union(*distinct(missing))


def without(missing: Missing, unable: Collection[str]) -> dict[int, frozenset[str]]:
    """What is left where these questions cannot be answered, of blocks of which anything is."""
    if not unable:
        return dict(missing)
    left = {ids: ids - frozenset(unable) for ids in distinct(missing)}
    return {block: left[ids] for block, ids in missing.items() if left[ids]}
