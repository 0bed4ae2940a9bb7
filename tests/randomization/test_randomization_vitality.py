"""What kills a random network, and what shows that one is still the trained network."""

import math

import pytest
import torch
from randomizable import mlp
from torch import Tensor, nn

from heatproof.models import Bound
from heatproof.randomization import Cascading
from heatproof.randomization.vitality import cause_of_death, correlation, examine, still_trained

TRAINED = torch.tensor([[1.0, 2.0, 4.0], [2.0, -1.0, 0.0], [0.0, 5.0, 1.0], [3.0, 1.0, -2.0]])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_network_that_answers_lives() -> None:
    assert cause_of_death(drawn(4, 3), drawn(4, 8), TRAINED) == ""
    assert cause_of_death(drawn(4, 3), None, TRAINED) == ""


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_an_exploded_network_is_dead(value: float) -> None:
    outputs = drawn(4, 3)
    outputs[2, 1] = value
    assert cause_of_death(outputs, None, TRAINED) == "its outputs are not finite"
    assert cause_of_death(drawn(4, 3), torch.full((4, 8), value), TRAINED) == "its gradients are not finite"


def test_a_network_without_any_output_is_dead() -> None:
    outputs = torch.zeros(4, 3)
    assert cause_of_death(outputs, None, TRAINED) == "its outputs are all zero"
    assert cause_of_death(outputs, None, outputs) == ""
    outputs[:2, 1] = drawn(2)  # a last ReLU holds most of them at zero, which is no death
    assert cause_of_death(outputs, None, TRAINED) == ""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outputs_that_differ_by_rounding_alone_are_dead(dtype: torch.dtype) -> None:
    eps = torch.finfo(dtype).eps
    base = torch.tensor([[1.0, -0.5, 0.25]], dtype=dtype).repeat(4, 1)
    base[1] += 8 * eps
    assert cause_of_death(base, None, TRAINED) == "its outputs are the same for every sample"
    assert cause_of_death(base, None, TRAINED[:1].repeat(4, 1)) == ""  # four times one sample
    assert cause_of_death(base[:1], None, TRAINED[:1]) == ""
    base[1] += 64 * eps
    assert cause_of_death(base, None, TRAINED) == ""


def test_blank_gradients_count_from_more_than_half_of_the_samples_on() -> None:
    gradient = drawn(4, 2, 3)
    gradient[:2] = 0
    assert cause_of_death(drawn(4, 3), gradient, TRAINED) == ""
    gradient[2] = 0
    assert cause_of_death(drawn(4, 3), gradient, TRAINED) == "the gradients of 75 % of the samples are zero"


def test_the_correlation_is_that_of_what_is_left_without_means() -> None:
    twin = 2 * TRAINED + torch.tensor([5.0, -3.0, 8.0]) + drawn(4, 1)  # another size, other biases, a size a sample
    assert correlation(TRAINED, twin) == pytest.approx(1.0, abs=1e-6)
    a = TRAINED - TRAINED.mean(0) - TRAINED.mean(1, keepdim=True) + TRAINED.mean()
    other = drawn(4, 3)
    expected = float(torch.corrcoef(torch.stack([a.flatten(), _doubly(other).flatten()]))[0, 1])
    assert correlation(TRAINED, other) == pytest.approx(expected, abs=1e-6)
    assert math.isnan(correlation(TRAINED, torch.ones(4, 3)))


def _doubly(y: Tensor) -> Tensor:
    return y - y.mean(0) - y.mean(1, keepdim=True) + y.mean()


def test_what_counts_as_still_trained() -> None:
    many, noise = drawn(4, 100), drawn(4, 100, seed=1)
    assert still_trained(many, many + 0.5 * noise)  # r = 0.89
    assert not still_trained(many, many + 2.5 * noise)  # r = 0.37, more than chance, and yet another network
    assert not still_trained(many, -many)
    ten, noise = drawn(4, 10), drawn(4, 10, seed=1)
    # d − 2 = 8 dimensions: once in a thousand times above √(1 − 10^(−6/8)) = 0.907.
    assert still_trained(ten, ten + 0.2 * noise)
    assert not still_trained(ten, ten + 0.7 * noise)


def test_with_few_labels_the_outputs_themselves_have_to_agree() -> None:
    one = drawn(4, 1)
    assert still_trained(one, 1.2 * one + 3)
    assert not still_trained(one, 3 * one)  # in one dimension any network has this direction every other time
    assert not still_trained(one[:2], one[:2])
    assert not still_trained(one, torch.ones(4, 1))


def test_independent_networks_are_hardly_ever_taken_for_trained_ones() -> None:
    x = drawn(4, 6)
    for labels in (1, 2, 3, 10, 40):
        found = 0
        for seed in range(100):
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                nets = [nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, labels)) for _ in range(2)]
            found += still_trained(nets[0](x).detach(), nets[1](x).detach())
        assert found <= 1


def test_an_examination_touches_nothing() -> None:
    model, x = mlp(), drawn(4, 4)
    state = torch.get_rng_state()
    trained = model(x).detach()
    with Cascading().stages(model, x)[-1]:
        signs = examine(model, x, torch.tensor([0, 1, 2, 0]), trained)
    assert (signs.dead, signs.trained) == ("", False)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())
    signs = examine(model, x, torch.tensor([0, 1, 2, 0]), trained)
    assert signs.agreement == pytest.approx(1.0)


def test_given_arguments_follow_their_samples() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, other: Tensor) -> Tensor:
            return x * other

    bound = Bound(Two().eval(), given={"other": TRAINED})
    signs = examine(bound, torch.ones(4, 3), torch.tensor([0, 1, 2, 0]), TRAINED)
    assert signs.agreement == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("initializer", "cause"),
    [("truncated-normal", "its outputs are the same for every sample"), ("he", ""), ("permutation", "")],
)
def test_a_deep_network_without_norms_dies_of_small_weights(initializer: str, cause: str) -> None:
    torch.manual_seed(0)
    layers = [part for _ in range(12) for part in (nn.Conv2d(8, 8, 1), nn.ReLU())]
    model = nn.Sequential(nn.Conv2d(3, 8, 1), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.ReLU()).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5) if parameter.dim() > 1 else nn.init.zeros_(parameter)
    x = drawn(4, 3, 4, 4)
    trained = model(x).detach()
    with Cascading(initializer=initializer).stages(model, x)[-1]:
        signs = examine(model, x, trained.argmax(1), trained)
    assert signs.dead == cause
