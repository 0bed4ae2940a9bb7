"""003: Ancona et al., towards better understanding of gradient-based attribution methods."""

from collections.abc import Iterator

from heatproof.papers.accuracies import accuracies, as_published
from heatproof.papers.claims import alike, higher, near
from heatproof.papers.measure import Pick
from heatproof.papers.paper import Claim, Paper, Picture
from heatproof.papers.pictures import curves, maps_of_samples

ACTIVATIONS = ("relu", "tanh", "sigmoid", "softplus")
METHODS = ("occlusion-1", "gradient-x-input", "integrated-gradients", "epsilon-lrp", "deeplift")
SMOOTH = ("sigmoid", "softplus")
NEAR = 0.05  # what two curves of Fig. 4 may differ by and still be one line to the eye


def sensitivity(method: str, position: float | str | None = None) -> Pick:
    """Sensitivity-n of a method, averaged over n, or at one n."""
    return Pick(check="sensitivity-n", method=method, metric="sensitivity-n", position=position)


def _of_networks(kind: str) -> Iterator[Claim]:
    for activation in ACTIVATIONS:
        step, name = f"{kind}-{activation}", f"MNIST {kind.upper()}, {activation}"
        yield near(
            where="§4, after Proposition 3",
            text=f"Occlusion-1 satisfies Sensitivity-1 ({name})",
            paper="“Occlusion-1 satisfy Sensitivity-1 by construction”",
            step=step,
            picks={"correlation at n = 1": sensitivity("occlusion-1", 1.0)},
            value=1.0,
            within=1e-3,
        )
        yield higher(
            where="Fig. 4, consideration 2",
            text=f"the correlation of Occlusion-1 falls as n grows ({name})",
            paper="“decreases monotonically as n increases in all our experiments”",
            step=step,
            one=sensitivity("occlusion-1", "first"),
            other=sensitivity("occlusion-1", "last"),
            names=("n = 1", "largest n"),
        )
        yield alike(
            where="Fig. 4, consideration 4",
            text=f"DeepLIFT is as good as Integrated Gradients ({name})",
            paper="“very high correlation”",
            step=step,
            one=sensitivity("integrated-gradients"),
            other=sensitivity("deeplift"),
            within=NEAR,
            names=("integrated gradients", "DeepLIFT"),
        )
        if activation == "relu":
            yield alike(
                where="Prop. 3 (i), consideration 5",
                text=f"ε-LRP is gradient × input with ReLUs ({name})",
                paper="“equivalent to Gradient * Input when all nonlinearities are ReLUs”",
                step=step,
                one=sensitivity("gradient-x-input"),
                other=sensitivity("epsilon-lrp"),
                within=1e-3,
                names=("gradient × input", "ε-LRP"),
            )
        if activation in SMOOTH:
            yield higher(
                where="Fig. 4, consideration 5",
                text=f"ε-LRP fails where f(0) is not 0 ({name})",
                paper="“it fails when these are Sigmoid or Softplus”",
                step=step,
                one=sensitivity("integrated-gradients"),
                other=sensitivity("epsilon-lrp"),
                names=("integrated gradients", "ε-LRP"),
            )


PAPER = Paper(
    id="003",
    title="Towards better understanding of gradient-based attribution methods for deep neural networks",
    authors="Marco Ancona, Enea Ceolini, Cengiz Öztireli, Markus Gross",
    notes={
        "small": "networks of the zoo, 48 to 64 images each in place of 1000; IMDB has 5,000 reviews, CIFAR-10 10,000 "
        "training images, and SqueezeNet 1.0 on tiles of 8 × 8 pixels stands in for Inception v3 on pixels.",
        "full": "1000 samples each, torchvision's Inception v3.",
    },
    tables=(accuracies("003"),),
    claims=(
        as_published("C, Table 2"),
        *_of_networks("mlp"),
        *_of_networks("cnn"),
        near(
            where="Fig. 4, consideration 6",
            text="all methods are equal on the shallow IMDB MLP, which behaves linearly",
            paper="“all methods are equivalent and the correlation is maximum for almost all values of n”",
            step="imdb-mlp",
            picks={method: sensitivity(method) for method in METHODS},
            value=1.0,
            within=NEAR,
        ),
        higher(
            where="Fig. 4, consideration 4",
            text="DeepLIFT in this paper's form fails where features multiply (IMDB LSTM)",
            paper="“In these cases the analyzed formulation of DeepLIFT should be avoided”",
            step="imdb-lstm",
            one=sensitivity("integrated-gradients"),
            other=sensitivity("deeplift"),
            names=("integrated gradients", "DeepLIFT"),
        ),
        alike(
            where="ours",
            text="with its complete rules for products DeepLIFT is as good as Integrated Gradients there (IMDB LSTM)",
            paper="not in the paper, which has no rule for products",
            step="imdb-lstm",
            one=sensitivity("integrated-gradients"),
            other=sensitivity("deeplift-complete"),
            within=NEAR,
            names=("integrated gradients", "DeepLIFT, complete"),
        ),
        *(
            higher(
                where="Fig. 4",
                text=f"Occlusion-1 is better than {words} at n = 1 ({name})",
                paper="“Occlusion-1 better identifies the few most important features”",
                step=step,
                one=sensitivity("occlusion-1", "first"),
                other=sensitivity(method, "first"),
                names=("Occlusion-1 at n = 1", f"{words} at n = 1"),
            )
            for step, name in (("cifar10", "CIFAR-10 CNN"), ("imagenet", "ImageNet"))
            for method, words in (("integrated-gradients", "Integrated Gradients"),)
        ),
        higher(
            where="Fig. 4, consideration 1",
            text="on a complex network gradient × input is far from what occluding does (ImageNet)",
            paper="“all gradient-based methods show low accuracy in predicting the attribution sign”",
            step="imagenet",
            one=sensitivity("occlusion-1"),
            other=sensitivity("gradient-x-input"),
            names=("Occlusion-1", "gradient × input"),
        ),
        higher(
            where="Fig. 4, consideration 3",
            text="gradient × input is nearer to Occlusion-1 than other gradient-based methods (MNIST MLP, tanh)",
            paper="“approximates the behavior of Occlusion-1 better than other gradient-based methods”",
            step="mlp-tanh",
            one=Pick(check="method-agreement", method="gradient-x-input", setting="occlusion-1", metric="spearman"),
            other=Pick(
                check="method-agreement", method="integrated-gradients", setting="occlusion-1", metric="spearman"
            ),
            names=("agreement of gradient × input", "of integrated gradients"),
        ),
        higher(
            where="Fig. 3 (c)",
            text="several pixels together: Integrated Gradients degrades the score more than Occlusion-1 (sigmoid CNN)",
            paper="“After removing about 20 pixels or more, Integrated Gradients seems to detect more relevant "
            "features”",
            step="cnn-sigmoid",
            one=Pick(check="activation", method="integrated-gradients", metric="degradation"),
            other=Pick(check="activation", method="occlusion-1", metric="degradation"),
            names=("integrated gradients", "Occlusion-1"),
        ),
    ),
    pictures=(
        *(
            Picture(
                name=f"{kind}-{activation}",
                caption=f"Sensitivity-n, MNIST {kind.upper()} with {activation} (Fig. 4).",
                step=f"{kind}-{activation}",
                draw=curves(
                    pick=Pick(check="sensitivity-n", metric="sensitivity-n"),
                    methods=METHODS,
                    x="number of features n",
                    y="Pearson correlation",
                    log=True,
                ),
            )
            for kind in ("mlp", "cnn")
            for activation in ACTIVATIONS
        ),
        *(
            Picture(
                name=step,
                caption=f"Sensitivity-n, {name} (Fig. 4).",
                step=step,
                draw=curves(
                    pick=Pick(check="sensitivity-n", metric="sensitivity-n"),
                    methods=(*METHODS, "deeplift-complete"),
                    x="number of features n",
                    y="Pearson correlation",
                    log=True,
                ),
            )
            for step, name in (
                ("cifar10", "CIFAR-10 CNN"),
                ("imdb-mlp", "IMDB MLP"),
                ("imdb-lstm", "IMDB LSTM"),
                ("imagenet", "ImageNet"),
            )
        ),
        Picture(
            name="imagenet-maps",
            caption="Maps on ImageNet: occlusion of growing windows, and gradient-based methods (Fig. 1, 2).",
            step="imagenet",
            draw=maps_of_samples(methods=("occlusion-1", "occlusion-16", "occlusion-32", *METHODS[1:])),
        ),
        *(
            Picture(
                name=f"maps-{activation}",
                caption=f"Maps of the MNIST CNN with {activation} (Table 1).",
                step=f"cnn-{activation}",
                draw=maps_of_samples(methods=METHODS),
            )
            for activation in ACTIVATIONS
        ),
    ),
)
