"""States in which a network is partly or wholly random, as every check that randomizes declares them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from heatproof.checks.base import Maps, Scores, State, Study
from heatproof.metrics import TREATMENTS
from heatproof.randomization import INITIALIZERS, Cascading, Randomization, Stage, Stages

NAMED = 6  # what a note names; the others it counts
# The trained network again, with the methods' other noise.
REPLICATE = State(
    name="trained, other noise", key={"state": "trained"}, kind="replicate", label="trained, other noise", replicate=1
)


def stages_of(study: Study, randomization: Randomization, seed: int) -> Stages:
    """The stages of `randomization` under another seed."""
    return replace(randomization, seed=seed).stages(study.model, study.example, study.usage)


def everything(study: Study, randomization: Randomization, seed: int) -> Stage:
    """The stage in which every layer is random, drawn as `randomization` draws it."""
    recipe = Cascading(initializer=randomization.initializer, batch_norm=randomization.batch_norm)
    return stages_of(study, recipe, seed)[-1]


def undrawn(stages: Stages, samples: int) -> tuple[str, ...]:
    """What a reader must know of what a randomization does not draw, as found on so many samples, in sentences."""
    notes = []
    if stages.unused:
        notes.append(
            f"Not used on the first samples ({samples}), so never randomized: {_some(stages.unused)}. "
            "Where other samples use them, a fully randomized network is not."
        )
    if stages.fixed:
        notes.append(
            f"Decides outputs and is never randomized, as constants of the architecture: {_some(stages.fixed)}."
        )
    if stages.hidden:
        notes.append(
            f"Weights that stay trained, because no module holds them: {_some(stages.hidden)}. So no network here is "
            "fully random; register them as parameters or buffers."
        )
    return tuple(notes)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def state_of(
    stage: Stage, randomization: Randomization, seed: int, *, kind: str, group: str, targets: str = "trained"
) -> State:
    """A stage as a state. Two checks with the same random network share its attributions.

    What determines the parameters is the key: which layers are drawn, from what, under which seed; never the order.
    """
    initializer = randomization.initializer
    key = {
        "state": "randomized",
        "layers": sorted(stage.layers),
        "initializer": repr(INITIALIZERS.get(initializer) if isinstance(initializer, str) else initializer),
        "batch_norm": randomization.batch_norm,
        "seed": seed,
    }
    return State(
        name=stage.name + ("" if targets == "trained" else " own-label"),
        key=key,
        kind=kind,
        group=group,
        label=stage.label,
        index=stage.index,
        seed=seed,
        layers=tuple(stage.layers),
        targets=targets,
        kept=stage.complete,
        complete=stage.complete,
        fixed=stage.fixed,
        open=lambda _model: stage,
        ahead=stage.ahead,
    )


def treatment_rows(maps: Maps, *, setting: str = "", position: float = 0.0, seed: int = 0) -> Iterator[Scores]:
    """What was done to a method that learns from data where the network is random; nothing for another."""
    for metric in TREATMENTS:
        if metric.name in maps.diagnostics:
            values = maps.diagnostics[metric.name]
            yield Scores(metric=metric.name, values=values, setting=setting, position=position, seed=seed)
