"""002: Binder et al., shortcomings of top-down randomization-based sanity checks, supplement."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from heatproof.auditing.bootstrap import Array
from heatproof.papers.claims import higher
from heatproof.papers.measure import STAGES, Pick, Results
from heatproof.papers.paper import Answer, Claim, Paper, Picture, positive
from heatproof.papers.pictures import curves, maps_of_samples

SSIM = "ssim[data_range=2.0,normalization=second-moment]"
GRADIENTS = ("gradient", "gradient-x-input", "integrated-gradients")
RELEVANCES = ("lrp-epsilon-plus", "lrp-epsilon-alpha2-beta1", "lrp-adaptive-beta")
METHODS = (*GRADIENTS, "guided-backprop", *RELEVANCES)
STEPS = {
    "imagenet": "SqueezeNet",
    "resnet50": "ResNet-50",
    "densenet121": "DenseNet-121",
    "efficientnet-b0": "EfficientNet-B0",
}


def blurred(method: str, size: int = 15) -> Pick:
    """The label's probability, averaged over how many regions are blurred: lower is more faithful."""
    return Pick(check=f"blurred-patch-{size}", method=method, metric="probability")


def changed(method: str, metric: str) -> Pick:
    """Similarity or distance to the trained network's map when everything is random."""
    return Pick(check="cascading", method=method, metric=metric, setting=STAGES, position="last")


def _ranks(columns: Array) -> Array:
    """Ranks along the last dimension; means of different methods are never equal."""
    ranked: Array = columns.argsort(-1).argsort(-1).astype(np.float64)
    return ranked


def _rank_correlation(means: Array) -> Array:
    """Spearman's ρ (R,) of two halves of the columns (R, 2K)."""
    half = means.shape[1] // 2
    one, other = (_ranks(part) - (half - 1) / 2 for part in (means[:, :half], means[:, half:]))
    found: Array = (one * other).sum(1) / np.sqrt((one**2).sum(1) * (other**2).sum(1))
    return found


def _disagreement(results: Results, *, ssim: str) -> Answer:
    """ρ over methods of two rankings: best first by faithfulness, best first by how much randomization changes them."""
    picks = [*(blurred(m) for m in METHODS), *(changed(m, ssim) for m in METHODS)]
    found = results.combined(picks, _rank_correlation)
    opposite = found._replace(value=-found.value, low=-found.high, high=-found.low)
    told = f"rank correlation of the two rankings over {len(METHODS)} methods: {found.text()}"
    return Answer(told, positive(opposite))


def _overtaking(results: Results) -> Answer:
    rows = results.rows
    pairs = rows[rows["metric"].str.startswith("overtaking-") & (rows["method"] == "")]
    values = pairs["value"].dropna()
    share = float((values < 0.25).mean())
    told = (
        f"median {values.median():.3f}, {100 * share:.0f} % below 0.25, over {pairs['setting'].nunique()} layers and "
        f"{pairs['metric'].nunique()} pairs of quantiles; {int(pairs['value'].isna().sum())} undefined"
    )
    return Answer(told, "holds" if share > 0.5 else "does not hold")


def _of_network(step: str, name: str) -> Iterator[Claim]:
    for size in (15, 8):
        for relevance in RELEVANCES:
            yield higher(
                where="Fig. 1, 2",
                text=f"{relevance} is more faithful than the gradient: blurring what it ranks highest costs more of "
                f"the probability (kernel {size}, {name})",
                paper="gradient-based methods are worse; lower is better",
                step=step,
                one=blurred("gradient", size),
                other=blurred(relevance, size),
            )
    for relevance in RELEVANCES:
        yield higher(
            where="Fig. 4",
            text=f"randomization changes the gradient more than {relevance} (SSIM, {name})",
            paper="gradients score best in the sanity check; lower is better",
            step=step,
            one=changed(relevance, SSIM),
            other=changed("gradient", SSIM),
        )
        yield higher(
            where="Fig. 5",
            text=f"and by the normalized MSE ({relevance}, {name})",
            paper="gradient-based results are close to 2, the bound of Theorem 4",
            step=step,
            one=changed("gradient", "mse"),
            other=changed(relevance, "mse"),
        )
    yield Claim(
        where="Fig. 1, 4",
        text=f"the two rankings of methods disagree ({name})",
        paper="the central finding: what is best in randomization is worst in faithfulness",
        steps=(step,),
        answer=partial(_disagreement, ssim=SSIM),
    )
    yield Claim(
        where="I, Fig. 7–10",
        text=f"small activations rarely overtake large ones under random weights ({name})",
        paper="“This shows that in practice these probabilities are small.”",
        steps=(step,),
        answer=_overtaking,
    )


PAPER = Paper(
    id="002",
    title="Shortcomings of Top-Down Randomization-Based Sanity Checks (supplement)",
    authors="Alexander Binder, Leander Weber, Sebastian Lapuschkin, Grégoire Montavon, Klaus-Robert Müller, "
    "Wojciech Samek",
    notes={
        "small": "SqueezeNet 1.0 on 16 images stands in for ResNet-50, DenseNet-121 and EfficientNet-B0 on 1000.",
        "full": "torchvision's weights for all three networks; ImageNet only.",
    },
    claims=tuple(claim for step, name in STEPS.items() for claim in _of_network(step, name)),
    pictures=tuple(
        picture
        for step, name in STEPS.items()
        for picture in (
            Picture(
                name=f"{step}-blurred",
                caption=f"{name}: probability while the highest regions are blurred (Fig. 2).",
                step=step,
                draw=curves(
                    pick=Pick(check="blurred-patch-15", metric="probability"),
                    methods=(*METHODS, "random"),
                    x="blurred regions",
                    y="probability of the label",
                ),
            ),
            Picture(
                name=f"{step}-maps",
                caption=f"{name}: maps of the trained network.",
                step=step,
                draw=maps_of_samples(methods=METHODS),
            ),
        )
    ),
)
