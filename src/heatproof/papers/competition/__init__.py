"""000: Gupta & Arora, a simple saliency method that passes the sanity checks."""

from collections.abc import Iterator
from functools import partial

from heatproof.auditing.scorecard import chance_share
from heatproof.papers.claims import higher, near
from heatproof.papers.competition import all_labels, two_labels
from heatproof.papers.measure import STAGES, Pick, Results
from heatproof.papers.paper import Answer, Claim, Paper, Picture, Verdict, all_of, positive
from heatproof.papers.pictures import maps_of_samples, maps_over_labels, maps_over_states

LINEAR = 0.9  # a correlation that looks like a line
BLANK = 0.05  # a map of which less is left is called nearly blank
CHANCE = chance_share(10)
AT = {"cascading": "last", "layer-wise": "later"}  # everything random, or each layer in turn


def _stages(check: str, method: str, metric: str, position: str | float | None) -> Pick:
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


def _loses_energy(ours: str, theirs: str, check: str, results: Results) -> Answer:
    """Σmap² over that of the trained map falls further under competition than without."""
    picks = [_stages(check, method, "relative-energy", AT[check]) for method in (ours, theirs)]
    with_it, without = (results.mean(pick).value for pick in picks)
    ratio = results.combined(picks, lambda means: means[:, 0] / means[:, 1])
    less = ratio._replace(value=1 - ratio.value, low=1 - ratio.high, high=1 - ratio.low)
    return Answer(f"relative energy {with_it:.2g} against {without:.2g}, a ratio of {ratio.text()}", positive(less))


def _is_blank(method: str, check: str, metric: str, results: Results) -> Answer:
    """At no stage of a randomization is more than a twentieth left."""
    stages = [place for place in results.positions(_stages(check, method, metric, None)) if place > 0]
    random = [results.mean(_stages(check, method, metric, place)) for place in stages]
    most = max(random)
    room = [
        positive(one._replace(value=BLANK - one.value, low=BLANK - one.high, high=BLANK - one.low)) for one in random
    ]
    told = f"at most {most.text(percent=True, digits=4)} over {len(random)} stages"
    return Answer(f"{told}; asked is below {100 * BLANK:g} %", all_of(room))


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
            for metric, words in (
                ("spearman-absolute", "the ranks of its absolute values"),
                ("spearman", "the ranks of its signed values"),
                ("ssim", "SSIM"),
            )
        ),
        Claim(
            where=where,
            text=f"{ours.upper()} loses more of its energy than {noun} ({place})",
            paper="“almost blank”",
            steps=(step,),
            answer=partial(_loses_energy, ours, theirs, check),
        ),
        Claim(
            where=where,
            text=f"less of the {ours.upper()} map survives competition when the network is random ({place})",
            paper="“almost blank”; section 3.1: about 1/C by chance (2(1−2^−C)/C with the minimum counted)",
            steps=(step,),
            answer=partial(_survives, ours, check),
        ),
        *(_of_ten if step == "mnist" else _of_a_thousand)(step, check, where, ours),
    )


def _of_ten(step: str, check: str, where: str, ours: str) -> Iterator[Claim]:
    if check == "cascading":
        yield near(
            where=where,
            text=f"the share of {ours.upper()}'s features that survives falls to chance's ({check}, ten labels)",
            paper="section 3.1: about 1/C by chance (2(1−2^−C)/C with the minimum counted)",
            step=step,
            picks={"surviving share": _stages(check, ours, "surviving-share", "last")},
            value=round(CHANCE, 3),
            within=0.05,
        )


def _of_a_thousand(step: str, check: str, where: str, ours: str) -> Iterator[Claim]:
    for metric, words in (
        ("surviving-share", "few features survive"),
        ("surviving-energy", "little of the energy survives competition"),
        ("relative-energy", "little of the trained map's energy is left"),
    ):
        yield Claim(
            where=where,
            text=f"{ours.upper()} is nearly blank under any randomization: {words} ({check}, a thousand labels)",
            paper="“the saliency map is almost blank when any layer is reinitialized”",
            steps=(step,),
            answer=partial(_is_blank, ours, check, metric),
        )


def _permuted(method: str) -> Pick:
    return Pick(check="data-randomization", method=method, metric="spearman-absolute", setting="permuted-labels")


def _linear(results: Results) -> Answer:
    """Slope and correlation of sums on logits over labels; told as linear where the correlation is above 0.9."""
    slope, found = (
        results.mean(Pick(check="completeness", method="gradient-x-input", metric=metric))
        for metric in ("label-slope", "label-correlation")
    )
    above = found._replace(value=found.value - LINEAR, low=found.low - LINEAR, high=found.high - LINEAR)
    return Answer(f"correlation {found.text()}, slope {slope.text()}; asked is above {LINEAR}", positive(above))


PAPER = Paper(
    id="000",
    title="A Simple Saliency Method That Passes the Sanity Checks",
    authors="Arushi Gupta, Sanjeev Arora",
    notes={
        "tiny": "the demo's digits and network for everything; no reproduction.",
        "small": "001's MNIST CNN stands in for AlexNet, SqueezeNet 1.0 (He's initialization, class map before its "
        "last ReLU, crops of 112 pixels) for VGG-19 and VGG-16.",
        "full": "AlexNet on MNIST as the zoo trains it, torchvision's VGG-19 and VGG-16 on ImageNet validation images.",
    },
    tables=(two_labels.TABLE, *all_labels.TABLES),
    claims=(
        *two_labels.CLAIMS,
        *all_labels.CLAIMS,
        Claim(
            where="Fig. 2",
            text="over labels the sum of gradient × input varies with the logit (a thousand labels)",
            paper="“an approximately linear relationship”, one image",
            steps=("imagenet-cgi",),
            answer=_linear,
        ),
        *(
            higher(
                where="Fig. 7",
                text=f"{words} still shows the digit when the network learned permuted labels",
                paper="“the input structure, the number 3, still shows through”",
                step="labels",
                one=_permuted(method),
                other=Pick(check="calibration", method=method, metric="spearman-absolute", setting="map-vs-gaussian"),
                names=("similarity to the true network's map", "to a random mask"),
            )
            for method, words in (("gradient-x-input", "gradient × input"), ("lrp", "LRP"))
        ),
        *(
            higher(
                where="Fig. 7",
                text=f"{ours.upper()} does not: it is less like the true network's map than {words} is",
                paper="“CGI removes the underlying structure of the number”",
                step="labels",
                one=_permuted(theirs),
                other=_permuted(ours),
            )
            for ours, theirs, words in (("cgi", "gradient-x-input", "gradient × input"), ("clrp", "lrp", "LRP"))
        ),
        *_randomized("mnist", "cascading", "Fig. 5", "cgi", "gradient-x-input"),
        *_randomized("mnist", "layer-wise", "Fig. 4, 8, 10", "cgi", "gradient-x-input"),
        *_randomized("mnist", "cascading", "Fig. 6, 9", "clrp", "lrp"),
        *_randomized("mnist", "layer-wise", "4.1.3, not pictured", "clrp", "lrp"),
        *_randomized("imagenet-cgi", "cascading", "Fig. 5", "cgi", "gradient-x-input"),
        *_randomized("imagenet-cgi", "layer-wise", "Fig. 4, 8, 10", "cgi", "gradient-x-input"),
        *_randomized("imagenet-clrp", "cascading", "Fig. 6, 9", "clrp", "lrp"),
        *_randomized("imagenet-clrp", "layer-wise", "4.1.3, not pictured", "clrp", "lrp"),
    ),
    pictures=(
        two_labels.PICTURE,
        *all_labels.PICTURES,
        *(
            Picture(name=f"{prefix}-{name}", caption=f"{prefix}: {caption}", steps=(step,), draw=draw)
            for prefix, step, ours, theirs in (
                ("mnist", "mnist", "cgi", "gradient-x-input"),
                ("mnist-clrp", "mnist", "clrp", "lrp"),
                ("imagenet-cgi", "imagenet-cgi", "cgi", "gradient-x-input"),
                ("imagenet-clrp", "imagenet-clrp", "clrp", "lrp"),
            )
            for name, caption, draw in (
                (
                    "trained",
                    "maps of the trained network (Fig. 3).",
                    maps_of_samples(methods=(theirs, ours)),
                ),
                *(
                    (
                        f"{check}{suffix}",
                        f"{told}, {words} ({figures}).",
                        maps_over_states(methods=(theirs, ours), group=group, absolute=absolute),
                    )
                    for check, group, told, figures in (
                        ("cascading", "cascading", "from the trained network to the fully random one", "Fig. 5, 6, 9"),
                        ("layer-wise", "independent", "each layer random in turn", "Fig. 4, 8, 10"),
                    )
                    for suffix, words, absolute in (("", "signed", False), ("-absolute", "absolute values", True))
                ),
            )
        ),
        Picture(
            name="labels",
            caption="labels: maps of the trained network, and of one that learned permuted labels (Fig. 7).",
            steps=("labels",),
            draw=maps_over_labels(methods=("gradient-x-input", "cgi", "lrp", "clrp")),
        ),
    ),
)
