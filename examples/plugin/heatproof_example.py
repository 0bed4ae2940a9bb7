"""A package that adds a method, a check, a similarity, a data source and a reading to heatproof."""

from dataclasses import dataclass

import torch

from heatproof.checks import Check, Scores
from heatproof.data import Dataset, Source
from heatproof.methods import Explanation, Method
from heatproof.metrics import Metric
from heatproof.reading.base import Reading, judged
from heatproof.reading.rule import Margin
from heatproof.similarity import Similarity


@dataclass(frozen=True, kw_only=True)
class Brightness(Method):
    """R = g · x."""

    gain: float = 1.0

    def _explain(self, model, inputs, targets):
        return Explanation(self.gain * inputs)


@dataclass(frozen=True, kw_only=True)
class PositiveShare(Check):
    """The share of a map's features that are above 0."""

    def metrics(self, study):
        return (Metric(name="positive-share", low=0.0, high=1.0, text="The share of features above 0."),)

    def rows(self, block, state, method, maps, kept, shared):
        yield Scores(metric="positive-share", values=(maps.values > 0).flatten(1).double().mean(1))


@dataclass(frozen=True, kw_only=True)
class Cosine(Similarity):
    """⟨A, B⟩ / ‖A‖ ‖B‖."""

    metric = Metric(name="cosine", title="Cosine", low=-1.0, high=1.0, itself=1.0, text="The maps' cosine.")

    def fits(self, grid):
        return None

    def parts(self, maps):
        return (maps.double().flatten(1),)

    def score(self, first, second):
        return torch.cosine_similarity(first[0], second[0])


@dataclass(frozen=True, kw_only=True)
class Stripes(Source):
    """Pictures of horizontal (0) and vertical (1) stripes."""

    size: int = 8

    def load(self):
        chosen = torch.tensor(self.choose(20))
        stripes = (torch.arange(self.size) % 2).float().expand(len(chosen), 1, self.size, self.size)
        inputs = torch.where((chosen % 2 == 0)[:, None, None, None], stripes.mT, stripes).contiguous()
        return Dataset(name="stripes", inputs=inputs, targets=chosen % 2, ids=tuple(str(int(i)) for i in chosen))


class MostlyPositive(Reading):
    """Is a map above 0 at more than half of its features?"""

    title = "Mostly positive?"
    reads = ("positive-share",)

    def judge(self, evidence, method):
        for check in evidence.info.of("positive-share"):
            found = evidence.averaged(check.label, method, "positive-share")
            if found is not None:
                told = {"yes": ("mostly positive", ""), "no": ("not mostly positive", "")}
                margin = Margin(good="above", yes=0.5, no=0.5)
                estimate = found.estimate(evidence.samples)
                yield judged(method, "mostly-positive", check.label, "positive-share", estimate, margin, told)
