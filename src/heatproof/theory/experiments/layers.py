"""002, F and G: monotonicity and positive dominance."""

import copy

import pandas as pd
import torch
from torch import Tensor, nn

from heatproof import methods
from heatproof.checks.network_structure import WEIGHTED
from heatproof.methods.base import Method
from heatproof.randomization import Cascading
from heatproof.theory.drawing import Line, chart
from heatproof.theory.experiments.subject import BLOCK, Subject, predicted
from heatproof.theory.layers import dominance, monotonicity, positive_biases
from heatproof.theory.page import Claim, Section, verdict

OF_NETWORK = ("gradient-x-input", "lrp-epsilon-plus", "lrp-alpha1-beta0", "lrp-epsilon-alpha2-beta1", "deeplift")

Z_PLUS = "lrp-alpha1-beta0"
RANDOM, CLAMPED = "random (He)", "trained, biases at most 0"


def properties_of_layers(subject: Subject) -> Section:
    """002, F and G."""
    net, inputs = subject.net, subject.inputs
    batches = list(torch.split(inputs, BLOCK))
    chosen: dict[str, Method] = {name: methods.get(name) for name in (*OF_NETWORK, "gradient")}
    monotone = pd.concat(
        [monotonicity(net, method, batches).assign(method=name) for name, method in chosen.items()], ignore_index=True
    )
    networks = {"trained": net, CLAMPED: _without_positive_biases(net)}
    parts = [_dominance(name, model, inputs, chosen) for name, model in networks.items()]
    with Cascading(initializer="he").stages(net, inputs[:1])[-1]:
        parts.append(_dominance(RANDOM, net, inputs, chosen))
    dominant = pd.concat(parts, ignore_index=True)
    positive = dominant[dominant["score"] > 0]
    additive = positive[positive["method"] != "gradient"]
    worst = {name: monotone[monotone["method"] == name]["share"].min() for name in chosen}
    ok = (additive["sum"] > 0).groupby(additive["network"]).mean()
    judged = additive[
        (additive["network"] == RANDOM) | ((additive["network"] == CLAMPED) & (additive["method"] == Z_PLUS))
    ]
    one = [(torch.ones(1, 1), torch.zeros(1, dtype=torch.int64))]
    exception = dominance(_Exception(), chosen["gradient-x-input"], one).iloc[0]
    biases = positive_biases(net)
    share = float((biases["biases"] * biases["positive"]).sum() / biases["biases"].sum())
    described = ", ".join(f"{name} {worst[name]:.3f}" for name in OF_NETWORK)
    return Section(
        title=f"{subject.name}: monotonicity and positive dominance",
        text=f"{len(inputs)} images, every weighted layer; the predicted label is explained. Methods: "
        + ", ".join(chosen)
        + ".",
        claims=(
            Claim(
                source="002, F.1, F.3",
                says="w_i x_i ≥ w_j x_j > 0 implies |R_i| ≥ |R_j| for gradient × input and LRP-β",
                verdict=verdict(all(worst[name] == 1 for name in OF_NETWORK)),
                measured=f"least share of pairs over all layers and images: {described}; the plain gradient, of which "
                f"002 says nothing, {worst['gradient']:.3f}",
            ),
            Claim(
                source="002, G",
                says="with positive logits and non-positive biases positive evidence dominates in every layer, "
                "irrespective of the randomization",
                verdict=verdict(bool((judged["sum"] > 0).all()), known=len(judged) > 0),
                measured="; ".join(
                    f"{name}: ΣR > 0 in {ok[name]:.1%} of layers, images and methods" for name in ok.index
                )
                + f" ({share:.0%} of the trained network's biases are positive). Judged where no bias "
                f"gets relevance: the random network, and {Z_PLUS}, which ignores them, where none is positive",
            ),
            Claim(
                source="002, G",
                says="an exception to it would occur with large positive biases, if biases get explanation scores",
                verdict=verdict(exception["sum"] > 0),
                measured="negative biases do as well: S = ReLU(x) − 4 ReLU(2x − 1.9) has "
                f"S(1) = {exception['score']:.1f} and ΣR = {exception['sum']:.1f} under gradient × input, which leaves "
                f"{exception['score'] - exception['sum']:.1f} to the bias",
            ),
            Claim(
                source="002, G",
                says="the sum of relevances in a layer is equal to the initial logit relevance",
                verdict=verdict(_conserved(additive)),
                measured="; ".join(
                    f"{name}: ΣR/S from {part['conserved'].min():.3f} to {part['conserved'].max():.3f}"
                    for name, part in additive.groupby("network")
                )
                + ". Judged where no bias takes part, in the random network; with biases methods that let them take "
                "relevance lose it",
            ),
        ),
        tables={
            f"monotonicity-{subject.name}": _by_layer(monotone, ["method"], ["share"]),
            f"dominance-{subject.name}": _by_layer(positive, ["network", "method"], ["conserved", "positive"]),
            f"biases-{subject.name}": biases,
        },
        pictures={f"dominance-{subject.name}": _dominance_chart(positive[positive["network"] == RANDOM])},
    )


class _Exception(nn.Module):
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


def _without_positive_biases(net: nn.Module) -> nn.Module:
    clamped = copy.deepcopy(net)
    for module in clamped.modules():
        if isinstance(module, WEIGHTED) and module.bias is not None:
            module.bias.data.clamp_(max=0)
    return clamped


def _dominance(name: str, net: nn.Module, inputs: Tensor, chosen: dict[str, Method]) -> pd.DataFrame:
    targets = predicted(net, inputs)
    batches = list(zip(torch.split(inputs, BLOCK), torch.split(targets, BLOCK), strict=True))
    found = [dominance(net, method, batches).assign(method=label) for label, method in chosen.items()]
    return pd.concat(found, ignore_index=True).assign(network=name)


def _conserved(additive: pd.DataFrame) -> bool:
    part = additive[additive["network"] == RANDOM]["conserved"]
    return bool(len(part) and (part - 1).abs().max() < 0.01)


def _by_layer(table: pd.DataFrame, keys: list[str], values: list[str]) -> pd.DataFrame:
    """Mean, least and number of samples by layer."""
    grouped = table.groupby([*keys, "position", "layer"], sort=True)[values]
    wide = grouped.agg(["mean", "min", "count"])
    wide.columns = ["-".join(column) for column in wide.columns]
    return wide.reset_index()


def _dominance_chart(positive: pd.DataFrame) -> str:
    lines = []
    for color, (method, part) in enumerate(positive.groupby("method", sort=False)):
        layers = part.groupby("position")["positive"].mean()
        lines.append(Line(label=str(method), x=[float(p) for p in layers.index], y=layers.tolist(), color=color))
    return chart(
        lines, title="Share of positive evidence in a random network", x="layer, from the input", y="Σ R₊ / Σ |R|"
    )
