"""A network small enough to be taken apart in a test, and pictures for it."""

import io
import struct
import zlib

import numpy as np
import torch
from PIL import Image
from torch import nn

import heatproof as hp
from heatproof.data import Dataset
from heatproof.data.pictures import PictureSource
from heatproof.randomization import Cascading, Independent
from heatproof.view.subject import USUAL, Subject


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)
        return nn.Sequential(*layers).eval()


def picture(size: tuple[int, int] = (8, 8), kind: str = "PNG", mode: str = "RGB", seed: int = 0) -> bytes:
    depth = () if mode == "L" else (3,)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], *depth), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def a_subject(**more: object) -> Subject:
    fields = {
        "name": "toy", "model": net(), "methods": {name: hp.methods.get(name) for name in USUAL}, "chosen": USUAL,
        "randomizations": {"cascading he": Cascading(), "independent he": Independent()},
        "picture": PictureSource(resize=8, crop=8), "classes": ("ant", "bee", "cat", "dog", "elk"),
    }  # fmt: skip
    return Subject(**{**fields, **more})


class Reads(nn.Module):
    """A network of texts with one output."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.embedding, self.head = nn.Embedding(6, 4), nn.Linear(4, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.embedding(ids).mean(1))


def a_text() -> Subject:
    """A network of texts, and one of them."""
    words = (("good", "<b>", "[new]", *["<pad>"] * 5),)
    tokens = torch.tensor([[3, 4, 1, 0, 0, 0, 0, 0]])
    data = Dataset(name="texts", inputs=tokens, targets=torch.tensor([1]), ids=("t",), tokens=words)
    return a_subject(
        model=hp.models.Bound(Reads().eval(), at="embedding", given={"ids": "ids"}),
        methods={name: hp.methods.get(name) for name in ("gradient-x-input", "grad-cam")},
        chosen=("gradient-x-input",),
        samples=hp.data.as_blocks(data),
        picture=None,
        no_picture="These samples are no pictures; choose one of them.",
    )


def bomb() -> bytes:
    """A PNG of a few kilobytes that says to hold 100,000 x 100,000 pixels."""

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(2**20))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", rows) + part(b"IEND", b"")
