"""The networks that the engine is held to, with small inputs and random weights that keep a signal alive."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from heatproof.models import Bound

TORCHVISION = {
    "alexnet": (96, {}),
    "vgg16": (64, {}),
    "vgg16_bn": (64, {}),
    "vgg19": (64, {}),
    "vgg19_bn": (64, {}),
    "resnet18": (64, {}),
    "resnet50": (64, {}),
    "densenet121": (64, {}),
    "efficientnet_b0": (64, {}),
    "inception_v3": (96, {"transform_input": True, "init_weights": False}),
    "googlenet": (64, {"transform_input": True, "init_weights": False}),
    "squeezenet1_1": (64, {}),
    "mobilenet_v2": (64, {}),
    "mobilenet_v3_small": (64, {}),
    "mobilenet_v3_large": (64, {}),
    "convnext_tiny": (64, {}),
    "regnet_x_400mf": (64, {}),
    "regnet_y_400mf": (64, {}),
    "shufflenet_v2_x1_0": (64, {}),
    "vit_b_16": (64, {"image_size": 64}),
    "swin_t": (64, {}),
    "swin_v2_t": (64, {}),
}
QUICK = ("resnet18", "densenet121", "mobilenet_v3_large", "squeezenet1_1", "googlenet", "lstm", "gru", "bert")


class Reader(nn.Module):
    """A recurrent classifier of sequences of embedded words."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layer = getattr(nn, kind)(8, 12, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.layer(x)
        logits: Tensor = self.head(out.mean(1))
        return logits


def revive(model: nn.Module, x: Tensor) -> nn.Module:
    """Batch norms that normalize these inputs, and a last layer whose logits are of order one.

    Default weights and statistics let the signal of a deep network die out, and then every sum rule holds.
    """
    stream = torch.Generator().manual_seed(0)
    model.eval()
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
        with torch.no_grad():
            norm.weight.uniform_(0.5, 1.5, generator=stream)
            norm.bias.normal_(0, 0.3, generator=stream)
    with torch.no_grad():
        for parameter in model.parameters():
            size = float(parameter.abs().amax())
            if 0 < size <= 1e-4 and float(parameter.abs().amin()) == size:  # a layer scale that shuts its block
                parameter.fill_(0.5)
        if norms:
            model(x)
        for norm in norms:
            norm.running_var.clamp_(min=1e-3)
        model.eval()
        last = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
        if not bool(last.weight.any()):
            last.weight.normal_(0, 0.05, generator=stream)
        last.weight.mul_(1 / model(x).std().clamp(min=1e-6))
    return model.eval()


def _vision(name: str) -> tuple[nn.Module, Tensor]:
    import torchvision

    size, settings = TORCHVISION[name]
    x = torch.randn(2, 3, size, size)
    return revive(getattr(torchvision.models, name)(weights=None, **settings), x), x


def _timm(name: str) -> tuple[nn.Module, Tensor]:
    import timm

    size = 96 if "inception" in name else 64
    x = torch.randn(2, 3, size, size)
    return revive(timm.create_model(name, pretrained=False), x), x


def _recurrent(kind: str) -> tuple[nn.Module, Tensor]:
    return Reader(kind).eval(), torch.randn(2, 7, 8)


def _bert() -> tuple[nn.Module, Tensor]:
    import transformers

    settings = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, vocab_size=50
    )
    net = transformers.BertForSequenceClassification(settings).eval()
    for parameter in net.parameters():
        parameter.data.mul_(5)
    ids = torch.randint(1, 50, (2, 7))
    attended = torch.ones_like(ids)
    attended[1, 4:] = 0
    given = {"input_ids": ids, "attention_mask": attended}
    bound = Bound(net, at="bert.embeddings.word_embeddings", given=given, output="logits")
    return bound, bound.inputs()


BUILDERS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    **{name: (lambda name=name: _vision(name)) for name in TORCHVISION},  # type: ignore[misc]
    "inception_v4 (timm)": lambda: _timm("inception_v4"),
    "xcit_nano_12_p16_224 (timm)": lambda: _timm("xcit_nano_12_p16_224"),
    "lstm": lambda: _recurrent("LSTM"),
    "gru": lambda: _recurrent("GRU"),
    "bert": _bert,
}


def build(name: str) -> tuple[nn.Module, Tensor]:
    """The network in eval mode and two inputs, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BUILDERS[name]()
