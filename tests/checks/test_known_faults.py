"""Faults that peers' checks are known for: ours do not have them, and each would be noticed if one crept in.

A fault is told by what a check must say where the right answer is known, and is then put into our code: the same
question must fail.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import check_toys as toys
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from heatproof import draws
from heatproof.checks import Completeness, Degradation, Maps, MethodAgreement, ParameterRandomization, SensitivityN
from heatproof.checks import degradation as degradation_module
from heatproof.checks import variants as variants_module
from heatproof.checks.similarities import similarity_rows
from heatproof.errors import HeatproofWarning
from heatproof.methods import DeepLIFT, Explanation, Gradient, Method
from heatproof.methods.base import Linearization
from heatproof.propagation.independence import check_independent
from heatproof.randomization import initializers, orders
from heatproof.randomization.layers import Layer, Usage
from heatproof.reading import Verdicts
from heatproof.rows import COLUMNS, SCHEMA
from heatproof.similarity import Spearman, spearman
from heatproof.testing.playing import play, stage

GROUP = "cascading he"


class Given(Method):
    """The maps that it holds, whatever it explains."""

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        return Explanation(self.maps)


# A mean over stages of randomization that includes the model that nothing was done to: 1.0 among the similarities.


def similarities_are_of_randomized_models_only() -> None:
    rows = toys.played(
        ParameterRandomization(similarities=("spearman",), complete_seeds=1), methods={"gradient": Gradient()}
    )
    found = [values for row, values in rows.items() if (row.setting, row.metric) == (GROUP, "spearman")]
    model, inputs = toys.network(), toys.images()
    expected = []
    for one in orders.Cascading().stages(model, inputs):
        with one:
            drawn = Gradient()(model, inputs, torch.arange(3))
        expected.append(Spearman()(Gradient()(model, inputs, torch.arange(3)).sum(1), drawn.sum(1)))
    assert torch.allclose(torch.stack(found).mean(0), torch.stack(expected).mean(0), atol=1e-12)


def the_untouched_model_counts_as_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ParameterRandomization.rows

    def rows(self, block, state, method, maps, kept, shared):  # type: ignore[no-untyped-def]
        yield from whole(self, block, state, method, maps, kept, shared)
        if state.kind == "trained":
            yield from similarity_rows((Spearman(),), maps, maps, setting=GROUP)

    monkeypatch.setattr(ParameterRandomization, "rows", rows)


# One seed for every layer: layers of one shape get the same weights.


def layers_of_one_shape_differ() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(72, 72), nn.Linear(72, 72))
    model = model.double().eval()
    with fully_random(model):
        assert not torch.equal(model[1].weight, model[2].weight)


def fully_random(model: nn.Module) -> orders.Stage:
    check = ParameterRandomization(similarities=("spearman",), complete_seeds=1)
    on = stage(model, toys.images(), torch.arange(3), {"gradient": Gradient()})
    (state,) = [s for s in check.states(on.study()) if s.kind == "randomized" and s.complete]
    found: orders.Stage = state.open(model)
    return found


def one_seed_serves_every_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initializers, "generator", lambda *_: draws.generator(1))


# The order of registration, taken for that of execution.


class Backwards(nn.Module):
    """Layers registered in the opposite of the order in which they run."""

    def __init__(self) -> None:
        super().__init__()
        self.top, self.middle, self.bottom = nn.Linear(6, 4), nn.Linear(8, 6), nn.Linear(72, 8)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.top(self.middle(self.bottom(x.flatten(1)).relu()).relu())
        return found


def a_cascade_begins_at_the_output() -> None:
    check = ParameterRandomization(similarities=("spearman",), complete_seeds=1)
    on = stage(Backwards().double().eval(), toys.images(), torch.arange(3), {"gradient": Gradient()})
    stages = [state.label for state in check.states(on.study()) if state.kind == "randomized"]
    assert stages == ["top", "middle", "bottom"]


def layers_come_as_they_are_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    found = orders.usage

    def usage(model: nn.Module, inputs: Tensor) -> Usage:
        seen = found(model, inputs)
        names = [name for name, _ in model.named_modules()]
        layers = sorted(seen.layers, key=lambda layer: names.index(layer.name))
        placed = [Layer(**{**vars(layer), "first": k, "last": k}) for k, layer in enumerate(layers)]
        return Usage(tuple(placed), seen.unused)

    monkeypatch.setattr(orders, "usage", usage)


# Parameters that no `reset_parameters` knows stay trained: class tokens, the projections of attention.


class Attending(nn.Module):
    """Six tokens of twelve numbers and a class token, through attention."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.ones(1, 1, 12))
        self.attention = nn.MultiheadAttention(12, 2, batch_first=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.token.expand(len(x), -1, -1), x.reshape(len(x), 6, 12)], 1)
        found: Tensor = self.head(self.attention(x, x, x, need_weights=False)[0][:, 0])
        return found


def nothing_stays_trained() -> None:
    model = Attending().double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter)  # none as an initializer leaves it: drawn biases are zero
    trained = {name: value.clone() for name, value in model.named_parameters()}
    with fully_random(model):
        same = [name for name, value in model.named_parameters() if torch.equal(value, trained[name])]
    assert same == []


def only_what_resets_itself_is_random(monkeypatch: pytest.MonkeyPatch) -> None:
    found = orders.usage

    def usage(model: nn.Module, inputs: Tensor) -> Usage:
        seen = found(model, inputs)
        return Usage(tuple(one for one in seen.layers if hasattr(one.module, "reset_parameters")), seen.unused)

    monkeypatch.setattr(orders, "usage", usage)


# Ranks of many ties, summed in 32 bits.


def many_ties_have_their_ranks() -> None:
    size, strokes = 75_300, 300
    first, second = torch.zeros(2, 1, 1, size, 1)
    first[..., :strokes, :] = torch.arange(1.0, strokes + 1)[:, None]
    second[..., :strokes, :] = torch.arange(strokes, 0, -1.0)[:, None]
    inputs = torch.zeros(1, 1, size, 1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(size, 2)).eval()
    methods = {"a": Given(first), "b": Given(second)}
    on = stage(model, inputs, torch.tensor([0]), methods)
    (values,) = play(MethodAgreement(similarities=("spearman",)), on).values()
    # Ranks about their mean: the zeros share one, the strokes' rise in the first map and fall in the second.
    zeros, middle = size - strokes, (size - 1) / 2
    tied = (zeros - 1) / 2 - middle
    ranks = [zeros + k - middle for k in range(strokes)]
    product = zeros * tied**2 + math.fsum(r * s for r, s in zip(ranks, reversed(ranks), strict=True))
    expected = product / (zeros * tied**2 + math.fsum(r * r for r in ranks))
    assert values.item() == pytest.approx(expected, abs=1e-12)


def ranks_are_summed_in_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = spearman.correlation

    def correlation(first: Tensor, second: Tensor, *squares: Tensor) -> Tensor:
        product = (2 * first).int() * (2 * second).int()
        short = product.sum(1, dtype=torch.int32).double() / 4
        exact = (first * second).sum(1)
        return whole(first, second, *squares) * torch.where(exact == 0, 1.0, short / exact)

    monkeypatch.setattr(spearman, "correlation", correlation)


# A constant map scores 0, and so passes.


def a_constant_map_is_no_success() -> None:
    blank = {"blank": Given(torch.zeros(8, 2, 6, 6).double())}
    inputs, targets = toys.images(8), torch.arange(8) % 4
    on = stage(toys.network(), inputs, targets, blank)
    check = ParameterRandomization(similarities=("spearman", "spearman-absolute"))
    rows = [
        {
            **dict.fromkeys(COLUMNS, ""), "check": "parameter-randomization", "method": row[0], "setting": row[1],
            "position": row[2], "sample": f"s{i}", "metric": row.metric, "value": float(value), "seed": row.seed,
        }
        for row, values in play(check, on).items()
        for i, value in enumerate(values)
    ]  # fmt: skip
    manifest = {
        "schema": SCHEMA,
        "methods": [{"label": "blank", "name": None, "controls": False}],
        "checks": [{"label": "parameter-randomization", "id": "parameter-randomization", "recipe": {}, "metrics": []}],
        "states": [state.describe() for state in check.states(on.study())],
        "model": {"outputs": 4},
        "costs": {},
    }
    (depends,) = (f for f in Verdicts.of(pd.DataFrame(rows), manifest).findings if f.question == "depends")
    assert (depends.answer, depends.word) == ("unknown", "cannot be told")


def nothing_is_taken_for_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    # A second run on the trained network is compared as 1, as the same map with itself is.
    whole = ParameterRandomization.rows

    def rows(*arguments):  # type: ignore[no-untyped-def]
        for one in whole(*arguments):
            yield replace(one, values=one.values.nan_to_num(1.0 if one.setting == "replicate" else 0.0))

    monkeypatch.setattr(ParameterRandomization, "rows", rows)


# Sensitivity-n over the features in the order of their attributions, instead of random sets.


def sets_know_no_map() -> None:
    """Two maps that rank features alike have the same sets, and so have two that rank them in opposite orders."""
    check, model, inputs = SensitivityN(sets=20, sizes=4), toys.network(), toys.images()
    maps = Gradient()(model, inputs, torch.arange(3))
    methods = {"up": Given(maps), "down": Given(-maps)}
    rows = toys.played(check, model=model, inputs=inputs, methods=methods)
    for row, values in rows.items():
        if row.method == "up":
            other = rows[row._replace(method="down")]
            assert torch.allclose(values, -other, atol=1e-12, equal_nan=True)
            if row.position == 1:
                flat = maps.sum(1).flatten(1)
                assert torch.allclose(values, single_features(check, model, inputs, flat), atol=1e-9)


def single_features(check: SensitivityN, model: nn.Module, inputs: Tensor, flat: Tensor) -> Tensor:
    """Pearson's r over the single features that the check's own sets draw."""
    chosen = check._sets(flat.shape[1], 1).int().argmax(1)
    found = []
    for i in range(len(inputs)):
        losses = []
        for k in chosen.tolist():
            without = inputs[i].clone()
            without[:, k // 6, k % 6] = 0
            losses.append(float((model(inputs[i : i + 1]) - model(without[None]))[0, i].detach()))
        both = torch.stack([flat[i, chosen], torch.tensor(losses, dtype=torch.float64)])
        found.append(torch.corrcoef(both)[0, 1])
    return torch.stack(found)


def sets_are_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = SensitivityN.rows

    def rows(self, block, state, method, maps, kept, shared):  # type: ignore[no-untyped-def]
        # Features in descending order, cumulatively: the sums of the step, against the losses of the sets.
        ordered = maps.values.flatten(1).sort(1, descending=True).values
        yield from whole(self, block, state, method, Maps(ordered.view_as(maps.values), {}), kept, shared)

    monkeypatch.setattr(SensitivityN, "rows", rows)


# DeepLIFT by hooks on modules: a functional ReLU keeps its gradient, and nobody is told.


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(72, 9), nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.second(F.relu(self.first(x.flatten(1))))
        return found


def deeplift_is_complete_without_modules() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Functional().double().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HeatproofWarning)  # the method says so itself; here the check is asked
        rows = toys.played(Completeness(), model=model, methods={"deeplift": DeepLIFT()})
    assert toys.row(rows, "deeplift", "completeness-gap", "").abs().max() < 1e-9


def hooks_miss_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    def gradient_of_relu(self: DeepLIFT, model: nn.Module, inputs: Tensor) -> tuple[Linearization, Tensor, Tensor]:
        outputs, pull = Gradient()._linearize(model, inputs)
        nothing = torch.zeros_like(inputs)
        return Linearization(outputs, lambda cotangent: inputs * pull(cotangent)), nothing, model(nothing).detach()

    monkeypatch.setattr(DeepLIFT, "_prepared", gradient_of_relu)


# Degradation: tiles of one value in reading order; features replaced in what is replaced already.


def ties_know_no_corner() -> None:
    """A map with one strong pixel: what is taken after it must not always be the top left."""
    inputs = torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(3)).double() + 0.5
    maps = torch.zeros_like(inputs)
    maps[:, :, 5, 5] = 1
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 2, bias=False)).double().eval()
    nn.init.zeros_(model[1].weight)
    with torch.no_grad():
        model[1].weight[0, 0] = 4.0  # only the top left pixel matters
    on = stage(model, inputs, torch.zeros(40, dtype=torch.int64), {"given": Given(maps)})
    rows = play(Degradation(tile=1), on)
    (half,) = [v for row, v in rows.items() if row.setting == "morf" and row.position == 18 / 36 and row.method]
    still = (half > 0.6).double().mean()
    assert 0.3 < still < 0.7  # half of 35 pixels are gone, the top left is one of them in half of the samples


def ties_keep_reading_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def ranks(values: Tensor, *_: object, **__: object) -> Tensor:
        return values.argsort(dim=1, descending=True, stable=True).argsort(dim=1)

    monkeypatch.setattr(degradation_module, "ranks", ranks)


def what_is_replaced_comes_from_the_original() -> None:
    seen: list[Tensor] = []

    class Watched(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return x.flatten(1)[:, :2]

    inputs = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(3)).double()
    maps = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(4)).double()
    model = Watched().eval()
    check_independent(model, inputs)
    seen.clear()
    play(Degradation(tile=2), stage(model, inputs, torch.tensor([0]), {"given": Given(maps)}))
    assert all(bool(((x == 0) | (x == inputs)).all()) for x in seen)


def replaced_in_what_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    # A "mean" or "blurred" baseline that is made anew from the degraded image drifts; here each step dims the image.
    whole = variants_module.replaced
    monkeypatch.setattr(degradation_module, "replaced", lambda *arguments: whole(*arguments) * 0.9)


class Fault(NamedTuple):
    asked: Callable[[], None]
    put_in: Callable[[pytest.MonkeyPatch], None]


FAULTS = [
    Fault(similarities_are_of_randomized_models_only, the_untouched_model_counts_as_a_stage),
    Fault(layers_of_one_shape_differ, one_seed_serves_every_layer),
    Fault(a_cascade_begins_at_the_output, layers_come_as_they_are_registered),
    Fault(nothing_stays_trained, only_what_resets_itself_is_random),
    Fault(many_ties_have_their_ranks, ranks_are_summed_in_32_bits),
    Fault(a_constant_map_is_no_success, nothing_is_taken_for_zero),
    Fault(sets_know_no_map, sets_are_sorted),
    Fault(deeplift_is_complete_without_modules, hooks_miss_functions),
    Fault(ties_know_no_corner, ties_keep_reading_order),
    Fault(what_is_replaced_comes_from_the_original, replaced_in_what_is_replaced),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.asked.__name__)
def test_our_checks_do_not_have_it(fault: Fault) -> None:
    fault.asked()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.put_in.__name__)
def test_it_would_be_noticed(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    fault.put_in(monkeypatch)
    with pytest.raises(AssertionError):
        fault.asked()
