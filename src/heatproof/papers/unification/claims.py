"""003: its claims, and the rows that they pick."""

from collections.abc import Iterator

from heatproof.papers.accuracies import as_published
from heatproof.papers.claims import alike, beyond, higher, near
from heatproof.papers.measure import Pick
from heatproof.papers.paper import Claim

ACTIVATIONS = ("relu", "tanh", "sigmoid", "softplus")
METHODS = ("occlusion-1", "gradient-x-input", "integrated-gradients", "epsilon-lrp", "deeplift")
NETWORKS = {
    **{f"{kind}-{one}": f"MNIST {kind.upper()}, {one}" for kind in ("mlp", "cnn") for one in ACTIVATIONS},
    "cifar10": "CIFAR-10 CNN",
    "imdb-mlp": "IMDB MLP",
    "imdb-lstm": "IMDB LSTM",
    "imagenet": "ImageNet",
}
SMOOTH = ("sigmoid", "softplus")
NEAR = 0.05  # what two curves of Fig. 4 may differ by and still be one line to the eye


def sensitivity(method: str, position: float | str | None = None) -> Pick:
    """Sensitivity-n of a method, averaged over n, or at one n."""
    return Pick(check="sensitivity-n", method=method, metric="sensitivity-n", position=position)


def agreement(method: str, other: str) -> Pick:
    """Rank correlation of two methods' maps; the one that sorts first is `method`."""
    return Pick(check="method-agreement", method=method, setting=other, metric="spearman")


def removed(method: str, pixels: int, setting: str = "morf") -> Pick:
    """The target's output with so many of the 784 pixels at zero, the most relevant ones or by `lerf` the least."""
    return Pick(check="activation", method=method, metric="score", setting=setting, position=pixels / 784)


def gap(method: str) -> Pick:
    """|ΣR − (S(x) − S(x̄))| relative to |S(x) − S(x̄)|, of the explained label."""
    return Pick(check="completeness", method=method, metric="label-gap")


def _of_networks(kind: str) -> Iterator[Claim]:
    for activation in ACTIVATIONS:
        step = f"{kind}-{activation}"
        name = NETWORKS[step]
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
        yield beyond(
            where="Fig. 4, consideration 4",
            text=f"and its maps are much like those of Integrated Gradients ({name})",
            paper="“very high correlation”",
            step=step,
            pick=agreement("deeplift", "integrated-gradients"),
            above=0.9,
        )
        yield near(
            where="§4",
            text=f"Integrated Gradients and DeepLIFT satisfy Sensitivity-N: they are complete ({name})",
            paper="“like Integrated Gradients and DeepLIFT satisfy Sensitivity-N”; through max-pooling the latter "
            "keeps the plain gradient (A.2)",
            step=step,
            picks={
                "relative gap of Integrated Gradients": gap("integrated-gradients"),
                "of DeepLIFT": gap("deeplift"),
            },
            value=0.0,
            within=0.01,
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


CLAIMS = (
    *as_published("003", "C"),
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
    beyond(
        where="§3.1",
        text="DeepLIFT in this paper's form is not complete where features multiply (IMDB LSTM)",
        paper="“With multiplicative interactions, DeepLIFT does not satisfy Completeness”",
        step="imdb-lstm",
        pick=gap("deeplift"),
        above=0.01,
    ),
    near(
        where="§3.1",
        text="Integrated Gradients is, and so is DeepLIFT with its complete rules (IMDB LSTM)",
        paper="“while Integrated gradients does”",
        step="imdb-lstm",
        picks={"Integrated Gradients": gap("integrated-gradients"), "DeepLIFT, complete": gap("deeplift-complete")},
        value=0.0,
        within=0.01,
    ),
    higher(
        where="Fig. 1",
        text="only large patches focus on the subject: more of the map's top lies in the boxes (ImageNet)",
        paper="“with focus on the main subject only when using bigger patches”",
        step="imagenet",
        one=Pick(check="bounding-box", method="occlusion-32", metric="box-ratio", setting=""),
        other=Pick(check="bounding-box", method="occlusion-1", metric="box-ratio", setting=""),
        names=("windows of 32 pixels", "one tile"),
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
        one=agreement("gradient-x-input", "occlusion-1"),
        other=agreement("integrated-gradients", "occlusion-1"),
        names=("agreement of gradient × input", "of integrated gradients"),
    ),
    higher(
        where="Fig. 3 (c)",
        text="without the first 4 pixels of Occlusion-1 the output falls more than without those of Integrated "
        "Gradients (sigmoid CNN)",
        paper="“pixels highlighted by Occlusion-1 initially have a higher impact on the target output”",
        step="cnn-sigmoid",
        one=removed("integrated-gradients", 4),
        other=removed("occlusion-1", 4),
        names=("output by integrated gradients", "by Occlusion-1"),
    ),
    *(
        higher(
            where="Fig. 3 (c)",
            text=f"and it is the other way round without {pixels} (sigmoid CNN)",
            paper="“After removing about 20 pixels or more, Integrated Gradients seems to detect more relevant "
            "features”",
            step="cnn-sigmoid",
            one=removed("occlusion-1", pixels),
            other=removed("integrated-gradients", pixels),
            names=("output by Occlusion-1", "by integrated gradients"),
        )
        for pixels in (20, 40, 100)
    ),
    higher(
        where="Fig. 3 (c), consideration 1",
        text="inputs hold negative evidence: without 20 pixels of it the output rises (sigmoid CNN)",
        paper="“the occlusion of negative evidence produces an increase in the target output”",
        step="cnn-sigmoid",
        one=removed("occlusion-1", 20, "lerf"),
        other=removed("occlusion-1", 0, "lerf"),
        names=("output without them", "with them"),
    ),
    higher(
        where="Fig. 3 (c)",
        text="several pixels together: Integrated Gradients degrades the score more than Occlusion-1 (sigmoid CNN)",
        paper="“After removing about 20 pixels or more, Integrated Gradients seems to detect more relevant features”",
        step="cnn-sigmoid",
        one=Pick(check="activation", method="integrated-gradients", metric="degradation"),
        other=Pick(check="activation", method="occlusion-1", metric="degradation"),
        names=("integrated gradients", "Occlusion-1"),
    ),
)
