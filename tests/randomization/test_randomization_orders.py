"""Which layers each stage randomizes, what stages are called, and what recipes refuse."""

import pickle
import re

import pytest
import torch
import torchvision
from randomizable import Attending, Bare, Reused, Shuffled, Tied, mlp
from torch import Tensor, nn

import heatproof as hp
from heatproof.draws import reseed
from heatproof.errors import InputError, UnknownNameError
from heatproof.randomization import (
    RANDOMIZATIONS,
    BottomUp,
    Cascading,
    Independent,
    Randomization,
    Stages,
    TruncatedNormal,
)


def labels(recipe: Randomization, model: nn.Module, inputs: Tensor) -> list[str]:
    return [stage.label for stage in recipe.stages(model.eval(), inputs)]


def resnet() -> nn.Module:
    return torchvision.models.resnet18(weights=None, num_classes=5).eval()


IMAGE = torch.zeros(1, 3, 32, 32)
ROW = torch.ones(1, 4)


def test_registered_names() -> None:
    assert RANDOMIZATIONS.names() == hp.randomization.names() == ["bottom-up", "cascading", "independent"]
    assert hp.randomization.get("cascading", seed=3) == Cascading(seed=3)


def test_recipes_are_values() -> None:
    recipe = Independent(initializer=TruncatedNormal(std=0.1), blocks=["a"])  # type: ignore[arg-type]  # from TOML
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    assert hash(recipe) == hash(Independent(initializer=TruncatedNormal(std=0.1), blocks=("a",)))
    assert reseed(Cascading(seed=3), 0) == Cascading(seed=3)
    assert reseed(Cascading(seed=3), 2).seed != reseed(Cascading(seed=3), 1).seed != 3


def test_a_cascade_goes_from_the_output_down() -> None:
    stages = Cascading().stages(Shuffled().eval(), ROW)
    assert [stage.layers for stage in stages] == [("c",), ("c", "b"), ("c", "b", "a")]
    assert [stage.complete for stage in stages] == [False, False, True]


def test_independent_takes_one_layer_at_a_time() -> None:
    stages = Independent().stages(Shuffled().eval(), ROW)
    assert [stage.layers for stage in stages] == [("c",), ("b",), ("a",)]
    assert not any(stage.complete for stage in stages)


def test_bottom_up_goes_from_the_input_up() -> None:
    stages = BottomUp().stages(Shuffled().eval(), ROW)
    assert [stage.layers for stage in stages] == [("a",), ("a", "b"), ("a", "b", "c")]


def test_a_reused_or_tied_layer_is_random_as_soon_as_the_cascade_meets_it() -> None:
    assert labels(Cascading(), Reused(), ROW) == ["a", "b"]
    assert labels(BottomUp(), Reused(), ROW) == ["a", "b"]
    assert labels(Cascading(), Tied(), ROW) == ["middle", "decode", "encode"]
    assert labels(BottomUp(), Tied(), ROW) == ["encode", "middle", "decode"]


def test_names_are_unique_and_say_what_and_where() -> None:
    stages = [
        stage
        for order in RANDOMIZATIONS.names()
        for initializer in ("he", TruncatedNormal(std=0.1), "truncated-normal")
        for batch_norm in ("reset", "keep")
        for seed in (0, 1)
        for stage in RANDOMIZATIONS.get(order, initializer=initializer, batch_norm=batch_norm, seed=seed).stages(
            mlp(), ROW
        )
    ]
    assert len({stage.name for stage in stages}) == len(stages) == 3 * 3 * 2 * 2 * 3
    named = Cascading(batch_norm="keep", seed=7).stages(resnet(), IMAGE)[2]
    assert named.name == "cascading/he/batch-norm-keep/seed7/03-layer4.1.conv2"
    assert (named.index, named.label) == (3, "layer4.1.conv2")
    own = Cascading(initializer=TruncatedNormal(std=0.1)).stages(mlp(), ROW)[0]
    assert own.name == "cascading/TruncatedNormal(std=0.1)/seed0/01-4"


def test_names_of_blocks_differ_from_names_of_layers() -> None:
    # `attention` is a layer, and a block of that layer and its output projection.
    def independent(*blocks: str) -> dict[str, set[str]]:
        stages = Independent(blocks=blocks).stages(Attending().eval(), torch.ones(1, 8))
        return {stage.name: set(stage.layers) for stage in stages}

    layers, block = independent(), independent("attention")
    assert {"attention"} in layers.values()
    assert {"attention", "attention.out_proj"} in block.values()
    assert not layers.keys() & block.keys()
    assert independent("attention", "head").keys() == independent("head", "attention").keys()


def test_groups_name_a_randomization_without_its_seed() -> None:
    assert Cascading().group == Cascading(seed=3).group == "cascading he"
    assert BottomUp(initializer="he", batch_norm="keep").group == "bottom-up he batch-norm-keep"


def test_groups_and_names_tell_blocks_and_patterns_apart() -> None:
    many = tuple(f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1))
    variants = [
        Cascading(blocks=blocks, only=only)
        for blocks in ((), ("layer4", "layer3"), ("layer4",), many)
        for only in ((), ("fc",), ("fc", "layer*"), ("fc", "*"), ("fc", "layer4*", "layer3*", "layer2*", "layer1*"))
    ]
    assert len({variant.group for variant in variants}) == len(variants) == 20
    assert len({stage.name for v in variants for stage in v.stages(resnet(), IMAGE)[:1]}) == len(variants)
    given = Cascading(blocks=("layer4", "layer3"), only=("fc", "layer*"))
    assert given.group == "cascading he by blocks layer3, layer4 only fc, layer*"
    assert Cascading(blocks=("layer3", "layer4"), only=("layer*", "fc")).group == given.group
    assert re.fullmatch("cascading he by blocks 8 [0-9a-f]{8}", Cascading(blocks=many).group)
    # A name that holds the separator is no list of two.
    assert Cascading(only=("a, b",)).group != Cascading(only=("a", "b")).group


def test_more_than_99_stages_sort_by_name() -> None:
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(100)]).eval()
    names = [stage.name for stage in Cascading().stages(model, torch.ones(1, 1))]
    assert names == sorted(names)


def test_blocks_are_randomized_together_in_execution_order() -> None:
    given = ("layer1", "layer3", "layer4", "layer2")
    stages = Cascading(blocks=given).stages(resnet(), IMAGE)
    assert [stage.label for stage in stages] == ["fc", "layer4", "layer3", "layer2", "layer1", "bn1", "conv1"]
    assert {name.split(".")[0] for name in stages[1].layers} == {"fc", "layer4"}
    assert len(stages[1].layers) == 1 + 10  # four convolutions, one on the shortcut, and their norms
    assert stages[-1].complete
    upward = BottomUp(blocks=given).stages(resnet(), IMAGE)
    assert [stage.label for stage in upward] == ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]
    alone = Independent(blocks=given).stages(resnet(), IMAGE)
    assert all(name.startswith("layer4.") for name in alone[1].layers)


def test_a_block_around_another_is_random_as_soon_as_the_cascade_meets_it() -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.outer = nn.Linear(4, 4), nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 3)])

        def forward(self, x: Tensor) -> Tensor:
            return self.outer[1](self.inner(self.outer[0](x)))

    assert labels(Cascading(blocks=("inner", "outer")), Around(), ROW) == ["outer", "inner"]
    assert labels(BottomUp(blocks=("inner", "outer")), Around(), ROW) == ["outer", "inner"]


def test_a_block_is_no_prefix_of_a_name() -> None:
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(12)]).eval()
    assert Independent(blocks=("1",)).stages(model, torch.ones(1, 1))[-2].layers == ("1",)


def test_a_block_draws_what_its_layers_draw_alone() -> None:
    model = resnet()
    with Independent(blocks=("layer4",)).stages(model, IMAGE)[1]:
        together = model.layer4[1].conv2.weight.clone()
    with Independent().stages(model, IMAGE)[2]:
        assert torch.equal(model.layer4[1].conv2.weight, together)


def test_only_keeps_the_stages_that_end_at_its_layers() -> None:
    # 002: down to each layer called `.conv1`.
    stages = Cascading(only=("fc", "*.conv1")).stages(resnet(), IMAGE)
    assert [stage.label for stage in stages] == ["fc"] + [f"layer{i}.{j}.conv1" for i in (4, 3, 2, 1) for j in (1, 0)]
    assert [stage.index for stage in stages] == list(range(1, 10))
    assert stages[1].layers == ("fc", "layer4.1.bn2", "layer4.1.conv2", "layer4.1.bn1", "layer4.1.conv1")
    assert not stages[-1].complete


def test_unused_parameters_are_listed() -> None:
    stages = Cascading().stages(Bare().eval(), ROW)
    assert set(stages.unused) == {"dead.weight", "dead.bias", "anchor"}
    assert isinstance(stages[:1], Stages)
    assert stages[:1].unused == stages.unused
    assert stages[-1].complete  # nothing that is used stays trained


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (("layer5",), "Expected the name of a module with parameters in use, but got 'layer5'; did you mean 'layer"),
        (("avgpool",), "but got 'avgpool'"),
        (("layer4", "layer4.0"), "'layer4.0.*' is under layer4 and layer4.0; drop one"),
    ],
)
def test_blocks_that_do_not_fit_the_model_are_refused(blocks: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Cascading(blocks=blocks).stages(resnet(), IMAGE)


def test_patterns_that_match_no_stage_are_refused() -> None:
    with pytest.raises(InputError, match=r"Expected `only` to match some of fc, .*, but '\*\.conv9' matches none"):
        Cascading(only=("fc", "*.conv9")).stages(resnet(), IMAGE)


def test_settings_are_checked_at_construction() -> None:
    with pytest.raises(UnknownNameError, match="name of an initializer, but got 'kaiming'"):
        Cascading(initializer="kaiming")
    with pytest.raises(InputError, match="Expected batch_norm to be one of 'reset', 'keep', 're-estimate', but got"):
        Cascading(batch_norm="keeps")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="Expected the name of a blocking, but got 'layer4'; known are: "):
        Cascading(blocks="layer4")
    with pytest.raises(InputError, match="Expected only to be a tuple of patterns, but got 'fc'"):
        Cascading(only="fc")  # type: ignore[arg-type]


def test_a_default_that_would_leave_a_weight_trained_is_refused_at_the_door() -> None:
    with pytest.raises(InputError, match=r"layer '\(root\)' \(Bare\) .*would stay trained"):
        Cascading(initializer="default").stages(Bare().eval(), ROW)


@pytest.mark.data
def test_squeezenet_dies_under_the_truncated_normal_and_lives_under_he(data_folder) -> None:  # type: ignore[no-untyped-def]
    from PIL import Image
    from safetensors.torch import load_file
    from torchvision.transforms.v2.functional import center_crop, normalize, pil_to_tensor, resize

    model = torchvision.models.squeezenet1_0(weights=None)
    model.load_state_dict(load_file(data_folder / "models" / "squeezenet1_0_imagenet.safetensors"))
    model.eval()
    image = Image.open(sorted((data_folder / "imagenet-samples").glob("*.jpg"))[0]).convert("RGB")
    pixels = center_crop(resize(pil_to_tensor(image), [256]), [227])[None].float() / 255
    inputs = normalize(pixels, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

    def zeros_and_gradient(initializer: str, index: int) -> tuple[float, Tensor]:
        stages = Cascading(initializer=initializer).stages(model, inputs)
        assert len(stages) == 26
        with stages[index - 1]:
            x = inputs.clone().requires_grad_()
            outputs = model(x)
            (gradient,) = torch.autograd.grad(outputs.max(), x)
        return float((outputs == 0).double().mean()), gradient

    # The logits are means after a ReLU: those whose last bias is drawn negative are 0, half of 1000 (5σ = 0.08).
    for index in (12, 26):
        zeros, gradient = zeros_and_gradient("truncated-normal", index)
        assert zeros == pytest.approx(0.5, abs=0.08)
    assert 0 < float(gradient.abs().max()) < 1e-20
    squares = gradient.square()
    assert float(squares.max()) < torch.finfo(torch.float32).tiny  # not one is a normal number,
    assert float(squares.median()) == 0  # and most are 0
    zeros, gradient = zeros_and_gradient("he", 26)
    assert zeros < 0.4
    assert float(gradient.abs().max()) > 1e-4
