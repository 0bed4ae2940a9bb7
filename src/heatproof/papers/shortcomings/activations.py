"""002, I and J: overtaking probabilities and non-positive activations of the layers of an audited network."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from heatproof.checks.network_structure import HIGH, LOW, NON_POSITIVE
from heatproof.papers.measure import Pick, Results, measured
from heatproof.papers.paper import Answer, Claim, Picture, positive
from heatproof.papers.pictures import Line, chart
from heatproof.reading.resampling import Array
from heatproof.reading.table import intervals
from heatproof.reading.tables import DRAWN

CHECK = "network-structure"
SMALL = 0.25  # what two sets of equal size and strength would have
SPARSE = 0.3
OF_PAPER = ("resnet50", "densenet121")
OF_NETWORK = Pick(check=CHECK, method="", metric=NON_POSITIVE.name)


def claims(step: str, name: str) -> Iterator[Claim]:
    """About the layers of a step's network."""
    yield Claim(
        where="I, Fig. 7–9",
        text=f"small activations rarely overtake large ones under random weights ({name})",
        paper="“This shows that in practice these probabilities are small.”",
        steps=(step,),
        answer=_rarely_overtake,
    )
    if step in OF_PAPER:
        yield Claim(
            where="J, Fig. 10",
            text=f"most layers read at least 30 % of activations that are not positive ({name})",
            paper="“for ResNet-50 and DenseNet-121, most layers have at least 30% zero activations”",
            steps=(step,),
            answer=_are_sparse,
        )
    else:
        yield Claim(
            where="ours, after Fig. 10",
            text=f"layers read activations of which a part is not positive: a fifth and more in most of them ({name})",
            paper="“at least 20% zeros” from EfficientNet-B0's layer 11 onwards",
            steps=(step,),
            answer=partial(_are_sparse, share=0.2),
        )


def pictures(step: str, name: str) -> Iterator[Picture]:
    """Of the layers of a step's network."""
    yield Picture(
        name=f"{step}-overtaking",
        caption=f"{name}: bound on the probability that the lowest q_l of activations outweigh the highest 1 − q_h, "
        "by layer (Fig. 7–9).",
        steps=(step,),
        draw=_draw_overtaking,
    )
    yield Picture(
        name=f"{step}-non-positive",
        caption=f"{name}: share of activations that are not positive, by layer (Fig. 10).",
        steps=(step,),
        draw=_draw_non_positive,
    )


def overtaking(means: Array) -> Array:
    """The probabilities (R, L, 3, 9) from mean quantiles (R, L, 12) of HIGH and LOW, as `checks.network_structure`."""
    high, low = means[..., : len(HIGH), None], means[..., None, len(HIGH) :]
    scale = np.sqrt(np.array(LOW) / (1 - np.array(HIGH)[:, None]))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(high < 0, low / high, high / low)
        found = 0.5 - np.arctan(ratio / scale) / np.pi
    found = np.where(low == 0, 0.0, found)
    known: Array = np.where((high == 0) | (high * low < 0), np.nan, found)
    return known


def _rarely_overtake(results: Results) -> Answer:
    """The mean over layers and pairs of quantiles is below a quarter."""
    names = [f"quantile-{q:.2f}" for q in (*HIGH, *LOW)]
    rows = results.rows[(results.rows["check"] == CHECK) & results.rows["metric"].isin(names)]
    table = rows.pivot_table(index=DRAWN, columns=["setting", "metric"], values="value")
    layers = list(dict.fromkeys(rows["setting"]))
    table = table[[(layer, name) for layer in layers for name in names]]

    def probabilities(means: Array) -> Array:
        found: Array = overtaking(means.reshape(len(means), len(layers), len(names))).reshape(len(means), -1)
        return found

    mean = measured(table, lambda means: np.nanmean(probabilities(means), 1))
    below = measured(table, lambda means: np.nanmean(probabilities(means) < SMALL, 1))
    told = (
        f"on average {mean.text(digits=3)}, below {SMALL} in {below.text(percent=True)} of {len(layers)} layers and "
        f"{len(HIGH) * len(LOW)} pairs of quantiles; asked is that the average is below {SMALL}"
    )
    return Answer(told, positive(mean.below(SMALL)))


def _are_sparse(results: Results, *, share: float = SPARSE) -> Answer:
    """More than half of the layers, the network's input aside."""
    rows = results.picked(OF_NETWORK)
    table = rows[rows["position"] > 1].pivot_table(index=DRAWN, columns="setting", values="value")
    found = measured(table, lambda means: (means >= share).mean(1))
    told = f"{found.text(percent=True)} of {table.shape[1]} layers behind the first; asked is above half"
    return Answer(told, positive(found.above(0.5)))


def _draw_overtaking(results: Results, file: Path) -> None:
    rows = results.rows[(results.rows["check"] == CHECK) & results.rows["metric"].str.startswith("overtaking-")]
    values = rows.set_index(["setting", "metric"])["value"]
    layers = rows.sort_values("position")["setting"].unique()
    panels = {
        str(layer): [
            Line(f"q_h = {high:.2f}", LOW, [values[layer, f"overtaking-{high:.2f}-{low:.2f}"] for low in LOW], color=k)
            for k, high in enumerate(HIGH)
        ]
        for layer in layers
    }
    chart(file, panels, x="q_l", y="probability of overtaking, at most")


def _draw_non_positive(results: Results, file: Path) -> None:
    found = sorted((key[3], value) for key, value in intervals(results.picked(OF_NETWORK)).items())
    means, low, high = ([value[k] for _, value in found] for k in range(3))
    chart(file, {"": [Line("", [place for place, _ in found], means, low, high)]}, x="layer", y="not positive")
