"""A small network of each kind, with random weights, and what an audit of it is given: for docs/kinds.py."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import heatproof as hp

SAMPLES = 2


@dataclass
class Kind:
    """A model, its inputs, and what is explained of them."""

    model: Any
    inputs: Tensor
    targets: Any = None
    settings: dict[str, Any] = field(default_factory=dict)
    detaches: bool = False  # whether it cuts paths on purpose, which methods with rules are told


def drawn(*shape: int) -> Tensor:
    """Inputs between 0 and 1."""
    return torch.rand(SAMPLES, *shape, generator=torch.Generator().manual_seed(0))


def ids(length: int = 8, words: int = 50) -> Tensor:
    """Token ids, from 3 on."""
    return torch.randint(3, words, (SAMPLES, length), generator=torch.Generator().manual_seed(0))


def torchvision_classifier() -> Kind:
    """A ResNet-18 on small pictures."""
    from torchvision.models import resnet18

    return Kind(resnet18(weights=None, num_classes=5), drawn(3, 32, 32))


def timm_classifier() -> Kind:
    """A small vision transformer of timm's."""
    import timm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2, num_classes=5)
    return Kind(net, drawn(3, 32, 32))


def hugging_face_vision() -> Kind:
    """A small ViT of transformers'."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8,
        num_labels=5,
    )  # fmt: skip
    return Kind(hp.Bound(ViTForImageClassification(config).eval(), output="logits"), drawn(3, 32, 32))


def bert_classifier() -> Kind:
    """A small BERT that classifies texts, from its embedding on."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, num_labels=3
    )
    net = BertForSequenceClassification(config).eval()
    given = {"input_ids": ids(), "attention_mask": torch.ones(SAMPLES, 8, dtype=torch.int64)}
    bound = hp.Bound(net, at="bert.embeddings.word_embeddings", given=given, output="logits")
    return Kind(bound, bound.inputs(), settings={"tokens": [[f"w{i}" for i in row] for row in ids().tolist()]})


def gpt_classifier() -> Kind:
    """A small GPT-2 that classifies texts, from its embedding on."""
    from transformers import GPT2Config, GPT2ForSequenceClassification

    config = GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2, num_labels=3, pad_token_id=0)
    net = GPT2ForSequenceClassification(config).eval()
    bound = hp.Bound(net, at="transformer.wte", given={"input_ids": ids()}, output="logits")
    return Kind(bound, bound.inputs())


def gpt_next_token() -> Kind:
    """The next token of a small GPT-2: one place of outputs (N, T, C)."""
    from transformers import GPT2Config, GPT2LMHeadModel

    net = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2)).eval()
    bound = hp.Bound(net, at="transformer.wte", given={"input_ids": ids()}, output="logits")
    return Kind(bound, bound.inputs(), hp.targets.Index((-1, 7)))


def clip_zero_shot() -> Kind:
    """A small CLIP: pictures against the ids of label texts, which all samples share."""
    from transformers import CLIPConfig, CLIPModel

    text = {
        "vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "max_position_embeddings": 16, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
        "patch_size": 8,
    }  # fmt: skip
    net = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).eval()
    labels = torch.tensor([[1, 5, 6, 2], [1, 9, 4, 2], [1, 8, 8, 2]])
    bound = hp.Bound(net, at="pixel_values", given={"input_ids": hp.models.Shared(labels)}, output="logits_per_image")
    return Kind(bound, drawn(3, 32, 32))


def t5_classifier() -> Kind:
    """A small T5 that classifies texts: what is read and what is written, of two embeddings with one weight."""
    from transformers import T5Config, T5ForSequenceClassification

    config = T5Config(
        vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, num_labels=3, eos_token_id=2,
        pad_token_id=0, decoder_start_token_id=0,
    )  # fmt: skip
    net = T5ForSequenceClassification(config).eval()
    given = {"input_ids": torch.cat([ids(6), torch.full((SAMPLES, 1), 2)], 1)}
    runs = [f"transformer.shared#{run}" for run in (1, 2)]
    names = dict(net.named_modules())
    apart = [name for name in ("transformer.encoder.embed_tokens", "transformer.decoder.embed_tokens") if name in names]
    at = apart if len(apart) == 2 and names[apart[0]] is not names[apart[1]] else runs
    bound = hp.Bound(net, at=at, given=given, output="logits")
    return Kind(bound, bound.inputs())


class Reader(nn.Module):
    """An LSTM over embeddings, perhaps packed by the lengths of texts."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.lstm, self.head = nn.Embedding(50, 6), nn.LSTM(6, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        x = self.words(tokens)
        if lengths is not None:
            x = nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, (hidden, _) = self.lstm(x)
        out: Tensor = self.head(hidden[-1])
        return out


def lstm() -> Kind:
    """An LSTM over texts."""
    bound = hp.Bound(Reader().eval(), at="words", given={"tokens": ids()})
    return Kind(bound, bound.inputs())


def packed_lstm() -> Kind:
    """An LSTM over texts of different lengths, packed."""
    bound = hp.Bound(Reader().eval(), at="words", given={"tokens": ids(), "lengths": torch.tensor([8, 5])})
    return Kind(bound, bound.inputs())


def table() -> Kind:
    """A multilayer perceptron on a table."""
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    return Kind(net, drawn(6), settings={"columns": [f"column {k}" for k in range(6)]})


def series() -> Kind:
    """One-dimensional convolutions over a series of three leads."""
    body = (nn.Conv1d(3, 4, 5, padding=2), nn.ReLU(), nn.Conv1d(4, 4, 3, padding=1), nn.ReLU())
    return Kind(nn.Sequential(*body, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3)), drawn(3, 24))


def volume() -> Kind:
    """Three-dimensional convolutions over a volume."""
    body = (nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 4, 3, padding=1), nn.ReLU())
    return Kind(nn.Sequential(*body, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3)), drawn(1, 8, 8, 8))


def segmentation() -> Kind:
    """A segmentation network of torchvision's: the sum of a label over a region."""
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    net = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4)
    mask = torch.zeros(32, 32)
    mask[8:24, 8:24] = 1
    return Kind(hp.Bound(net.eval(), output="out"), drawn(3, 32, 32), hp.targets.Region(2, mask))


def faster_rcnn() -> Kind:
    """A Faster R-CNN of torchvision's: the score of the best box. It finds objects, whose boxes are its anchors."""
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    few = {"min_size": 64, "max_size": 64, "box_detections_per_img": 10, "rpn_post_nms_top_n_test": 20}
    net = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=3, **few)
    for module in net.modules():  # torchvision's own first weights make all scores alike
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    with torch.no_grad():
        net.roi_heads.box_predictor.cls_score.weight *= 0.1
        net.roi_heads.box_predictor.cls_score.bias[0] = -3
        net.roi_heads.box_predictor.bbox_pred.weight.zero_()
        net.rpn.head.bbox_pred.weight.zero_()
    return Kind(net, drawn(3, 64, 64), hp.targets.Box(), detaches=True)


def detr() -> Kind:
    """A small DETR of transformers': the logit of the best query."""
    from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

    backbone = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", out_features=["stage2"]
    )
    config = DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone, d_model=16,
        encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16,
        decoder_ffn_dim=16, num_queries=5, num_labels=3,
    )  # fmt: skip
    return Kind(DetrForObjectDetection(config).eval(), drawn(3, 32, 32), hp.targets.Box())


def small_cnn(outputs: int) -> nn.Module:
    """Two convolutions and a linear layer."""
    body = (nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, outputs))


def regression() -> Kind:
    """Numbers in millimeters."""
    return Kind(small_cnn(2), drawn(1, 16, 16), hp.targets.Scalar(1, unit="mm"))


def single_logit() -> Kind:
    """One logit of label 1 against label 0."""
    return Kind(small_cnn(1), drawn(1, 16, 16), settings={"outputs": "logit"})


def multi_label() -> Kind:
    """Labels that do not exclude one another: the sum of two."""
    return Kind(small_cnn(4), drawn(1, 16, 16), hp.targets.LabelSet((0, 2)))


class Two(nn.Module):
    """A picture and a table together."""

    def __init__(self) -> None:
        super().__init__()
        self.eye, self.head = nn.Conv2d(1, 3, 3), nn.Sequential(nn.Linear(3 + 4, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, image: Tensor, table: Tensor) -> Tensor:
        out: Tensor = self.head(torch.cat([torch.relu(self.eye(image)).mean((2, 3)), table], 1))
        return out


def two_inputs() -> Kind:
    """A picture and a table, explained together."""
    bound = hp.Bound(Two().eval(), at=["image", "table"], given={"image": drawn(1, 8, 8), "table": drawn(4)})
    return Kind(bound, bound.inputs())


class Graphs(nn.Module):
    """Nodes that add what their neighbors send, by edges that all graphs share."""

    def __init__(self) -> None:
        super().__init__()
        self.node, self.head = nn.Linear(3, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        hidden = torch.relu(self.node(x))
        hidden = hidden.index_add(1, edge_index[1], hidden[:, edge_index[0]])
        out: Tensor = self.head(torch.relu(hidden).mean(1))
        return out


def graph() -> Kind:
    """A graph network over graphs (N, nodes, features)."""
    edges = torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]])
    return Kind(hp.Bound(Graphs().eval(), given={"edge_index": hp.models.Shared(edges)}), drawn(5, 3))


KINDS: dict[str, Callable[[], Kind]] = {
    "torchvision ResNet": torchvision_classifier,
    "timm ViT": timm_classifier,
    "Hugging Face ViT": hugging_face_vision,
    "BERT classifier": bert_classifier,
    "GPT-2 classifier": gpt_classifier,
    "GPT-2 next token": gpt_next_token,
    "CLIP zero-shot": clip_zero_shot,
    "T5 classifier": t5_classifier,
    "LSTM": lstm,
    "packed LSTM": packed_lstm,
    "MLP on a table": table,
    "Conv1d on a series": series,
    "Conv3d on a volume": volume,
    "segmentation": segmentation,
    "Faster R-CNN": faster_rcnn,
    "DETR": detr,
    "regression": regression,
    "single logit": single_logit,
    "multi-label": multi_label,
    "two inputs": two_inputs,
    "graph network": graph,
}


def made(name: str) -> Kind:
    """The network of a kind, in eval mode, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kind = KINDS[name]()
    if isinstance(kind.model, nn.Module):
        kind.model.eval()
    return kind
