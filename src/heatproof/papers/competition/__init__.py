"""000: Gupta & Arora, a simple saliency method that passes the sanity checks."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from heatproof.papers.claims import alike, beyond, near
from heatproof.papers.competition import all_labels, two_labels
from heatproof.papers.measure import STAGES, Pick, Results
from heatproof.papers.paper import Answer, Claim, Paper, Picture, Verdict, all_of, positive
from heatproof.papers.pictures import maps_of_samples, maps_over_labels, maps_over_states
from heatproof.papers.survives import keeps_more, kept, more_kept, stays
from heatproof.reading.competition import chance_share

LINEAR = 0.9  # a correlation that looks like a line
BLANK = 0.05  # a map of which less is left is called nearly blank
ALIKE = 0.1  # what two degradation scores may differ by and still be called comparable
CHANCE = chance_share(10)
LEARNED = 0.98
AT = {"cascading": "last", "layer-wise": "later"}  # everything random, or every layer in turn
NOUNS = {"gradient-x-input": "gradient × input", "lrp": "LRP", "cgi": "CGI", "clrp": "CLRP"}
KEEPS = {
    "cascading": "“displays the structure of the bird, even after multiple blocks of randomization”",
    "layer-wise": "“displays the structure of the bird, no matter which layer is randomized”",
}
LOSES = {
    "cgi": {
        "cascading": "“almost blank even when only the softmax layer has been reinitialized”",
        "layer-wise": "“the saliency map is almost blank when any layer is reinitialized”",
    },
    "clrp": {
        "cascading": "“CLRP eliminates much of the structure of the bird”",
        "layer-wise": "not in the paper, which randomizes CLRP in cascades alone",
    },
}
ON_MNIST = "not in the paper, which randomizes ImageNet networks alone"
PICTURED = ", in pictures without figures"
OF_BLANKS = (
    "SSIM calls two maps alike where both are flat, and a nearly blank map is flat nearly everywhere: by SSIM the "
    "blanker map is the more alike, and it cannot show that competition emptied it."
)
OF_SIGNS = (
    "By signed ranks the uncompeted map of a random network is already unlike the trained one: there is nothing left "
    "for competition to lose."
)
OF_TURNED_SIGNS = (
    "Where a random network's score is negative LRP's maps turn their sign: by SSIM little or less than no likeness is "
    "left to them, and a blank map counts as 0."
)
OF_ENERGY = (
    "Relative energy compares a random network's map with the trained one's, so it depends on how large the drawn "
    "weights are, of which the paper says nothing; the energy that survives competition does not."
)


def _stages(check: str, method: str, metric: str, position: str | float | None) -> Pick:
    return Pick(check=check, method=method, metric=metric, setting=STAGES, position=position)


def _random_stages(results: Results, check: str, method: str, metric: str) -> list[Pick]:
    """What a claim about a randomization is asked of: everything random, or each layer in turn."""
    places = [at for at in results.positions(_stages(check, method, metric, None)) if at > 0]
    return [_stages(check, method, metric, at) for at in (places[-1:] if check == "cascading" else places)]


def _less_alike(ours: str, theirs: str, check: str, metric: str, results: Results, *, first: bool = False) -> Answer:
    """Less of the competitive map survives than of the uncompeted one, at each stage or at the first."""
    stages = [_stages(check, theirs, metric, 1.0)] if first else _random_stages(results, check, theirs, metric)
    pairs = tuple((stage, replace(stage, method=ours)) for stage in stages)
    return more_kept(results, pairs=pairs, names=(NOUNS[theirs], NOUNS[ours]))


def _loses_energy(ours: str, theirs: str, check: str, results: Results) -> Answer:
    """Σmap² over that of the trained map falls further under competition than without."""
    picks = [_stages(check, method, "relative-energy", AT[check]) for method in (ours, theirs)]
    with_it, without = (results.mean(pick).value for pick in picks)
    ratio = results.combined(picks, lambda means: means[:, 0] / means[:, 1])
    return Answer(
        f"relative energy {with_it:.2g} against {without:.2g}, a ratio of {ratio.text()}", positive(ratio.below(1.0))
    )


def _is_blank(method: str, check: str, metric: str, results: Results) -> Answer:
    """At no stage of a randomization is more than a twentieth left, while more is left on the trained network."""
    stages = [at for at in results.positions(_stages(check, method, metric, None)) if at > 0]
    random = [results.mean(_stages(check, method, metric, place)) for place in stages]
    most = max(random).text(percent=True, digits=4)
    told = f"at most {most} over {len(random)} stages; asked is below {100 * BLANK:g} %"
    blank = all_of([positive(one.below(BLANK)) for one in random])
    if metric == "relative-energy":  # of the trained network's own, which is 1 there
        return Answer(told, blank)
    trained = results.mean(_stages(check, method, metric, 0.0))
    if blank == "holds" and trained.value < BLANK:
        return Answer(
            f"{told}, but so is the trained network's: {trained.text(percent=True, digits=4)}", "cannot be told here"
        )
    return Answer(f"{told}; the trained network's {trained.text(percent=True, digits=4)}", blank)


def _survives(method: str, check: str, results: Results) -> Answer:
    """Shares of features and energy that survive competition, on the trained and on the random network."""
    parts: list[str] = []
    verdicts: list[Verdict] = []
    for metric, noun in (("surviving-share", "features"), ("surviving-energy", "energy")):
        trained, random = (_stages(check, method, metric, place) for place in (0.0, AT[check]))
        verdicts.append(positive(results.difference(trained, random)))
        before, after = (results.mean(pick).text(percent=True, digits=4) for pick in (trained, random))
        parts.append(f"{noun}: trained {before}, randomized {after}")
    return Answer(f"{'; '.join(parts)} ({_by_chance(results)})", all_of(verdicts))


def _is_left_when_trained(method: str, results: Results) -> Answer:
    """On the trained network more features survive than competition among maps of chance would leave."""
    found = results.mean(_stages("cascading", method, "surviving-share", 0.0))
    told = f"{found.text(percent=True, digits=4)} of the features ({_by_chance(results)})"
    return Answer(told, positive(found.above(_chance(results))))


def _chance(results: Results) -> float:
    return chance_share(int(results.manifest["model"]["outputs"]))


def _by_chance(results: Results) -> str:
    return f"chance leaves {100 * _chance(results):.2g} % of the features"


def _randomized(step: str, check: str, where: str, ours: str, theirs: str) -> Iterator[Claim]:
    """The claims about one kind of randomization of one network."""
    mnist = step == "mnist"
    place = f"{check}, " + ("ten labels" if mnist else "a thousand labels")
    loses, keeps = (ON_MNIST, ON_MNIST) if mnist else (LOSES[ours][check] + PICTURED, KEEPS[check] + PICTURED)
    if ours == "clrp" and check == "layer-wise" and not mnist:
        loses = keeps = LOSES[ours][check]
    claim = partial(Claim, where=where, steps=(step,))
    yield claim(
        text=f"{NOUNS[theirs]} still shows the picture when layers are random ({place})",
        paper=keeps,
        answer=partial(kept, of=_stages(check, theirs, "spearman-absolute", AT[check])),
    )
    for metric, words, why in (
        ("spearman-absolute", "the ranks of its absolute values", ""),
        ("spearman", "the ranks of its signed values", OF_SIGNS if ours == "cgi" else ""),
        ("ssim", "SSIM", OF_BLANKS if ours == "cgi" else OF_TURNED_SIGNS),
    ):
        yield claim(
            text=f"{NOUNS[ours]} loses it: by {words} it is less like its trained self than {NOUNS[theirs]} ({place})",
            paper=loses,
            answer=partial(_less_alike, ours, theirs, check, metric),
            why=why,
        )
    if check == "cascading":
        yield claim(
            text=f"{NOUNS[ours]} loses it as soon as the output layer is random, by ranks of absolute values ({place})",
            paper=loses,
            answer=partial(_less_alike, ours, theirs, check, "spearman-absolute", first=True),
        )
    yield claim(
        text=f"{NOUNS[ours]} loses more of its energy than {NOUNS[theirs]} ({place})",
        paper=loses,
        answer=partial(_loses_energy, ours, theirs, check),
        why=OF_ENERGY,
    )
    yield claim(
        text=f"less of the {NOUNS[ours]} map survives competition when the network is random ({place})",
        paper="section 3.1: about 1/C by chance (2(1−2^−C)/C with the minimum counted)",
        answer=partial(_survives, ours, check),
    )
    if mnist and check == "cascading":
        yield near(
            where=where,
            text=f"the share of {NOUNS[ours]}'s features that survives falls to chance's ({place})",
            paper="section 3.1: about 1/C by chance (2(1−2^−C)/C with the minimum counted)",
            step=step,
            picks={"surviving share": _stages(check, ours, "surviving-share", "last")},
            value=round(CHANCE, 3),
            within=0.05,
        )
    if not mnist:
        for metric, words, why in (
            ("surviving-share", "few features survive", ""),
            ("surviving-energy", "little of the energy survives competition", ""),
            ("relative-energy", "little of the trained map's energy is left", OF_ENERGY),
        ):
            yield claim(
                text=f"{NOUNS[ours]} is nearly blank under any randomization: {words} ({place})",
                paper=loses,
                answer=partial(_is_blank, ours, check, metric),
                why=why,
            )
    if check == "cascading":
        yield claim(
            where="3.1 (b)",
            text=f"and not on the trained network: more of {NOUNS[ours]}'s features survive than by chance ({place})",
            paper="“not too aggressive so as to retain a reasonable saliency map for properly trained nets”",
            answer=partial(_is_left_when_trained, ours),
        )


def _permuted(method: str) -> Pick:
    return Pick(check="data-randomization", method=method, metric="spearman-absolute", setting="permuted-labels")


def _linear(results: Results) -> Answer:
    """Slope and correlation of sums on logits over labels; told as linear where the correlation is above 0.9."""
    slope, found = (
        results.mean(Pick(check="completeness", method="gradient-x-input", metric=metric))
        for metric in ("label-slope", "label-correlation")
    )
    return Answer(
        f"correlation {found.text()}, slope {slope.text()}; asked is above {LINEAR}", positive(found.above(LINEAR))
    )


PAPER = Paper(
    id="000",
    title="A Simple Saliency Method That Passes the Sanity Checks",
    authors="Arushi Gupta, Sanjeev Arora",
    notes={
        "tiny": "the demo's digits and network for everything; no reproduction.",
        "small": "001's MNIST CNN stands in for AlexNet, SqueezeNet 1.0 (He's initialization, class map before its "
        "last ReLU, crops of 112 pixels, three of ten blocks) for VGG-19 and VGG-16. MNIST's layers are drawn from "
        "truncated normals, and its permuted labels are those of 10,000 images. LRP is ε-plus, for the paper names no "
        "rule.",
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
        alike(
            where="Fig. 3",
            text="CGI's map is as good as that of gradient × input: it finds what the label's probability rests on (a "
            "thousand labels)",
            paper="“our maps are of comparable quality to Gradient ⊙ Input”, in pictures; the measure is ours",
            step="imagenet-cgi",
            one=Pick(check="degradation", method="cgi", metric="degradation"),
            other=Pick(check="degradation", method="gradient-x-input", metric="degradation"),
            within=ALIKE,
            names=("degradation score of CGI", "of gradient × input"),
        ),
        beyond(
            where="4.2",
            text="the network of permuted labels has learned them",
            paper="“train the model to greater than 98 % accuracy”",
            step="labels",
            pick=Pick(check="data-randomization", method="", metric="training-accuracy"),
            above=LEARNED,
            of_network=True,
        ),
        *(
            stays(
                where=where,
                text=f"{NOUNS[method]} still shows the digit when the network learned permuted labels",
                paper=words,
                step="labels",
                of=_permuted(method),
            )
            for where, method, words in (
                ("Fig. 7", "gradient-x-input", "“the input structure, the number 3, still shows through”"),
                ("ours, after Fig. 7", "lrp", "not in the paper"),
            )
        ),
        *(
            keeps_more(
                where=where,
                text=f"{NOUNS[ours]} does not: it is less like the true network's map than {NOUNS[theirs]} is",
                paper=words,
                step="labels",
                one=_permuted(theirs),
                other=_permuted(ours),
            )
            for where, ours, theirs, words in (
                ("Fig. 7", "cgi", "gradient-x-input", "“CGI removes the underlying structure of the number”"),
                ("ours, after Fig. 7", "clrp", "lrp", "not in the paper"),
            )
        ),
        *_randomized("mnist", "cascading", "ours, after Fig. 5", "cgi", "gradient-x-input"),
        *_randomized("mnist", "layer-wise", "ours, after Fig. 4", "cgi", "gradient-x-input"),
        *_randomized("mnist", "cascading", "ours, after Fig. 6", "clrp", "lrp"),
        *_randomized("mnist", "layer-wise", "ours, after Fig. 4", "clrp", "lrp"),
        *_randomized("imagenet-cgi", "cascading", "Fig. 5", "cgi", "gradient-x-input"),
        *_randomized("imagenet-cgi", "layer-wise", "Fig. 4, 8, 10", "cgi", "gradient-x-input"),
        *_randomized("imagenet-clrp", "cascading", "Fig. 6, 9", "clrp", "lrp"),
        *_randomized("imagenet-clrp", "layer-wise", "ours, after Fig. 4", "clrp", "lrp"),
    ),
    pictures=(
        two_labels.PICTURE,
        *all_labels.PICTURES,
        *(
            Picture(name=f"{prefix}-{name}", caption=f"{prefix}: {caption}", steps=(step,), draw=draw)
            for prefix, step, ours, theirs, cascades, layers in (
                ("mnist", "mnist", "cgi", "gradient-x-input", "as Fig. 5", "as Fig. 4"),
                ("mnist-clrp", "mnist", "clrp", "lrp", "as Fig. 6", "as Fig. 4"),
                ("imagenet-cgi", "imagenet-cgi", "cgi", "gradient-x-input", "Fig. 5", "Fig. 4, 8, 10"),
                ("imagenet-clrp", "imagenet-clrp", "clrp", "lrp", "Fig. 6, 9", "as Fig. 4"),
            )
            for name, caption, draw in (
                (
                    "trained",
                    f"maps of the trained network ({'Fig. 3' if step == 'imagenet-cgi' else 'as Fig. 3'}).",
                    maps_of_samples(methods=(theirs, ours)),
                ),
                *(
                    (
                        f"{check}{suffix}",
                        f"{told}, {words} ({figures}).",
                        maps_over_states(methods=(theirs, ours), group=group, absolute=absolute),
                    )
                    for check, group, told, figures in (
                        ("cascading", "cascading", "from the trained network to the fully random one", cascades),
                        ("layer-wise", "independent", "each layer random in turn", layers),
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
