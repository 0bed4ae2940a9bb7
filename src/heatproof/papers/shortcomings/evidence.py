"""002, F and G: monotonicity and positive dominance, on the demo's network."""

import copy
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from heatproof import methods
from heatproof.checks.network_structure import WEIGHTED
from heatproof.methods.base import Method
from heatproof.models import forward
from heatproof.papers.measure import Results
from heatproof.papers.paper import Answer, Claim, Picture, Table, verdict
from heatproof.papers.pictures import Line, chart
from heatproof.randomization import Cascading
from heatproof.theory import dominance, monotonicity, positive_biases
from heatproof.zoo import demo

BLOCK = 25
Z_PLUS = "lrp-alpha1-beta0"
OF_PAPER = ("gradient-x-input", "lrp-epsilon-plus", Z_PLUS, "lrp-epsilon-alpha2-beta1", "deeplift")
RANDOM, CLAMPED, EXCEPTION = "random (He)", "trained, biases at most 0", "ReLU(x) − 4 ReLU(2x − 1.9)"
CONSERVED = 0.01


class Counterexample(nn.Module):
    """S = ReLU(x) − 4 ReLU(2x − 1.9): a positive score at x = 1, no positive bias, and a negative ΣR."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.hidden = nn.Linear(1, 1, bias=False), nn.Linear(1, 2)
        self.score = nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            self.read.weight.fill_(1.0)
            self.hidden.weight.copy_(torch.tensor([[1.0], [2.0]]))
            self.hidden.bias.copy_(torch.tensor([0.0, -1.9]))
            self.score.weight.copy_(torch.tensor([[1.0, -4.0]]))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.score(self.hidden(self.read(x)).relu())
        return scores


def monotone(samples: int = 100) -> pd.DataFrame:
    """Share of pairs in which a method is monotone, by method and layer: mean and least over samples."""
    net, data = demo()
    batches = torch.split(data.inputs[:samples], BLOCK)
    parts = [monotonicity(net, method, batches).assign(method=name) for name, method in _methods().items()]
    grouped = pd.concat(parts).groupby(["method", "position", "layer"], sort=False)["share"]
    return grouped.agg(["mean", "min", "count"]).reset_index()


def dominant(samples: int = 100) -> pd.DataFrame:
    """Where the score is positive, by network, method and layer: over samples the mean of score, ΣR and Σ R₊/Σ|R| (with
    its standard error), the share with ΣR > 0, and the least and greatest ΣR/S.

    Networks: the demo's, the same without positive biases and with random weights, and an exception by hand.
    """
    net, data = demo()
    inputs, chosen = data.inputs[:samples], _methods()
    parts = [_dominance("trained", net, inputs, chosen), _dominance(CLAMPED, _clamped(net), inputs, chosen)]
    with Cascading(initializer="he").stages(net, inputs[:1])[-1]:
        parts.append(_dominance(RANDOM, net, inputs, chosen))
    parts.append(_dominance(EXCEPTION, Counterexample(), torch.ones(1, 1), {OF_PAPER[0]: chosen[OF_PAPER[0]]}))
    table = pd.concat(parts, ignore_index=True)
    table = table[table["score"] > 0].assign(dominates=table["sum"] > 0)
    grouped = table.groupby(["network", "method", "position", "layer"], sort=False)
    return grouped.agg(
        samples=("score", "size"),
        score=("score", "mean"),
        sum=("sum", "mean"),
        dominates=("dominates", "mean"),
        least_conserved=("conserved", "min"),
        most_conserved=("conserved", "max"),
        positive=("positive", "mean"),
        positive_error=("positive", "sem"),
    ).reset_index()


def biases() -> pd.DataFrame:
    """The share of positive biases by layer of the demo's network."""
    return positive_biases(demo()[0])


def _methods() -> dict[str, Method]:
    return {name: methods.get(name) for name in (*OF_PAPER, "gradient")}


def _clamped(net: nn.Module) -> nn.Module:
    clamped = copy.deepcopy(net)
    for module in clamped.modules():
        if isinstance(module, WEIGHTED) and module.bias is not None:
            module.bias.data.clamp_(max=0)
    return clamped


def _dominance(name: str, net: nn.Module, inputs: Tensor, chosen: dict[str, Method]) -> pd.DataFrame:
    with torch.no_grad():
        targets = forward(net, inputs).argmax(1)
    batches = list(zip(torch.split(inputs, BLOCK), torch.split(targets, BLOCK), strict=True))
    found = [dominance(net, method, batches).assign(method=label) for label, method in chosen.items()]
    return pd.concat(found, ignore_index=True).assign(network=name)


def _is_monotone(results: Results) -> Answer:
    least = results.rows.groupby("method")["min"].min()
    told = ", ".join(f"{name} {least[name]:.3f}" for name in OF_PAPER)
    pairs = f"least share of pairs over {int(results.rows['count'].sum())} layers, images and methods"
    return Answer(
        f"{pairs}: {told}; the plain gradient, of which 002 says nothing, {least['gradient']:.3f}",
        verdict(all(least[name] == 1 for name in OF_PAPER)),
    )


def _additive(results: Results) -> pd.DataFrame:
    """Of explanations that are shares of the score: not the gradient's, nor the exception's."""
    rows = results.rows
    return rows[(rows["method"] != "gradient") & (rows["network"] != EXCEPTION)]


def _dominates(results: Results, of_biases: Results) -> Answer:
    rows = _additive(results)
    counted = rows.assign(count=rows["samples"] * rows["dominates"]).groupby("network")[["count", "samples"]].sum()
    told = "; ".join(
        f"{name}: ΣR > 0 in {counted.loc[name, 'count']:.0f} of {counted.loc[name, 'samples']:.0f}"
        for name in counted.index
    )
    share = float((of_biases.rows["biases"] * of_biases.rows["positive"]).sum() / of_biases.rows["biases"].sum())
    judged = rows[(rows["network"] == RANDOM) | ((rows["network"] == CLAMPED) & (rows["method"] == Z_PLUS))]
    why = (
        f"{share:.0%} of the trained network's biases are positive; judged where no bias gets relevance: the random "
        f"network, and {Z_PLUS}, which ignores them, where none is positive"
    )
    return Answer(f"{told} layers, images and methods ({why})", verdict(bool((judged["dominates"] == 1).all())))


def _is_an_exception(results: Results) -> Answer:
    row = results.rows[results.rows["network"] == EXCEPTION].iloc[0]
    told = (
        f"negative biases do as well: S = {EXCEPTION} has S(1) = {row['score']:.1f} and ΣR = {row['sum']:.1f} under "
        f"gradient × input, which leaves {row['score'] - row['sum']:.1f} to the bias"
    )
    return Answer(told, verdict(bool(row["sum"] < 0)))


def _is_conserved(results: Results) -> Answer:
    rows = _additive(results).groupby("network").agg({"least_conserved": "min", "most_conserved": "max"})
    told = "; ".join(f"{name}: ΣR/S from {low:.3f} to {high:.3f}" for name, low, high in rows.itertuples(name=None))
    of_random = results.rows[(results.rows["network"] == RANDOM) & (results.rows["method"] != "gradient")]
    off = max(1 - of_random["least_conserved"].min(), of_random["most_conserved"].max() - 1)
    why = "judged where no bias takes part, in the random network; methods that let biases take relevance lose it"
    return Answer(f"{told} ({why})", verdict(bool(off < CONSERVED)))


def _draw(results: Results, file: Path) -> None:
    random = results.rows[results.rows["network"] == RANDOM]
    lines = []
    for color, (method, rows) in enumerate(random.groupby("method", sort=False)):
        half = 1.96 * rows["positive_error"]
        low, high = [*(rows["positive"] - half)], [*(rows["positive"] + half)]
        lines.append(Line(str(method), [*rows["position"]], [*rows["positive"]], low, high, color=color))
    chart(file, {"": lines}, x="layer, from the input", y="Σ R₊ / Σ |R|")


TABLES = (
    Table(name="monotonicity", compute=monotone),
    Table(name="dominance", compute=dominant),
    Table(name="biases", compute=biases),
)
CLAIMS = (
    Claim(
        where="F.1, F.3",
        text="w_i x_i ≥ w_j x_j > 0 implies |R_i| ≥ |R_j| for gradient × input and LRP-β (the demo's network)",
        paper="proved",
        steps=("monotonicity",),
        answer=_is_monotone,
    ),
    Claim(
        where="G",
        text="with positive logits and non-positive biases positive evidence dominates in every layer, also of a "
        "random network (the demo's)",
        paper="proved of explanations that are additive",
        steps=("dominance", "biases"),
        answer=_dominates,
    ),
    Claim(
        where="G",
        text="where biases get explanation scores, large positive ones are an exception, and negative ones as well",
        paper="“an exception to it would occur when one has large positive biases”; of negative ones it says nothing",
        steps=("dominance",),
        answer=_is_an_exception,
    ),
    Claim(
        where="G",
        text="the sum of relevances in a layer is the logit (the demo's network)",
        paper="“equal to the initial logit relevance”",
        steps=("dominance",),
        answer=_is_conserved,
    ),
)
PICTURE = Picture(
    name="dominance",
    caption="dominance: share of positive evidence in the demo's network with random weights (G).",
    steps=("dominance",),
    draw=_draw,
)
