"""How weights are drawn: distributions against theory, keys, and what a default leaves out."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from randomizable import Attending, Bare, mlp
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from heatproof.draws import generator
from heatproof.errors import InputError
from heatproof.randomization import (
    INITIALIZERS,
    Default,
    He,
    Initializer,
    Layer,
    Permutation,
    TruncatedNormal,
    Uniform,
    Weight,
)
from heatproof.randomization.layers import usage
from reference.randomization import cut_normal_quantile

COUNT = 250_000


def layer(*tensors: tuple[str, Tensor], name: str = "layer") -> Layer:
    weights = tuple(Weight(name=local, tensor=tensor) for local, tensor in tensors)
    return Layer(name=name, module=nn.Module(), weights=weights, first=1, last=1)


def sample(
    initializer: Initializer, shape: tuple[int, ...] = (500, 500), name: str = "weight", seed: int = 0
) -> Tensor:
    return initializer.draw(layer((name, torch.ones(shape))), seed)[name]


def assert_moments(values: Tensor, variance: float, kurtosis: float) -> None:
    """Mean 0 and the given variance, each within 5 standard errors of the sample; kurtosis is E[x⁴]/E[x²]²."""
    x = values.double()
    assert abs(float(x.mean())) < 5 * math.sqrt(variance / x.numel())
    assert abs(float(x.square().mean()) - variance) < 5 * variance * math.sqrt((kurtosis - 1) / x.numel())


def test_registered_names() -> None:
    assert INITIALIZERS.names() == ["default", "he", "permutation", "truncated-normal", "uniform"]
    assert all(INITIALIZERS.get(name).name == name for name in INITIALIZERS.names())


def test_truncated_normal_is_cut_at_two_standard_deviations() -> None:
    values = sample(TruncatedNormal())
    density, mass = math.exp(-2) / math.sqrt(2 * math.pi), math.erf(math.sqrt(2))
    # Var = 1 − 2aφ(a)/m and E[x⁴] = 3 − (2a³ + 6a)φ(a)/m for a standard normal cut at a = 2.
    variance = 1 - 4 * density / mass
    fourth = 3 - 28 * density / mass
    assert math.sqrt(variance) == pytest.approx(0.8796, abs=1e-4)
    assert_moments(values, variance * 0.01**2, fourth / variance**2)
    assert float(values.abs().max()) <= 0.02
    # Of 250 000 draws, the largest lies within 1e-3 standard deviations of the cut with probability 1 − 1e-6.
    assert float(values.abs().max()) > 0.02 - 1e-5 * 2


@pytest.mark.parametrize("p", [0.001, 0.025, 0.3, 0.5, 0.9, 0.999])
def test_quantiles_of_the_truncated_normal(p: float) -> None:
    values = sample(TruncatedNormal(std=1.0))
    below = float((values <= cut_normal_quantile(p, 1.0)).double().mean())
    assert abs(below - p) < 5 * math.sqrt(p * (1 - p) / COUNT)


@pytest.mark.parametrize("recipe", [TruncatedNormal, Uniform])
@pytest.mark.parametrize("std", [0.0, -1.0, math.nan, math.inf])
def test_a_standard_deviation_is_positive_and_finite(recipe: type[TruncatedNormal] | type[Uniform], std: float) -> None:
    with pytest.raises(InputError, match="Expected a positive, finite standard deviation"):
        recipe(std=std)


def test_uniform_has_the_standard_deviation_it_is_given() -> None:
    values = sample(Uniform())
    assert_moments(values, 0.01**2, 9 / 5)
    assert float(values.abs().max()) <= 0.01 * math.sqrt(3)


@pytest.mark.parametrize(("shape", "fan_in"), [((500, 500), 500), ((100, 50, 5, 10), 2500)])
def test_he_has_variance_two_over_fan_in(shape: tuple[int, ...], fan_in: int) -> None:
    assert_moments(sample(He(), shape), 2 / fan_in, 3)


def test_he_sets_biases_to_zero_and_draws_scales_with_fan_in_one() -> None:
    assert torch.equal(sample(He(), (7,), "bias"), torch.zeros(7))
    assert torch.equal(sample(He(), (7,), "in_proj_bias"), torch.zeros(7))
    assert_moments(sample(He(), (COUNT,), "weight"), 2, 3)
    assert sample(He(), (), "temperature").shape == ()


@given(st.lists(st.integers(1, 5), min_size=0, max_size=4), st.integers(0, 10))
def test_a_permutation_keeps_the_values_and_the_shape(shape: list[int], seed: int) -> None:
    trained = torch.randn(shape)
    drawn = Permutation().draw(layer(("weight", trained)), seed)["weight"]
    assert drawn.shape == trained.shape
    assert torch.equal(drawn.flatten().sort().values, trained.flatten().sort().values)


def test_a_permutation_moves_every_position_alike() -> None:
    # Each value stays in place with probability 1/n: n = 1000 and 100 seeds give 100 ± 5·10 of 100 000.
    trained = torch.arange(1000.0)
    stays = sum(
        int((Permutation().draw(layer(("weight", trained)), seed)["weight"] == trained).sum()) for seed in range(100)
    )
    assert 50 <= stays <= 150


@pytest.mark.parametrize("name", ["truncated-normal", "uniform", "he", "permutation"])
def test_each_weight_has_a_stream_of_its_own(name: str) -> None:
    initializer, trained = INITIALIZERS.get(name), torch.randn(6, 6)
    pair = initializer.draw(layer(("first", trained), ("second", trained)), 0)
    alone = initializer.draw(layer(("second", trained)), 0)
    assert not torch.equal(pair["first"], pair["second"])  # equal shapes, other values
    assert torch.equal(pair["second"], alone["second"])  # whatever else there is
    assert not torch.equal(alone["second"], initializer.draw(layer(("second", trained)), 1)["second"])
    elsewhere = initializer.draw(layer(("second", trained), name="other"), 0)
    assert not torch.equal(alone["second"], elsewhere["second"])


def test_initializers_do_not_share_a_stream() -> None:
    assert torch.corrcoef(torch.stack([sample(TruncatedNormal()).flatten(), sample(Uniform()).flatten()]))[
        0, 1
    ].abs() < (5 / math.sqrt(COUNT))


@pytest.mark.parametrize(
    "module",
    [nn.Linear(4, 3), nn.Conv2d(2, 3, 3), nn.LSTM(3, 4), nn.Embedding(5, 3, padding_idx=0), nn.GroupNorm(2, 4)],
)
def test_default_is_what_the_module_resets_itself_to(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(7.0)
    weights = tuple(Weight(name=name, tensor=parameter) for name, parameter in module.named_parameters())
    owner = Layer(name="layer", module=module, weights=weights, first=1, last=1)
    state = torch.get_rng_state()
    drawn = Default().draw(owner, 0)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(bool((parameter == 7.0).all()) for parameter in module.parameters())
    twin = copy.deepcopy(module)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(0, "randomization", "default", "layer").initial_seed())
        twin.reset_parameters()
    for name, parameter in twin.named_parameters():
        assert torch.equal(drawn[name], parameter)


def test_default_draws_differ_between_layers_of_one_shape() -> None:
    model = mlp()
    first, second, _ = usage(model, torch.randn(1, 4)).layers
    assert not torch.equal(Default().draw(first, 0)["weight"], Default().draw(second, 0)["weight"])


def test_default_of_attention_is_its_own_reset() -> None:
    attention = usage(Attending().eval(), torch.randn(1, 8)).layers[0]
    drawn = Default().draw(attention, 0)
    bound = math.sqrt(6 / (4 + 12))  # xavier uniform of a (12, 4) matrix
    assert bound * 0.7 < float(drawn["in_proj_weight"].abs().max()) <= bound
    assert torch.equal(drawn["in_proj_bias"], torch.zeros(12))


def test_default_refuses_what_no_reset_sets_and_takes_a_fallback() -> None:
    root = usage(Bare().eval(), torch.randn(1, 4)).layers[0]
    message = r"layer '\(root\)' \(Bare\) to reset its own parameters, but it does not set token, shift"
    with pytest.raises(InputError, match=message):
        Default().check(root)
    with pytest.raises(InputError, match=message):
        Default().draw(root, 0)
    drawn = Default(fallback=TruncatedNormal(std=0.02)).draw(root, 0)
    assert set(drawn) == {"token", "shift"}
    assert float(drawn["token"].abs().max()) <= 0.04


def test_default_notices_a_reset_that_misses_a_weight() -> None:
    # The module's reset writes into the computed weight and is lost.
    normed = usage(nn.Sequential(weight_norm(nn.Linear(4, 4))).eval(), torch.randn(1, 4)).layers[0]
    with pytest.raises(InputError, match=r"does not set parametrizations\.weight\.original0, .*original1, which"):
        Default().draw(normed, 0)
