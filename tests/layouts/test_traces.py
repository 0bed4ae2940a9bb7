"""A look at a network leaves nothing in it, needs no values, and is taken once."""

import pytest
import torch
from layout_networks import Pooling, Tokens, noise, seeded
from torch import nn

from heatproof.layouts.seen import record_of, seen
from heatproof.methods import GradCAM
from heatproof.methods.known_layers import found_layer, found_readouts
from heatproof.methods.spatial import last_map
from heatproof.state import unchanged

TARGETS = torch.tensor([0, 3, 1])


class Stateful(Pooling):
    """Keeps running statistics, a cache, a count and the last features, in all the ways in which networks do."""

    def __init__(self):
        super().__init__(2)
        self.register_buffer("running", torch.zeros(5))
        self.register_buffer("later", None)
        self.plain, self.calls, self.cache, self.seen = torch.zeros(5), 0, [], {"last": (torch.zeros(5),)}

    def forward(self, x):
        h = self.features(x)
        mean = h.detach().mean((0, 2, 3))
        self.running.mul_(0.9).add_(mean, alpha=0.1)
        self.plain.add_(mean)
        self.later, self.calls, self.new = mean, self.calls + 1, mean
        self.cache.append(mean)
        self.seen["last"][0].copy_(mean)
        return self.fc(h.mean((2, 3)) + 0 * self.running)


def state(model):
    own = [model.plain.clone(), model.calls, len(model.cache), model.seen["last"][0].clone(), hasattr(model, "new")]
    return [*(value.clone() for value in model.state_dict().values()), model.later, *own]


@pytest.mark.parametrize("look", [seen, record_of, last_map, found_layer, lambda m, x: found_readouts(m, x, None)])
def test_networks_that_keep_state_are_bit_for_bit_as_before(look):
    model, x = seeded(Stateful), noise(3, 2, 17, 17)
    before, random = state(model), torch.get_rng_state()
    look(model, x)
    for old, new in zip(before, state(model), strict=True):
        assert torch.equal(old, new) if isinstance(old, torch.Tensor) else old == new
    assert torch.equal(random, torch.get_rng_state())


def test_state_is_put_back_after_an_error_too():
    model = seeded(Stateful)
    before = state(model)

    def fail():
        with unchanged(model, torch.device("cpu"), everything=True):
            model(noise(3, 2, 17, 17))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    for old, new in zip(before, state(model), strict=True):
        assert torch.equal(old, new) if isinstance(old, torch.Tensor) else old == new


def test_observers_of_quantization_stay_as_they_are():
    quantization = pytest.importorskip("torch.ao.quantization")
    fake = quantization.FakeQuantize(quantization.MovingAverageMinMaxObserver, quant_min=0, quant_max=255)
    model = Pooling(2).eval()
    model.features.insert(2, fake)
    model.eval()
    x = noise(3, 2, 17, 17).float()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert last_map(model, x) == "features"
    assert found_layer(model, x) == "features"
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True)


class Stopping(nn.Module):
    """Networks that stop a NaN on its way."""

    def __init__(self, way):
        super().__init__()
        self.features, self.fc, self.way = Pooling(2).features, nn.Linear(5, 4), way

    def forward(self, x):
        h = self.features(x)
        if self.way == "where":
            h = torch.where(h > 0, h, 0.1 * h)
            h = torch.where(torch.isfinite(h), h, torch.zeros_like(h))
        elif self.way == "mask":
            h = h * (h > 0.1) + h.masked_fill(h > 0.1, 0.0)
        elif self.way == "nan_to_num":
            h = torch.nan_to_num(h)
        elif self.way == "clamp":
            h = h.clamp(0, 6).round().long().to(h) + h - h.detach()
        elif self.way == "sort":
            h = h.flatten(2).sort(2).values[..., None]
        elif self.way == "in place":
            out = torch.zeros_like(h)
            out[:, :, ::2] = h[:, :, ::2]
            out[:, :, 1::2].add_(h[:, :, 1::2])
            h = out
        else:
            h = torch.fake_quantize_per_tensor_affine(h, 0.1, 0, 0, 255)
        return self.fc(h.mean((2, 3)))


@pytest.mark.parametrize("way", ["where", "mask", "nan_to_num", "clamp", "sort", "in place", "fake quantization"])
@pytest.mark.parametrize("weights", ["random", "dead", "zero"])
def test_dependence_needs_no_values(way, weights):
    model, x = seeded(lambda: Stopping(way)).float(), noise(3, 2, 17, 17).float()
    with torch.no_grad():
        if weights == "dead":
            model.features[2].bias.fill_(-100.0)
        if weights == "zero":
            for parameter in model.parameters():
                parameter.zero_()
    assert last_map(model, x) == "features"
    assert found_layer(model, x) == "features"
    assert found_readouts(model, x, None) == ("features", ("features", "fc"))


def test_a_transformer_that_masks_and_quantizes_is_read_at_its_class_token():
    class Careful(Tokens):
        def behind(self, tokens):
            scores = (tokens @ tokens.mT).masked_fill(torch.eye(tokens.shape[1], dtype=torch.bool), -torch.inf)
            mixed = tokens + torch.softmax(scores, 2).nan_to_num() @ self.mix(tokens)
            mixed = torch.where(mixed.isnan(), 0, mixed)
            return self.head(self.after(torch.fake_quantize_per_tensor_affine(mixed, 0.1, 0, -128, 127))[:, 0])

    assert last_map(seeded(Careful).float(), noise(3, 2, 9, 13).float()) == "before"


def test_a_method_called_in_a_loop_looks_once():
    class Counting(Pooling):
        rows: list[int]

        def forward(self, x):
            if self.features[0].weight.requires_grad:
                Counting.rows.append(len(x))
            return super().forward(x)

    model, x = seeded(lambda: Counting(2)), noise(3, 2, 9, 9)
    Counting.rows = []
    GradCAM()(model, x, TARGETS)
    first = len(Counting.rows)
    for _ in range(3):
        GradCAM()(model, x, TARGETS)
    assert Counting.rows[first:] == [3, 3, 3]
    model.features.append(nn.Conv2d(5, 5, 1).double())  # another structure is looked at anew
    assert last_map(model.eval(), x) == "features"
    assert seen(model, x).readings.keys() > {"features.4"}


def test_a_lazy_layer_stays_what_its_first_run_made_of_it():
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(2), nn.LazyBatchNorm1d(affine=False)).double().eval()
    with unchanged(model, torch.device("cpu"), everything=True):
        expected = model(noise(3, 4))
    assert torch.equal(model(noise(3, 4)), expected)
    assert type(model[1]) is nn.Linear
