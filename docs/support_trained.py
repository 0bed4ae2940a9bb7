"""Trained networks for docs/support.md: DeepLIFT beside integrated gradients at the same baseline.

The zoo's demo network, the SqueezeNet of HEATPROOF_DATA with its logits and with its softmax explained, and a small
ViT, BERT and Llama that are trained here, a minute or two each on one core.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import heatproof as hp
import heatproof.zoo
from heatproof.baselines import Baseline, Token, Zero
from heatproof.data.folder import ImageFolder
from heatproof.data.text import TextTable
from heatproof.models import Bound

SAMPLES = 8
HEAD = """
## Trained networks, DeepLIFT beside integrated gradients

In float32, on a few test samples each, from the same baseline: the largest gap, |ΣR − ΔS|/|ΔS|, the median condition
number Σ|R|/|ΔS| of both methods, and the mean of the samples' rank correlations of the two maps (Spearman; of texts,
of the words' sums). A baseline of zeros is a singular point of norms without biases, as Llama's are: the path of
integrated gradients ends there, and their gap says how much of ΔS they miss.

| network | accuracy | DeepLIFT: gap | condition | integrated gradients: gap | condition | rank correlation |
| --- | --- | --- | --- | --- | --- | --- |
"""


class Case(NamedTuple):
    """A trained network, test samples with their labels, and how well it does on its test data."""

    model: nn.Module
    inputs: Tensor
    targets: Tensor
    accuracy: str
    baseline: Baseline = Zero()
    steps: int = 100


def root() -> Path:
    """The folder of data sets."""
    return Path(os.environ["HEATPROOF_DATA"])


def fitted(model: nn.Module, run: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, epochs: int, rate: float) -> None:
    """Train a network on inputs and labels with AdamW and a cosine schedule."""
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.05)
    batches = len(x) // 64 * epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, batches)
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for i in range(len(x) // 64):
            batch = order[64 * i : 64 * i + 64]
            optimizer.zero_grad()
            F.cross_entropy(run(x[batch]), y[batch]).backward()
            optimizer.step()
            schedule.step()
    model.eval()


@torch.no_grad()
def percent(run: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> str:
    """Accuracy."""
    right = sum(int((run(a).argmax(1) == b).sum()) for a, b in zip(x.split(100), y.split(100), strict=True))
    return f"{100 * right / len(x):.0f} %"


def vit() -> Case:
    """A ViT of four blocks on patches of CIFAR-10."""
    import timm

    data = np.load(root() / "cifar10" / "cifar10_subset.npz")
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)))
    train, test = ((torch.from_numpy(data[f"x_{part}"]).float() / 255 - mean) / std for part in ("train", "test"))
    labels, wanted = (torch.from_numpy(data[f"y_{part}"].astype("int64")) for part in ("train", "test"))
    model = timm.models.VisionTransformer(
        img_size=32, patch_size=4, embed_dim=64, depth=4, num_heads=4, mlp_ratio=2, num_classes=10
    )
    fitted(model, model, train, labels, 4, 2e-3)
    return Case(model, test[:SAMPLES], wanted[:SAMPLES], percent(model, test, wanted))


def _reviews(kind: str) -> tuple[nn.Module, Tensor, Tensor, str, str]:
    import transformers

    def texts(part: str) -> tuple[Tensor, Tensor]:
        table = TextTable(
            path=str(root() / "imdb" / "imdb_subset.csv.gz"), rows=f"split={part}", vocabulary_rows="split=train",
            words=3000, length=64,
        ).load()  # fmt: skip
        return table.inputs, table.targets

    (x, y), (test, wanted) = texts("train"), texts("test")
    shape = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    settings = {**shape, "vocab_size": 3000, "max_position_embeddings": 64, "num_labels": 2, "pad_token_id": 0}
    if kind == "bert":
        net = transformers.BertForSequenceClassification(transformers.BertConfig(**settings))
        at = "bert.embeddings.word_embeddings"
    else:
        net = transformers.LlamaForSequenceClassification(transformers.LlamaConfig(**settings))
        at = "model.embed_tokens"

    def run(ids: Tensor) -> Tensor:
        logits: Tensor = net(input_ids=ids, attention_mask=(ids > 0).long()).logits
        return logits

    fitted(net, run, x, y, 4, 2e-3)
    return net, test[:SAMPLES], wanted[:SAMPLES], percent(run, test, wanted), at


def reviews(kind: str) -> list[Case]:
    """A BERT or a Llama of two blocks on the ends of IMDB's reviews, from zeros and from the padding token."""
    net, ids, wanted, accuracy, at = _reviews(kind)
    given = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    bound = Bound(net, at=at, given=given, output="logits")
    token = Token.of(net.get_submodule(at), 1)  # type: ignore[arg-type]
    return [Case(bound, bound.inputs(), wanted, accuracy, baseline) for baseline in (Zero(), token)]


class Probabilities(nn.Module):
    """A network with its softmax."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).softmax(1)  # type: ignore[no-any-return]


def squeezenet() -> list[Case]:
    """The SqueezeNet trained on ImageNet, its logits and its probabilities, on pictures at half size."""
    import torchvision
    from safetensors.torch import load_file

    net = torchvision.models.squeezenet1_0(weights=None)
    net.load_state_dict(load_file(root() / "models" / "squeezenet1_0_imagenet.safetensors"))
    data = ImageFolder(
        root=str(root() / "imagenet-val-boxes" / "images"), index="../boxes.csv", resize=144, crop=128, limit=SAMPLES,
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
    ).load()  # fmt: skip
    found = net.eval()(data.inputs).argmax(1)
    return [Case(each.eval(), data.inputs, found, "ImageNet's", steps=30) for each in (net, Probabilities(net))]


def demo() -> Case:
    """The demo's network on its test images."""
    model, data = hp.zoo.demo()
    return Case(model, data.inputs[:SAMPLES], data.targets[:SAMPLES], percent(model, data.inputs, data.targets))


CASES: dict[str, Callable[[], Case | list[Case]]] = {
    "demo-cnn": demo,
    "SqueezeNet": squeezenet,
    "ViT (CIFAR-10)": vit,
    "BERT (IMDB)": lambda: reviews("bert"),
    "Llama (IMDB)": lambda: reviews("llama"),
}
PARTS = {
    "SqueezeNet": ("logits", "softmax"),
    "BERT (IMDB)": ("from zeros", "from a token"),
    "Llama (IMDB)": ("from zeros", "from a token"),
}


def rows(name: str) -> list[str]:
    """The lines of the table for a network."""
    torch.manual_seed(0)
    made = CASES[name]()
    cases = made if isinstance(made, list) else [made]
    parts = PARTS.get(name, ("",) * len(cases))
    return [_row(f"{name}, {part}" if part else name, case) for part, case in zip(parts, cases, strict=True)]


def _row(label: str, case: Case) -> str:
    ours, path = (
        method.explain(case.model, case.inputs, case.targets)
        for method in (
            hp.methods.DeepLIFT(baseline=case.baseline),
            hp.methods.IntegratedGradients(baseline=case.baseline, steps=case.steps),
        )
    )
    cells = [label, case.accuracy]
    for each in (ours, path):
        said = each.diagnostics
        gap = (said["completeness-gap"] / (said["score"] - said["baseline-score"])).abs().max()
        cells += [f"{float(gap):.0e}", f"{float(said['condition-number'].median()):.2g}"]
    correlation = hp.similarity.Spearman()(ours.maps.sum(-1), path.maps.sum(-1)) if ours.maps.dim() == 3 else (
        hp.similarity.Spearman()(ours.maps, path.maps)
    )  # fmt: skip
    return "| " + " | ".join([*cells, f"{float(correlation.mean()):.2f}"]) + " |"
