"""Exported networks of torchvision and timm: every rule method has the map of the network itself, or is refused."""

import warnings

import pytest
import torch
from torch import nn
from torch.export import Dim, export, unflatten

from heatproof.errors import OperationError
from heatproof.methods import METHODS

pytestmark = pytest.mark.slow
models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
timm = pytest.importorskip("timm", reason="timm is not installed")

SIZE = 64
NETWORKS = {
    **{name: getattr(models, name) for name in (
        "squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small", "mnasnet0_5", "resnet18", "regnet_y_400mf",
        "densenet121", "efficientnet_b0", "swin_v2_t",
    )},
    "vit_tiny_patch16_224": lambda: timm.create_model("vit_tiny_patch16_224", img_size=SIZE),
}  # fmt: skip
RULES = [name for name in METHODS.names() if name.startswith("lrp-")]
RULES += ["clrp", "deep-taylor", "deeplift", "guided-backprop", "deconvnet"]

UNFLATTENED = ("lrp-epsilon-plus", "deeplift", "guided-backprop")  # each part a module of its own


def drawn(make):
    """The network with statistics and last weights that are not those of an untrained one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = make().eval()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        last = [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
        nn.init.normal_(last.weight, std=0.1)
        return net


@pytest.mark.filterwarnings("ignore")  # DeepLIFT's own, of what single precision resolves
@pytest.mark.parametrize("network", NETWORKS)
def test_every_rule_method_has_the_map_of_the_network_itself(network):
    net = drawn(NETWORKS[network])
    x = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    with warnings.catch_warnings(action="ignore"), torch.no_grad():
        program = export(net, (x,), dynamic_shapes=({0: Dim("batch")},))
        forms = program.module(), unflatten(program)
        targets = net(x).argmax(1)
    for form in forms:
        for module in form.modules():
            module.training = False
    for name in RULES:
        method = METHODS.get(name)
        try:
            expected = method(net, x, targets)
        except (OperationError, ValueError) as refused:
            for form in forms:
                with pytest.raises(type(refused)):
                    method(form, x, targets)
            continue
        assert expected.any()
        for form in forms if name in UNFLATTENED else forms[:1]:
            error = (method(form, x, targets) - expected).abs().max() / expected.abs().max()
            assert error < 1e-5, (name, float(error))
