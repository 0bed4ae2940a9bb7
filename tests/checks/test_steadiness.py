"""A map is held to itself where nothing happened."""

import pickle

import check_toys as toys
import pytest
import torch

import heatproof as hp
from heatproof.checks import Steadiness
from heatproof.checks.steadiness import Nudged, moved
from heatproof.checks.swapping import tensors_of
from heatproof.errors import InputError
from heatproof.methods.base import Explanation, Method
from heatproof.recipes import describe


def test_the_change_is_that_of_the_formula_and_is_undone_bit_for_bit():
    """θ (1 + ε z), ε = level/√K, z keyed by seed and name; buffers stay."""
    model = toys.network()
    before = {name: tensor.clone() for name, tensor in tensors_of(model).items()}
    weights = sum(parameter.dim() > 1 for parameter in model.parameters())
    with Nudged(0.01, 3)(model):
        for name, parameter in model.named_parameters():
            stream = hp.draws.generator(3, "steadiness", name)
            noise = torch.randn(parameter.shape, generator=stream).to(parameter)
            assert torch.equal(parameter, before[name] * (1 + 0.01 / weights**0.5 * noise))
        for name, buffer in model.named_buffers():
            assert torch.equal(buffer, before[name])
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(model).items())


def test_it_is_undone_where_something_fails_inside():
    model = toys.network()
    before = {name: tensor.clone() for name, tensor in tensors_of(model).items()}
    with pytest.raises(RuntimeError, match="no luck"), Nudged(0.01, 0)(model):
        raise RuntimeError("no luck")
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(model).items())


def test_how_far_outputs_moved_is_against_their_spread():
    reference = torch.tensor([[0.0, 1.0, 2.0], [0.0, 10.0, 20.0]], dtype=torch.float64)
    assert moved(reference + 0.1, reference).tolist() == pytest.approx([0.1, 0.01])
    one = torch.tensor([[1.0], [3.0]], dtype=torch.float64)  # one output: over samples, √2
    assert moved(one + 0.1, one).tolist() == pytest.approx([0.1 / 2**0.5] * 2)


class Hashed(Method):
    """Noise that depends on the weights, whatever they are."""

    def _explain(self, model, inputs, targets):
        key = str([float(p.detach().sum()) for p in model.parameters()])
        return Explanation(hp.draws.normal(inputs, key))


def test_what_is_keyed_by_the_weights_jumps_and_a_gradient_stays():
    methods = {"hashed": Hashed(), "gradient": hp.methods.Gradient(), "edges": hp.methods.EdgeDetector()}
    rows = toys.played(Steadiness(similarities=("spearman",), seeds=(0, 1)), methods=methods)
    for seed in (0, 1):
        similar = {name: toys.row(rows, name, "spearman", "parameters", seed=seed) for name in methods}
        assert similar["hashed"].abs().max() < 0.4  # 4 standard errors of some hundred features
        assert similar["gradient"].min() > 0.9
        assert torch.equal(similar["edges"], torch.ones(3, dtype=torch.float64))
        far = toys.row(rows, "", "outputs-moved", "parameters", seed=seed)
        assert 0.001 < float(far.mean()) < 0.05


def test_chance_is_the_map_permuted_among_what_a_random_network_changes():
    rows = toys.played(Steadiness(similarities=("spearman",), seeds=(0,)), methods={"gradient": hp.methods.Gradient()})
    chance = toys.row(rows, "gradient", "spearman", "parameters chance")
    assert chance.abs().max() < 0.4


def test_settings_are_refused_by_name():
    with pytest.raises(InputError, match=r"share of the outputs' spread, in \(0, 1\), but got 0"):
        Steadiness(level=0.0)
    with pytest.raises(InputError, match="one or more different seeds"):
        Steadiness(seeds=(1, 1))
    check = Steadiness(seeds=(4,), similarities=("mse",))
    assert pickle.loads(pickle.dumps(check)) == check
    assert describe(check)["seeds"] == [4]
