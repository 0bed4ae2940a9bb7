"""001: Adebayo et al., sanity checks for saliency maps, with its appendix."""

from collections.abc import Iterator

from heatproof.papers.accuracies import accuracies, as_published
from heatproof.papers.claims import alike, beyond, higher, near
from heatproof.papers.measure import Pick, Results, measured
from heatproof.papers.paper import Answer, Claim, Paper, Table, explained, positive
from heatproof.papers.sanity import edges, regressor
from heatproof.papers.sanity.picks import (
    ABSOLUTE,
    CALIBRATION,
    CURVES,
    LABELS,
    MEASURES,
    NETWORKS,
    SIMILARITY,
    SMALL_NETWORKS,
    UNIFORM,
    WORDLESS,
    WORDS,
    methods_of,
    noise,
    of_masks,
    permuted,
    randomized,
)
from heatproof.papers.sanity.pictures import PICTURES, SHEETS
from heatproof.papers.survives import changes, is_gone, keeps_more, stays

ABOUT = 0.03  # what "about" allows
OF_PRODUCTS = (
    "Guided Grad-CAM is guided backprop, which stays like itself here as the lines about it say, times Grad-CAM, whose "
    "weights are the output layer's: with another output layer they light up other places and blank others."
)
OF_TWO_RANDOM = (
    "Two random networks look more like each other than like the trained one, so guided backprop does tell them apart "
    "here. This regressor has two convolutions; the deeper one of the paper may have learned filters that matter less."
)


def _randomizations(step: str, name: str) -> Iterator[Claim]:
    where = CURVES[step]
    measures = MEASURES[1:] if step == "imagenet" else (ABSOLUTE,)
    for method in ("guided-backprop", "guided-grad-cam"):
        if method not in methods_of(step):
            continue
        for metric in measures:
            claim = keeps_more(
                where=where,
                text=f"{method} hardly depends on higher layers: more like itself than the gradient once the output "
                f"layer is random, by {SIMILARITY[metric]} ({name})",
                paper=WORDLESS,
                step=step,
                one=randomized(method, metric, position=1.0),
                other=randomized("gradient", metric, position=1.0),
            )
            yield from explained(OF_PRODUCTS, claim) if method == "guided-grad-cam" else (claim,)
    for method in ("gradient-x-input", "integrated-gradients"):
        words = WORDS[method]
        yield stays(
            where=where,
            text=f"{words} still looks like its trained self by absolute values when all layers are random ({name})",
            paper=WORDLESS,
            step=step,
            of=randomized(method),
        )
        yield keeps_more(
            where=where if step == "imagenet" else "Fig. 12",
            text=f"and less so by signed values ({words}, {name})",
            paper=WORDLESS,
            step=step,
            one=randomized(method),
            other=randomized(method, "spearman"),
            names=("absolute", "signed"),
        )
        yield is_gone(
            where=where if step == "imagenet" else "Fig. 12",
            text=f"by signed values it is no longer like itself ({words}, {name})",
            paper=WORDLESS,
            step=step,
            of=randomized(method, "spearman"),
        )
    yield keeps_more(
        where=where,
        text=f"over single random layers guided backprop keeps more of itself than the gradient ({name})",
        paper=WORDLESS,
        step=step,
        one=randomized("guided-backprop", position=None, check="independent"),
        other=randomized("gradient", position=None, check="independent"),
    )


def _controls(step: str, name: str) -> Iterator[Claim]:
    yield stays(
        where="Fig. 10",
        text=f"input × random gradient looks like gradient × input ({name})",
        paper="“Input ⊙ Random gradient experiment”",
        step=step,
        of=Pick(check="input-controls", method="gradient-x-input", setting="input-x-random-gradient", metric=ABSOLUTE),
    )
    yield near(
        where="main text",
        text=f"an edge detector never changes ({name})",
        paper="not in the appendix; by definition",
        step=step,
        picks={"similarity to itself": randomized("edge-detector", "spearman")},
        value=1.0,
        within=1e-6,
    )


def _reversed(step: str, name: str) -> Claim:
    return keeps_more(
        where="Fig. 28 A, reverse cascading",
        text=f"guided backprop depends on the lowest layer more than on the output layer ({name})",
        paper=WORDLESS,
        step=step,
        one=randomized("guided-backprop", position=1.0),
        other=randomized("guided-backprop", position=1.0, check="reverse"),
        names=("output layer random", "lowest layer random"),
    )


def _random_labels(step: str, name: str) -> Iterator[Claim]:
    yield beyond(
        where="B, random labels test",
        text=f"a network memorizes permuted labels ({name})",
        paper="“to greater than 95 percent training set accuracy”",
        step=step,
        pick=permuted("", "training-accuracy"),
        above=0.95,
        of_network=True,
    )
    yield near(
        where="B, random labels test",
        text=f"and knows nothing of the true ones ({name})",
        paper="“the performance of these models on the tests set is random”",
        step=step,
        picks={"test accuracy": permuted("", "test-accuracy")},
        value=0.1,
        within=0.03,
    )
    for method, words in WORDS.items():
        yield stays(
            where=LABELS[step],
            text=f"{words} there still looks like the true network's, by absolute values ({name})",
            paper=WORDLESS,
            step=step,
            of=permuted(method),
        )


def _calibration() -> Iterator[Claim]:
    for method, row in CALIBRATION.items():
        for metric, figure in zip(MEASURES, row, strict=True):
            yield near(
                where="B, calibration",
                text=f"{metric} of a map and a Gaussian mask is about 0 ({method}, ImageNet)",
                paper=figure,
                step="calibration",
                picks={metric: noise(method, metric)},
                value=0.0,
                within=ABOUT,
            )
    for metric, figure in zip(MEASURES, UNIFORM, strict=True):
        yield near(
            where="B, calibration",
            text=f"{metric} of two uniform masks is {'well above' if metric == 'hog' else 'about'} 0 (ImageNet)",
            paper=figure,
            step="calibration",
            picks={metric: of_masks("uniform", metric)},
            value=0.078 if metric == "hog" else 0.0,
            within=ABOUT,
        )


def _reads_slants(results: Results) -> Answer:
    """1 − Σ error² / Σ deviation² over test images."""
    values = results.rows.assign(seed=0).set_index(["seed", "sample"])[["squared-error", "squared-deviation"]]
    found = measured(values, lambda means: 1 - means[:, 0] / means[:, 1])
    return Answer(f"R² {found.text(digits=3)}; asked is above 0.9", positive(found.above(0.9)))


def _regressor() -> Iterator[Claim]:
    yield Claim(
        where="Fig. 7, the stand-in",
        text="the regressor reads the slant of digits that it has not seen",
        paper="reads ages from radiographs",
        steps=("slants",),
        answer=_reads_slants,
    )
    yield keeps_more(
        where="Fig. 7",
        text="guided backprop of a random regressor looks like that of the trained one, more so than the gradient does",
        paper="“Both explanations are virtually indistinguishable”",
        step="regressor",
        one=randomized("guided-backprop"),
        other=randomized("gradient"),
        names=("trained and random, guided backprop", "the gradient"),
    )
    floor = Pick(
        check="cascading", method="guided-backprop", metric=ABSOLUTE, setting="cascading truncated-normal floor"
    )
    yield from explained(
        OF_TWO_RANDOM,
        alike(
            where="ours, after Fig. 7",
            text="as much as those of two random regressors look like each other",
            paper="not in the paper, which compares with one random network",
            step="regressor",
            one=randomized("guided-backprop"),
            other=floor,
            within=0.05,
            names=("trained and random", "random and random"),
        ),
    )


def _edges() -> Iterator[Claim]:
    for method in ("guided-backprop", "guided-grad-cam"):
        yield higher(
            where="Fig. 27",
            text=f"{method} of an image's edges alone is more like that of the image than the gradient's is (ImageNet)",
            paper="“both maps look visually similar for GBP and Guided GradCAM”",
            step="edges",
            one=Pick(check="edges", method=method, metric=ABSOLUTE),
            other=Pick(check="edges", method="gradient", metric=ABSOLUTE),
        )


PAPER = Paper(
    id="001",
    title="Sanity Checks for Saliency Maps",
    authors="Julius Adebayo, Justin Gilmer, Michael Muelly, Ian Goodfellow, Moritz Hardt, Been Kim",
    notes={
        "small": "networks of the zoo on 16 to 48 images; SqueezeNet 1.0 with He's initialization, by five of ten "
        "blocks, on 8 images stands in for Inception v3 (50 for the calibration); SmoothGrad and VarGrad of integrated "
        "gradients draw 4 to 8 times over 4 to 8 nodes; images are perturbed towards zero. A network that reads the "
        "slant of MNIST's digits stands in for the one that reads ages from radiographs (Fig. 7). Networks of permuted "
        "labels learned 10,000 images. Fashion-MNIST is split otherwise than published.",
        "full": "networks of the zoo on 200 images; torchvision's Inception v3 on 50 ImageNet validation images; "
        "permuted and true labels learned anew on MNIST. The network that reads ages (Fig. 7) has no weights to load.",
    },
    tables=(
        accuracies("001"),
        Table(name="slants", compute=regressor.errors, scales=("small",)),
        Table(name="edges", compute=edges.similarities, steps=("imagenet",)),
        Table(name="edge-maps", compute=edges.pictures, steps=("imagenet",)),
    ),
    claims=(
        *as_published("001", "B"),
        *(
            claim
            for step, name in NETWORKS.items()
            for claims in (_randomizations, _controls)
            for claim in claims(step, name)
        ),
        *(_reversed(step, name) for step, name in SMALL_NETWORKS.items()),
        *_calibration(),
        alike(
            where="B, randomization tests",
            text="uniform weights give the same as truncated normal ones (gradient, MNIST CNN, three draws each)",
            paper="“obtain identical results”",
            step="mnist-cnn",
            one=randomized("gradient"),
            other=randomized("gradient", check="cascading-uniform"),
            within=0.05,
            names=("truncated normal", "uniform"),
        ),
        *_regressor(),
        *(claim for step, name in SMALL_NETWORKS.items() for claim in _random_labels(step, name)),
        *(
            changes(
                where="ours, after Fig. 13",
                text=f"{method} tells permuted from true labels: less than half of its likeness to the trained "
                "network's map is left, of that which a network trained anew on true labels has",
                paper="not in the paper, which has no such yardstick",
                step="labels",
                of=permuted(method, "spearman"),
            )
            for method in ("gradient", "gradient-x-input", "integrated-gradients", "grad-cam")
        ),
        *_edges(),
        *(
            claim
            for method, words in (("deeplift", "DeepLIFT"), ("epsilon-lrp", "ε-LRP"))
            for claim in (
                stays(
                    where="Fig. 28 B",
                    text=f"{words} keeps the picture when all layers are random (MNIST CNN)",
                    paper="a figure without words; A.2: equal to gradient × input with ReLUs and no additive biases",
                    step="mnist-cnn",
                    of=randomized(method),
                ),
                is_gone(
                    where="Fig. 28 C",
                    text=f"and by signed values it does not ({words}, MNIST CNN)",
                    paper=WORDLESS,
                    step="mnist-cnn",
                    of=randomized(method, "spearman"),
                ),
            )
        ),
        changes(
            where="Fig. 28 D, E",
            text="the perturbation method depends on the parameters",
            paper=WORDLESS,
            step="perturbation",
            of=randomized("meaningful-perturbation"),
        ),
        keeps_more(
            where="Fig. 28 D, E",
            text="and is less like itself with all layers random than with one",
            paper=WORDLESS,
            step="perturbation",
            one=randomized("meaningful-perturbation", position=1.0),
            other=randomized("meaningful-perturbation"),
            names=("output layer random", "all layers random"),
        ),
    ),
    sheets=SHEETS,
    pictures=PICTURES,
)
