"""Cheaper passes: what they change, that all of it goes away again, and where they are refused."""

import copy
import threading

import numpy as np
import pytest
import torch
from torch import nn

import heatproof as hp
from heatproof import fast
from heatproof.checks import Degradation, ParameterRandomization, SensitivityN
from heatproof.errors import InputError
from heatproof.fast import FAST, channels_last, cpu_has_bf16, deviation, masked, opened, rounding, tf32
from heatproof.methods import LRP, Gradient, Occlusion
from heatproof.randomization import Cascading

needs_bf16 = pytest.mark.skipif(not cpu_has_bf16(), reason="this processor emulates bfloat16")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 6, 3), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Flatten(), nn.Linear(6 * 36, 4),
    ).eval()  # fmt: skip


@pytest.fixture
def images():
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def layout(model: nn.Module) -> list[tuple[int, tuple[int, ...], int]]:
    return [(p.data_ptr(), p.stride(), id(p)) for p in model.parameters()]


def test_channels_come_last_inside_and_as_before_outside(images):
    model = network()
    before, state = layout(model), copy.deepcopy(model.state_dict())
    with channels_last(model):
        assert model[3].weight.is_contiguous(memory_format=torch.channels_last)
        assert not model[3].weight.is_contiguous()
        assert model[2](model[1](model[0](images))).is_contiguous(memory_format=torch.channels_last)
        assert model[7].weight.is_contiguous()  # no convolution
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name])
    assert layout(model) == before
    with pytest.raises(ZeroDivisionError), channels_last(model):
        raise ZeroDivisionError
    assert layout(model) == before


def test_a_weight_whose_memory_is_shared_stays_where_it_is():
    model = network()
    model.view_of_it = model[3].weight.detach()
    before = layout(model)
    with channels_last(model):
        assert layout(model)[2] == before[2]
        assert layout(model)[0] != before[0]


def test_maps_by_channels_last_are_those_of_float64_up_to_rounding(images):
    model, labels = network(), torch.tensor([0, 1, 2])
    exact = copy.deepcopy(model).double()
    for method in (Gradient(), LRP(), Occlusion(window=4, stride=4)):
        plain, truth = method(model, images, labels), method(exact, images.double(), labels)
        with opened(["channels-last"], model):
            maps = method(model, images, labels)
        assert (maps - truth).abs().max() <= 1e-5 * truth.abs().max()
        assert torch.equal(method(model, images, labels), plain)  # nothing prepared inside is used outside


def test_randomized_weights_are_restored_inside(images):
    model = network()
    state = copy.deepcopy(model.state_dict())
    stages = Cascading().stages(model, images[:1])
    with opened(["channels-last"], model):
        for stage in stages:
            with stage:
                assert not torch.equal(model[7].weight, state["7.weight"])
            assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
            assert not model[3].weight.is_contiguous()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@needs_bf16
def test_only_masked_outputs_are_halved(images):
    model = network()
    with opened(["bf16-masked"], model):
        with torch.no_grad():
            plain = model(images)
            with masked(images.device):
                half = hp.models.forward(model, images)
        assert rounding(torch.float32) == 2**-7
        assert plain.dtype == torch.float32
        assert half.dtype == torch.bfloat16
        assert 0 < (half - plain).abs().max() < 0.05 * plain.abs().max()
        assert torch.equal(Gradient()(model, images, 1), Gradient()(network(), images, 1))
    with torch.no_grad(), masked(images.device):
        assert torch.equal(hp.models.forward(model, images), plain)
    assert rounding(torch.float32) == torch.finfo(torch.float32).eps


def test_autocast_that_nobody_asked_for_is_still_refused(images):
    with (
        opened(["bf16-masked"], network()),
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(InputError, match="autocast is active"),
    ):
        Gradient()(network(), images, 1)


def test_tf32_is_put_back():
    before = torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision
    with tf32(network()):
        assert torch.backends.cuda.matmul.fp32_precision == torch.backends.cudnn.conv.fp32_precision == "tf32"
    assert (torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision) == before


@pytest.mark.parametrize(
    ("name", "model", "said"),
    [
        ("channels-last", nn.Linear(4, 2), "weights of convolutions, in memory of their own and of several channels,"),
        ("tf32", nn.Linear(4, 2), r"a GPU \(the samples are on cpu\)"),
        ("channel-last", nn.Linear(4, 2), "did you mean 'channels-last'"),
        ("bf16-masked", nn.Linear(4, 2).double(), r"float32 \(samples are torch.float64\)"),
    ],
)
def test_what_cannot_be_had_is_refused_at_the_door(name, model, said, tmp_path):
    x = torch.randn(2, 4).to(next(model.parameters()))
    with pytest.raises(InputError, match=said):
        hp.audit(
            model.eval(), x, methods=["gradient"], checks=["calibration"], fast=[name], out=tmp_path, progress=False
        )


@needs_bf16
def test_the_deviation_is_that_of_a_hand_made_comparison(images):
    model, labels = network(), torch.tensor([0, 1, 2])
    found = deviation(["channels-last", "bf16-masked"], model, images, labels)
    x = images[:2].double().requires_grad_()
    exact = copy.deepcopy(model).double()
    truth = exact(x)
    (gradient,) = torch.autograd.grad(truth[0, 0] + truth[1, 1], x)
    truth, plain = truth.detach(), model(images[:2]).detach()
    ours = Gradient()(model, images[:2], labels[:2])
    assert found.outputs_exact == pytest.approx(float((plain - truth).abs().max() / truth.abs().max()), rel=1e-6)
    assert found.gradient_exact == pytest.approx(float((ours - gradient).abs().max() / gradient.abs().max()), rel=1e-6)
    assert found.outputs < 1e-5
    assert 1e-4 < found.masked < 0.05
    unknown = network()
    unknown.held = threading.Lock()  # which cannot be copied
    assert deviation(["channels-last"], unknown, images, labels) is None


def test_a_fast_audit_asks_something_of_its_own_and_says_what_it_is(images, tmp_path):
    model = network()
    before = layout(model)
    asked = {
        "methods": {"gradient": Gradient(), "lrp": LRP()},
        "checks": {
            "randomization": ParameterRandomization(similarities=("spearman",), complete_seeds=1),
            "sensitivity-n": SensitivityN(sets=5, sizes=2, tile=4),
            "degradation": Degradation(tile=4),
        },
        "progress": False,
    }
    plain = hp.audit(model, images, **asked, out=tmp_path)
    slow, questions = plain.rows().copy(), set(plain.manifest["questions"])
    assert "fast" not in plain.manifest["settings"]
    modes = ("channels-last", *(["bf16-masked"] if cpu_has_bf16() else []))
    run = hp.audit(model, images, **asked, fast=modes, out=tmp_path)
    quick = run.rows()
    assert run.manifest["settings"]["fast"] == list(modes)
    assert set(run.manifest["settings"]["fast_deviation"]) == set(fast.Deviation._fields)
    assert not set(run.manifest["questions"]) & questions
    assert layout(model) == before
    keys = ["check", "method", "setting", "role", "stage", "position", "sample", "metric", "seed"]
    slow, quick = (rows.sort_values(keys).reset_index(drop=True) for rows in (slow, quick))
    assert slow[keys].equals(quick[keys])
    exact = ~slow.check.isin(["sensitivity-n", "degradation"])
    assert np.allclose(slow.value[exact], quick.value[exact], rtol=1e-4, atol=1e-5, equal_nan=True)
    curves = (slow.check == "degradation") & (slow.metric == "probability")
    assert np.allclose(slow.value[curves], quick.value[curves], atol=0.02)


def test_each_mode_says_what_it_does():
    assert all(mode.text and mode.text[0].islower() for mode in FAST.values())
