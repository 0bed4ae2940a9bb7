"""In which order the layers of a model lose what they learned: three recipes."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from heatproof.errors import InputError
from heatproof.randomization.blocks import BLOCKINGS, Block, Blocking, blocks_of
from heatproof.randomization.initializers import BY_NAME, INITIALIZERS, Initializer, Permutation
from heatproof.randomization.layers import Layer, Usage, Weight, usage
from heatproof.randomization.norms import Role
from heatproof.randomization.owned import joined
from heatproof.randomization.reestimation import Reestimate, SingularVectors
from heatproof.randomization.stages import Drawn, Stage, Stages, refuse_entered
from heatproof.registry import Registry

RANDOMIZATIONS: "Registry[Randomization]" = Registry("randomization", "heatproof.randomization")
BatchNorm = Literal["reset", "keep", "re-estimate"]
LINE = 40  # characters of blocks' names or patterns that a group spells out

_RESET: dict[Role, float] = {"gamma": 1.0, "beta": 0.0, "mean": 0.0, "variance": 1.0}


@dataclass(frozen=True, kw_only=True)
class Randomization(ABC):
    """A model -> the same model, partly random, stage by stage.

    Fields:
        initializer: a registered name, or an Initializer.
        seed: another seed draws other values for every weight.
        blocks: names of modules; the layers under each are randomized together. A layer under none of them is a block
            of its own, at its place, so that a cascade always reaches everything. The order given does not matter.
            Or a Blocking, or the name of one: `inception-v3`, `resnet-conv1`, `densenet-conv1`, `depthwise`.
        batch_norm: batch norm takes scale 1, shift 0, mean 0 and variance 1 under every initializer (a drawn variance
            would be negative half the time), and "permutation" permutes each. `keep` leaves mean and variance as
            trained (Adebayo et al.'s code); `re-estimate` takes them from the inputs of `stages`, under random weights.
        only: patterns such as `*.conv1`; stages whose label matches none are left out. Binder et al. stop at such ones.

    A layer is a module that directly owns parameters. Layers stand in execution order, found by running the model.
    One that runs several times stands at its last use in Cascading and Independent, at its first use in BottomUp, so
    that whatever lies beyond the boundary of a cascade is random. A weight is used where its value meets the input's,
    whatever arithmetic on weights alone comes before (a hypernetwork, weight norm, an average of networks).

    Weights are parameters, and the buffers and attributes that serve as one (`heatproof.randomization.layers.usage`):
    a converted network keeps its weights in buffers, a quantized one as integers. A fixed kernel in a buffer (a blur, a
    filter bank) is drawn as well, for nothing tells it from a learned one. What no initializer has a meaning for is
    permuted within itself under each of them: integers, what scales integers, a pruning mask, and any other buffer that
    is one factor of a weight. A weight made by arithmetic (weight norm) is randomized through what it is made of. The
    singular vectors of a spectral norm are those of the drawn matrix. What decides the outputs and is drawn by no stage
    (position codes, attention masks, constants) is named in `Stages.fixed`.

    Source: Adebayo et al. 2018 appendix B; Binder et al. 2023 A.1.

    >>> hp.randomization.names(), hp.randomization.get("cascading", seed=3).seed
    (['bottom-up', 'cascading', 'independent'], 3)
    """

    order: ClassVar[str]
    initializer: str | Initializer = "he"
    seed: int = 0
    blocks: Blocking | tuple[str, ...] | str = ()
    batch_norm: BatchNorm = "reset"
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.batch_norm not in get_args(BatchNorm):
            choices = ", ".join(map(repr, get_args(BatchNorm)))
            raise InputError(f"Expected batch_norm to be one of {choices}, but got {self.batch_norm!r}.")
        if isinstance(self.only, str):
            raise InputError(f"Expected only to be a tuple of patterns, but got {self.only!r}.")
        object.__setattr__(self, "only", tuple(self.only))  # lists come from TOML
        object.__setattr__(self, "blocks", _blocking(self.blocks))
        self._initializer()

    @property
    def group(self) -> str:
        """What this randomization is called, its seed aside: `cascading he`.

        Two that differ in more than their seed are called differently: `… by blocks classifier, features`, `… only
        *.conv1`; many names, which would fill a line, are counted and told apart by a digest.
        """
        grouping = [f"{word} {_listed(names)}" for word, names in self._groupings().items()]
        return " ".join([self.order, *self._words(), *grouping])

    @staticmethod
    def seen(model: nn.Module, inputs: Tensor) -> Usage:
        """What `stages` needs to know of a model, to be asked once for several randomizations of it."""
        return usage(model, inputs)

    def stages(self, model: nn.Module, inputs: Tensor, seen: Usage | None = None) -> Stages:
        """The stages, each a context in which `model` is partly random; nothing is drawn before one is entered.

        `inputs` (N, …) are one or more samples that show which parameters the model uses, and when.

        Cost: one forward pass, none where what `seen` gave of this model is handed over. Entering a stage costs copying
        the parameters it randomizes, twice; each layer is drawn once for all stages. Memory, for all randomizations of
        a model together: 1 GiB of drawn values (an eighth of a GPU's memory) or one copy of the parameters, where that
        is more, and one of those that were randomized.

        Raises: InputError if the model is in training mode, scripted, inside a stage, or uses no parameter; if a block
        or pattern matches nothing, or two blocks share a layer; if the initializer cannot draw a layer (where only
        drawing shows that, on entering).
        """
        found = self.seen(model, inputs) if seen is None else seen
        layers, fixed = found.layers, list(found.fixed)
        refuse_entered(layers, self.group)
        if self.batch_norm == "keep":
            fixed += [joined(layer.name, w.name) for layer in layers for w in layer.weights if _is_statistic(w)]
            layers = tuple(kept for layer in layers if (kept := _without_statistics(layer)).weights)
        if not layers:
            raise InputError(
                "Expected parameters besides batch norms' statistics, which batch_norm='keep' leaves alone."
            )
        initializer = self._initializer()
        for layer in layers:
            initializer.check(_to_draw(layer, initializer))
        drawn = Drawn(
            layers,
            lambda layer: draw(layer, initializer, self.seed),
            lambda layer: type(initializer) in BY_NAME and all(weight.way == "drawn" for weight in layer.weights),
        )
        example = inputs.detach().clone()
        finish: list[Callable[[Sequence[Layer]], None]] = []
        if found.pairs:
            finish.append(SingularVectors(model, example, found.pairs))
        if self.batch_norm == "re-estimate":
            finish.append(Reestimate(model, example))
        named = self.blocks
        blocks = self._sorted(named.blocks(layers) if isinstance(named, Blocking) else blocks_of(layers, named))
        stem = "/".join([self.order, *self._words(), *self._grouping(), f"seed{self.seed}"])
        wanted = self._wanted([block.label for block in blocks])
        cumulated = [(block, chosen) for block, chosen in self._cumulated(blocks) if block.label in wanted]
        digits = max(2, len(str(len(cumulated))))
        stages = [
            Stage(
                name=f"{stem}/{index:0{digits}d}-{block.label}",
                index=index,
                label=block.label,
                chosen=chosen,
                used=layers,
                drawn=drawn,
                finish=finish,
                fixed=fixed,
                hidden=found.hidden,
            )
            for index, (block, chosen) in enumerate(cumulated, start=1)
        ]
        return Stages(stages, found.unused, fixed=tuple(fixed), hidden=found.hidden)

    @abstractmethod
    def _sorted(self, blocks: list[Block]) -> list[Block]:
        """The blocks in the order of the stages."""

    @abstractmethod
    def _cumulated(self, blocks: Sequence[Block]) -> list[tuple[Block, list[Layer]]]:
        """Each stage's block, with all layers that are random in it."""

    def _initializer(self) -> Initializer:
        return INITIALIZERS.get(self.initializer) if isinstance(self.initializer, str) else self.initializer

    def _words(self) -> list[str]:
        initializer = self._initializer()
        # One with fields of its own is called by them, so that two such randomizations have two names.
        plain = initializer.name in INITIALIZERS.names() and initializer == INITIALIZERS.get(initializer.name)
        words = [initializer.name if plain else repr(initializer)]
        if self.batch_norm != "reset":
            words.append(f"batch-norm-{self.batch_norm}")
        return words

    def _groupings(self) -> dict[str, list[str]]:
        blocks = [_called(self.blocks)] if isinstance(self.blocks, Blocking) else sorted(self.blocks)
        chosen = {"by blocks": blocks, "only": sorted(set(self.only))}
        return {word: names for word, names in chosen.items() if names}

    def _grouping(self) -> list[str]:
        # A block and a layer may have one label: a stage's name must tell what is random in it, whatever the recipe.
        return [f"{word.split()[-1]}-{_digest(names)}" for word, names in self._groupings().items()]

    def _wanted(self, labels: list[str]) -> set[str]:
        matches = {pattern: {label for label in labels if fnmatchcase(label, pattern)} for pattern in self.only}
        for pattern, matched in matches.items():
            if not matched:
                raise InputError(f"Expected `only` to match some of {', '.join(labels)}, but {pattern!r} matches none.")
        return set().union(*matches.values()) if matches else set(labels)


@RANDOMIZATIONS.register("cascading")
@dataclass(frozen=True, kw_only=True)
class Cascading(Randomization):
    """From the output down, cumulatively: stage k randomizes the last k blocks; the last one randomizes everything.

    >>> before, stages = net(images), hp.randomization.Cascading(seed=1).stages(net, images)
    >>> with stages[-1]:
    ...     torch.equal(net(images), before)
    ...
    False
    >>> [stage.label for stage in stages], torch.equal(net(images), before)
    (['3', '0'], True)
    """

    order: ClassVar[str] = "cascading"

    def _sorted(self, blocks: list[Block]) -> list[Block]:
        return _from_the_top(blocks)

    def _cumulated(self, blocks: Sequence[Block]) -> list[tuple[Block, list[Layer]]]:
        return _cumulated(blocks)


@RANDOMIZATIONS.register("independent")
@dataclass(frozen=True, kw_only=True)
class Independent(Randomization):
    """One block at a time, from the output down; all others stay trained. A block draws what it draws in a cascade.

    >>> [stage.layers for stage in hp.randomization.Independent().stages(net, images)]
    [('3',), ('0',)]
    """

    order: ClassVar[str] = "independent"

    def _sorted(self, blocks: list[Block]) -> list[Block]:
        return _from_the_top(blocks)

    def _cumulated(self, blocks: Sequence[Block]) -> list[tuple[Block, list[Layer]]]:
        return [(block, list(block.layers)) for block in blocks]


@RANDOMIZATIONS.register("bottom-up")
@dataclass(frozen=True, kw_only=True)
class BottomUp(Randomization):
    """From the input up, cumulatively: Adebayo et al.'s reverse cascading; stage k randomizes the first k blocks.

    >>> [stage.label for stage in hp.randomization.BottomUp().stages(net, images)]
    ['0', '3']
    """

    order: ClassVar[str] = "bottom-up"

    def _sorted(self, blocks: list[Block]) -> list[Block]:
        return sorted(blocks, key=lambda block: min(layer.first for layer in block.layers))

    def _cumulated(self, blocks: Sequence[Block]) -> list[tuple[Block, list[Layer]]]:
        return _cumulated(blocks)


def draw(layer: Layer, initializer: Initializer, seed: int) -> dict[str, Tensor]:
    """New values for every weight of `layer` by name.

    A batch norm's are reset unless `initializer` draws those too; what has no meaning for an initializer is permuted;
    singular vectors stay, to be measured when all else is drawn.
    """
    resets = {w.name: torch.full(w.tensor.shape, _RESET[w.role]) for w in layer.weights if w.role is not None}
    stay = {w.name: w.tensor.detach() for w in layer.weights if w.way == "singular"}
    permuted = replace(layer, weights=tuple(w for w in layer.weights if w.way == "permuted"))
    return resets | stay | Permutation().draw(permuted, seed) | initializer.draw(_to_draw(layer, initializer), seed)


def _blocking(blocks: Blocking | Sequence[str] | str) -> Blocking | tuple[str, ...]:
    """A blocking for its name, or the names of modules; an unknown name says what is known."""
    if isinstance(blocks, Blocking):
        return blocks
    return BLOCKINGS.get(blocks) if isinstance(blocks, str) else tuple(blocks)


def _called(blocking: Blocking) -> str:
    """Its registered name, or with other fields the recipe itself."""
    return next((name for name in BLOCKINGS.names() if BLOCKINGS.get(name) == blocking), repr(blocking))


def _listed(names: list[str]) -> str:
    line = ", ".join(names)
    return line if len(line) <= LINE and line.split(", ") == names else f"{len(names)} {_digest(names)}"


def _digest(names: list[str]) -> str:
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:8]


def _from_the_top(blocks: list[Block]) -> list[Block]:
    return sorted(blocks, key=lambda block: max(layer.last for layer in block.layers), reverse=True)


def _cumulated(blocks: Sequence[Block]) -> list[tuple[Block, list[Layer]]]:
    reached: list[Layer] = []
    stages = []
    for block in blocks:
        reached = [*reached, *block.layers]
        stages.append((block, reached))
    return stages


def _to_draw(layer: Layer, initializer: Initializer) -> Layer:
    """The part of `layer` that `initializer` draws; of the rest, what belongs to a batch norm is reset."""
    drawn = (w for w in layer.weights if w.way == "drawn" and (w.role is None or initializer.of_batch_norm))
    return replace(layer, weights=tuple(drawn))


def _is_statistic(weight: Weight) -> bool:
    return weight.role in ("mean", "variance")


def _without_statistics(layer: Layer) -> Layer:
    return replace(layer, weights=tuple(weight for weight in layer.weights if not _is_statistic(weight)))
