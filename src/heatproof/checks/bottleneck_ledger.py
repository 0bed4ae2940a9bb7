"""What does a bottleneck let through, and what does the network still know behind it?"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from heatproof.checks.base import CHECKS, Block, Check, Maps, Recipe, Scores, State, Study
from heatproof.checks.variants import likelihood
from heatproof.metrics import Metric
from heatproof.models import forward

INFORMATION = Metric(
    name="information",
    unit="nats an element",
    low=0.0,
    text="What the bottleneck lets through, for an average element of its layer: L_I / k.",
)
BITS = Metric(name="bits", unit="bits", low=0.0, text="What the bottleneck lets through of a sample: L_I.")
PROBABILITY = Metric(name="probability", low=0.0, high=1.0, text="Probability of the label.")
TOP = {
    1: Metric(name="top-1", unit="share", low=0.0, high=1.0, text="How often the label is the likeliest of all."),
    5: Metric(name="top-5", unit="share", low=0.0, high=1.0, text="How often the label is one of the likeliest five."),
}


class Known(NamedTuple):
    """Of the network without a bottleneck: the label's probability (N,), and 1 where it is in the top k (N,), by k."""

    probability: Tensor | None  # None where outputs have none
    top: dict[int, Tensor]


@CHECKS.register("bottleneck-ledger")
@dataclass(frozen=True, kw_only=True)
class BottleneckLedger(Check):
    """L_I / k of each information bottleneck, beside what the network knows with it and without.

    Rows of a method are with its bottleneck, means over its draws of noise; rows without a method are of the network as
    it is. `information` is L_I / k, in nats for an average of the layer's k elements, `bits` is L_I. `top-1` and
    `top-5` say how often the explained label is the likeliest, or one of five (left out of a network with no more
    labels than that), `probability` how likely it is. A label that ties with others counts as behind them, so that a
    dead network knows nothing. Methods without a bottleneck have no rows.

    To compare with the paper explain the true label and audit a method for each β with `noise="published"`: untrained
    (`steps=0`) it lets 2.500 nats an element through, where the paper's own eq. 2 gives 5.000.
    Cost: one forward pass a sample; the rest comes with the maps.

    Source: Schulz et al. 2020, Table 4.

    >>> iba = hp.methods.PerSampleBottleneck(layer="0", steps=2).fit(net, [(images, labels)])
    >>> run = hp.audit(net, images, labels, methods=[iba],
    ...                checks=["bottleneck-ledger"], out="ledger", progress=False)
    ...
    >>> sorted(set(run.rows()["metric"]))[:3]
    ['bits', 'information', 'probability']
    """

    def metrics(self, study: Study) -> tuple[Metric, ...]:
        if study.meaning.probability is None:
            return (INFORMATION, BITS)
        return (INFORMATION, BITS, PROBABILITY, *(metric for k, metric in TOP.items() if k < study.outputs))

    def notes(self, study: Study) -> tuple[str, ...]:
        if study.meaning.probability is None:
            return ("what the network still knows is left out: its outputs have no probabilities.",)
        trivial = [metric.name for k, metric in TOP.items() if k >= study.outputs]
        return tuple(f"{name} is left out: the model has {study.outputs} outputs." for name in trivial)

    def passes(self, study: Study, state: State, method: Recipe | None) -> float:
        return 0.0 if method else 1.0

    def shared(self, block: Block, state: State) -> Known:
        with torch.no_grad():
            outputs = forward(block.model, block.inputs)
        if block.meaning.probability is None:
            return Known(None, {})
        others = (outputs >= outputs.gather(1, block.targets[:, None])).sum(1) - 1
        top = {k: (others < k).double() for k in TOP if k < outputs.shape[1]}
        return Known(likelihood(block.meaning)(outputs, block.targets), top)

    def network_rows(self, block: Block, state: State, shared: Known) -> Iterable[Scores]:
        if shared.probability is not None:
            yield Scores(metric=PROBABILITY.name, values=shared.probability)
        for k, values in shared.top.items():
            yield Scores(metric=TOP[k].name, values=values)

    def rows(
        self, block: Block, state: State, method: Recipe, maps: Maps, kept: Mapping[str, Maps], shared: Any
    ) -> Iterator[Scores]:
        said = maps.diagnostics
        read = {INFORMATION.name: "information", BITS.name: "bits"}
        read |= {} if shared.probability is None else {PROBABILITY.name: "probability-after"}
        read |= {TOP[k].name: f"top-{k}-after" for k in shared.top}
        if all(name in said for name in read.values()):
            for metric, name in read.items():
                yield Scores(metric=metric, values=said[name])
