"""001: its pictures and its table of calibration."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from heatproof.papers.measure import STAGES, Pick
from heatproof.papers.paper import Picture
from heatproof.papers.pictures import by_method, curves, maps_of_samples, maps_over_labels, maps_over_states, panels
from heatproof.papers.sanity import edges
from heatproof.papers.sanity.picks import (
    ABSOLUTE,
    CALIBRATION,
    CURVES,
    DOWN,
    GAUSSIAN,
    LABELS,
    MEASURES,
    NETWORKS,
    SIMILARITY,
    SMALL_NETWORKS,
    UNIFORM,
    group_of,
    methods_of,
    noise,
    of_masks,
    permuted,
)
from heatproof.papers.sheets import BLANK, Cell, figures, over_steps


def _calibration_lines() -> dict[str, tuple[Cell, ...]]:
    lines: dict[str, tuple[Cell, ...]] = {
        f"{method} and a Gaussian mask": (*row, *(noise(method, metric) for metric in MEASURES))
        for method, row in CALIBRATION.items()
    }
    two = {"uniform": UNIFORM, "gaussian": (*GAUSSIAN, BLANK, BLANK)}
    for kind, row in two.items():
        lines[f"two {kind} masks"] = (*row, *(of_masks(kind, metric) for metric in MEASURES))
    return lines


def _maps(step: str, name: str) -> Iterator[Picture]:
    """Fig. 16–21 and 13–15 of one network."""
    of_imagenet = step == "imagenet"
    for check in ("cascading", "independent"):
        draw = partial(maps_over_states, methods=methods_of(step), group=group_of(step, check))
        yield Picture(
            name=f"{step}-{check}",
            caption=f"{name}, {check} randomization, signed values{' (Fig. 17, 19, 21)' * of_imagenet}.",
            steps=(step,),
            draw=draw(),
        )
        yield Picture(
            name=f"{step}-{check}-absolute",
            caption=f"The same by absolute values{' (Fig. 16, 18, 20)' * of_imagenet}: {name}, {check}.",
            steps=(step,),
            draw=draw(absolute=True),
        )
    controls = ("gradient-x-input", "input-x-random-gradient", "edge-detector", *methods_of(step))
    yield Picture(
        name=f"{step}-controls",
        caption=f"{name}: gradient × input beside input × random gradient and the edge detector (Fig. 10).",
        steps=(step,),
        draw=maps_of_samples(methods=tuple(dict.fromkeys(controls))),
    )
    if step in SMALL_NETWORKS:
        yield Picture(
            name=f"{step}-labels",
            caption=f"{name}: the true model and the one trained on permuted labels ({LABELS[step]}).",
            steps=(step,),
            draw=maps_over_labels(methods=methods_of(step)),
        )


def _curves(step: str, name: str) -> Iterator[Picture]:
    """Fig. 11, 12, 22–25 and 28 A of one network."""
    measures = MEASURES if step == "imagenet" else MEASURES[:2]
    orders = ("independent", "cascading") if step == "imagenet" else ("independent", "cascading", "reverse")
    for metric in measures:
        pick = Pick(check="", metric=metric, setting=STAGES)
        yield Picture(
            name=f"{step}-{metric}",
            caption=f"{name}: {SIMILARITY[metric]}, with the trained map ({CURVES[step]}; reverse: Fig. 28 A).",
            steps=(step,),
            draw=panels(
                of={
                    order: by_method(replace(pick, check=order), (*methods_of(step), "edge-detector"))
                    for order in orders
                },
                x="stage; in cascades layers from the output down, in reverse from the input up",
                y=SIMILARITY[metric],
            ),
        )


SHEETS = (
    figures(
        name="calibration",
        caption="Calibration of the similarity metrics on ImageNet (B): rank correlation of signed and of absolute "
        "values, HOG, SSIM; the paper prints two figures for two Gaussian masks.",
        step="calibration",
        lines=_calibration_lines(),
        columns=("similarity of", *(f"paper, {one}" for one in MEASURES), *(f"ours, {one}" for one in MEASURES)),
        digits=4,
    ),
    *(
        over_steps(
            name=f"labels-{kind}-{metric}",
            caption=f"Permuted labels: {SIMILARITY[metric]}, with the true model's map (Fig. 13–15).",
            steps={step: name for step, name in SMALL_NETWORKS.items() if step.endswith(kind)},
            cells=[permuted(method, metric) for method in methods_of(kind)],
            columns=("network", *methods_of(kind)),
            digits=2,
        )
        for kind in ("cnn", "mlp")
        for metric in (ABSOLUTE, "spearman")
    ),
)

PICTURES = (
    *(picture for step, name in NETWORKS.items() for draw in (_maps, _curves) for picture in draw(step, name)),
    Picture(
        name="edges",
        caption="An image and its edges alone, with their maps (Fig. 27).",
        steps=("edge-maps",),
        draw=edges.draw,
    ),
    Picture(
        name="regressor",
        caption="A regressor, trained and from layer to layer random: guided backprop changes little (Fig. 7).",
        steps=("regressor",),
        draw=maps_over_states(methods=("guided-backprop", "gradient", "gradient-x-input"), group="cascading"),
    ),
    Picture(
        name="deeplift-lrp",
        caption="Cascading randomization of the MNIST CNN for DeepLIFT and ε-LRP (Fig. 28 B, C).",
        steps=("mnist-cnn",),
        draw=panels(
            of={
                SIMILARITY[metric]: by_method(
                    Pick(check="cascading", metric=metric, setting=STAGES),
                    ("deeplift", "epsilon-lrp", "gradient-x-input"),
                )
                for metric in (ABSOLUTE, "spearman")
            },
            x=DOWN,
            y="Spearman",
        ),
    ),
    Picture(
        name="perturbation",
        caption="The perturbation method from the trained network to the fully random one (Fig. 28 D).",
        steps=("perturbation",),
        draw=maps_over_states(methods=("meaningful-perturbation", "gradient"), group="cascading"),
    ),
    Picture(
        name="perturbation-curve",
        caption="Its rank correlation with itself on the trained network (Fig. 28 E).",
        steps=("perturbation",),
        draw=curves(
            pick=Pick(check="cascading", metric=ABSOLUTE, setting=STAGES),
            methods=("meaningful-perturbation", "gradient"),
            x=DOWN,
            y=SIMILARITY[ABSOLUTE],
        ),
    ),
)
