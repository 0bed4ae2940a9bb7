"""How fast does the network lose the label when what a map calls relevant is taken away?"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from heatproof import draws
from heatproof.baselines import Baseline, Zero, resolved
from heatproof.checks.base import CHECKS, TRAINED, Block, Check, Maps, Recipe, Scores, State, Study
from heatproof.checks.variants import (
    Read,
    counted,
    evaluated,
    likelihood,
    patternless,
    region_sums,
    regions,
    replaced,
    score,
    top_probability,
)
from heatproof.errors import InputError
from heatproof.features import ranks
from heatproof.metrics import Metric
from heatproof.models import forward
from heatproof.outputs import Outputs

if TYPE_CHECKING:
    import pandas as pd

Of = Literal["probability", "score"]

DEGRADATION = Metric(
    name="degradation",
    chance=0.0,
    higher_is_better=True,
    text="Area between the curves that lose the least and the most relevant features first, 1 being what the network "
    "gives originals: 0 for a random map.",
)
PROBABILITY = Metric(
    name="probability",
    low=0.0,
    high=1.0,
    text="Probability of the label with this share of the features replaced.",
)
SCORE = Metric(name="score", unit="score", text="The output of the label with this share of the features replaced.")
TOP = Metric(name="top-probability", low=0.0, high=1.0, text="Probability of the likeliest label of the original.")


class Ends(NamedTuple):
    """What no method influences: outputs with nothing and with everything replaced (N,), and what is replaced with."""

    original: Tensor
    degraded: Tensor
    top: Tensor | None  # None where outputs have no probability, or none is asked for
    baseline: Tensor
    names: list[str]


@CHECKS.register("degradation")
@dataclass(frozen=True, kw_only=True)
class Degradation(Check):
    """The area between two curves: p(y|x) with the least relevant tiles replaced first, and the most relevant first.

    Tiles are ranked by the sum of their attributions and replaced from the ORIGINAL by `baseline`, in settings `morf`
    (most relevant first) and `lerf`; position is the replaced share of the tiles, 0 to 1. `degradation` is
    ∫ (s_LeRF − s_MoRF) over that share, by trapezoids with both ends, of s(x) = (p(y|x) − b) / (t₁ − b): t₁ is the mean
    top probability of the originals, b the mean p(y|x) of the fully replaced, both over the data set. In units of
    t₁ − b: 0 for a random map, at most about 1, negative for a misleading one. NaN where the map is constant, all tiles
    have one sum, or t₁ <= b. Tiles of equal value come in random order, so that a map of many zeros favors no corner.

    Fields:
        tile: pixels a side of a tile; 1 takes the audit's features one by one. By default 8 where features are pixels
            and there is more than one such tile, else 1.
        steps: replace in so many equal steps; 0 takes one tile a step.
        of: `probability`, or `score` for the raw output S_c, whose area is in its own units (s = S_c − S_c(degraded)
            is not scaled): Ancona et al.'s Figure 3c with tile=1.

    Outputs that have no probability are taken as they are, as with `of="score"`.
    Cost: two forward passes a step, sample and method, beside two for all methods together.
    Source: Schulz et al. 2020, section 4.6, equation 9; Ancona et al. 2017.

    >>> check = hp.checks.Degradation(tile=4)
    >>> run = hp.audit(net, images, labels, methods=["gradient"], checks=[check], out="degradation", progress=False)
    >>> rows = run.rows()
    >>> rows[rows["setting"] == "morf"]["position"].unique().tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """

    tile: int | None = None
    steps: int = 0
    baseline: Baseline = field(default_factory=Zero)
    of: Of = "probability"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tile is not None and self.tile < 1:
            raise InputError(f"Expected a tile of at least 1 pixel, but got {self.tile}.")
        if self.steps < 0:
            raise InputError(f"Expected no negative steps, but got {self.steps}.")
        if self.of not in get_args(Of):
            raise InputError(f"Expected of to be one of {', '.join(map(repr, get_args(Of)))}, but got {self.of!r}.")

    def curve(self, meaning: Outputs) -> Metric:
        """What the curves measure."""
        return PROBABILITY if self._likely(meaning) else SCORE

    def _likely(self, meaning: Outputs) -> bool:
        return self.of == "probability" and meaning.probability is not None

    def _read(self, meaning: Outputs) -> Read:
        return likelihood(meaning) if self._likely(meaning) else score

    def metrics(self, study: Study) -> tuple[Metric, ...]:
        likely = self._likely(study.meaning)
        area = replace(DEGRADATION, ideal=1.0) if likely else DEGRADATION  # of scores in their own units
        return (area, self.curve(study.meaning), *([TOP] if likely else []))

    def notes(self, study: Study) -> tuple[str, ...]:
        if self.of == "score" or self._likely(study.meaning):
            return ()
        return ("the curves are of the output itself, as it has no probability.",)

    def states(self, study: Study) -> Sequence[State]:
        regions(study.features, study.example.shape[1:], self.tile)
        resolved(self.baseline, study.model, study.example)
        return (TRAINED,)

    def passes(self, study: Study, state: State, method: Recipe | None) -> float:
        shape = study.example.shape[1:]
        tiles = math.prod(regions(study.features, shape, self.tile).grid(shape))
        return 2.0 * len(self.counts(tiles)) if method else 2.0

    def counts(self, tiles: int) -> list[int]:
        """How many tiles are replaced at each position between the ends."""
        steps = min(self.steps or tiles, tiles)
        return [round(tiles * k / steps) for k in range(1, steps)]

    def shared(self, block: Block, state: State) -> Ends:
        baseline = resolved(self.baseline, block.model, block.inputs)
        names = draws.digests(block.inputs)
        with torch.no_grad():
            original, degraded = forward(block.model, block.inputs), forward(block.model, baseline)
        of_target = self._read(block.meaning)
        whole, gone = of_target(original, block.targets), of_target(degraded, block.targets)
        top = top_probability(original, block.meaning) if self._likely(block.meaning) else None
        return Ends(whole, gone, top, baseline, names)

    def network_rows(self, block: Block, state: State, shared: Ends) -> Iterable[Scores]:
        curve = self.curve(block.meaning).name
        yield Scores(metric=curve, values=shared.original, setting="original")
        yield Scores(metric=curve, values=shared.degraded, setting="degraded", position=1.0)
        if shared.top is not None:
            yield Scores(metric=TOP.name, values=shared.top, setting="original")

    def rows(
        self, block: Block, state: State, method: Recipe, maps: Maps, kept: Mapping[str, Maps], shared: Any
    ) -> Iterator[Scores]:
        features = regions(block.features, block.inputs.shape[1:], self.tile)
        values = region_sums(maps.values, block, self.tile)
        blank = patternless(values) | patternless(maps.values.flatten(1))
        places = ranks(values, self.seed, "degradation", samples=shared.names, keep=block.derived)
        tiles = math.prod(features.grid(block.inputs.shape[1:]))
        numbers = self.counts(tiles)
        counts = counted(places, *numbers)
        curve = self.curve(block.meaning).name
        for setting, first in (("morf", places), ("lerf", tiles - 1 - places)):

            def variant(samples: slice, some: range, first: Tensor = first) -> Tensor:
                chosen = first[samples, None] < counts[some.start : some.stop, None]
                return replaced(block, features, chosen, samples, shared.baseline)

            between = evaluated(block, len(counts), variant, self._read(block.meaning))
            values_of = torch.cat([shared.original[:, None], between, shared.degraded[:, None]], 1)
            for count, column in zip([0, *numbers, tiles], values_of.T, strict=True):
                held = column.masked_fill(blank, torch.nan)
                yield Scores(metric=curve, values=held, setting=setting, position=count / tiles)

    def summary(self, rows: "pd.DataFrame") -> "pd.DataFrame | None":
        curves = rows[rows["setting"].isin(["morf", "lerf"])].sort_values("position", kind="stable")
        if curves.empty:
            return None
        scale = 1.0
        of_network = rows[rows["method"] == ""]
        if (of_network["metric"] == TOP.name).any():
            t1 = of_network.loc[of_network["metric"] == TOP.name, "value"].mean()
            b = of_network.loc[of_network["setting"] == "degraded", "value"].mean()
            scale = t1 - b if t1 > b else math.nan
        wide = curves.pivot(index=["method", "sample"], columns=["setting", "position"], values="value")
        places = wide["morf"].columns.to_numpy()
        difference = (wide["lerf"][places] - wide["morf"][places]).to_numpy()
        area = ((difference[:, 1:] + difference[:, :-1]) / 2 * (places[1:] - places[:-1])).sum(1)
        found = wide.index.to_frame(index=False)
        return found.assign(setting="", position=0.0, metric=DEGRADATION.name, value=area / scale, seed=0)
