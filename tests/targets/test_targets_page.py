"""What docs/targets.md shows runs, and its table names every target."""

import re
from pathlib import Path

import torch
from torch import nn

import heatproof as hp

PAGE = (Path(__file__).parents[2] / "docs" / "targets.md").read_text(encoding="utf-8")


def test_the_blocks_run(tmp_path: Path) -> None:
    block, audit = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    x = torch.rand(2, 1, 4, 4)

    class Detector(nn.Module):
        def forward(self, x: torch.Tensor) -> list[dict[str, torch.Tensor]]:
            box, label = torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.tensor([0])
            return [{"boxes": box, "labels": label, "scores": one.mean()[None]} for one in x]

    names = {
        "hp": hp,
        "folder": tmp_path,
        "method": hp.methods.Gradient(),
        "model": nn.Sequential(nn.Flatten(), nn.Linear(16, 4)).eval(),
        "segmenter": nn.Sequential(nn.Conv2d(1, 16, 1), nn.Hardtanh(-9, 9)).eval(),
        "detector": Detector().eval(),
        "language_model": nn.Linear(5, 43).eval(),
        "images": x,
        "embeddings": torch.rand(2, 3, 5),
    }
    with torch.no_grad():
        names["segmenter"][0].bias[15] = 99.0
    for line in block.strip().split("\n"):
        exec(line, names)
        assert names["maps"].shape == (names["embeddings"] if "embeddings" in line else x).shape
    exec(audit.replace("checks=", "progress=False, out=folder, checks="), names)
    assert not names["run"].manifest["failures"]


def test_every_target_has_a_row() -> None:
    rows = set(re.findall(r"^\| `(\w+)\(", PAGE, re.MULTILINE))
    made = {name for name in hp.targets.__all__ if name[0].isupper() and name not in ("TARGETS", "Aim", "Target")}
    assert rows == made
