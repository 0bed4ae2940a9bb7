"""Reading much takes no more memory than reading little."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FEW, MANY = 200, 20_000
ALLOWED = 300  # MiB
READ = """
import resource, sys
import numpy as np
import torch
from heatproof.data import ImageFolder, as_blocks
from heatproof.data.ahead import ahead

kind, folder, samples = sys.argv[1], sys.argv[2], int(sys.argv[3])

class Generated:
    def __len__(self):
        return samples

    def __getitem__(self, i):
        return torch.full((3, 224, 224), float(i % 251)), i % 10

if kind == "folder":
    data = ImageFolder(root=folder, limit=samples, resize=None, crop=224)
elif kind == "mapped":
    data = np.memmap(folder, dtype=np.float32, mode="r", shape=(samples, 3, 224, 224))
else:
    data = Generated()
blocks = as_blocks(data)
seen, total = 0, 0.0
for block in ahead(blocks, [(i, min(i + 64, samples)) for i in range(0, samples, 64)]):
    seen += len(block)
    total += float(block.inputs[:, 0, 0, 0].sum())
assert seen == samples, seen
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peak(kind: str, folder: Path, samples: int) -> int:
    """MiB that a process of its own takes at most."""
    command = [sys.executable, "-c", READ, kind, str(folder), str(samples)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=900).stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As many pictures as wanted, of which a few differ."""
    random = np.random.default_rng(0)
    for i in range(20):
        small = Image.fromarray(random.integers(0, 256, (7, 7, 3), dtype=np.uint8))
        small.resize((224, 224)).save(tmp_path / f"{i}.jpg")
    (tmp_path / "all").mkdir()
    for i in range(MANY):
        os.link(tmp_path / f"{i % 20}.jpg", tmp_path / "all" / f"{i:06d}.jpg")
    return tmp_path / "all"


@pytest.mark.slow
def test_pictures_of_a_folder(folder: Path):
    assert peak("folder", folder, MANY) - peak("folder", folder, FEW) < ALLOWED


@pytest.mark.slow
def test_a_data_set_of_the_users(tmp_path: Path):
    assert peak("generated", tmp_path, MANY) - peak("generated", tmp_path, FEW) < ALLOWED
