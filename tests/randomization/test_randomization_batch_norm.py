"""What becomes of batch norms under each initializer and each way to treat their statistics."""

import pytest
import torch
import torchvision
from randomizable import Normed, changed, snapshot
from torch import Tensor, nn

from heatproof.errors import InputError
from heatproof.randomization import INITIALIZERS, Cascading, Default, Independent, TruncatedNormal

NORMS = {
    "bn1": ("bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"),
    "bn2": ("bn2.weight", "bn2.bias", "bn2.running_mean", "bn2.running_var"),
    "functional": ("scale", "offset", "mu", "spread"),
}


def network() -> tuple[nn.Module, Tensor]:
    return Normed().eval(), torch.randn(6, 2, 8, 8)


def random_state(model: nn.Module, inputs: Tensor, **fields: object) -> dict[str, Tensor]:
    """Every tensor of the model at the last stage of a cascade."""
    with Cascading(**fields).stages(model, inputs)[-1]:  # type: ignore[arg-type]
        return snapshot(model)


@pytest.mark.parametrize("name", ["truncated-normal", "uniform", "he", "default"])
@pytest.mark.parametrize("norm", NORMS)
def test_batch_norm_is_reset_under_every_initializer(norm: str, name: str) -> None:
    model, inputs = network()
    state = random_state(model, inputs, initializer=name)
    for tensor, value in zip(NORMS[norm], (1.0, 0.0, 0.0, 1.0), strict=True):
        assert torch.equal(state[tensor], torch.full((4,), value)), tensor


def test_permutation_permutes_each_within_its_layer() -> None:
    model, inputs = network()
    before, state = snapshot(model), random_state(model, inputs, initializer="permutation", seed=1)
    for tensors in NORMS.values():
        for name in tensors:
            assert torch.equal(state[name].sort().values, before[name].sort().values), name
    moved = [name for tensors in NORMS.values() for name in tensors if not torch.equal(state[name], before[name])]
    # Each of 12 stays with probability 1/24: more than five do with probability 2e-6.
    assert len(moved) >= 7


@pytest.mark.parametrize("name", INITIALIZERS.names())
def test_keep_leaves_the_statistics_as_trained(name: str) -> None:
    model, inputs = network()
    before, state = snapshot(model), random_state(model, inputs, initializer=name, batch_norm="keep")
    for scale, shift, mean, variance in NORMS.values():
        assert torch.equal(state[mean], before[mean])
        assert torch.equal(state[variance], before[variance])
        if name != "permutation":
            assert torch.equal(state[scale], torch.ones(4))
            assert torch.equal(state[shift], torch.zeros(4))


def test_re_estimated_statistics_are_those_of_what_arrives() -> None:
    model, inputs = network()
    recipe = Cascading(initializer="he", batch_norm="re-estimate")
    with recipe.stages(model, inputs)[-1]:
        # By hand, layer by layer, under the random weights.
        h = model.conv1(inputs)
        for bn in (model.bn1, model.bn2):
            torch.testing.assert_close(bn.running_mean, h.mean((0, 2, 3)))
            torch.testing.assert_close(bn.running_var, h.var((0, 2, 3)))
            normal = (h - h.mean((0, 2, 3), keepdim=True)) / (h.var((0, 2, 3), keepdim=True) + bn.eps).sqrt()
            h = normal.relu() if bn is model.bn2 else model.conv2(normal.relu())
        torch.testing.assert_close(model.mu, h.mean((0, 2, 3)))
        torch.testing.assert_close(model.spread, h.var((0, 2, 3)))


def test_only_randomized_batch_norms_are_re_estimated() -> None:
    model, inputs = network()
    before = snapshot(model)
    for stage in Independent(initializer="he", batch_norm="re-estimate").stages(model, inputs):
        with stage:
            assert all(
                name.startswith(f"{stage.label}.") or (stage.label == "(root)" and name in NORMS["functional"])
                for name in changed(model, before)
            )


def test_a_batch_norm_is_a_layer_of_its_own_and_without_anything_to_change_none() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3, affine=False), nn.Flatten()).eval()
    inputs = torch.randn(2, 2, 2, 2)
    assert [stage.label for stage in Cascading().stages(model, inputs)] == ["1", "0"]
    assert [stage.label for stage in Cascading(batch_norm="keep").stages(model, inputs)] == ["0"]


def test_keep_with_nothing_but_statistics_is_refused() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3, affine=False)).eval()
    with pytest.raises(InputError, match="Expected parameters besides batch norms' statistics"):
        Cascading(batch_norm="keep").stages(model, torch.randn(2, 3))


def test_the_count_of_batches_is_untouched() -> None:
    model, inputs = network()
    model.bn1.num_batches_tracked.fill_(17)
    with Cascading(batch_norm="re-estimate").stages(model, inputs)[-1]:
        assert int(model.bn1.num_batches_tracked) == 17


def test_frozen_batch_norm_is_reset_in_its_buffers() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1), torchvision.ops.FrozenBatchNorm2d(3), nn.Flatten()).eval()
    for buffer in model[1].buffers():
        nn.init.uniform_(buffer, 0.5, 2)
    before, inputs = snapshot(model), torch.randn(2, 2, 2, 2)
    state = random_state(model, inputs)
    assert torch.equal(state["1.weight"], torch.ones(3))
    assert torch.equal(state["1.running_var"], torch.ones(3))
    assert torch.equal(state["1.running_mean"], torch.zeros(3))
    assert not changed(model, before)
    message = r"but 1\.running_mean, 1\.running_var did not get there; use batch_norm='reset'"
    with (
        pytest.raises(InputError, match=message),
        Cascading(batch_norm="re-estimate").stages(model, inputs)[0],
    ):
        pass
    assert not changed(model, before)


def test_re_estimation_needs_two_values_a_channel() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).eval()
    before = snapshot(model)
    stage = Cascading(batch_norm="re-estimate").stages(model, torch.randn(1, 3))[0]
    message = r"at least 2 values a channel to re-estimate 1\.running_mean, but got 1; give stages\(\) several samples"
    with pytest.raises(InputError, match=message), stage:
        pass
    assert not changed(model, before)


@pytest.mark.parametrize("norm", [nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.RMSNorm(4)])
def test_other_norms_are_drawn_like_any_parameter(norm: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(4, 4), norm).eval()
    with Cascading(initializer="truncated-normal").stages(model, torch.randn(2, 4))[0]:
        assert 0 < float(norm.weight.detach().abs().max()) <= 0.02


def test_instance_norm_is_a_batch_norm_only_with_moving_statistics() -> None:
    inputs = torch.randn(2, 3, 4, 4)
    with_statistics = nn.Sequential(nn.InstanceNorm2d(3, affine=True, track_running_stats=True), nn.Flatten()).eval()
    with_statistics[0].running_var.fill_(4.0)
    state = random_state(with_statistics, inputs)
    assert torch.equal(state["0.running_var"], torch.ones(3))
    assert torch.equal(state["0.weight"], torch.ones(3))
    without = nn.Sequential(nn.InstanceNorm2d(3, affine=True), nn.Flatten()).eval()
    drawn = random_state(without, inputs, initializer="truncated-normal")
    assert 0 < float(drawn["0.weight"].abs().max()) <= 0.02


def test_a_fallback_of_the_default_leaves_batch_norms_alone() -> None:
    model, inputs = network()
    state = random_state(model, inputs, initializer=Default(fallback=TruncatedNormal()))
    assert torch.equal(state["scale"], torch.ones(4))
