"""004: Schulz et al., restricting the flow: information bottlenecks for attribution."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from heatproof.papers.bottlenecks.published import PER_SAMPLE, READOUT, TABLE_1
from heatproof.papers.bottlenecks.sheets import TRAINED_READOUTS, measured, of_ledger, sheets
from heatproof.papers.claims import beyond, falls, higher, near
from heatproof.papers.measure import STAGES, Pick, Results
from heatproof.papers.paper import Answer, Claim, Paper, Picture, all_of, explained, positive
from heatproof.papers.pictures import by_method, maps_in_grid, maps_of_samples, maps_over_states, panels
from heatproof.papers.survives import keeps_more

OURS = "iba-10"
BETAS = ("0.1", "1", "10", "100", "1000")
DEPTHS = ("early", "middle", "late")
AT_DEPTHS = {depth: [f"{depth}, β = {beta}" for beta in BETAS] for depth in DEPTHS}
RANDOMIZED = ("guided-backprop", "lrp-alpha0-beta-1", "integrated-gradients", "smoothgrad", "grad-cam", OURS)
COLUMNS = {
    "degradation-8": {"VGG-16": 2, "ResNet-50": 0},
    "degradation-14": {"VGG-16": 3, "ResNet-50": 1},
    "bounding-box": {"VGG-16": 5, "ResNet-50": 4},
}
TILE, MANY = 8, 2_000  # pixels a side; hidden pixels from which on IBA is best
OTHER_IMAGES = (
    "2.5 and 5 nats follow from a mean (R − μ)²/σ² of 1, which the images have that mean and variance come from. On "
    "other images features are active that were not there, and few of them with a small σ raise the mean."
)
OF_OCCLUSION = (
    "Occlusion measures on single tiles what Sensitivity-n measures on sets of them, with the same values in their "
    "place: it is perfect at n = 1, and on SqueezeNet its lead lasts to more tiles than on the paper's networks."
)
RANKED = tuple(method for method in TABLE_1 if not method.startswith("iba"))
MORF, LERF = "most relevant first (MoRF)", "least relevant first (LeRF)"
PROBABILITY = "probability of the label"
SHARE = "replaced share of the tiles"


def _table_1() -> Iterator[Claim]:
    rivals = {**{one: one for one in RANKED}, "iba-readout": "the readout one, trained briefly here"}
    for check, networks in COLUMNS.items():
        for method, words in rivals.items():
            figures = {name: (TABLE_1[OURS][column], TABLE_1[method][column]) for name, column in networks.items()}
            known = {name: pair for name, pair in figures.items() if None not in pair}
            told = [f"{name}: {one:.3f} against {two:.3f}" for name, (one, two) in known.items()]
            yield higher(
                where="Table 1",
                text=f"the per-sample bottleneck (β = 10/k) beats {words} ({check})",
                paper="; ".join(told),
                step="table-1",
                one=measured(check, OURS),
                other=measured(check, method),
            )
    for check in ("degradation-8", "degradation-14"):
        yield near(
            where="Table 1",
            text=f"a random map scores about 0 ({check})",
            paper="0.000",
            step="table-1",
            picks={"random": measured(check, "random")},
            value=0.0,
            within=0.1,
        )


def _changed(method: str, position: float | str | None = "last") -> Pick:
    """SSIM with the trained map; of LRP the larger of the map's and its negative's, as G.1 has it for LRP alone."""
    metric = "ssim-flip" if method.startswith("lrp") else "ssim[normalization=percentile]"
    return Pick(check="cascading", method=method, metric=metric, setting=STAGES, position=position)


def _randomization() -> Iterator[Claim]:
    for method in ("guided-backprop", "lrp-alpha0-beta-1"):
        yield keeps_more(
            where="Fig. 6, first row",
            text=f"{method} stays like itself when the layers from features.9 on are random, IBA does not (SSIM)",
            paper="“remain similar even if large portion of the network's parameters are randomized”",
            step="randomization",
            one=_changed(method, 2.0),
            other=_changed(OURS, 2.0),
        )
    yield near(
        where="Fig. 6, first row",
        text="randomizing the output layer alone lowers the SSIM of per-sample IBA to about 0.6",
        paper="“drops the mean SSIM by around 0.4”",
        step="randomization",
        picks={"SSIM after the output layer": _changed(OURS, 1.0)},
        value=0.6,
        within=0.15,
    )
    for method in ("smoothgrad", "integrated-gradients"):
        yield beyond(
            where="Fig. 6, first row",
            text=f"and that of {method} below 0.6",
            paper="“For SmoothGrad and Int. Gradients, the SSIM drops by more than 0.4”",
            step="randomization",
            pick=_changed(method, 1.0),
            below=0.6,
        )


def _sensitivity(method: str, position: float | str | None = None, tile: int = 8) -> Pick:
    return Pick(check=f"sensitivity-{tile}", method=method, metric="sensitivity-n", position=position)


def _best_at_large_n(method: str, results: Results) -> Answer:
    """IBA's correlation is above a method's at every measured n of more than 2,000 pixels."""
    places = [n for n in results.positions(_sensitivity(OURS)) if n * TILE**2 > MANY]
    found = {n: results.difference(_sensitivity(OURS, n), _sensitivity(method, n)) for n in places}
    told = ", ".join(f"n = {n:g} tiles: {figure.text(digits=3)}" for n, figure in found.items())
    return Answer(f"by {told}", all_of([positive(figure) for figure in found.values()]))


def _sensitivities() -> Iterator[Claim]:
    for method in RANKED:
        yield Claim(
            where="Fig. 6, second row",
            text=f"per-sample IBA has the highest Sensitivity-n on tiles at large n: above {method}",
            paper="“perform best for both models above n = 2 · 10³ pixels”",
            steps=("table-1",),
            answer=partial(_best_at_large_n, method),
            why=OF_OCCLUSION if method.startswith("occlusion") else "",
        )
    yield near(
        where="§4.4",
        text="Occlusion-8×8 is perfect at small n",
        paper="“Occlusion-8x8 performs perfectly for small n”",
        step="table-1",
        picks={"n = 1": _sensitivity("occlusion-8", "first")},
        value=1.0,
        within=0.01,
    )
    for method in (*RANDOMIZED, "iba-readout"):
        yield beyond(
            where="§4.4",
            text=f"pixel by pixel Sensitivity-n is low for every method: {method}",
            paper="“all scores range within the lower 10% of the scale”",
            step="table-1",
            pick=_sensitivity(method, tile=1),
            below=0.1,
        )
        yield higher(
            where="§4.4",
            text=f"and higher by tiles: {method}",
            paper="“resulted in an increase of the Sensitivity-n score to 30% of the scale”",
            step="table-1",
            one=_sensitivity(method),
            other=_sensitivity(method, tile=1),
            names=("tiles of 8 × 8", "pixels"),
        )


def _table_4() -> Iterator[Claim]:
    for label, value, words in (
        ("untrained, published noise", 2.5, "with the noise of the published code"),
        ("untrained", 5.0, "by the paper's own equation 2"),
    ):
        yield from explained(
            OTHER_IMAGES,
            near(
                where="Table 4, eq. 2",
                text=f"untrained, the bottleneck lets {value:.3f} nats an element through {words}",
                paper="2.500",
                step="ledger",
                picks={"L_I/k": of_ledger(label, "information")},
                value=value,
                within=0.1,
            ),
        )
    for noise, words in ((", published noise", "noise as published"), ("", "eq. 2")):
        yield falls(
            where="Table 4",
            text=f"a higher β lets less through ({words})",
            paper=", ".join(f"β = {beta}/k: {row[0]:.3f}" for beta, row in PER_SAMPLE.items()),
            step="ledger",
            picks={f"β = {beta}/k:": of_ledger(f"iba-{beta}{noise}", "information") for beta in PER_SAMPLE},
            digits=3,
        )
        for beta in ("0.01", "0.1", "1", "10"):
            yield beyond(
                where="Table 4, Appendix F",
                text=f"with β = {beta}/k the per-sample bottleneck makes nearly every prediction right ({words})",
                paper=f"“close to 1 for β ≤ 10/k”: {PER_SAMPLE[beta][2]:.3f}",
                step="ledger",
                pick=of_ledger(f"iba-{beta}{noise}", "top-1"),
                above=0.9,
            )
        yield higher(
            where="Table 4, Appendix F",
            text=f"with β = 100/k positive evidence goes as well ({words})",
            paper=f"top-1 {PER_SAMPLE['10'][2]:.3f} with 10/k, {PER_SAMPLE['100'][2]:.3f} with 100/k",
            step="ledger",
            one=of_ledger(f"iba-10{noise}", "top-1"),
            other=of_ledger(f"iba-100{noise}", "top-1"),
            names=("10/k", "100/k"),
        )
    yield falls(
        where="Table 4",
        text="the readout bottleneck lets less through with a higher β (noise as published)",
        paper=", ".join(f"β = {beta}/k: {READOUT[beta][0]:.3f}" for beta in TRAINED_READOUTS),
        step="ledger",
        picks={
            f"β = {beta}/k:": of_ledger(f"readout-{beta}, published noise", "information") for beta in TRAINED_READOUTS
        },
        digits=3,
    )


def _depths() -> Iterator[Claim]:
    for depth in DEPTHS:
        yield near(
            where="Fig. 4, §4.1",
            text=f"with β = 1000/k nothing is left of the label ({depth} layer)",
            paper="“an output probability of 0 for the correct class”",
            step="depth",
            picks={PROBABILITY: of_ledger(f"{depth}, β = 1000", "probability")},
            value=0.0,
            within=0.05,
        )
        yield falls(
            where="Fig. 4",
            text=f"the probability falls with β ({depth} layer)",
            paper="“is decreasing for higher β”",
            step="depth",
            picks={f"β = {beta}/k:": of_ledger(f"{depth}, β = {beta}", "probability") for beta in BETAS[1:]},
        )


def _less_passes() -> Iterator[Claim]:
    for depth in DEPTHS:
        yield higher(
            where="§4.1",
            text=f"with β = 0.1/k more information is passed than with 1/k ({depth} layer, bits)",
            paper="“but more information is passed”",
            step="depth",
            one=of_ledger(f"{depth}, β = 0.1", "bits"),
            other=of_ledger(f"{depth}, β = 1", "bits"),
            names=("0.1/k", "1/k"),
        )


def _paths(check: str) -> dict[str, dict[str, Pick]]:
    pick = Pick(check=check, metric="probability")
    every = tuple(TABLE_1)
    return {
        MORF: by_method(replace(pick, setting="morf"), every),
        LERF: by_method(replace(pick, setting="lerf"), every),
    }


PAPER = Paper(
    id="004",
    title="Restricting the Flow: Information Bottlenecks for Attribution",
    authors="Karl Schulz, Leon Sixt, Federico Tombari, Tim Landgraf",
    notes={
        "small": "SqueezeNet 1.0 on the first 6 to 12 validation images whose boxes cover less than 33 %, with "
        "replacement in 6 steps and three of ten randomized blocks (He's distribution), stands in for ResNet-50 and "
        "VGG-16. Bottlenecks stand at a layer chosen on other images, or at features.5, .9 and .12 of 54, 27 and 13 "
        "places a side; statistics are of 512 images, and readouts learn from them in 2 epochs, at a rate of 0.001. "
        "Of guided backpropagation, Guided Grad-CAM, SmoothGrad and integrated gradients (16 draws and nodes) the "
        "length over channels counts, where the paper's code takes absolute values in its own ways.",
        "full": "torchvision's VGG-16; ImageNet in subfolders by class, validation boxes in `boxes.csv` beside them.",
    },
    claims=(*_table_1(), *_randomization(), *_sensitivities(), *_table_4(), *_depths(), *_less_passes()),
    sheets=sheets(AT_DEPTHS, BETAS),
    pictures=(
        Picture(
            name="maps",
            caption="Maps of every method; those of bottlenecks in bits (Fig. 1, 5, 8).",
            steps=("table-1",),
            draw=maps_of_samples(methods=tuple(TABLE_1), samples=8),
        ),
        Picture(
            name="depths",
            caption="Per-sample bottlenecks of one image at three depths and growing β, in units of 1/k (Fig. 4, 10); "
            "what lies behind them in the table above.",
            steps=("depth",),
            draw=maps_in_grid(rows=AT_DEPTHS, columns=[f"β = {beta}/k" for beta in BETAS], unit="bits"),
        ),
        Picture(
            name="smoothing",
            caption="A bottleneck at an early layer without smoothing, which leaves a grid, and with σ = 2 (Fig. 9).",
            steps=("depth",),
            draw=maps_of_samples(methods=("smoothing 0", "smoothing 2")),
        ),
        Picture(
            name="randomization",
            caption="From the trained network to the fully random one (Fig. 6).",
            steps=("randomization",),
            draw=maps_over_states(methods=(*RANDOMIZED, "iba-readout"), group="cascading"),
        ),
        Picture(
            name="ssim",
            caption="SSIM with the trained network's map as layers are randomized from the output down, of LRP the "
            "larger of the map's and its negative's (Fig. 6, first row).",
            steps=("randomization",),
            draw=panels(
                of={"": {one: _changed(one, None) for one in (*RANDOMIZED, "iba-readout")}},
                x="stage of randomization",
                y="SSIM",
            ),
        ),
        Picture(
            name="sensitivity",
            caption="Sensitivity-n on tiles of 8 × 8 pixels and on pixels (Fig. 6, second row).",
            steps=("table-1",),
            draw=panels(
                of={
                    f"{words}": by_method(
                        Pick(check=f"sensitivity-{tile}", metric="sensitivity-n"),
                        ("random", "occlusion-8", *RANDOMIZED, "iba-readout"),
                    )
                    for tile, words in ((8, "tiles"), (1, "pixels"))
                },
                x="number of tiles, or of pixels",
                y="Pearson correlation",
                log=True,
            ),
        ),
        Picture(
            name="area",
            caption="The area between the two curves of the per-sample bottleneck, β = 10/k, is its degradation score "
            "(Fig. 7).",
            steps=("table-1",),
            draw=panels(
                of={
                    f"tiles of {tile} × {tile}": {
                        words: Pick(check=f"degradation-{tile}", method=OURS, metric="probability", setting=setting)
                        for words, setting in ((MORF, "morf"), (LERF, "lerf"))
                    }
                    for tile in (8, 14)
                },
                x=SHARE,
                y=PROBABILITY,
            ),
        ),
        Picture(
            name="paths",
            caption="Replacing tiles of 14 × 14 pixels by every method's ranking (Fig. 11, 12).",
            steps=("table-1",),
            draw=panels(of=_paths("degradation-14"), x=SHARE, y=PROBABILITY),
        ),
    ),
)
