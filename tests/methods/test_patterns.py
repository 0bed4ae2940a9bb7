"""PatternNet and PatternAttribution: the estimator, Kindermans' toy, and the contract."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from heatproof.errors import InputError, OperationError
from heatproof.methods.patterns import PatternAttribution, PatternNet
from heatproof.testing import ContractNet, check_method
from reference import patterns as twin


def toy(count=200000):
    """x = a_s·y + a_d·ε with a_s = (1, 0), a_d = (1, 1); w = (1, −1) cancels the distractor: wᵀx = y."""
    stream = torch.Generator().manual_seed(0)
    y, distractor = torch.randn(2, count, 1, generator=stream, dtype=torch.float64)
    return y * torch.tensor([1.0, 0.0]) + distractor * torch.tensor([1.0, 1.0])


def linear(*weights):
    layer = nn.Linear(2, len(weights), bias=False).double().eval()
    layer.weight.data = torch.tensor(weights, dtype=torch.float64)
    return layer


def test_the_signal_of_a_linear_model_is_recovered():
    model, x = linear((1.0, -1.0), (-2.0, 2.0)), toy()
    method = PatternNet().fit(model, x.split(50000))
    maps = method(model, x[:4], torch.tensor([0, 0, 1, 1]))
    scores = model(x[:4]).detach().gather(1, torch.tensor([[0], [0], [1], [1]]))
    signal = torch.tensor([[1.0, 0.0]] * 2 + [[-0.5, 0.0]] * 2) * scores
    torch.testing.assert_close(maps, signal, rtol=0, atol=1e-2 * float(scores.abs().max()))
    shares = PatternAttribution(fitted=method.fitted)(model, x[:4], torch.tensor([0, 0, 1, 1]))
    torch.testing.assert_close(shares.sum(1), scores[:, 0], rtol=1e-6, atol=0)


def test_the_signal_behind_a_relu_is_recovered():
    model, x = nn.Sequential(linear((1.0, -1.0), (-1.0, 1.0)), nn.ReLU()).eval(), toy()
    patterns = PatternNet().fit(model, [x]).fitted["pattern.0000"]
    torch.testing.assert_close(patterns, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), rtol=0, atol=1e-2)


def small():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(27, 4)]
        return nn.Sequential(*layers).double().eval()


def test_patterns_are_those_of_the_formula_whatever_the_batches():
    model = small()
    x = torch.randn(7, 2, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.3
    fitted = PatternNet().fit(model, x.split([2, 4, 1])).fitted
    conv, dense = model[0], model[3]
    weight = conv.weight.detach().flatten(1)
    expected = twin.pattern(twin.rows_of_convolution(x, conv), weight, conv.bias.detach(), rectified=True)
    torch.testing.assert_close(fitted["pattern.0000"].double().flatten(1), expected, rtol=1e-5, atol=1e-6)
    rows = model[:3](x).detach()
    expected = twin.pattern(rows, dense.weight.detach(), dense.bias.detach(), rectified=False)
    torch.testing.assert_close(fitted["pattern.0001"].double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("attribution", [False, True])
def test_maps_are_the_way_back_through_patterns(attribution):
    model = small()
    x = torch.randn(9, 2, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    method = (PatternAttribution if attribution else PatternNet)().fit(model, [x])
    conv, dense = model[0], model[3]
    first, last = (method.fitted[name].double() for name in method.fitted)
    if attribution:
        first, last = first * conv.weight, last * dense.weight
    for i, label in enumerate([0, 3]):
        open_units = conv(x[i : i + 1]) > 0
        back = last[label].view(1, 3, 3, 3) * model(x[i : i + 1])[0, label] * open_units
        expected = nn.functional.conv_transpose2d(back, first, stride=2, padding=1, output_padding=1)
        torch.testing.assert_close(method(model, x[i : i + 1], torch.tensor([label])), expected.detach())


def test_a_neuron_that_never_speaks_has_no_pattern():
    model = nn.Sequential(linear((1.0, 0.0), (0.0, 1.0)), nn.ReLU()).eval()
    x = torch.tensor([[1.0, -1.0], [2.0, -3.0], [3.0, -2.0]], dtype=torch.float64)
    assert PatternNet().fit(model, [x]).fitted["pattern.0000"][1].tolist() == [0, 0]


@pytest.mark.parametrize("recipe", [PatternNet(), PatternAttribution()], ids=str)
def test_the_contract(recipe):
    images = torch.randn(24, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    check_method(recipe.fit(ContractNet(), [images]))


def test_what_has_no_pattern_is_named():
    x = torch.randn(8, 2, dtype=torch.float64)
    with pytest.raises(OperationError, match="batch_norm"):
        PatternNet().fit(nn.Sequential(linear((1.0, 2.0)), nn.BatchNorm1d(1).double()).eval(), [x])
    with pytest.raises(OperationError, match="sigmoid"):
        PatternNet().fit(nn.Sequential(linear((1.0, 2.0)), nn.Sigmoid()).eval(), [x])
    with pytest.raises(InputError, match="no sample"):
        PatternNet().fit(linear((1.0, 2.0)), [])
    with pytest.raises(InputError, match="has seen no data"):
        PatternNet()(linear((1.0, 2.0)), x, torch.zeros(8, dtype=torch.int64))


def test_changed_networks_are_excluded():
    method = PatternNet().fit(linear((1.0, -1.0)), [toy(50)])
    assert method.on_changed(linear((1.0, -2.0)), [toy(50)]) is None
    assert replace(method, fitted=None) == PatternNet()
