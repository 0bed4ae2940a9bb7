"""A run is not gone on with on other samples, and maps that do not resolve a direction are judged all the same."""

from pathlib import Path

import pytest
import torch
from torch import nn

import heatproof as hp
from heatproof.data import ImageFolder
from heatproof.errors import StoreError


def test_pictures_that_changed_under_their_names_are_refused_where_the_first_block_is_finished(tmp_path: Path) -> None:
    from PIL import Image

    for name in "abcd":
        (tmp_path / "pets" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (10 * ord(name) % 256, 0, 0)).save(tmp_path / "pets" / name / "1.png")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 4)).eval()

    def audited() -> None:
        hp.audit(
            net, ImageFolder(root=str(tmp_path / "pets"), resize=None, crop=8), hp.targets.Label("given"),
            methods=["gradient-x-input"], checks=["completeness"], out=tmp_path / "run", batch=4, threads=1,
        )  # fmt: skip

    audited()
    audited()
    Image.new("RGB", (8, 8), (0, 99, 0)).save(tmp_path / "pets" / "d" / "1.png")
    with pytest.raises(StoreError, match="the samples that block 0 had when it was begun"):
        audited()


def test_grad_cam_of_a_network_that_mixes_one_direction_at_once(tmp_path: Path) -> None:
    """EEGNet and its like: a convolution over all electrodes leaves time alone, and the map is the same for each."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, (5, 1)), nn.ReLU(), nn.Conv2d(4, 4, (1, 3), padding=(0, 1)), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    ).eval()  # fmt: skip
    x = torch.randn(4, 1, 5, 20)
    run = hp.audit(net, x, 0, methods=["grad-cam"], checks=["complexity"], out=tmp_path, threads=1, progress=False)
    assert run.manifest["failures"] == []
    assert run.manifest["data"]["grid"] == [5, 20]
    assert set(run.rows().method) == {"grad-cam"}
    map_ = hp.methods.GradCAM()(net, x, 0)
    assert map_.shape == (4, 1, 1, 20)
    assert torch.equal(hp.features.Pixels().pool(map_, (1, 5, 20)), map_[:, 0].expand(4, 5, 20))
