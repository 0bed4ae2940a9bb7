"""A stage changes what it says, for as long as it lasts, and nothing else."""

import copy
import gc
import weakref

import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from randomizable import NETWORKS, Normed, changed, mlp, snapshot
from torch import Tensor, nn

from heatproof.errors import InputError
from heatproof.models import Bound
from heatproof.randomization import (
    INITIALIZERS,
    RANDOMIZATIONS,
    Cascading,
    Default,
    Independent,
    Stages,
    TruncatedNormal,
)


def network(name: str) -> tuple[nn.Module, Tensor]:
    build, shape = NETWORKS[name]
    model = build().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # as if trained: no zeros, no ones
            parameter.normal_()
    return model, torch.randn(3, *shape)


def initializer(name: str) -> str | Default:
    return Default(fallback=TruncatedNormal()) if name == "default" else name


def values(model: nn.Module, names: set[str]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in snapshot(model).items() if name in names}


@pytest.mark.parametrize("batch_norm", ["reset", "keep", "re-estimate"])
@pytest.mark.parametrize("drawing", INITIALIZERS.names())
@pytest.mark.parametrize("order", RANDOMIZATIONS.names())
@pytest.mark.parametrize("name", NETWORKS)
def test_everything_is_restored_bit_for_bit(name: str, order: str, drawing: str, batch_norm: str) -> None:
    model, inputs = network(name)
    before, output, state = snapshot(model), model(inputs), torch.get_rng_state()
    recipe = RANDOMIZATIONS.get(order, initializer=initializer(drawing), batch_norm=batch_norm)
    stages = recipe.stages(model, inputs)
    for stage in stages:
        with stage:
            assert changed(model, before)
        assert not changed(model, before)
    assert torch.equal(model(inputs), output)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_state_dict_with_buffers_survives_every_stage_of_a_real_network() -> None:
    model = torchvision.models.resnet18(weights=None, num_classes=5).eval()
    twin = copy.deepcopy(model)
    for stage in Cascading(initializer="he").stages(model, torch.randn(1, 3, 32, 32))[::8]:
        with stage:
            pass
        for (name, now), before in zip(model.state_dict().items(), twin.state_dict().values(), strict=True):
            assert torch.equal(now, before), name


def test_an_exception_inside_restores_the_model_and_passes() -> None:
    model, inputs = network("normed")
    before = snapshot(model)
    stage = Cascading().stages(model, inputs)[-1]
    with pytest.raises(KeyError, match="mine"), stage:
        raise KeyError("mine")
    assert not changed(model, before)
    with stage:  # and the stage can be entered again
        assert changed(model, before)
    assert not changed(model, before)


def test_an_exception_while_entering_restores_the_model() -> None:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.fail = Normed(), False

        def forward(self, x: Tensor) -> Tensor:
            if self.fail:
                raise RuntimeError("the network fails")
            return self.net(x)

    model = Fails().eval()
    before = snapshot(model)
    stage = Cascading(batch_norm="re-estimate").stages(model, torch.randn(2, 2, 8, 8))[-1]
    model.fail = True
    with pytest.raises(RuntimeError, match="the network fails"), stage:
        pass
    assert not changed(model, before)
    model.fail = False
    with stage:
        assert changed(model, before)
    assert not changed(model, before)


def test_a_stage_gives_the_same_values_each_time() -> None:
    model, inputs = network("attending")
    stage = Cascading().stages(model, inputs)[-1]
    with stage:
        first = snapshot(model)
    with stage:
        assert not changed(model, first)


def test_two_stages_of_one_model_at_a_time_are_refused() -> None:
    model, inputs = network("shuffled")
    before = snapshot(model)
    first, *_, last = Independent().stages(model, inputs)
    with first:
        inside = snapshot(model)
        with pytest.raises(InputError, match=r"is inside stage 'independent/he/seed0/01-c'"), last:
            pass
        with pytest.raises(InputError, match="leave that one first"), first:
            pass
        with pytest.raises(InputError, match="outside every stage for 'bottom-up he'"):
            RANDOMIZATIONS.get("bottom-up", initializer="he").stages(Bound(model), inputs)
        assert not changed(model, inside)
    assert not changed(model, before)


def test_stages_of_two_models_may_nest() -> None:
    (one, inputs), (two, _) = network("shuffled"), network("shuffled")
    before = snapshot(one), snapshot(two)
    with Cascading().stages(one, inputs)[0], Cascading().stages(two, inputs)[0]:
        assert changed(one, before[0]) == changed(two, before[1]) == {"c.weight", "c.bias"}
    assert not changed(one, before[0])
    assert not changed(two, before[1])


def test_gradients_flags_hooks_and_mode_are_untouched() -> None:
    model, inputs = network("shuffled")
    model.a.weight.requires_grad_(False)
    model(inputs).sum().backward()
    calls: list[int] = []
    model.b.register_forward_hook(lambda *_: calls.append(1))
    gradients = {name: p.grad for name, p in model.named_parameters()}
    copies = {name: None if g is None else g.clone() for name, g in gradients.items()}
    identities = {name: id(p) for name, p in model.named_parameters()}
    addresses = {name: p.data_ptr() for name, p in model.named_parameters()}
    for stage in Cascading().stages(model, inputs):
        with stage:
            assert not model.training
    for name, p in model.named_parameters():
        assert p.grad is gradients[name]
        assert p.grad is None or torch.equal(p.grad, copies[name])
        assert p.requires_grad == (name != "a.weight")
        assert (id(p), p.data_ptr()) == (identities[name], addresses[name])
    calls.clear()
    model(inputs)
    assert calls == [1]


def test_no_stage_copies_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("deepcopy")

    model, inputs = network("normed")
    monkeypatch.setattr(copy, "deepcopy", refuse)
    for stage in Cascading().stages(model, inputs):
        with stage:
            model(inputs)


def test_a_layer_is_drawn_once_for_all_stages() -> None:
    model, inputs = network("attending")
    drawn: list[str] = []

    class Counting(TruncatedNormal):
        def draw(self, layer, seed):  # type: ignore[no-untyped-def]
            drawn.append(layer.name)
            return super().draw(layer, seed)

    stages = Cascading(initializer=Counting()).stages(model, inputs)
    assert drawn == []
    for stage in [*stages, *stages]:
        with stage:
            pass
    assert drawn == ["head", "norm", "attention.out_proj", "attention"]


@pytest.mark.parametrize(("copies", "first", "second"), [(0, False, True), (2, True, True), (3, True, True)])
def test_randomizations_of_a_model_hold_what_fits(monkeypatch, copies: int, first: bool, second: bool) -> None:
    model, inputs = network("shuffled")
    drawn: list[weakref.ref[Tensor]] = []

    class Watched(TruncatedNormal):
        def draw(self, layer, seed):  # type: ignore[no-untyped-def]
            values = super().draw(layer, seed)
            drawn.extend(weakref.ref(value) for value in values.values())
            return values

    size = sum(parameter.nbytes for parameter in model.parameters())
    monkeypatch.setattr("heatproof.randomization.stages.kept_bytes", lambda _device: copies * size)
    one, other, third = (Cascading(initializer=Watched(), seed=k).stages(model, inputs)[-1] for k in range(3))
    with one:
        before = snapshot(model)
    with other:
        held = [reference() is not None for reference in drawn]
    assert held == [first] * 6 + [second] * 6
    with third:  # which lets go what was used longest ago
        held = [reference() is not None for reference in drawn]
    assert held == [copies > 2] * 6 + [copies > 1] * 6 + [True] * 6
    with one:
        assert not changed(model, before)  # if drawn again, the same


def test_trained_values_are_saved_where_the_stage_before_had_them() -> None:
    model, inputs = network("shuffled")
    stages = Cascading().stages(model, inputs)
    before = snapshot(model)
    with stages[-1] as stage:
        places = [room.data_ptr() for _, room in stage._saved]
    with torch.no_grad():
        model.a.weight.data.add_(1)  # which counts no version up
    again = snapshot(model)
    with stages[-1] as stage:
        assert [room.data_ptr() for _, room in stage._saved] == places
    assert not changed(model, again)
    assert changed(model, before) == {"a.weight"}


def test_a_model_is_free_after_its_stages() -> None:
    model, inputs = network("shuffled")
    stages = Cascading().stages(model, inputs)
    with stages[-1]:
        pass
    gone = weakref.ref(model.a.weight)
    del model, stages
    gc.collect()
    assert gone() is None


def test_a_changed_weight_counts_as_changed() -> None:
    # What was computed from the trained weight cannot be taken for a result of the drawn one.
    model, inputs = network("shuffled")
    output = model(inputs)
    with Cascading().stages(model, inputs)[-1], pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


@pytest.mark.parametrize("name", NETWORKS)
def test_all_orders_end_with_the_same_random_model(name: str) -> None:
    model, inputs = network(name)
    before = snapshot(model)
    ends = []
    for order in ("cascading", "bottom-up"):
        last = RANDOMIZATIONS.get(order).stages(model, inputs)[-1]
        assert last.complete
        with last:
            ends.append(snapshot(model))
    union = dict(before)
    for stage in Independent().stages(model, inputs):
        with stage:
            union |= values(model, changed(model, before))
    for end in ends:
        assert all(torch.equal(end[key], union[key]) for key in before)
    unused = Cascading().stages(model, inputs).unused
    with Cascading().stages(model, inputs)[-1]:
        stayed = {key for key, _ in model.named_parameters()} - changed(model, before)
    # `decode.weight` of the tied network changes with the weight that it is.
    assert stayed == set(unused)


@given(st.integers(0, 2**40), st.sampled_from(["truncated-normal", "uniform", "he", "permutation"]), st.data())
def test_a_stage_holds_exactly_its_layers(seed: int, drawing: str, data: st.DataObject) -> None:
    depth = data.draw(st.integers(1, 4))
    model = nn.Sequential(*[nn.Linear(3, 3) for _ in range(depth)]).eval()
    before, twin = snapshot(model), copy.deepcopy(model)
    alone: dict[str, dict[str, Tensor]] = {}
    for stage in Independent(initializer=drawing, seed=seed).stages(model, torch.ones(1, 3)):
        with stage:
            alone[stage.label] = values(model, {f"{stage.label}.weight", f"{stage.label}.bias"})
    for stage in Cascading(initializer=drawing, seed=seed).stages(model, torch.ones(1, 3)):
        twin.load_state_dict({**before, **{k: v for name in stage.layers for k, v in alone[name].items()}})
        with stage:
            assert not changed(model, snapshot(twin))
            assert stage.layers == tuple(str(i) for i in reversed(range(depth - stage.index, depth)))


def test_another_network_around_a_layer_does_not_change_what_it_draws() -> None:
    small = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)).eval()
    large = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    drawn = []
    for model in (small, large, Bound(large)):
        with Cascading().stages(model, torch.ones(1, 4))[-1]:
            net = model.net if isinstance(model, Bound) else model
            drawn.append((net[0].weight.clone(), net[1].bias.clone()))
    for other in drawn[1:]:
        assert torch.equal(drawn[0][0], other[0])
        assert torch.equal(drawn[0][1], other[1])


def test_layers_of_equal_shape_get_different_weights_and_so_do_seeds() -> None:
    model = mlp()
    drawn = []
    for seed in (0, 1):
        with Cascading(seed=seed).stages(model, torch.ones(1, 4))[-1]:
            drawn += [model[0].weight.clone(), model[2].weight.clone()]
    for i, one in enumerate(drawn):
        for other in drawn[i + 1 :]:
            assert not torch.isclose(one, other).any()


def test_float64_models_get_the_values_of_float32_ones() -> None:
    model = mlp()
    double = copy.deepcopy(model).double()
    with Cascading().stages(model, torch.ones(1, 4))[-1]:
        single = snapshot(model)
    with Cascading().stages(double, torch.ones(1, 4, dtype=torch.float64))[-1]:
        assert all(torch.equal(t, single[name].double()) for name, t in snapshot(double).items())


def test_stages_are_a_sequence() -> None:
    stages = Cascading().stages(mlp(), torch.ones(1, 4))
    assert len(stages) == 3
    assert isinstance(stages[1:], Stages)
    assert [stage.index for stage in stages[1:]] == [2, 3]
    assert repr(stages[0]) == "Stage('cascading/he/seed0/01-4', 1 of 3 layers)"


def test_stages_work_in_inference_mode() -> None:
    model = mlp()
    before = snapshot(model)
    with torch.inference_mode():
        stage = Cascading().stages(model, torch.ones(1, 4))[-1]
        with stage:
            assert changed(model, before)
    with stage:
        model(torch.ones(1, 4)).sum().backward()
    assert not changed(model, before)
