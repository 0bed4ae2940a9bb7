"""Does a map change when the network has learned labels that mean nothing?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from heatproof.checks.base import CHECKS, TRAINED, Block, Check, Maps, Recipe, Scores, State, Study
from heatproof.checks.from_zoo import FromZoo
from heatproof.checks.learner import AsTrained
from heatproof.checks.retraining import Retrained, Retraining, parts_of, trainable
from heatproof.checks.similarities import (
    ENERGY,
    SHARED_ZEROS,
    ZEROS,
    chance_rows,
    comparison_rows,
    fitting,
    share_of_zeros,
    similarity_rows,
)
from heatproof.errors import InputError
from heatproof.metrics import DIAGNOSTICS, Metric
from heatproof.models import forward
from heatproof.randomization import INITIALIZERS, Initializer
from heatproof.recipes import describe, differences, digest
from heatproof.rows import Role, chance_of, floor_of
from heatproof.similarity import Similarity
from heatproof.zoo.recipes import Training
from heatproof.zoo.table import entry
from heatproof.zoo.training import predicted

PERMUTED, TRUE = "permuted-labels", "true-labels"
WORDS = {PERMUTED: "permuted labels", TRUE: "true labels"}


def _accuracy(name: str, text: str) -> Metric:
    return Metric(name=name, unit="share of samples", low=0.0, high=1.0, text=f"{text} The same number in every row.")


TRAINING_ACCURACY = _accuracy("training-accuracy", "Share of its training samples that the network gets right.")
TEST_ACCURACY = _accuracy("test-accuracy", "Share of the held-out samples whose true label the network predicts.")
CHANCE = _accuracy("chance-accuracy", "What guessing by the labels' frequencies gets right of the held-out samples.")
AGREEMENT = Metric(
    name="agreement", unit="0 or 1", low=0.0, high=1.0, text="1 where the network predicts the label that is explained."
)


@CHECKS.register("data-randomization")
@dataclass(frozen=True, kw_only=True)
class DataRandomization(Check):
    """Similarity of each map to the trained model's map when the network was trained on permuted labels instead.

    For every seed the architecture of the model is trained from first weights drawn anew on the audit's training data,
    once with labels permuted (rows `permuted-labels`) and once with the true labels (rows `true-labels`), until it gets
    `accuracy` of the samples right that it is trained on. A network on permuted labels can only have memorized its
    samples. A method that reads what was learned gives other maps there, and much the same maps where the same was
    learned again: a low similarity on permuted labels says nothing where that on true labels is low as well. Both
    networks of a seed have the same first weights, samples, recipe and order, and differ in their labels alone. With
    several seeds, rows `permuted-labels floor` compare maps of two networks on permuted labels: what two maps share
    whose networks know nothing of the labels.

    Dropout is off, and weight decay must be 0: both work against memorizing. All that is not a batch norm is trained in
    eval mode; a dropout that is on there too stays on. Batch norms learn new statistics; buffers of other modules stay.
    Outputs must be logits: cross-entropy, or its binary form on one output unit with labels 0 and 1.

    Rows without a method: the accuracy in training, the one on the true labels of the samples held out (the trained
    model's too, which may have been trained on them), chance, and whether each explained label is predicted. A network
    on permuted labels that is not within 3 points of chance has learned something of the labels after all, or the test
    samples are few; the scorecard says so. Maps explain the label that is explained on the trained model.

    Position: 0. Seed: of the permutation, the first weights and the order, in place of `training.seed`. Cost: two maps
    a seed and method, and two trainings a seed, which are kept in the cache folder. An accuracy that is not reached is
    a failure of this check alone.

    Fields:
        networks: of the zoo, of the model's architecture, that learned permuted labels: they stand in the place of
            those trained here, the first as seed 0, and no training data is read. There are no rows `true-labels` then.
        training: the recipe; `stop_at` is where training stops, at `accuracy` or above.
        accuracy: what each network must reach on its training samples. Adebayo et al. 2018 ask for 0.95, Gupta & Arora
            2019 for 0.98.
        seeds: one or more.
        initializer: draws the first weights: "default" is each layer's own way.
        test_share: share of the training data that is not trained on, but tested on.
        similarities: all usual ones that apply to the maps' shape by default.

    Source: Adebayo et al. 2018, section 4 and B; Gupta & Arora 2019, 4.2. Deviations: the network on true labels, a
    label that is permuted (as often as before) instead of drawn, and first weights by torch's layers.

    >>> data = hp.data.Dataset(name="training", inputs=images, targets=labels, ids=tuple("abcd"))
    >>> learn = hp.zoo.Training(epochs=50, learning_rate=0.01)
    >>> check = hp.checks.DataRandomization(accuracy=0.5, training=learn, test_share=0.5)
    >>> run = hp.audit(net, images, labels, methods=["gradient"],
    ...                checks=[check], training_data=data, out="permuted",
    ...                progress=False)
    ...
    >>> sorted(set(run.rows()["setting"]))
    ['', 'permuted-labels', 'permuted-labels chance', 'true-labels']
    """

    version: ClassVar[int] = 2

    networks: tuple[str, ...] = ()
    training: Training = field(default_factory=lambda: Training(epochs=100, batch_size=32, stop_at=0.98))
    accuracy: float = 0.95
    seeds: tuple[int, ...] = (0,)
    initializer: str | Initializer = "default"
    test_share: float = 0.2
    similarities: tuple[Similarity | str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.accuracy <= 1 or not 0 < self.test_share < 1:
            raise InputError(
                f"Expected accuracy and test_share within 0 and 1, but got {self.accuracy} and {self.test_share}."
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"Expected one or more different seeds, but got {self.seeds!r}.")
        stop = self.training.stop_at
        if stop is not None and stop < self.accuracy:
            raise InputError(f"Expected training to stop_at {self.accuracy} or above, but got {stop}.")
        if self.training.weight_decay or self.training.held_out or self.training.required:
            raise InputError(
                "Expected a training without weight_decay, which works against memorizing, and without held_out and "
                f"required, which permuted labels cannot serve, but got {self.training}."
            )
        if isinstance(self.initializer, str):
            INITIALIZERS.get(self.initializer)
        object.__setattr__(self, "networks", tuple(self.networks))  # a specification file gives lists
        for name in self.networks:
            entry(name)  # refuses what it does not know

    def metrics(self, study: Study) -> tuple[Metric, ...]:
        measures, _ = fitting(self.similarities, study.grid)
        network = (TRAINING_ACCURACY, TEST_ACCURACY, CHANCE, AGREEMENT)
        return (*(measure.metric for measure in measures), ZEROS, SHARED_ZEROS, ENERGY, *network, *DIAGNOSTICS)

    def notes(self, study: Study) -> tuple[str, ...]:
        left_out = fitting(self.similarities, study.grid)[1]
        if self.networks:
            return (*left_out, f"Networks of the zoo learned permuted labels: {', '.join(self.networks)}.")
        data, test = parts_of(study, self.test_share)
        return (
            *left_out,
            f"Networks of the same architecture are trained anew on {len(data)} samples of {data.name} and tested on "
            f"{len(test)} others.",
        )

    def states(self, study: Study) -> Sequence[State]:
        fitting(self.similarities, study.grid)
        if self.networks:
            return self._of_zoo()
        trainable(study)
        data, test = parts_of(study, self.test_share)
        key = {
            "state": "retrained",
            "recipe": digest(describe(self._recipe)),
            "data": [data.identity, test.identity],
        }
        states = [replace(TRAINED, rests_on={"data": key["data"]}, open=AsTrained(test))]
        for group in (PERMUTED, TRUE):
            for seed in self.seeds:
                network = Retrained(study, self._recipe, permuted=group == PERMUTED, seed=seed)
                state = State(
                    name=self._name(group, seed),
                    key={**key, "labels": group, "seed": seed},
                    kind="retrained",
                    group=group,
                    label=f"trained on {WORDS[group]}",
                    seed=seed,
                    kept=group == PERMUTED and seed != self.seeds[-1],
                    open=network,
                    prepare=network.prepare,
                    preparation=network.preparation,
                )
                states.append(state)
        return states

    def _of_zoo(self) -> Sequence[State]:
        networks = [FromZoo(name) for name in self.networks]
        data = [part.fingerprint for part in networks[0].parts]
        states = [replace(TRAINED, rests_on={"data": data}, open=AsTrained(networks[0].parts[1]))]
        for seed, network in enumerate(networks):
            state = State(
                name=self._name(PERMUTED, seed),
                key={"state": "retrained", "weights": network.file},
                kind="retrained",
                group=PERMUTED,
                label=f"trained on {WORDS[PERMUTED]}",
                seed=seed,
                kept=seed + 1 < len(networks),
                open=network,
                prepare=network.prepare,
                preparation=network.preparation,
            )
            states.append(state)
        return states

    def passes(self, study: Study, state: State, method: Recipe | None) -> float:
        return 1.0 if method is None else 0.0

    def network_rows(self, block: Block, state: State, shared: Any) -> Iterable[Scores]:
        here = partial(Scores, setting=state.group, seed=state.seed)
        with torch.no_grad():
            labels = predicted(forward(block.model, block.inputs))
        yield here(metric=AGREEMENT.name, values=(labels == block.targets).double())
        if isinstance(state.open, AsTrained):
            yield here(metric=TEST_ACCURACY.name, values=_constant(block, state.open.test_accuracy(block.model)))
        if isinstance(state.open, Retrained | FromZoo):
            facts = state.open.facts
            yield here(metric=TRAINING_ACCURACY.name, values=_constant(block, facts.training_accuracy))
            yield here(metric=TEST_ACCURACY.name, values=_constant(block, facts.test_accuracy))
            yield here(metric=CHANCE.name, values=_constant(block, facts.chance))

    def rows(
        self, block: Block, state: State, method: Recipe, maps: Maps, kept: Mapping[str, Maps], shared: Any
    ) -> Iterator[Scores]:
        measures, _ = fitting(self.similarities, tuple(maps.values.shape[1:]))
        here = partial(Scores, setting=state.group, seed=state.seed)
        yield here(metric=ZEROS.name, values=share_of_zeros(maps))
        for name, values in maps.diagnostics.items():
            yield here(metric=name, values=values)
        if state.kind == TRAINED.kind:
            return
        trained = kept[TRAINED.name]
        for one in comparison_rows(measures, trained, maps):
            yield here(metric=one.metric, values=one.values)
        if state.group == PERMUTED:
            setting, key = chance_of(PERMUTED), ("chance of its own", state.seed)
            for one in chance_rows(measures, trained, maps, *key, samples=block.samples, setting=setting, block=block):
                yield replace(one, seed=state.seed, role=Role.CHANCE)
        seeds = tuple(range(len(self.networks))) or self.seeds
        before = seeds.index(state.seed) - 1
        if state.group == PERMUTED and before >= 0:
            other = kept[self._name(PERMUTED, seeds[before])]
            for one in similarity_rows(measures, other, maps):
                yield here(metric=one.metric, values=one.values, setting=floor_of(PERMUTED), role=Role.FLOOR)

    def _name(self, group: str, seed: int) -> str:
        """What a state is called: two checks that train differently call theirs differently."""
        other = self.networks[seed] if self.networks else differences(self._recipe, type(self)()._recipe)
        return f"{WORDS[group]}{f' ({other})' if other else ''}/seed{seed}"

    @property
    def _recipe(self) -> Retraining:
        chosen = self.initializer
        return Retraining(
            training=self.training,
            initializer=INITIALIZERS.get(chosen) if isinstance(chosen, str) else chosen,
            accuracy=self.accuracy,
            test_share=self.test_share,
        )


def _constant(block: Block, value: float) -> Tensor:
    return torch.full((len(block.inputs),), value, dtype=torch.float64)
