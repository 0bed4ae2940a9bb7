"""Fitted values: what they are, how they are kept, and whom they serve."""

import pickle
from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from method_networks import cnn, images
from safetensors.torch import save_file
from torch import nn

import heatproof as hp
from heatproof.errors import InputError
from heatproof.fingerprint import network_fingerprint
from heatproof.methods.bottleneck import PerSampleBottleneck
from heatproof.methods.fitted import Fitted
from heatproof.methods.moments import Moments
from heatproof.recipes import describe


def value(number=1.0, **facts):
    return Fitted({"mean": torch.full((2, 3), number)}, network="net", facts={"layer": "1", **facts})


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.sampled_from([0.0, 1e6]))
def test_moments_of_batches_are_those_of_all_samples(sizes, offset):
    samples = torch.randn(sum(sizes) + 2, 3, 2, generator=torch.Generator().manual_seed(sum(sizes))).double() + offset
    moments = Moments()
    for batch in samples.split([2, *sizes]):
        moments.update(batch)
    assert moments.count == len(samples)
    torch.testing.assert_close(moments.mean, samples.mean(0), rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(moments.variance, samples.var(0), rtol=1e-8, atol=0)


def test_active_is_the_share_of_samples_with_a_nonzero_value():
    moments = Moments()
    moments.update(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    moments.update(torch.tensor([[0.0, -2.0], [0.5, 0.0]]))
    assert moments.active.tolist() == [0.25, 0.5]


def test_one_sample_has_no_variance():
    moments = Moments()
    moments.update(torch.ones(1, 2))
    with pytest.raises(InputError, match="at least 2 samples"):
        _ = moments.variance


def test_samples_of_another_size_are_refused():
    moments = Moments()
    moments.update(torch.ones(2, 3))
    with pytest.raises(InputError, match=r"one shape \(3,\)"):
        moments.update(torch.ones(2, 4))


def test_values_are_equal_by_content():
    assert value() == value()
    assert hash(value()) == hash(value())
    assert value() != value(2.0)
    assert value() != value(samples="3")
    assert value() != Fitted({"mean": torch.ones(2, 3)}, network="another", facts={"layer": "1"})
    assert value() != Fitted({"mean": torch.ones(3, 2)}, network="net", facts={"layer": "1"})
    assert repr(value()) == f"<Fitted {value().digest[:16]}>"
    assert pickle.loads(pickle.dumps(value())) == value()


def test_a_value_cannot_be_changed_through_its_tensors():
    source = torch.ones(2)
    fitted = Fitted({"mean": source}, network="net", facts={})
    source += 1
    fitted["mean"].add_(5)
    assert fitted["mean"].tolist() == [1, 1]
    with pytest.raises(TypeError):
        fitted.facts["layer"] = "2"


def test_a_recipe_is_described_by_the_digest_of_its_value():
    recipe = PerSampleBottleneck(layer="1")
    described = describe(recipe)
    assert described["fitted"] is None
    assert describe(PerSampleBottleneck(layer="1", fitted=value())) == {**described, "fitted": describe(value())}
    assert describe(value())["digest"] == value().digest


def test_a_replicate_keeps_the_value():
    method = PerSampleBottleneck(layer="1", fitted=value())
    again = hp.draws.reseed(method, 1)
    assert again.fitted == method.fitted
    assert again.seed != method.seed


def test_saved_and_loaded(tmp_path):
    value().save(tmp_path / "fit.safetensors")
    loaded = Fitted.load(tmp_path / "fit.safetensors")
    assert loaded == value()
    assert loaded.facts == {"layer": "1"}
    assert [path.name for path in tmp_path.iterdir()] == ["fit.safetensors"]


def test_files_of_another_kind_are_refused(tmp_path):
    save_file({"mean": torch.ones(1)}, tmp_path / "plain.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    for name in ("plain.safetensors", "text.safetensors", "none.safetensors"):
        with pytest.raises(InputError, match=r"written by Fitted\.save"):
            Fitted.load(tmp_path / name)


def test_a_changed_file_is_refused(tmp_path):
    path = tmp_path / "fit.safetensors"
    value().save(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="content has changed"):
        Fitted.load(path)


def test_the_fingerprint_is_of_the_network_whatever_holds_it():
    net = cnn()
    mark = network_fingerprint(net)
    assert network_fingerprint(deepcopy(net)) == mark
    assert network_fingerprint(net.float()) == network_fingerprint(deepcopy(net).double())
    assert network_fingerprint(hp.models.Bound(net)) == network_fingerprint(net)
    assert network_fingerprint(cnn(seed=1)) != mark
    buffered = cnn()
    buffered.append(nn.BatchNorm1d(5).double().eval())
    before = network_fingerprint(buffered)
    buffered[-1].running_var *= 2
    assert network_fingerprint(buffered) != before


class Plain(nn.Module):
    """Adds a number that it keeps as an attribute."""

    def __init__(self, number=1.0, sizes=(2, 3)):
        super().__init__()
        self.number, self.sizes = number, sizes

    def forward(self, x):
        return x + self.number


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (nn.LeakyReLU(0.1), nn.LeakyReLU(0.2)),
        (nn.Dropout(0.1), nn.Dropout(0.2)),
        (nn.Conv2d(2, 2, 3, stride=1), nn.Conv2d(2, 2, 3, stride=2)),
        (nn.MaxPool2d(2), nn.MaxPool2d([2, 1])),
        (nn.BatchNorm2d(2, eps=1e-5), nn.BatchNorm2d(2, eps=1e-3)),
        (Plain(), Plain(2.0)),
        (Plain(), Plain(sizes=[2, 4])),
    ],
    ids=lambda module: type(module).__name__,
)
def test_settings_of_modules_are_part_of_the_network(one, other):
    other.load_state_dict(one.state_dict())
    marks = [network_fingerprint(nn.Sequential(module.eval())) for module in (one, other)]
    assert marks[0] != marks[1]
    assert network_fingerprint(nn.Sequential(deepcopy(one))) == marks[0]


def test_whether_a_module_works_in_place_is_no_setting():
    assert network_fingerprint(nn.ReLU(inplace=True)) == network_fingerprint(nn.ReLU())


def test_a_fit_serves_no_network_with_other_settings():
    net = nn.Sequential(*cnn()[:-2], nn.LeakyReLU(0.1), *cnn()[-2:]).double().eval()
    method = recipe().fit(net, [images()])
    twin = deepcopy(net)
    twin[-3].negative_slope = 0.5
    with pytest.raises(InputError, match="was fitted on, but got another; fit again"):
        method(twin, images(), torch.tensor([0, 1, 2]))


def recipe():
    return PerSampleBottleneck(layer="0", steps=2, samples=2)


def test_a_recipe_without_a_fit_says_how_to_fit():
    with pytest.raises(InputError, match=r"PerSampleBottleneck has seen no data; fit it with recipe.fit\("):
        recipe()(cnn(), images(), torch.tensor([0, 1, 2]))


def test_a_foreign_network_is_refused():
    method = recipe().fit(cnn(), [images()])
    with pytest.raises(InputError, match="was fitted on, but got another; fit again"):
        method(cnn(seed=1), images(), torch.tensor([0, 1, 2]))


def test_a_value_fitted_at_another_layer_is_refused():
    method = recipe().fit(cnn(), [images()])
    other = PerSampleBottleneck(layer="1", fitted=method.fitted)
    with pytest.raises(InputError, match="fitted with layer '1', but its layer is '0'"):
        other(cnn(), images(), torch.tensor([0, 1, 2]))


def test_batches_may_carry_labels_and_come_in_any_size():
    whole = recipe().fit(cnn(), [images(6)]).fitted
    parts = recipe().fit(cnn(), [(part, torch.zeros(len(part))) for part in images(6).split([1, 3, 2])]).fitted
    for name in whole:
        torch.testing.assert_close(whole[name], parts[name], rtol=1e-6, atol=1e-7)
    assert whole.facts == {"method": "PerSampleBottleneck", "layer": "0", "samples": "6"}


def test_fitting_refuses_what_the_network_cannot_take():
    with pytest.raises(InputError, match="finite inputs"):
        recipe().fit(cnn(), [torch.full((2, 2, 8, 8), torch.nan, dtype=torch.float64)])
    with pytest.raises(InputError, match="at least 2 samples"):
        recipe().fit(cnn(), [])


def test_on_changed_refits():
    method = recipe().fit(cnn(), [images(6)])
    changed = method.on_changed(cnn(seed=1), [images(6)])
    assert changed == recipe().fit(cnn(seed=1), [images(6)])


def test_a_value_is_moved_to_another_network_on_purpose():
    fitted = recipe().fit(cnn(), [images(6)]).fitted
    moved = fitted.moved_to(cnn(seed=1))
    assert moved.network == network_fingerprint(cnn(seed=1))
    assert torch.equal(moved["mean"], fitted["mean"])
