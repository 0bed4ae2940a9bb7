"""The contract notices: checks that are right but for one clause, and the clause that says so."""

from dataclasses import dataclass, field, replace

import pytest
import torch

from heatproof import draws
from heatproof.checks.base import TRAINED, Check, Scores
from heatproof.features import Features, Pixels
from heatproof.methods import Gradient
from heatproof.metrics import Metric
from heatproof.models import forward
from heatproof.testing import CHECK_CLAUSES, ContractError, check_check

SHARE = Metric(name="share", low=0.0, high=1.0, text="A share.")


@dataclass(frozen=True, kw_only=True)
class Positive(Check):
    """The share of positive features: a check without a fault."""

    def metrics(self, study):
        return (SHARE,)

    def rows(self, block, state, method, maps, kept, shared):
        yield Scores(metric="share", values=(maps.values > 0).flatten(1).double().mean(1))


def test_a_faultless_check_passes():
    check_check(Positive())


@dataclass(frozen=True, kw_only=True)
class Unhashable(Positive):
    features: list[int] = field(default_factory=list)


@dataclass(kw_only=True, unsafe_hash=True)
class Thawed(Check):
    metrics = Positive.metrics
    rows = Positive.rows


@dataclass(frozen=True, kw_only=True)
class Lambda(Positive):
    of: object = field(default_factory=lambda: lambda x: x)


@dataclass(frozen=True, kw_only=True)
class Attributing(Positive):
    def rows(self, block, state, method, maps, kept, shared):
        with torch.enable_grad():
            own = Gradient()(block.model, block.inputs, block.targets)
        yield Scores(metric="share", values=(own > 0).flatten(1).double().mean(1))


@dataclass(frozen=True, kw_only=True)
class Evaluating(Positive):
    """A pass with gradients, although nothing is differentiated."""

    def shared(self, block, state):
        return forward(block.model, block.inputs)


@dataclass(frozen=True, kw_only=True)
class Undeclared(Positive):
    def rows(self, block, state, method, maps, kept, shared):
        yield from Positive.rows(self, block, state, method, maps, kept, shared)
        yield Scores(metric="energy", values=maps.values.square().flatten(1).sum(1))


@dataclass(frozen=True, kw_only=True)
class OutOfRange(Positive):
    def rows(self, block, state, method, maps, kept, shared):
        yield Scores(metric="share", values=(maps.values > 0).flatten(1).double().sum(1))


@dataclass(frozen=True, kw_only=True)
class Averaging(Positive):
    """One number a batch."""

    def rows(self, block, state, method, maps, kept, shared):
        yield Scores(metric="share", values=(maps.values > 0).double().mean()[None])


@dataclass(frozen=True, kw_only=True)
class Twice(Positive):
    def rows(self, block, state, method, maps, kept, shared):
        yield from Positive.rows(self, block, state, method, maps, kept, shared)
        yield from Positive.rows(self, block, state, method, maps, kept, shared)


@dataclass(frozen=True, kw_only=True)
class Nameless(Positive):
    def metrics(self, study):
        return (SHARE, SHARE)


@dataclass(frozen=True, kw_only=True)
class BeyondItsRange(Positive):
    def metrics(self, study):
        return (replace(SHARE, chance=2.0),)


@dataclass(frozen=True, kw_only=True)
class SameName(Positive):
    def states(self, study):
        return (TRAINED, replace(TRAINED, key={"state": "trained", "again": True}, kept=False))


@dataclass(frozen=True, kw_only=True)
class TensorKey(Positive):
    def states(self, study):
        return (replace(TRAINED, key={"example": study.example}),)


@dataclass(frozen=True, kw_only=True)
class Unseeded(Positive):
    def rows(self, block, state, method, maps, kept, shared):
        with torch.random.fork_rng(devices=[]):
            yield Scores(metric="share", values=torch.rand(len(maps.values)))


@dataclass(frozen=True, kw_only=True)
class Consuming(Positive):
    """Work of one method changes what the next one is given."""

    def shared(self, block, state):
        return []

    def rows(self, block, state, method, maps, kept, shared):
        shared.append(method.label)
        yield Scores(metric="share", values=torch.full((len(maps.values),), 1 / len(shared)))


@dataclass(frozen=True, kw_only=True)
class ByPlace(Positive):
    """The sample's place in the batch enters."""

    def rows(self, block, state, method, maps, kept, shared):
        yield Scores(metric="share", values=torch.arange(len(maps.values)) / len(maps.values))


@dataclass(frozen=True, kw_only=True)
class ByBatch(Positive):
    """Normalized by the largest value of the batch: a peer's fault."""

    def rows(self, block, state, method, maps, kept, shared):
        scaled = maps.values.abs() / maps.values.abs().amax()
        yield Scores(metric="share", values=scaled.flatten(1).mean(1))


@dataclass(frozen=True, kw_only=True)
class ByFill(Positive):
    """Noise is keyed by the block's first sample and its size."""

    def rows(self, block, state, method, maps, kept, shared):
        key = 0 if len(block.inputs) < 4 else 1
        noise = draws.uniform(block.inputs, key)
        yield Scores(metric="share", values=noise.abs().flatten(1).mean(1))


@dataclass(frozen=True, kw_only=True)
class Meddling(Positive):
    def shared(self, block, state):
        with torch.no_grad():
            next(block.model.parameters()).mul_(1.5)


@dataclass(frozen=True, kw_only=True)
class WritesInputs(Positive):
    def shared(self, block, state):
        block.inputs.clamp_(min=0)


@dataclass(frozen=True, kw_only=True)
class ImagesOnly(Positive):
    """Fails on a table in the middle of an audit, not at its door."""

    features: Features = field(default_factory=Pixels)

    def rows(self, block, state, method, maps, kept, shared):
        height, width = maps.values.shape[1:]
        yield Scores(metric="share", values=(maps.values > 0).double().sum((1, 2)) / (height * width))


@dataclass(frozen=True, kw_only=True)
class Uncounted(Positive):
    """Runs the network, and says nothing of it."""

    def shared(self, block, state):
        return block.scores()


BROKEN = [
    (Thawed(), "recipe"),
    (Lambda(), "recipe"),
    (Attributing(), "no-attribution"),
    (Evaluating(), "no-attribution"),
    (Undeclared(), "rows"),
    (OutOfRange(), "rows"),
    (Averaging(), "rows"),
    (Twice(), "rows"),
    (Nameless(), "metrics"),
    (BeyondItsRange(), "metrics"),
    (SameName(), "states"),
    (TensorKey(), "states"),
    (Unseeded(), "repeatable"),
    (Consuming(), "method-order"),
    (ByPlace(), "permutation"),
    (ByBatch(), "single-sample"),
    (ByFill(), "filled-block"),
    (Meddling(), "untouched"),
    (WritesInputs(), "untouched"),
    (ImagesOnly(), "other-data"),
    (Uncounted(), "passes"),
]


@pytest.mark.parametrize(
    ("check", "clause"), BROKEN, ids=lambda value: value if isinstance(value, str) else type(value).__name__
)
def test_a_broken_check_is_found_by_its_clause(check, clause):
    with pytest.raises(ContractError) as error:
        check_check(check)
    assert error.value.clause == clause, str(error.value)


def test_a_check_that_does_not_hash_is_found():
    with pytest.raises(TypeError, match="unhashable"):
        check_check(Unhashable())


def test_every_clause_has_a_broken_check():
    assert {clause for _, clause in BROKEN} == set(CHECK_CLAUSES)
