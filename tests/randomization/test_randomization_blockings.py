"""The papers' blocks, found on their architectures."""

import pickle
from functools import cache

import pytest
import timm
import torch
import torchvision
from randomizable import mlp
from torch import Tensor, nn

from heatproof.checks import CHECKS, ParameterRandomization
from heatproof.errors import InputError
from heatproof.randomization import BLOCKINGS, BottomUp, Cascading, Depthwise, EndingAt, Independent, Modules, Stages
from heatproof.recipes import build, describe

MIXED = [f"Mixed_{name}" for name in ("7c", "7b", "7a", "6e", "6d", "6c", "6b", "6a", "5d", "5c", "5b")]
FIRST = [f"Conv2d_{name}" for name in ("4a_3x3", "3b_1x1", "2b_3x3", "2a_3x3", "1a_3x3")]


@cache
def network(name: str) -> nn.Module:
    more = {"init_weights": False} if name == "inception_v3" else {}
    return torchvision.models.get_model(name, weights=None, num_classes=5, **more).eval()


def stages(name: str, blocks: str, order: type = Cascading, side: int = 32) -> Stages:
    found: Stages = order(blocks=blocks).stages(network(name), torch.zeros(1, 3, side, side))
    return found


def weights(model: nn.Module, stage: object) -> set[str]:
    """Modules with parameters whose weights a stage changes."""
    before = {name: value.clone() for name, value in model.named_parameters()}
    with stage:  # type: ignore[attr-defined]
        changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    return {name.rpartition(".")[0] for name in changed}


def test_the_17_blocks_of_inception() -> None:
    # 001: the logits, then from Mixed_7c down to the first convolution.
    found = stages("inception_v3", "inception-v3", side=75)
    assert [stage.label for stage in found] == ["fc", *MIXED, *FIRST]
    assert len(found) == 17
    assert found[-1].complete
    assert all(name.startswith("AuxLogits.") for name in found.unused)
    upward = stages("inception_v3", "inception-v3", BottomUp, side=75)
    assert [stage.label for stage in upward] == [*reversed(FIRST), *reversed(MIXED), "fc"]


def test_inception_of_timm_has_the_same_blocks() -> None:
    model = timm.create_model("inception_v3", pretrained=False, num_classes=5).eval()
    found = Cascading(blocks="inception-v3").stages(model, torch.zeros(1, 3, 75, 75))
    assert [stage.label for stage in found] == ["fc", *MIXED, *FIRST]


def test_resnet_50_stops_at_its_16_first_convolutions() -> None:
    found = stages("resnet50", "resnet-conv1")
    blocks = [(4, 3), (3, 6), (2, 4), (1, 3)]
    expected = ["fc", *(f"layer{i}.{j}.conv1" for i, count in blocks for j in reversed(range(count)))]
    assert [stage.label for stage in found] == expected
    assert len(expected) == 17
    top = "layer4.2"
    assert list(found[1].layers) == ["fc", *(f"{top}.{name}" for k in "321" for name in (f"bn{k}", f"conv{k}"))]
    # A block's shortcut runs after its convolutions: it is random before the block's own are.
    assert found[3].layers[-8:-6] == ("layer4.0.downsample.1", "layer4.0.downsample.0")
    trained = {layer for layer, module in network("resnet50").named_modules() if list(module.parameters(recurse=False))}
    assert trained - set(found[-1].layers) == {"conv1", "bn1"}
    assert not found[-1].complete


def test_densenet_121_stops_at_every_third_of_58() -> None:
    model = network("densenet121")
    names = [name for name, _ in model.named_modules() if name.endswith(".conv1")]
    assert len(names) == 58
    found = stages("densenet121", "densenet-conv1")
    assert [stage.label for stage in found] == ["classifier", *names[::-1][2::3]]
    assert len(found) == 20
    reached = set(found[-1].layers)
    assert [name for name in names if name not in reached] == ["features.denseblock1.denselayer1.conv1"]


def test_efficientnet_b0_stops_at_its_16_depthwise_convolutions() -> None:
    model = network("efficientnet_b0")
    names = [name for name, m in model.named_modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    found = stages("efficientnet_b0", "depthwise")
    assert [stage.label for stage in found] == ["classifier.1", *reversed(names)]
    assert len(names) == 16


def test_what_a_stage_names_is_what_changes() -> None:
    model = network("efficientnet_b0")
    stage = stages("efficientnet_b0", "depthwise")[2]
    norms = {n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}  # fresh ones are reset already
    assert weights(model, stage) == set(stage.layers) - norms


@pytest.mark.parametrize(
    "blocks", [EndingAt(), EndingAt(rest=True), Depthwise(), Depthwise(every=2, rest=True)], ids=repr
)
@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2"])
def test_blocks_are_consecutive_and_share_no_layer(name: str, blocks: EndingAt | Depthwise) -> None:
    model, image = network(name), torch.zeros(1, 3, 32, 32)
    if (name == "resnet50") != isinstance(blocks, EndingAt):
        with pytest.raises(InputError, match="below the last layer, but it has fewer"):
            Cascading(blocks=blocks).stages(model, image)
        return
    layerwise, found = Cascading().stages(model, image), Cascading(blocks=blocks).stages(model, image)
    every = list(layerwise[-1].layers)
    reached = list(found[-1].layers)
    assert reached == every[: len(reached)]
    assert [stage.layers[-1] for stage in found] == [stage.label for stage in found]
    assert found[-1].complete == blocks.rest == (reached == every)
    alone = Independent(blocks=blocks).stages(model, image)
    assert [name for stage in alone for name in stage.layers] == reached


def test_only_and_blocks_agree_on_where_stages_end() -> None:
    image = torch.zeros(1, 3, 32, 32)
    by_patterns = Cascading(only=("fc", "*.conv1")).stages(network("resnet50"), image)
    by_blocks = stages("resnet50", "resnet-conv1")
    assert [stage.layers for stage in by_patterns] == [stage.layers for stage in by_blocks]


def test_a_name_is_its_recipe_and_groups_say_which() -> None:
    assert Cascading(blocks="resnet-conv1") == Cascading(blocks=EndingAt())
    assert pickle.loads(pickle.dumps(Cascading(blocks="depthwise"))) == Cascading(blocks=Depthwise())
    assert Cascading(blocks="inception-v3").group == "cascading he by blocks inception-v3"
    groups = {Cascading(blocks=b).group for b in (*BLOCKINGS.names(), EndingAt(rest=True), Depthwise(rest=True))}
    assert len(groups) == len(BLOCKINGS.names()) - 1 + 2  # `resnet-conv1` is `ending-at` with its defaults


def test_modules_are_the_names_themselves() -> None:
    row = torch.ones(1, 4)

    def layers(blocks: object) -> list[tuple[str, ...]]:
        return [stage.layers for stage in Cascading(blocks=blocks).stages(mlp(), row)]  # type: ignore[arg-type]

    assert layers(Modules(names=("0",))) == layers(("0",))


def test_a_spec_chooses_blocks_by_name_or_with_fields() -> None:
    def blocks(entry: object) -> object:
        check = build(
            CHECKS, {"name": "parameter-randomization", "randomization": {"name": "cascading", "blocks": entry}}
        )
        assert isinstance(check, ParameterRandomization)
        assert describe(check)["randomization"]["blocks"] == describe(check.randomization.blocks)
        return check.randomization.blocks

    assert blocks("densenet-conv1") == EndingAt(every=3)
    assert blocks({"name": "ending-at", "pattern": "*.conv2", "rest": True}) == EndingAt(pattern="*.conv2", rest=True)
    assert blocks(["layer1", "layer2"]) == ("layer1", "layer2")
    with pytest.raises(InputError, match="did you mean 'depthwise'"):
        blocks("depth-wise")


@pytest.mark.parametrize("recipe", [EndingAt, Depthwise])
def test_every_counts_from_one(recipe: type) -> None:
    with pytest.raises(InputError, match="Expected every to be at least 1, but got 0"):
        recipe(every=0)


def test_a_grouped_convolution_is_not_depthwise() -> None:
    class Grouped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.grouped, self.depth = nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 8, 1, groups=4)
            self.single, self.head = nn.Conv2d(8, 1, 1), nn.Conv2d(1, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.single(self.depth(self.grouped(x)))).mean((2, 3))

    found = Cascading(blocks="depthwise").stages(Grouped().eval(), torch.zeros(1, 4, 2, 2))
    assert [stage.layers for stage in found] == [("head",), ("head", "single", "depth")]
