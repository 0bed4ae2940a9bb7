"""An audit of a folder of pictures with a folder of masks, from a spec: its rows, and its page."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from heatproof import report
from heatproof.auditing import from_spec
from heatproof.auditing.spec import parse
from heatproof.report.content import content

SPEC = """
methods = ["gradient-x-input", "random"]
checks = ["bounding-box"]
[model]
name = "linear_of_pictures:net"
[data]
name = "image-folder"
root = "{root}"
resize = 12
crop = 12
{where}
"""
MODULE = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 3)).eval()
"""


def test_masks_of_a_spec_give_the_rows_of_the_boxes_that_they_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "pictures"
    root.mkdir()
    rng = np.random.default_rng(0)
    lines = ["file,xmin,ymin,xmax,ymax"]
    (root / "masks").mkdir()
    for i, (x0, y0, x1, y1) in enumerate([(0, 0, 8, 10), (4, 6, 20, 12), (10, 2, 16, 20), (2, 2, 4, 4)]):
        Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(root / f"{i}.png")
        lines.append(f"{i}.png,{x0},{y0},{x1},{y1}")
        mask = np.zeros((24, 24), np.uint8)
        mask[y0:y1, x0:x1] = 255
        Image.fromarray(mask).save(root / "masks" / f"{i}.png")
    (root / "boxes.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "linear_of_pictures.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    rows = {}
    for kind, where in (("masks", 'masks = "masks"'), ("boxes", 'boxes = "boxes.csv"')):
        if kind == "boxes":
            (root / "masks").rename(tmp_path / "moved")  # a folder of pictures beside pictures
        spec = parse(tomllib.loads(SPEC.format(root=root.as_posix(), where=where)))
        found = from_spec.run(spec, tmp_path / kind, progress=False)
        rows[kind] = found.rows().sort_values(["method", "metric", "setting", "sample"]).reset_index(drop=True)
    assert len(rows["masks"]) > 0
    for column in ("method", "metric", "setting", "sample", "value"):
        assert rows["masks"][column].equals(rows["boxes"][column])
    assert torch.tensor(rows["masks"].value.tolist()).isfinite().any()
    page = report.render(content(tmp_path / "masks"))
    assert '<path class="box" d="M' in page
