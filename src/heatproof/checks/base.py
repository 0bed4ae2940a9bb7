"""What a check is: states of the model, work shared between methods, and one method's scores.

An audit computes attributions, a check never does. It gets them pooled to features and scores them sample by sample.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, nn

from heatproof.data.base import Dataset
from heatproof.data.blocks import Blocks
from heatproof.features import Features
from heatproof.methods.base import Attribution, Linearizable, Linearization
from heatproof.metrics import Metric
from heatproof.models import forward
from heatproof.outputs import LABELS, Outputs
from heatproof.randomization import Randomization
from heatproof.randomization.layers import Usage
from heatproof.registry import Registry

if TYPE_CHECKING:
    import pandas as pd

CHECKS: "Registry[Check]" = Registry("check", "heatproof.checks")
V = TypeVar("V")
# The boxes of one sample's object: xmin, ymin, xmax, ymax in pixels, pixel x inside where xmin <= x < xmax.
Boxes = Sequence[tuple[float, float, float, float]]


class Recipe(Protocol):
    """A method as a check sees it: its label in the rows, what makes its maps, and whether it looks at the model."""

    @property
    def label(self) -> str: ...
    @property
    def recipe(self) -> Attribution: ...
    @property
    def uses_model(self) -> bool: ...


def _nothing() -> None:
    """What most states need before they can be opened."""


def _no_passes() -> float:
    return 0.0


def _as_they_are(model: nn.Module, inputs: Tensor) -> Tensor:
    return inputs


def _as_it_is(model: nn.Module) -> AbstractContextManager[nn.Module]:
    return nullcontext(model)


@dataclass(frozen=True, kw_only=True)
class State:
    """A named condition of the model (or of the methods' noise) in which attributions are computed.

    Two checks that ask for states with the same `key` share the attributions. `open` yields the model in this state.
    `prepare` makes once what `open` needs and is dear, such as trained weights, and keeps it on disk; what it raises is
    a failure of the checks that want the state; `preparation` says how many forward passes of one sample it will take
    at most, a backward pass counting as two. `targets` is "trained" (the explained label is fixed) or "own" (the
    label that the model in this state predicts). In replicate r > 0 every method draws other noise. The pooled maps of
    a `kept` state stay alive for later ones. `complete` says that nothing which the model was seen to use is as
    trained, `fixed` what is all the same: constants of the architecture, as far as can be told. `rests_on` is what
    else decides the check's own rows here, but no attribution: the data of an accuracy. `inputs` makes of the model and
    the samples (N, …) those that are explained here, which keep the draws of what they were. `ahead` may begin, in a
    thread, what `open` will need: it is called while another state is open, and a device is at work.

    >>> hp.checks.TRAINED.name, hp.checks.TRAINED.kept
    ('trained', True)
    """

    name: str
    key: Mapping[str, Any]
    kind: str = "trained"
    group: str = ""
    label: str = ""
    index: int = 0
    seed: int = 0
    layers: tuple[str, ...] = ()
    targets: str = "trained"
    replicate: int = 0
    kept: bool = False
    complete: bool = False
    fixed: tuple[str, ...] = ()
    rests_on: Mapping[str, Any] = field(default_factory=dict)
    open: Callable[[nn.Module], AbstractContextManager[Any]] = field(default=_as_it_is, compare=False, repr=False)
    inputs: Callable[[nn.Module, Tensor], Tensor] = field(default=_as_they_are, compare=False, repr=False)
    prepare: Callable[[], None] = field(default=_nothing, compare=False, repr=False)
    ahead: Callable[[], None] = field(default=_nothing, compare=False, repr=False)
    preparation: Callable[[], float] = field(default=_no_passes, compare=False, repr=False)

    def describe(self) -> dict[str, Any]:
        """What the manifest says of this state."""
        names = ("name", "kind", "group", "label", "index", "seed", "targets", "replicate", "complete")
        plain = {name: getattr(self, name) for name in names}
        return {**plain, "layers": list(self.layers), "fixed": list(self.fixed)}


TRAINED = State(name="trained", key={"state": "trained"}, label="trained", kept=True)


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a check may know when it declares its states: before anything expensive has run.

    >>> hp.checks.Study(model=net, example=images, outputs=3, features=hp.features.Tiles(size=4)).grid
    (2, 2)
    """

    model: nn.Module
    example: Tensor
    outputs: int
    features: Features
    boxed: bool = False  # whether samples come with the boxes, or masks, of their object
    training: Dataset | Blocks | None = None  # labelled samples like those that the model was trained on
    meaning: Outputs = LABELS  # what the model's outputs are

    @cached_property
    def usage(self) -> Usage:
        """The model's layers, as a run on the example finds them: once for all checks that randomize."""
        return Randomization.seen(self.model, self.example)

    @property
    def grid(self) -> tuple[int, ...]:
        """The layout of the features of one sample."""
        return self.features.grid(self.example.shape[1:])


@dataclass(frozen=True, kw_only=True)
class Block:
    """Some samples under a model in some state.

    The last block of a run is filled up with repeated inputs; `samples` names those that count, the first ones.
    `boxes` are those of each input's object, where the data have them; a sample may have none. `masks` (N, H, W) bool
    take their place, where the data have those. `meaning` is what the model's outputs are, `originals` the inputs
    before the state changed them.

    >>> block = hp.checks.Block(
    ...     model=net, inputs=images, targets=labels, samples=tuple("abcd"), features=hp.features.Pixels()
    ... )
    >>> block.samples, block.meaning.kind
    (('a', 'b', 'c', 'd'), 'labels')
    """

    model: nn.Module
    inputs: Tensor
    targets: Tensor
    samples: tuple[str, ...]
    features: Features
    boxes: Sequence[Boxes] | None = None
    masks: Tensor | None = None
    meaning: Outputs = LABELS
    originals: Tensor | None = None
    _derived: dict[Hashable, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    def derived(self, key: Hashable, compute: Callable[[], V]) -> V:
        """Something computed once for all methods, and kept with the block."""
        if key not in self._derived:
            self._derived[key] = compute()
        value: V = self._derived[key]
        return value

    def pool(self, maps: Tensor) -> Tensor:
        """Attributions that broadcast to the inputs, pooled to features (N, *grid)."""
        return self.features.pool(maps, self.inputs.shape[1:])

    def linearize(self, method: Recipe) -> Linearization | None:
        """Outputs (N, C) and the method's attributions of any mix of them; None for one that cannot be linearized.

        The one way to attributions that no audit has made beforehand: of other labels than the explained one.
        """
        recipe = method.recipe
        if not isinstance(recipe, Linearizable) or not recipe.linearizable:
            return None
        return recipe.linearize(self.model, self.inputs)

    def scores(self) -> Tensor:
        """The outputs (N,) of the explained labels under this state's model."""
        with torch.no_grad():
            return forward(self.model, self.inputs).gather(1, self.targets[:, None])[:, 0]


class Maps:
    """One method's pooled attributions (N, *grid) of a block in a state, with their diagnostics (N,) by name.

    >>> hp.checks.Maps(values=torch.zeros(4, 8, 8), diagnostics={}).values.shape
    torch.Size([4, 8, 8])
    """

    def __init__(self, values: Tensor, diagnostics: Mapping[str, Tensor]) -> None:
        self.values, self.diagnostics = values, diagnostics
        self._derived: dict[Hashable, Any] = {}

    def derived(self, key: Hashable, compute: Callable[[Tensor], V]) -> V:
        """Something computed from the values once, such as ranks, and kept with them."""
        if key not in self._derived:
            self._derived[key] = compute(self.values)
        value: V = self._derived[key]
        return value


@dataclass(frozen=True, kw_only=True)
class Scores:
    """One metric's values (N,) for the samples of a block: one row a sample. NaN is a degenerate result.

    `role` is that of the state where it is left empty.

    >>> hp.checks.Scores(metric="largest", values=torch.tensor([1.0, torch.nan])).values
    tensor([1., nan])
    """

    metric: str
    values: Tensor
    setting: str = ""
    position: float = 0.0
    seed: int = 0
    role: str = ""


class Check(ABC):
    """A frozen dataclass of settings that turns attributions into rows.

    >>> from dataclasses import dataclass
    >>> from heatproof.metrics import Metric
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Largest(hp.checks.Check):
    ...     def metrics(self, study):
    ...         return (Metric(name="largest", text="The largest value of a map."),)
    ...     def rows(self, block, state, method, maps, trained, shared):
    ...         yield hp.checks.Scores(metric="largest", values=maps.values.flatten(1).amax(1))
    ...
    >>> run = hp.audit(line, x, [1], methods=["gradient"], checks=[Largest()], out="largest", features="columns",
    ...                progress=False)
    ...
    >>> run.rows()["value"].tolist()
    [4.0]
    """

    version: ClassVar[int] = 1  # counted up whenever the same fields give other values
    summarizes: ClassVar[tuple[str, ...]] = ()  # the metrics whose rows `summary` asks for; all of them by default

    @abstractmethod
    def metrics(self, study: Study) -> tuple[Metric, ...]:
        """What the rows of this check measure."""

    def notes(self, study: Study) -> tuple[str, ...]:
        """What a reader must know about this check on this data, such as a measure that does not apply."""
        return ()

    def states(self, study: Study) -> Sequence[State]:
        """The states in which this check wants attributions, in order; the trained model by default.

        Raises: InputError for settings that do not fit the model or the data, before anything expensive.
        """
        return (TRAINED,)

    def passes(self, study: Study, state: State, method: Recipe | None) -> float:
        """Forward passes a sample of this check's own work in a state, for estimates; a backward pass counts as two.

        Without a method those of `shared` and of the network's rows, once a block; else those of the method's rows.
        """
        return 0.0

    def shared(self, block: Block, state: State) -> Any:
        """Work that no method influences: done once for a block and state."""
        return None

    def network_rows(self, block: Block, state: State, shared: Any) -> Iterable[Scores]:
        """Rows about the network itself, once for a block and state."""
        return ()

    @abstractmethod
    def rows(
        self, block: Block, state: State, method: Recipe, maps: Maps, kept: Mapping[str, Maps], shared: Any
    ) -> Iterable[Scores]:
        """One method's rows. `kept` holds the same method's maps in earlier kept states, "trained" among them."""

    @property
    def pairs(self) -> bool:
        """Whether there are rows about pairs of methods."""
        return type(self).pair_rows is not Check.pair_rows

    def pair_rows(
        self, block: Block, state: State, methods: tuple[Recipe, Recipe], maps: tuple[Maps, Maps], shared: Any
    ) -> Iterable[Scores]:
        """Rows about two methods: called once a pair, the label that sorts first in front; they stand under its name.

        A pair is a cell of its own that hashes both methods. A method that is added to an audit computes its own pairs
        alone, for which the others' maps in this state are made again: an audit keeps no maps. A pair of which one
        method fails stays missing.
        """
        return ()

    def summary(self, rows: "pd.DataFrame") -> "pd.DataFrame | None":
        """Rows that need the whole data set, such as what a mean over all samples scales; made when all are computed.

        `rows` are this check's, all of them, or those of the metrics that it `summarizes`: method ("" for the network),
        setting, position, sample, metric, value, seed; the result has the same columns, sample "" where a row is about
        no single sample.
        """
        return None
