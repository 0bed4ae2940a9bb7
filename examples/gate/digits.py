"""Audit a network of handwritten digits: the good one, or with --broken one whose weights were never loaded."""

import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

import heatproof as hp

TRAINING = 1200


def network(images: torch.Tensor, labels: torch.Tensor, *, broken: bool) -> nn.Sequential:
    """The nearest mean image as one linear layer: scores x·m_c − |m_c|²/2."""
    torch.manual_seed(0)
    layer = nn.Linear(64, 10)
    if not broken:
        means = torch.stack([images[labels == c].mean(0).flatten() for c in range(10)])
        with torch.no_grad():
            layer.weight.copy_(means)
            layer.bias.copy_(-0.5 * means.square().sum(1))
    return nn.Sequential(nn.Flatten(), layer).eval()


def main(out: Path, *, broken: bool) -> None:
    """Run the audit into `out`."""
    data = load_digits()
    images = torch.from_numpy(data.images).float()[:, None] / 16
    labels = torch.from_numpy(data.target).long()
    model = network(images[:TRAINING], labels[:TRAINING], broken=broken)
    shown = slice(TRAINING, TRAINING + 64)
    run = hp.audit(
        model,
        images[shown],
        labels[shown],
        methods=["gradient-x-input", "edge-detector"],
        checks={"steadiness": hp.checks.Steadiness(level=0.001), "degradation": hp.checks.Degradation(tile=1, steps=8)},
        out=out,
        threads=1,
        progress=False,
    )
    run.report()


if __name__ == "__main__":
    main(Path(sys.argv[1]), broken="--broken" in sys.argv)
