from functools import partial

import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.fingerprint import model_fingerprint, same_outputs


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.layer = nn.Linear(2, 2)
        nn.init.ones_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)
        self.register_buffer("hidden", torch.zeros(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x) * self.factor
        return out


class Subtract:
    def __init__(self, mean: float) -> None:
        self.mean = mean

    def __call__(self, x: Tensor) -> Tensor:
        return x - self.mean


def test_equal_models_have_one_fingerprint() -> None:
    assert model_fingerprint(Scaled(1.0)) == model_fingerprint(Scaled(1.0))


def test_weights_buffers_attributes_and_modes_of_use_count() -> None:
    plain = Scaled(1.0)
    other, hidden = Scaled(1.0), Scaled(1.0)
    with torch.no_grad():
        other.layer.bias[0] = 1e-30
    hidden.hidden += 1
    variants = [
        plain,
        other,
        hidden,
        Scaled(2.0),
        hp.Bound(Scaled(1.0)),
        hp.Bound(Scaled(1.0), layer="layer"),
        hp.Bound(Scaled(1.0), layer="layer", reduction="max"),
        hp.Bound(Scaled(1.0), preprocessing=Subtract(0.1)),
        hp.Bound(Scaled(1.0), preprocessing=Subtract(0.2)),
        hp.Bound(Scaled(1.0), preprocessing=partial(torch.nn.functional.pad, pad=(1, 1))),
    ]
    assert len({model_fingerprint(model) for model in variants}) == len(variants)


def test_an_object_that_preprocesses_is_known_by_its_state_not_its_address() -> None:
    one, other = (hp.Bound(Scaled(1.0), preprocessing=Subtract(0.1)) for _ in range(2))
    assert model_fingerprint(one) == model_fingerprint(other)


def test_outputs_are_compared_relative_to_their_size() -> None:
    assert not same_outputs([[1e-4, 2e-4]], [[5e-4, -3e-4]])
    assert same_outputs([[1e-4, 2e-4]], [[1e-4, 2.0001e-4]])
    assert same_outputs([[0.0, 0.0]], [[0.0, 0.0]])
    assert not same_outputs([[1.0, 2.0]], [[1.0]])
