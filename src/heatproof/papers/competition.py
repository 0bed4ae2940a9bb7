"""000: Gupta & Arora, a simple saliency method that passes the sanity checks."""

from functools import partial

from heatproof.auditing.scorecard import chance_share
from heatproof.papers.measure import STAGES, Pick, Results
from heatproof.papers.paper import Answer, Claim, Paper, Picture, Verdict, all_of, positive
from heatproof.papers.pictures import maps_of_samples, maps_over_states

AT = {"cascading": "last", "layer-wise": "later"}  # everything random, or each layer in turn


def _stages(check: str, method: str, metric: str, position: str) -> Pick:
    return Pick(check=check, method=method, metric=metric, setting=STAGES, position=position)


def _keeps_the_picture(method: str, check: str, results: Results) -> Answer:
    """Similarity by absolute values to the trained map, against that of a random mask."""
    ours = _stages(check, method, "spearman-absolute", AT[check])
    mask = Pick(check="calibration", method=method, metric="spearman-absolute", setting="map-vs-gaussian")
    found = results.difference(ours, mask)
    return Answer(
        f"similarity to the trained map {results.mean(ours).text()}, a random mask's {results.mean(mask).text()}",
        positive(found),
    )


def _less_alike(ours: str, theirs: str, check: str, metric: str, results: Results) -> Answer:
    """The competitive map is less like its trained self than the uncompeted one."""
    one, other = (_stages(check, method, metric, AT[check]) for method in (theirs, ours))
    return Answer(
        f"{metric} {results.mean(other).text()} against {results.mean(one).text()}",
        positive(results.difference(one, other)),
    )


def _survives(method: str, check: str, results: Results) -> Answer:
    """Shares of features and energy that survive competition, on the trained and on the random network."""
    parts: list[str] = []
    verdicts: list[Verdict] = []
    for metric, noun in (("surviving-share", "features"), ("surviving-energy", "energy")):
        trained, random = (_stages(check, method, metric, at) for at in ("first", AT[check]))
        verdicts.append(positive(results.difference(trained, random)))
        before, after = (results.mean(pick).text(percent=True, digits=4) for pick in (trained, random))
        parts.append(f"{noun}: trained {before}, randomized {after}")
    chance = 100 * chance_share(int(results.manifest["model"]["outputs"]))
    return Answer("; ".join(parts) + f" (chance leaves {chance:.2g} % of the features)", all_of(verdicts))


def _randomized(step: str, check: str, where: str, ours: str, theirs: str) -> tuple[Claim, ...]:
    """The claims about one kind of randomization of one network."""
    place = f"{check}, " + ("ten labels" if step == "mnist" else "a thousand labels")
    noun = {"gradient-x-input": "gradient × input", "lrp": "LRP"}[theirs]
    return (
        Claim(
            where=where,
            text=f"{noun} still shows the picture when layers are random ({place})",
            paper="“displays the structure of the bird, no matter which layer is randomized”",
            steps=(step,),
            answer=partial(_keeps_the_picture, theirs, check),
        ),
        *(
            Claim(
                where=where,
                text=f"{ours.upper()} loses it: by {words} it is less like its trained self than {noun} ({place})",
                paper="“the saliency map is almost blank when any layer is reinitialized”",
                steps=(step,),
                answer=partial(_less_alike, ours, theirs, check, metric),
            )
            for metric, words in (("spearman-absolute", "the ranks of its absolute values"), ("ssim", "SSIM"))
        ),
        Claim(
            where=where,
            text=f"less of the {ours.upper()} map survives competition when the network is random ({place})",
            paper="“almost blank”; section 3.1: about 1/C by chance (2(1−2^−C)/C with the minimum counted)",
            steps=(step,),
            answer=partial(_survives, ours, check),
        ),
    )


PAPER = Paper(
    id="000",
    title="A Simple Saliency Method That Passes the Sanity Checks",
    authors="Arushi Gupta, Sanjeev Arora",
    notes={
        "tiny": "the demo's digits and network for everything; no reproduction.",
        "small": "001's MNIST CNN stands in for AlexNet, SqueezeNet 1.0 (He's initialization, class map before "
        "its last ReLU) for VGG-19 and VGG-16.",
        "full": "torchvision's VGG-19 and VGG-16, ImageNet validation images.",
    },
    claims=(
        *_randomized("mnist", "cascading", "Fig. 5", "cgi", "gradient-x-input"),
        *_randomized("mnist", "layer-wise", "Fig. 4, 8, 10", "cgi", "gradient-x-input"),
        *_randomized("mnist", "cascading", "Fig. 6, 9", "clrp", "lrp"),
        *_randomized("imagenet-cgi", "cascading", "Fig. 5", "cgi", "gradient-x-input"),
        *_randomized("imagenet-cgi", "layer-wise", "Fig. 4, 8, 10", "cgi", "gradient-x-input"),
        *_randomized("imagenet-clrp", "cascading", "Fig. 6, 9", "clrp", "lrp"),
    ),
    pictures=tuple(
        Picture(name=name, caption=caption, step=step, draw=draw)
        for step, ours, theirs in (
            ("mnist", "cgi", "gradient-x-input"),
            ("imagenet-cgi", "cgi", "gradient-x-input"),
            ("imagenet-clrp", "clrp", "lrp"),
        )
        for name, caption, draw in (
            (
                f"{step}-trained",
                f"{step}: maps of the trained network (Fig. 3).",
                maps_of_samples(methods=(theirs, ours)),
            ),
            (
                f"{step}-cascading",
                f"{step}: from the trained network to the fully random one (Fig. 5, 6).",
                maps_over_states(methods=(theirs, ours), group="cascading"),
            ),
        )
    ),
)
