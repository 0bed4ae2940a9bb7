"""003: Ancona et al., towards better understanding of gradient-based attribution methods."""

from heatproof.papers.accuracies import accuracies
from heatproof.papers.measure import Pick
from heatproof.papers.paper import Paper, Picture
from heatproof.papers.pictures import by_method, curves, maps_of_networks, maps_of_samples, panels
from heatproof.papers.sheets import over_steps
from heatproof.papers.unification.claims import ACTIVATIONS, CLAIMS, METHODS, NETWORKS, gap, sensitivity

PAPER = Paper(
    id="003",
    title="Towards better understanding of gradient-based attribution methods for deep neural networks",
    authors="Marco Ancona, Enea Ceolini, Cengiz Öztireli, Markus Gross",
    notes={
        "small": "networks of the zoo, 8 to 128 samples each in place of 1000; IMDB has 5,000 reviews, CIFAR-10 "
        "10,000 training images, and SqueezeNet 1.0 on tiles of 8 × 8 pixels stands in for Inception v3 on pixels.",
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
        over_steps(
            name="completeness",
            caption="What the maps' sums miss of S(x) − S(x̄), or of S(x) for ε-LRP and gradient × input, relative to "
            "it (§2.2, §4: Sensitivity-N).",
            steps=NETWORKS,
            cells=[gap(method) for method in METHODS[1:]],
            columns=("network", *METHODS[1:]),
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
            "(−), MNIST CNN with sigmoid (Fig. 3c); its maps below (Fig. 3a, b).",
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
            ),
        ),
        Picture(
            name="imagenet-maps",
            caption="Maps on ImageNet: occlusion of growing windows, and gradient-based methods (Fig. 1, 2).",
            steps=("imagenet",),
            draw=maps_of_samples(methods=("occlusion-1", "occlusion-16", "occlusion-32", *METHODS[1:])),
        ),
        Picture(
            name="activations",
            caption="Maps of one digit by the MNIST CNN with each nonlinearity (Table 1).",
            steps=tuple(f"cnn-{activation}" for activation in ACTIVATIONS),
            draw=maps_of_networks(methods=METHODS, names=ACTIVATIONS),
        ),
    ),
)
