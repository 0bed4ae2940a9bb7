"""003: its claims, and the rows that they pick."""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

from heatproof.papers.accuracies import as_published
from heatproof.papers.claims import alike, beyond, higher, near
from heatproof.papers.measure import Measured, NoRowsError, Pick, Results
from heatproof.papers.paper import NOT_SAID, SAID, Answer, Claim, all_of, explained, positive
from heatproof.reading.base import Judgement
from heatproof.reading.complete import CHECK as COMPLETENESS
from heatproof.reading.complete import MARGIN, Complete
from heatproof.reading.rule import ALPHA

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


NAMES = {
    "occlusion-1": "Occlusion-1",
    "gradient-x-input": "gradient × input",
    "integrated-gradients": "Integrated Gradients",
    "epsilon-lrp": "ε-LRP",
    "deeplift": "DeepLIFT",
    "deeplift-complete": "DeepLIFT with rules for products",
}
OF_LRP = (
    "The same paper's consideration 5: where f(0) is not 0, ε-LRP is no discrete gradient, and of its maps nothing is "
    "left here."
)
OF_POOLS = (
    "Through max-pooling DeepLIFT keeps the gradient at the input, as A.2 has it; Integrated Gradients average it "
    "on the way from the reference; with ReLUs and pools the two differ more than with smooth functions, or without "
    "pools, as the other lines show."
)
NO_POOLS = ("imdb-mlp", *(f"mlp-{activation}" for activation in ACTIVATIONS))
THROUGH_POOLING = (
    "DeepLIFT keeps the plain gradient through max-pooling, as A.2 defines it; where the reference picks another place "
    "of a window than the input does, the difference is not shared out, and the sum misses it."
)


def _of_every_network(step: str, name: str) -> Iterator[Claim]:
    yield near(
        where="§4, before Proposition 4",
        text=f"Occlusion-1 satisfies Sensitivity-1 ({name})",
        paper="“Occlusion-1 satisfy Sensitivity-1 by construction”",
        step=step,
        picks={"correlation at n = 1": sensitivity("occlusion-1", 1.0)},
        value=1.0,
        within=1e-3,
    )
    yield Claim(
        where="Fig. 4, consideration 2",
        text=f"the correlation of Occlusion-1 falls from each n to the next ({name})",
        paper="“decreases monotonically as n increases in all our experiments”",
        steps=(step,),
        answer=_falls_with_n,
    )
    for method in ("integrated-gradients", "deeplift", "epsilon-lrp"):
        claim = higher(
            where="Fig. 4, consideration 2",
            text=f"at the largest n {NAMES[method]} is better than Occlusion-1 ({name})",
            paper="“should be preferred when interested in capturing global nonlinear effects”",
            step=step,
            one=sensitivity(method, "last"),
            other=sensitivity("occlusion-1", "last"),
            names=(NAMES[method], "Occlusion-1"),
        )
        yield from explained(OF_LRP, claim) if method == "epsilon-lrp" and step.endswith(SMOOTH) else (claim,)


def _falls_with_n(results: Results) -> Answer:
    """From each n to the next, paired by sample."""
    places = results.positions(sensitivity("occlusion-1"))
    verdicts = [
        positive(results.difference(sensitivity("occlusion-1", n), sensitivity("occlusion-1", more)))
        for n, more in pairwise(places)
    ]
    ends = (f"n = {n:g}: {results.mean(sensitivity('occlusion-1', n)).text()}" for n in (places[0], places[-1]))
    fall, rise = (verdicts.count(verdict) for verdict in ("holds", "does not hold"))
    return Answer(f"{', '.join(ends)}; of {len(verdicts)} steps {fall} fall, {rise} do not", all_of(verdicts))


def _deeplift_is_integrated_gradients(step: str, name: str) -> Iterator[Claim]:
    quality = alike(
        where="Fig. 4, consideration 4",
        text=f"DeepLIFT is as good as Integrated Gradients ({name})",
        paper="“very high correlation”; that curves differ by at most 0.05 is ours",
        step=step,
        one=sensitivity("integrated-gradients"),
        other=sensitivity("deeplift"),
        within=NEAR,
        names=("Integrated Gradients", "DeepLIFT"),
    )
    yield from explained(OF_POOLS, quality) if step not in NO_POOLS else (quality,)
    likeness = beyond(
        where="Fig. 4, consideration 4",
        text=f"and its maps are much like those of Integrated Gradients: rank correlation above 0.9 ({name})",
        paper="“very high correlation”; the figure is ours",
        step=step,
        pick=agreement("deeplift", "integrated-gradients"),
        above=0.9,
    )
    yield from explained(OF_POOLS, likeness) if step not in NO_POOLS else (likeness,)


def _lrp_is_gradient_x_input(step: str, name: str) -> Iterator[Claim]:
    yield alike(
        where="Prop. 3 (i), consideration 5",
        text=f"ε-LRP is as good as gradient × input with ReLUs ({name})",
        paper="“equivalent to Gradient * Input when all nonlinearities are ReLUs”",
        step=step,
        one=sensitivity("gradient-x-input"),
        other=sensitivity("epsilon-lrp"),
        within=1e-3,
        names=("gradient × input", "ε-LRP"),
    )
    yield beyond(
        where="Prop. 3 (i), consideration 5",
        text=f"and has its maps: rank correlation above 0.999 ({name})",
        paper="“equivalent to Gradient * Input when all nonlinearities are ReLUs”",
        step=step,
        pick=agreement("epsilon-lrp", "gradient-x-input"),
        above=0.999,
    )


def _complete(step: str, name: str, method: str, paper: str, where: str = "§4") -> Claim:
    return Claim(
        where=where,
        text=f"{NAMES[method]} is complete: its gap is below {MARGIN.yes:.0%} of the output's difference ({name})",
        paper=paper,
        steps=(step,),
        answer=partial(_is_complete, method=method),
    )


def relative_gap(results: Results, method: str) -> Measured:
    """mean |ΣR − E| / mean |E| with E = S(x) − S(x̄): one sample without a difference does not decide the figure."""
    of = _completeness(results, method).estimate
    return Measured(of.mean, of.low, of.high, of.n, of.missing)


def _completeness(results: Results, method: str) -> Judgement:
    """What the scorecard says of a method's sums. Raises: NoRowsError where it says nothing."""
    for one in Complete().judge(results.evidence, method):
        if one.decide is not None:
            return one
    raise NoRowsError(Pick(check=COMPLETENESS, method=method, metric="completeness-gap"), results.checks)


def _is_complete(results: Results, *, method: str, complete: bool = True) -> Answer:
    """Whether a method's maps are complete, or whether they are not, by the verdict on the same rows."""
    judgement = _completeness(results, method)
    assert judgement.decide is not None
    said = SAID if complete else NOT_SAID
    told = relative_gap(results, method).text(percent=True, digits=4)
    return Answer(told, said.get(judgement.decide(ALPHA), "cannot be told here"))


def _of_mnist(step: str, name: str, activation: str) -> Iterator[Claim]:
    yield from _of_every_network(step, name)
    yield from _deeplift_is_integrated_gradients(step, name)
    satisfy = "“like Integrated Gradients and DeepLIFT satisfy Sensitivity-N”"
    yield _complete(step, name, "integrated-gradients", satisfy)
    of_deeplift = _complete(step, name, "deeplift", satisfy)
    yield from explained(THROUGH_POOLING, of_deeplift) if step.startswith("cnn") else (of_deeplift,)
    if activation == "relu":
        yield from _lrp_is_gradient_x_input(step, name)
    for other in ("integrated-gradients", "gradient-x-input", "deeplift"):
        if activation in SMOOTH:
            yield higher(
                where="Fig. 4, consideration 5",
                text=f"ε-LRP fails where f(0) is not 0: it is worse than {NAMES[other]} by more than 0.05 ({name})",
                paper="“it fails when these are Sigmoid or Softplus”; by how much is ours",
                step=step,
                one=sensitivity(other),
                other=sensitivity("epsilon-lrp"),
                margin=NEAR,
                names=(NAMES[other], "ε-LRP"),
            )
    if activation == "tanh":
        yield alike(
            where="Fig. 4, consideration 5",
            text=f"and not where f(0) is 0: ε-LRP is as good as Integrated Gradients ({name})",
            paper="“when the nonlinearities are such that f(0) ≠ 0 … diverges from other methods”",
            step=step,
            one=sensitivity("integrated-gradients"),
            other=sensitivity("epsilon-lrp"),
            within=NEAR,
            names=("Integrated Gradients", "ε-LRP"),
        )


CLAIMS = (
    *as_published("003", "C"),
    *(
        claim
        for kind in ("mlp", "cnn")
        for activation in ACTIVATIONS
        for claim in _of_mnist(f"{kind}-{activation}", NETWORKS[f"{kind}-{activation}"], activation)
    ),
    *(
        claim
        for step in ("cifar10", "imdb-mlp", "imdb-lstm", "imagenet")
        for claim in _of_every_network(step, NETWORKS[step])
    ),
    *(
        claim
        for step in ("cifar10", "imdb-mlp", "imagenet")
        for claim in _deeplift_is_integrated_gradients(step, NETWORKS[step])
    ),
    *(claim for step in ("cifar10", "imagenet") for claim in _lrp_is_gradient_x_input(step, NETWORKS[step])),
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
        text="DeepLIFT in this paper's form fails where features multiply: it is worse than Integrated Gradients by "
        "more than 0.05 (IMDB LSTM)",
        paper="“In these cases the analyzed formulation of DeepLIFT should be avoided”; by how much is ours",
        step="imdb-lstm",
        one=sensitivity("integrated-gradients"),
        other=sensitivity("deeplift"),
        margin=NEAR,
        names=("Integrated Gradients", "DeepLIFT"),
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
    Claim(
        where="§3.1",
        text="DeepLIFT in this paper's form is not complete where features multiply: its gap is above 1 % (IMDB LSTM)",
        paper="“With multiplicative interactions, DeepLIFT does not satisfy Completeness”",
        steps=("imdb-lstm",),
        answer=partial(_is_complete, method="deeplift", complete=False),
    ),
    _complete("imdb-lstm", "IMDB LSTM", "integrated-gradients", "“while Integrated gradients does”", "§3.1"),
    _complete(
        "imdb-lstm", "IMDB LSTM", "deeplift-complete", "not in the paper, which has no rule for products", "ours"
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
    *(
        higher(
            where="Fig. 4, consideration 1",
            text=f"on a complex network {NAMES[method]} says less of what hiding does than Occlusion-1, by more than "
            "0.05 (ImageNet)",
            paper="“all gradient-based methods show low accuracy in predicting the attribution sign”; the sign itself "
            "is not asked here",
            step="imagenet",
            one=sensitivity("occlusion-1"),
            other=sensitivity(method),
            margin=NEAR,
            names=("Occlusion-1", NAMES[method]),
        )
        for method in METHODS[1:]
    ),
    *(
        higher(
            where="Fig. 4, consideration 3",
            text=f"gradient × input is nearer to Occlusion-1 than {NAMES[method]} is (MNIST MLP, tanh)",
            paper="“approximates the behavior of Occlusion-1 better than other gradient-based methods”",
            step="mlp-tanh",
            one=agreement("gradient-x-input", "occlusion-1"),
            other=agreement(*sorted((method, "occlusion-1"))),
            names=("agreement of gradient × input", f"of {NAMES[method]}"),
        )
        for method in ("integrated-gradients", "epsilon-lrp", "deeplift")
    ),
    higher(
        where="Fig. 3 (c)",
        text="without the first 4 pixels of Occlusion-1 the output falls more than without those of Integrated "
        "Gradients (sigmoid CNN, over digits of every class; the figure shows one image, a zero)",
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
        for pixels in (40, 100, 200)
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
)
