"""003: Ancona et al., towards better understanding of gradient-based attribution methods."""

import pandas as pd

from heatproof.papers.accuracies import accuracies
from heatproof.papers.measure import Pick, Results
from heatproof.papers.paper import Paper, Picture, Sheet
from heatproof.papers.pictures import by_method, curves, maps_of_networks, maps_of_samples, panels
from heatproof.papers.sheets import over_steps
from heatproof.papers.unification.claims import ACTIVATIONS, CLAIMS, METHODS, NETWORKS, relative_gap, sensitivity


def _completeness(*results: Results) -> pd.DataFrame:
    lines = [
        [name, *(relative_gap(one, method).text(percent=True, digits=4) for method in METHODS[1:])]
        for name, one in zip(NETWORKS.values(), results, strict=True)
    ]
    return pd.DataFrame(lines, columns=["network", *METHODS[1:]])


PAPER = Paper(
    id="003",
    title="Towards better understanding of gradient-based attribution methods for deep neural networks",
    authors="Marco Ancona, Enea Ceolini, Cengiz Öztireli, Markus Gross",
    notes={
        "small": "networks of the zoo, 14 to 128 samples each in place of 1000, 50 to 100 sets of 6 to 10 sizes n; "
        "IMDB has 5,000 reviews, CIFAR-10 10,000 training images; SqueezeNet 1.0 on tiles of 8 × 8 pixels stands in "
        "for Inception v3 on pixels. Integrated Gradients take 16 to 200 nodes of Gauss–Legendre's rule; LRP's ε is "
        "1e-6, and through the gates of the LSTM its signals go as Arras et al. have it. Images are hidden by their "
        "mean color.",
        "full": "1000 samples each, torchvision's Inception v3 on pixels; of IMDB and CIFAR-10 what there is.",
    },
    tables=(accuracies("003"),),
    claims=CLAIMS,
    sheets=(
        over_steps(
            name="sensitivity",
            caption="Sensitivity-n of every network, the mean over n of the curves in Fig. 4.",
            steps=NETWORKS,
            cells=[sensitivity(method) for method in METHODS],
            columns=("network", *METHODS),
        ),
        Sheet(
            name="completeness",
            caption="What the maps' sums miss of S(x) − S(x̄), or of S(x) for ε-LRP and gradient × input, relative to "
            "it (§2.2, §4: Sensitivity-N): the mean over samples of the one over that of the other.",
            steps=tuple(NETWORKS),
            make=_completeness,
        ),
    ),
    pictures=(
        *(
            Picture(
                name=step,
                caption=f"Sensitivity-n, {name} (Fig. 4).",
                steps=(step,),
                draw=curves(
                    pick=Pick(check="sensitivity-n", metric="sensitivity-n"),
                    methods=(*METHODS, "deeplift-complete") if step == "imdb-lstm" else METHODS,
                    x="number of features n",
                    y="Pearson correlation",
                    log=True,
                ),
            )
            for step, name in NETWORKS.items()
        ),
        Picture(
            name="activation",
            caption="The target's output as pixels are removed by each map, the highest first (+) and the lowest first "
            "(−), MNIST CNN with sigmoid, over digits of every class (Fig. 3c, of one image); maps below (Fig. 3a, b).",
            steps=("cnn-sigmoid",),
            draw=panels(
                of={
                    f"{words}": by_method(
                        Pick(check="activation", metric="score", setting=setting),
                        ("integrated-gradients", "occlusion-1"),
                    )
                    for words, setting in (("+", "morf"), ("−", "lerf"))
                },
                x="removed share of the pixels",
                y="output of the label",
                log=True,
            ),
        ),
        Picture(
            name="imagenet-maps",
            caption="Maps on ImageNet: occlusion of tiles of 8 × 8 pixels and of windows of 16 and 32, and "
            "gradient-based methods (Fig. 1, 2).",
            steps=("imagenet",),
            draw=maps_of_samples(methods=("occlusion-1", "occlusion-16", "occlusion-32", *METHODS[1:])),
        ),
        Picture(
            name="activations",
            caption="Maps of one digit by the MNIST CNN with each nonlinearity (Table 1).",
            steps=tuple(f"cnn-{activation}" for activation in ACTIVATIONS),
            draw=maps_of_networks(methods=METHODS, names=ACTIVATIONS, sample=3),
        ),
    ),
)
