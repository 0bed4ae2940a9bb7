"""Grad-CAM: its slow twin, closed forms, the layer it finds, transformers, networks that hide things, and errors."""

import pytest
import torch
from method_networks import cnn, images
from torch import nn

from heatproof.errors import InputError, UnknownNameError
from heatproof.methods import GradCAM, GuidedBackprop, GuidedGradCAM
from heatproof.methods.spatial import last_map
from heatproof.models import Bound
from heatproof.testing import ContractNet, check_method
from reference import cam as reference

TARGETS = torch.tensor([0, 3, 1])


def seeded(build, seed=0):
    """A network in float64 and eval mode, with weights of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().double().eval()


class Pooled(nn.Module):
    """Convolutions, global average pooling and one linear layer."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(6, 4, 2), nn.ReLU())
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.pool(self.features(x)).flatten(1))


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_equals_its_slow_twin(layer):
    model, x = cnn(), images()
    expected = reference.grad_cam(model[: layer + 1], model[layer + 1 :], x, TARGETS)
    torch.testing.assert_close(GradCAM(layer=str(layer))(model, x, TARGETS), expected, rtol=1e-10, atol=1e-14)


def test_global_pooling_and_one_linear_layer_give_the_class_activation_map():
    model, x = seeded(Pooled), images()
    A = model.features(x).detach()  # (3, 4, 5, 5)
    cam = torch.einsum("nk,nkhw->nhw", model.fc.weight[TARGETS].detach(), A)
    expected = torch.stack([reference.bilinear(one, 8, 8) for one in cam.relu() / 25])[:, None]
    torch.testing.assert_close(GradCAM()(model, x, TARGETS), expected)


def test_layer_found_is_the_layer_named():
    model, x = seeded(Pooled), images()
    assert last_map(model, x) == "features"
    assert torch.equal(GradCAM()(model, x, TARGETS), GradCAM(layer="features")(model, x, TARGETS))


def test_score_and_shape():
    model, x = seeded(Pooled), images()
    explanation = GradCAM().explain(model, x, TARGETS)
    assert explanation.maps.shape == (3, 1, 8, 8)
    torch.testing.assert_close(explanation.diagnostics["score"], model(x).detach().gather(1, TARGETS[:, None])[:, 0])


def test_guided_is_the_product_of_both():
    model, x = seeded(Pooled), images()
    maps = GuidedGradCAM(layer="features.1")(model, x, TARGETS)
    expected = GradCAM(layer="features.1")(model, x, TARGETS) * GuidedBackprop()(model, x, TARGETS)
    assert maps.shape == x.shape
    assert torch.equal(maps, expected)


def test_layer_before_an_operation_in_place():
    model, x = seeded(Pooled), images()
    expected = reference.grad_cam(
        lambda x: model.features[0](x), lambda A: model.fc(model.features[2:](A.relu()).relu().mean((2, 3))), x, TARGETS
    )
    torch.testing.assert_close(GradCAM(layer="features.0")(model, x, TARGETS), expected)


def test_nothing_below_the_layer_is_differentiated():
    class Refusing(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise AssertionError("went below the layer")

    class Guarded(Pooled):
        def forward(self, x):
            return super().forward(Refusing.apply(x))

    assert GradCAM()(seeded(Guarded), images(), TARGETS).shape == (3, 1, 8, 8)


def test_bound_networks_are_named_from_inside():
    model, x = seeded(Pooled), images()
    bound = Bound(model, preprocessing=lambda x: x * 2)
    assert last_map(bound, x) == "features"
    assert torch.equal(GradCAM()(bound, x, TARGETS), GradCAM(layer="features")(model, x * 2, TARGETS))


def test_class_map_read_through_bound_is_no_map():
    net = seeded(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Dropout(), nn.Conv2d(4, 5, 1), nn.ReLU()))
    bound = Bound(net, layer="3")
    assert last_map(bound, images()) == "1"
    A = net[:2](images()).detach()
    cam = torch.einsum("nk,nkhw->nhw", net[3].weight[TARGETS, :, 0, 0].detach(), A).relu() / 36
    expected = torch.stack([reference.bilinear(one, 8, 8) for one in cam])[:, None]
    torch.testing.assert_close(GradCAM()(bound, images(), TARGETS), expected)


def test_found_layer_does_not_depend_on_the_sample_or_on_dead_weights():
    model, x = seeded(Pooled), images()
    with torch.no_grad():
        model.features[2].bias.fill_(-100.0)  # nothing passes the last ReLU
    assert last_map(model, x) == "features"
    assert GradCAM()(model, x, TARGETS).abs().max() == 0


class TokenReader(nn.Module):
    """Patches as tokens after a class token; one attention; the class token alone is read."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(2, 6, 2, stride=2)
        self.first = nn.Parameter(torch.randn(1, 1, 6))
        self.before, self.mix, self.after = nn.LayerNorm(6), nn.Linear(6, 6), nn.LayerNorm(6)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        patches = self.patches(x).flatten(2).mT
        return self.behind(self.before(torch.cat([self.first.expand(len(x), -1, -1), patches], 1)))

    def behind(self, tokens):
        mixed = tokens + torch.softmax(tokens @ tokens.mT, 2) @ self.mix(tokens)
        return self.head(self.after(mixed)[:, 0])


def test_transformers_are_read_before_the_last_attention():
    model, x = seeded(TokenReader), torch.randn(3, 2, 6, 8, dtype=torch.float64)
    # Not `after`, whose class token alone is read, nor `mix`, which the attention's weights do not pass.
    assert last_map(model, x) == "before"
    tokens = model.before(torch.cat([model.first.expand(3, -1, -1), model.patches(x).flatten(2).mT], 1)).detach()

    def behind(A):  # (1, 6, 3, 4), with the class token of its sample put back
        whole = torch.cat([tokens[behind.sample : behind.sample + 1, :1], A.flatten(2).mT], 1)
        return model.behind(whole)

    expected = []
    for behind.sample in range(3):
        patches = tokens[behind.sample, 1:].T.reshape(1, 6, 3, 4)
        one = slice(behind.sample, behind.sample + 1)
        expected.append(reference.grad_cam(lambda _, patches=patches: patches, behind, x[one], TARGETS[one]))
    torch.testing.assert_close(GradCAM(layer="before")(model, x, TARGETS), torch.cat(expected))


VISION = {
    "densenet121": "features",
    "efficientnet_b0": "features",
    "googlenet": "inception5b",
    "inception_v3": "Mixed_7c",
    "mnasnet0_5": "layers",
    "mobilenet_v2": "features",
    "mobilenet_v3_small": "features",
    "regnet_y_400mf": "trunk_output",
    "resnet18": "layer4",
    "shufflenet_v2_x0_5": "conv5",
    "squeezenet1_1": "features",
    "vgg11": "features",
    "swin_t": "permute",
}
OTHERS = {
    "alexnet": "features.11",  # at 64 pixels its last pooling leaves one position
    **dict.fromkeys([f"convnext_{size}" for size in ("tiny", "small", "base", "large")], "features"),
    **dict.fromkeys(["densenet161", "densenet169", "densenet201"], "features"),
    **{f"efficientnet_b{size}": "features" for size in range(1, 8)},
    **{f"efficientnet_v2_{size}": "features" for size in "sml"},
    "maxvit_t": "blocks.3",
    **dict.fromkeys(["mnasnet0_75", "mnasnet1_0", "mnasnet1_3"], "layers"),
    "mobilenet_v3_large": "features",
    **{f"regnet_y_{size}": "trunk_output" for size in ("800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf", "128gf")},
    **{f"regnet_x_{size}": "trunk_output" for size in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf")},
    **dict.fromkeys(["resnet34", "resnet50", "resnet101", "resnet152"], "layer4"),
    **dict.fromkeys(["resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"], "layer4"),
    **dict.fromkeys(["wide_resnet50_2", "wide_resnet101_2"], "layer4"),
    **dict.fromkeys(["shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0"], "conv5"),
    "squeezenet1_0": "features",
    **dict.fromkeys(["swin_s", "swin_b", "swin_v2_t", "swin_v2_s", "swin_v2_b"], "permute"),
    **{f"vgg{depth}": "features" for depth in ("11_bn", "13", "13_bn", "16", "16_bn", "19", "19_bn")},
    **{f"vit_b_{patch}": "encoder.layers.encoder_layer_11.ln_1" for patch in (16, 32)},
    **{f"vit_l_{patch}": "encoder.layers.encoder_layer_23.ln_1" for patch in (16, 32)},
    "vit_h_14": "encoder.layers.encoder_layer_31.ln_1",
}


def vision(name):
    """A torchvision network of zeros, as drawing weights takes longest, and the smallest images with a map to find."""
    models = pytest.importorskip("torchvision.models")
    size = {"inception_v3": 96 + 48, "maxvit_t": 224, "vit_h_14": 56}.get(name, 64)
    settings = {"image_size": size} if name.startswith("vit") else {}
    if name in ("inception_v3", "googlenet"):
        settings["init_weights"] = False
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # a RegNet computes its widths with tensors
        model = models.get_model(name, weights=None, **settings).eval()
    model = model.to_empty(device="cpu")
    for tensor in model.state_dict(keep_vars=True).values():
        tensor.data.zero_()
    return model, torch.randn(1, 3, size, size)


@pytest.mark.parametrize("name", VISION)
def test_layer_found_in_a_network_of_every_family_of_torchvision(name):
    assert last_map(*vision(name)) == VISION[name]


def test_layer_found_in_a_small_vision_transformer():
    models = pytest.importorskip("torchvision.models")
    sizes = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 16}
    assert last_map(models.VisionTransformer(**sizes).eval(), torch.randn(1, 3, 32, 32)) == (
        "encoder.layers.encoder_layer_1.ln_1"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_layer_found_in_every_other_network_of_torchvision(name):
    assert last_map(*vision(name)) == OTHERS[name]


@pytest.mark.slow
def test_no_network_of_torchvision_is_missing():
    models = pytest.importorskip("torchvision.models")
    assert set(models.list_models(module=models)) == VISION.keys() | OTHERS.keys()


@pytest.mark.parametrize("layer", ["features.0", "features.3"])
def test_named_layers_keep_the_contract(layer):
    check_method(GradCAM(layer=layer))


def test_bound_networks_keep_the_contract():
    inputs = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    model = Bound(ContractNet(), given={"gain": torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)})
    check_method(GradCAM(), model=model, inputs=inputs, targets=torch.tensor([1, 4, 0]))


class Hiding(Pooled):
    """Returns two tensors from one layer, runs another twice, and detaches behind a third."""

    def __init__(self):
        super().__init__()
        self.pair = nn.RReLU(inplace=False)
        self.pair.forward = lambda x: (x, x)
        self.blocked = nn.ReLU()

    def forward(self, x):
        kept, _ = self.pair(self.features[0](x))
        kept = self.features[3](self.features[3](kept))
        return super().forward(x) + self.blocked(kept).detach().mean((1, 2, 3))[:, None] + self.blocked(x).mean() * 0


def test_errors_say_what_to_do():
    model, x = seeded(Pooled), images()
    with pytest.raises(UnknownNameError, match=r"layer of Pooled, but got 'feature'; did you mean 'features'"):
        GradCAM(layer="feature")(model, x, TARGETS)
    with pytest.raises(InputError, match=r"images \(N, C, H, W\) for activation maps, but got \(3, 7\)"):
        GradCAM()(nn.Linear(7, 5).double().eval(), torch.randn(3, 7, dtype=torch.float64), TARGETS)
    with pytest.raises(InputError, match=r"is a map of images \(3, 2, 8, 8\), but 'fc' gives \(3, 5\)"):
        GradCAM(layer="fc")(model, x, TARGETS)
    flat = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, 5)))
    with pytest.raises(InputError, match=r"more than one position, but found none; name a layer"):
        GradCAM()(flat, x, TARGETS)
    hiding = seeded(Hiding)
    with pytest.raises(InputError, match="layer 'pair' to return a tensor, but it returns tuple"):
        GradCAM(layer="pair")(hiding, x, TARGETS)
    with pytest.raises(InputError, match=r"layer 'blocked' to run once, but it ran 2 times, and no layer around it"):
        GradCAM(layer="blocked")(hiding, x, TARGETS)
    inner = seeded(lambda: nn.Sequential(Hiding(), nn.Softmax(1)))
    with pytest.raises(InputError, match=r"layer '0.blocked' to run once, but it ran 2 times; name a layer around it"):
        GradCAM(layer="0.blocked")(inner, x, TARGETS)
    with torch.inference_mode(), pytest.raises(InputError, match="inference_mode around the call"):
        GradCAM(layer="features")(model, x, TARGETS)
    net = seeded(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 5, 3)))
    cut = Bound(net, output=lambda logits: logits.detach().mean((2, 3)))
    with pytest.raises(InputError, match="no path leads back to it; look for no_grad, detach"):
        GradCAM(layer="0")(cut, x, TARGETS)
