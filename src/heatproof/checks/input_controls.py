"""How much of a map could have been made from the input alone, with no model at all?"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from heatproof.checks.base import CHECKS, Block, Check, Maps, Recipe, Scores, State, Study
from heatproof.checks.similarities import chance_rows, fitting, similarity_rows
from heatproof.draws import reseed
from heatproof.errors import InputError
from heatproof.methods.base import METHODS
from heatproof.metrics import Metric
from heatproof.rows import Role, chance_of
from heatproof.similarity import Similarity

CONTROLS = ("input-x-random-gradient", "edge-detector", "input-x-edges")
OF_IMAGES = CONTROLS[1:]


@CHECKS.register("input-controls")
@dataclass(frozen=True, kw_only=True)
class InputControls(Check):
    """Similarity of the trained model's maps to maps that know the input but no model.

    Setting: the control. `input-x-random-gradient` is x ⊙ ξ with ξ ~ N(0, 1): what gradient × input would be if the
    gradient were noise; `edge-detector` and `input-x-edges` know the picture's outlines. Controls that need images are
    left out elsewhere. Rows without a method compare two draws of a control: the similarity that two maps share for no
    other reason than the input they were made from.
    `… chance` compares the map with itself permuted among the features that are not zero in it or the control: what any
    map of the same values is like it by.
    Cost: no pass through the network.

    Source: Adebayo et al. 2018, Fig. 10 and 27.

    >>> check = hp.checks.InputControls(controls=("edge-detector",), similarities=("spearman",))
    >>> run = hp.audit(net, images, labels, methods=["gradient"], checks=[check], out="controls", progress=False)
    >>> sorted(set(run.rows()["setting"]))
    ['edge-detector', 'edge-detector chance']
    """

    version: ClassVar[int] = 2

    controls: tuple[str, ...] = ()
    similarities: tuple[Similarity | str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.controls:
            if METHODS.get(name).uses_model:
                raise InputError(f"Expected a control, which looks at no model, but got the method {name!r}.")

    def metrics(self, study: Study) -> tuple[Metric, ...]:
        return tuple(measure.metric for measure in fitting(self.similarities, study.grid)[0])

    def notes(self, study: Study) -> tuple[str, ...]:
        left_out = set(self.controls or CONTROLS) - set(self._fitting_controls(len(study.example.shape)))
        return (
            *fitting(self.similarities, study.grid)[1],
            *(f"{name} is left out: it needs images (C, H, W)." for name in sorted(left_out)),
        )

    def shared(self, block: Block, state: State) -> dict[str, tuple[Maps, Maps]]:
        """Two replicates of each control's pooled maps; a deterministic control's are equal."""
        return {name: (self._maps(name, block, 0), self._maps(name, block, 1)) for name in self._names(block)}

    def network_rows(self, block: Block, state: State, shared: Mapping[str, tuple[Maps, Maps]]) -> Iterable[Scores]:
        measures, _ = fitting(self.similarities, block.features.grid(block.inputs.shape[1:]))
        for name, (first, second) in shared.items():
            yield from similarity_rows(measures, first, second, setting=name)

    def rows(
        self, block: Block, state: State, method: Recipe, maps: Maps, kept: Mapping[str, Maps], shared: Any
    ) -> Iterator[Scores]:
        measures, _ = fitting(self.similarities, tuple(maps.values.shape[1:]))
        for name, (control, _) in shared.items():
            yield from similarity_rows(measures, control, maps, setting=name)
            key, setting = ("chance beside a control", name), chance_of(name)
            for one in chance_rows(measures, maps, control, *key, samples=block.samples, setting=setting, block=block):
                yield replace(one, role=Role.CHANCE)

    def _names(self, block: Block) -> tuple[str, ...]:
        return self._fitting_controls(block.inputs.dim())

    def _fitting_controls(self, dimensions: int) -> tuple[str, ...]:
        """The controls that apply to samples of so many dimensions, the batch's included."""
        fitting = tuple(name for name in self.controls or CONTROLS if dimensions == 4 or name not in OF_IMAGES)
        if self.controls and fitting != self.controls:
            raise InputError(
                f"Expected images (N, C, H, W) for controls {self.controls}, but got {dimensions} dimensions."
            )
        return fitting

    def _maps(self, name: str, block: Block, replicate: int) -> Maps:
        control = reseed(METHODS.get(name), replicate)
        return Maps(block.pool(control(block.model, block.inputs, block.targets)), {})
