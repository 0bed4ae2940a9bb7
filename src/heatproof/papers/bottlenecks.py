"""004: Schulz et al., restricting the flow: information bottlenecks for attribution."""

from collections.abc import Iterator

from heatproof.papers.claims import higher, near
from heatproof.papers.measure import STAGES, Pick
from heatproof.papers.paper import Claim, Paper, Picture
from heatproof.papers.pictures import curves, maps_of_samples, maps_over_states

# Degradation (8 × 8, 14 × 14) and bounding box of VGG-16 in Table 1, by our labels.
TABLE_1 = {
    "random": (0.000, 0.000, 0.167),
    "occlusion-8": (0.267, 0.258, 0.312),
    "occlusion-14": (0.402, 0.404, 0.358),
    "gradient": (0.001, 0.005, 0.276),
    "saliency": (0.326, 0.362, 0.393),
    "guided-backprop": (0.460, 0.493, 0.373),
    "pattern-attribution": (0.440, 0.457, 0.404),
    "lrp-alpha1-beta0": (0.471, 0.486, 0.397),
    "lrp-alpha0-beta-1": (0.462, 0.467, 0.441),
    "integrated-gradients": (0.420, 0.453, 0.396),
    "smoothgrad": (0.438, 0.455, 0.399),
    "grad-cam": (0.510, 0.517, 0.399),
    "guided-grad-cam": (0.555, 0.576, 0.419),
    "iba-1": (0.581, 0.583, 0.566),
    "iba-10": (0.582, 0.585, 0.593),
    "iba-100": (0.542, 0.545, 0.568),
    "iba-readout": (0.490, 0.536, 0.437),
}
OURS = "iba-10"
PLOTTED = (
    "random",
    "guided-backprop",
    "lrp-alpha0-beta-1",
    "integrated-gradients",
    "smoothgrad",
    "grad-cam",
    "occlusion-8",
)
MEASURES = {
    "degradation-8": "degradation",
    "degradation-14": "degradation",
    "bounding-box": "box-ratio",
}


def _table() -> Iterator[Claim]:
    for column, (check, metric) in enumerate(MEASURES.items()):
        for method, published in TABLE_1.items():
            if not method.startswith("iba"):
                yield higher(
                    where="Table 1",
                    text=f"per-sample IBA (β = 10/k) beats {method} ({check})",
                    paper=f"VGG-16: {TABLE_1[OURS][column]:.3f} against {published[column]:.3f}",
                    step="table-1",
                    one=Pick(check=check, method=OURS, metric=metric, setting=""),
                    other=Pick(check=check, method=method, metric=metric, setting=""),
                )
        yield higher(
            where="Table 1",
            text=f"the per-sample bottleneck beats the readout one ({check})",
            paper=f"VGG-16: {TABLE_1[OURS][column]:.3f} against {TABLE_1['iba-readout'][column]:.3f}",
            step="table-1",
            one=Pick(check=check, method=OURS, metric=metric, setting=""),
            other=Pick(check=check, method="iba-readout", metric=metric, setting=""),
        )


def _changed(method: str, position: float | str = "last") -> Pick:
    return Pick(check="cascading", method=method, metric="ssim-flip", setting=STAGES, position=position)


def _let_through(method: str) -> Pick:
    return Pick(check="bottleneck-ledger", method=method, metric="information")


PAPER = Paper(
    id="004",
    title="Restricting the Flow: Information Bottlenecks for Attribution",
    authors="Karl Schulz, Leon Sixt, Federico Tombari, Tim Landgraf",
    notes={
        "small": "SqueezeNet 1.0 on 16 to 32 validation images whose boxes cover less than 33 %, with replacement in 8 "
        "steps, stands in for ResNet-50 and VGG-16. The bottlenecks' layer was chosen on other images.",
        "full": "torchvision's VGG-16; ImageNet in subfolders by class, validation boxes in `boxes.csv` beside them.",
    },
    claims=(
        *_table(),
        *(
            higher(
                where="Fig. 6, first row",
                text=f"{method} stays like itself when layers are random, IBA does not (SSIM)",
                paper="“remain similar even if large portion of the network's parameters are randomized”",
                step="randomization",
                one=_changed(method),
                other=_changed(OURS),
            )
            for method in ("guided-backprop", "lrp-alpha0-beta-1")
        ),
        near(
            where="Fig. 6, first row",
            text="randomizing the output layer alone lowers the SSIM of per-sample IBA to about 0.6",
            paper="“drops the mean SSIM by around 0.4”",
            step="randomization",
            picks={"SSIM after the output layer": _changed(OURS, 1.0)},
            value=0.6,
            within=0.15,
        ),
        *(
            higher(
                where="Fig. 6, second row",
                text=f"per-sample IBA has the highest Sensitivity-n on tiles at large n: above {method}",
                paper="“perform best for both models above n = 2 · 10³ pixels”",
                step="randomization",
                one=Pick(check="sensitivity-8", method=OURS, metric="sensitivity-n", position="last"),
                other=Pick(check="sensitivity-8", method=method, metric="sensitivity-n", position="last"),
            )
            for method in ("integrated-gradients", "smoothgrad", "guided-backprop", "grad-cam", "occlusion-8")
        ),
        near(
            where="Table 4",
            text="untrained, the bottleneck lets 2.500 nats an element through, with the noise of the published code",
            paper="2.500",
            step="ledger",
            picks={"published noise": _let_through("untrained")},
            value=2.5,
            within=0.1,
        ),
        near(
            where="eq. 2",
            text="and 5.000 by the paper's own equation",
            paper="Table 4 prints 2.500",
            step="ledger",
            picks={"eq. 2": _let_through("untrained, eq. 2")},
            value=5.0,
            within=0.1,
        ),
        *(
            higher(
                where="Table 4",
                text=f"a higher β lets less through: {lower} against {upper}",
                paper="L_I/k falls with β",
                step="ledger",
                one=_let_through(f"iba-{lower}"),
                other=_let_through(f"iba-{upper}"),
            )
            for lower, upper in (("0.1", "1"), ("1", "10"), ("10", "100"))
        ),
    ),
    pictures=(
        Picture(
            name="maps",
            caption="Maps of every method (Fig. 1, 5, 9).",
            step="table-1",
            draw=maps_of_samples(methods=tuple(TABLE_1)),
        ),
        Picture(
            name="morf",
            caption="Probability with the most relevant tiles replaced first (Fig. 7, 12).",
            step="table-1",
            draw=curves(
                pick=Pick(check="degradation-14", metric="probability", setting="morf"),
                methods=tuple(TABLE_1),
                x="replaced share of the tiles",
                y="probability of the label",
            ),
        ),
        Picture(
            name="lerf",
            caption="The same, least relevant tiles first (Fig. 7, 11).",
            step="table-1",
            draw=curves(
                pick=Pick(check="degradation-14", metric="probability", setting="lerf"),
                methods=tuple(TABLE_1),
                x="replaced share of the tiles",
                y="probability of the label",
            ),
        ),
        Picture(
            name="sensitivity",
            caption="Sensitivity-n on tiles of 8 × 8 pixels (Fig. 6).",
            step="randomization",
            draw=curves(
                pick=Pick(check="sensitivity-8", metric="sensitivity-n"),
                methods=(*PLOTTED, OURS),
                x="number of tiles",
                y="Pearson correlation",
                log=True,
            ),
        ),
        Picture(
            name="randomization",
            caption="From the trained network to the fully random one (Fig. 6).",
            step="randomization",
            draw=maps_over_states(
                methods=("guided-backprop", "lrp-alpha0-beta-1", "integrated-gradients", "smoothgrad", OURS),
                group="cascading",
            ),
        ),
        Picture(
            name="betas",
            caption="What bottlenecks of growing β let through (Fig. 4).",
            step="ledger",
            draw=maps_of_samples(methods=("untrained", "iba-0.1", "iba-1", "iba-10", "iba-100")),
        ),
    ),
)
