"""Detectors as torchvision and transformers build them, small and with random weights, under methods and audits."""

import functools
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.errors import InputError, OperationError
from heatproof.methods import LRP, DeepLIFT, GradCAM, GradientXInput, GuidedBackprop, Occlusion
from heatproof.targets import Box

DOCS = Path(__file__).resolve().parents[2] / "docs"
sys.path.insert(0, str(DOCS))

import kinds_models  # noqa: E402

pytest.importorskip("torchvision.models.detection", reason="torchvision is not installed")
X = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@functools.cache
def faster_rcnn() -> nn.Module:
    """With weights that let something through, objects rather than background, and boxes that are the anchors."""
    found: nn.Module = kinds_models.made("Faster R-CNN").model
    return found


@functools.cache
def detr() -> nn.Module:
    pytest.importorskip("transformers", reason="transformers is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: nn.Module = kinds_models.made("DETR").model
    return found


def test_the_gradient_is_that_of_the_best_box() -> None:
    """By hand: the score of the first box, which is the best, as torchvision sorts them."""
    x = X.clone().requires_grad_()
    found = faster_rcnn()(x)
    assert all(bool(one["scores"][0] > 0.5) for one in found)
    (gradient,) = torch.autograd.grad(sum(one["scores"][0] for one in found), x)
    torch.testing.assert_close(GradientXInput()(faster_rcnn(), X, Box()), gradient * X)


@pytest.mark.parametrize(
    "method", [LRP(allow_detached=True), GuidedBackprop(allow_detached=True), GradCAM(), Occlusion(window=32)]
)
def test_rules_and_masks_reach_through_regions(method: Any) -> None:
    """Through region proposals, which are detached on purpose, region pooling, and the suppression of rivals."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # maps of other levels that Grad-CAM does not look at
        maps = method(faster_rcnn(), X, Box())
    assert bool(torch.isfinite(maps).all())
    assert maps.abs().amax((1, 2, 3)).min() > 0


def test_what_a_detector_cuts_is_said() -> None:
    with pytest.raises(
        OperationError, match=r"detach in module 'net.rpn' .*pass allow_detached=True if the model means"
    ):
        LRP()(faster_rcnn(), X, Box())


def test_deeplift_is_complete_on_detr() -> None:
    double = detr().double()
    try:
        found = DeepLIFT().explain(double, X[:, :, :32, :32].double(), Box())
    finally:
        double.float()
    assert found.diagnostics["completeness-gap"].abs().max() < 1e-6 * found.diagnostics["score"].abs().min()
    assert LRP()(detr(), X[:, :, :32, :32], Box()).abs().amax((1, 2, 3)).min() > 0


@pytest.mark.parametrize("make", [faster_rcnn, detr])
def test_an_audit(make: Any, tmp_path: Any) -> None:
    net = make()
    run = hp.audit(
        net, X[:, :, :32, :32] if make is detr else X, Box(), methods=["gradient-x-input", "random"], out=tmp_path,
        checks={
            "completeness": "completeness", "degradation": hp.checks.Degradation(steps=2),
            "sensitivity-n": hp.checks.SensitivityN(sets=3, sizes=2),
        },
        progress=False, threads=1,
    )  # fmt: skip
    assert not run.manifest["failures"]
    assert run.manifest["target"]["name"] == "the score of the predicted label in the predicted box"
    rows = run.rows()
    assert set(rows["check"]) == {"completeness", "degradation", "sensitivity-n"}
    assert rows[rows["check"] == "degradation"]["value"].notna().all()


class Fixed(nn.Module):
    """Boxes of a picture as they are told, with the mean as their score."""

    def __init__(self, *boxes: list[list[float]]) -> None:
        super().__init__()
        self.boxes, self.gain = boxes, nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        found = []
        for one, boxes in zip(x, self.boxes, strict=False):
            k = len(boxes)
            scores = self.gain * one.mean() * torch.linspace(1, 0.5, k) if k else one.new_zeros(0)
            found.append(
                {"boxes": torch.tensor(boxes).view(k, 4), "labels": torch.ones(k, dtype=torch.long), "scores": scores}
            )
        return found


def test_samples_without_a_box_are_named_together() -> None:
    net = Fixed([], [[0.0, 0.0, 4.0, 4.0]]).eval()
    with pytest.raises(InputError, match=r"samples \[0\] have none; leave them out, or give `box` and `label`"):
        Box().aim(net, X)


def test_a_box_without_an_area_is_none() -> None:
    """The best box is a line, which overlaps nothing: the second best is explained, not a score of 0."""
    boxes = [[1.0, 1.0, 1.0, 9.0], [0.0, 0.0, 4.0, 4.0]]
    maps = GradientXInput()(Fixed(boxes, boxes).eval(), X, Box())
    torch.testing.assert_close(maps, 0.5 * X / X[0].numel())
