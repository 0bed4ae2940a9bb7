"""001: Adebayo et al., sanity checks for saliency maps, with its appendix."""

from collections.abc import Iterator

from heatproof.papers.accuracies import accuracies, as_published
from heatproof.papers.claims import alike, higher, near
from heatproof.papers.measure import STAGES, Pick
from heatproof.papers.paper import Claim, Paper, Picture
from heatproof.papers.pictures import curves, maps_over_states

SMALL_NETWORKS = {
    "mnist-cnn": "MNIST CNN",
    "mnist-mlp": "MNIST MLP",
    "fashion-cnn": "Fashion-MNIST CNN",
    "fashion-mlp": "Fashion-MNIST MLP",
}
NETWORKS = {**SMALL_NETWORKS, "imagenet": "ImageNet"}
ABSOLUTE = "spearman-absolute"


def randomized(method: str, metric: str = ABSOLUTE, position: float | str = "last", check: str = "cascading") -> Pick:
    """Similarity to the trained network's map, after everything is randomized by default."""
    return Pick(check=check, method=method, metric=metric, setting=STAGES, position=position)


def noise(method: str, metric: str = ABSOLUTE) -> Pick:
    """Similarity of a method's trained map to Gaussian noise."""
    return Pick(check="calibration", method=method, metric=metric, setting="map-vs-gaussian")


def _of_network(step: str, name: str) -> Iterator[Claim]:
    yield higher(
        where="Fig. 2, 16–26",
        text=f"guided backprop hardly depends on the higher layers: more like itself than the gradient once the "
        f"output layer is random ({name})",
        paper="its maps look alike down to the lower layers",
        step=step,
        one=randomized("guided-backprop", position=1.0),
        other=randomized("gradient", position=1.0),
    )
    for method, words in (("gradient-x-input", "gradient × input"), ("integrated-gradients", "Integrated Gradients")):
        yield higher(
            where="Fig. 22–26",
            text=f"{words} still looks like its trained self by absolute values when all layers are random ({name})",
            paper="structure of the input persists in the maps",
            step=step,
            one=randomized(method),
            other=noise(method),
            names=("randomized", "a random mask"),
        )
        yield higher(
            where="Fig. 11, 12",
            text=f"and does not by signed values ({words}, {name})",
            paper="rank correlations without absolute values fall at once",
            step=step,
            one=randomized(method),
            other=randomized(method, "spearman"),
            names=("absolute", "signed"),
        )
    yield higher(
        where="Fig. 10",
        text=f"input × random gradient looks like gradient × input ({name})",
        paper="“Input ⊙ Random gradient experiment”",
        step=step,
        one=Pick(check="input-controls", method="gradient-x-input", setting="input-x-random-gradient", metric=ABSOLUTE),
        other=noise("gradient-x-input"),
        names=("similarity to the control", "to a random mask"),
    )
    yield near(
        where="Fig. 1 (main text), 27",
        text=f"an edge detector never changes ({name})",
        paper="edge detectors do not depend on the model",
        step=step,
        picks={"similarity to itself": randomized("edge-detector", "spearman")},
        value=1.0,
        within=1e-6,
    )


PAPER = Paper(
    id="001",
    title="Sanity Checks for Saliency Maps",
    authors="Julius Adebayo, Justin Gilmer, Michael Muelly, Ian Goodfellow, Moritz Hardt, Been Kim",
    notes={
        "small": "networks of the zoo on 32 to 48 images; SqueezeNet 1.0 with He's initialization, by blocks, on 8 "
        "images stands in for Inception v3. The regressor on radiographs (Fig. 7) has no stand-in.",
        "full": "torchvision's Inception v3 on 50 ImageNet validation images.",
    },
    tables=(accuracies("001"),),
    claims=(
        as_published("B"),
        *(claim for step, name in NETWORKS.items() for claim in _of_network(step, name)),
        higher(
            where="Fig. 2, 16–21",
            text="Guided Grad-CAM hardly depends on the higher layers (ImageNet)",
            paper="its maps look alike down to the lower layers",
            step="imagenet",
            one=randomized("guided-grad-cam", position=1.0),
            other=randomized("gradient", position=1.0),
        ),
        *(
            near(
                where="B, calibration",
                text=f"{metric} of a map and a Gaussian mask is about 0 ({method}, ImageNet)",
                paper=figure,
                step="imagenet",
                picks={metric: noise(method, metric)},
                value=0.0,
                within=0.02,
            )
            for method, figures in (
                ("gradient", ("-0.00049", "0.00032", "-0.0016", "0.00027")),
                ("integrated-gradients", ("0.00084", "0.00059", "0.0048", "0.00018")),
                ("gradient-x-input", ("0.00081", "0.00099", "-0.0024", "0.00023")),
            )
            for metric, figure in zip(("spearman", ABSOLUTE, "hog", "ssim"), figures, strict=True)
        ),
        near(
            where="B, calibration",
            text="HOG of two uniform masks is well above 0 (ImageNet)",
            paper="0.078",
            step="imagenet",
            picks={"hog": Pick(check="calibration", method="", setting="uniform-vs-uniform", metric="hog")},
            value=0.078,
            within=0.01,
        ),
        alike(
            where="B, randomization tests",
            text="uniform weights give the same as truncated normal ones (gradient, MNIST CNN)",
            paper="“obtain identical results”",
            step="mnist-cnn",
            one=randomized("gradient"),
            other=randomized("gradient", check="cascading-uniform"),
            within=0.05,
            names=("truncated normal", "uniform"),
        ),
        *(
            higher(
                where="Fig. 28 B, C",
                text=f"{words} keeps the picture when all layers are random (MNIST CNN)",
                paper="DeepLIFT and ε-LRP behave like gradient × input",
                step="mnist-cnn",
                one=randomized(method),
                other=noise(method),
                names=("randomized", "a random mask"),
            )
            for method, words in (("deeplift", "DeepLIFT"), ("epsilon-lrp", "ε-LRP"))
        ),
        *(
            higher(
                where="Fig. 13–15",
                text=f"{words} on a network of permuted labels still looks like the true network's, by absolute values",
                paper="masks on random labels resemble those of the true model",
                step="labels",
                one=Pick(check="data-randomization", method=method, metric=ABSOLUTE, setting="permuted-labels"),
                other=noise(method),
                names=("permuted labels", "a random mask"),
            )
            for method, words in (
                ("gradient-x-input", "gradient × input"),
                ("integrated-gradients", "Integrated Gradients"),
                ("guided-backprop", "guided backprop"),
            )
        ),
        *(
            higher(
                where="Fig. 13–15",
                text=f"{words} tells permuted from true labels: its map is less like the trained network's than "
                "that of a network trained anew on true labels",
                paper="not in the paper, which has no such yardstick",
                step="labels",
                one=Pick(check="data-randomization", method=method, metric="spearman", setting="true-labels"),
                other=Pick(check="data-randomization", method=method, metric="spearman", setting="permuted-labels"),
                names=("true labels", "permuted labels"),
            )
            for method, words in (
                ("gradient", "the gradient"),
                ("gradient-x-input", "gradient × input"),
                ("integrated-gradients", "Integrated Gradients"),
                ("grad-cam", "Grad-CAM"),
            )
        ),
        higher(
            where="Fig. 28 D, E",
            text="the perturbation method depends on the parameters: less like itself the more layers are random",
            paper="similarity falls with the first randomized layers",
            step="perturbation",
            one=randomized("meaningful-perturbation", position=1.0),
            other=randomized("meaningful-perturbation"),
            names=("output layer random", "all layers random"),
        ),
    ),
    pictures=(
        *(
            Picture(
                name=f"{step}-cascading",
                caption=f"{name}: from the trained network to the fully random one.",
                step=step,
                draw=maps_over_states(
                    methods=("gradient", "gradient-x-input", "integrated-gradients", "guided-backprop"),
                    group="cascading",
                ),
            )
            for step, name in NETWORKS.items()
        ),
        *(
            Picture(
                name=f"{step}-curves",
                caption=f"{name}: rank correlation of absolute values with the trained network's map (Fig. 22–26).",
                step=step,
                draw=curves(
                    pick=Pick(check="cascading", metric=ABSOLUTE, setting=STAGES),
                    methods=(
                        "gradient",
                        "gradient-sg",
                        "gradient-x-input",
                        "integrated-gradients",
                        "guided-backprop",
                        "guided-grad-cam",
                        "grad-cam",
                        "edge-detector",
                    ),
                    x="randomized layers, from the output down",
                    y="Spearman, absolute values",
                ),
            )
            for step, name in NETWORKS.items()
        ),
    ),
)
