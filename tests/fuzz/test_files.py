"""Data files that are broken, or made to do harm."""

import io
import random
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import limits
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from heatproof.auditing.model_spec import load_weights
from heatproof.data import DATA
from heatproof.errors import HeatproofError
from heatproof.methods.given import Maps

PIXELS = np.random.default_rng(0).integers(0, 255, (16, 20, 3), np.uint8)


def pictures() -> dict[str, bytes]:
    """A small picture in every format."""
    found = {}
    for ending, mode in (("png", "RGB"), ("png", "RGBA"), ("png", "P"), ("jpg", "RGB"), ("gif", "P"), ("bmp", "RGB"),
                         ("tif", "RGB"), ("webp", "RGB"), ("ppm", "RGB"), ("png", "I;16")):  # fmt: skip
        buffer = io.BytesIO()
        image = Image.fromarray(PIXELS)
        (image.convert("I;16") if mode == "I;16" else image.convert(mode)).save(
            buffer, {"jpg": "jpeg", "tif": "tiff"}.get(ending, ending)
        )
        found[f"{mode.replace(';', '')}.{ending}"] = buffer.getvalue()
    return found


def bomb(width: int, height: int) -> bytes:
    """A PNG that says to be so large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def tables() -> dict[str, bytes]:
    """One whole file of every other kind."""
    npz, tar, parquet = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(npz, x=np.zeros((3, 8, 8), np.uint8), y=np.arange(3))
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name, content in (
            ("a.png", pictures()["RGB.png"]),
            ("a.cls", b"0"),
            ("b.jpg", pictures()["RGB.jpg"]),
            ("b.cls", b"1"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    table = pd.DataFrame({"text": ["a b", "b c"], "label": ["0", "1"]})
    table.to_parquet(parquet)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:  # 1 GB of zeros in a MB
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**40, 8, 8)})
        archive.writestr("x.npy", header.getvalue() + bytes(1000))
        archive.writestr("y.npy", header.getvalue())
    made = {"a.npz": npz, "huge.npz": zipped, "a.tar": tar, "a.parquet": parquet}
    return {**{name: one.getvalue() for name, one in made.items()}, "a.csv": table.to_csv(index=False).encode()}


def mutated(content: bytes, generator: random.Random) -> bytes:
    """The file with some bytes changed, cut out, put in or repeated."""
    for _ in range(generator.randint(0, 4)):
        place, kind = generator.randrange(len(content) + 1), generator.randrange(4)
        size = generator.choice([1, 1, 2, 4, 16])
        new = generator.choice([generator.randbytes(size), b"\xff" * size, b"\0" * size])
        keep = content[place + (0 if kind == 1 else size) :]
        content = content[:place] if kind == 2 else content[:place] + (b"" if kind == 3 else new) + keep
    return content


def source(name: str, path: Path) -> Any:
    """The source that reads such a file."""
    text = {"name": "text", "path": str(path), "vocabulary": str(path.parent / "words.txt"), "length": 4}
    picture = {"name": "image-folder", "root": str(path.parent), "resize": 8, "crop": 8}
    given: dict[str, Any] = {
        ".npz": {"name": "npz", "path": str(path)},
        ".tar": {"name": "webdataset", "root": str(path), "resize": 8, "crop": 8},
        ".parquet": text,
        ".csv": text,
    }.get(Path(name).suffix, picture)
    return DATA.get(given.pop("name"), **given)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("times", [120, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_file_ends_in_an_error_that_is_not_ours(tmp_path: Path, monkeypatch: Any, times: int) -> None:
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "cache"))
    save_file({"weight": torch.zeros(2, 2), "bias": torch.zeros(2)}, tmp_path / "net.safetensors")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "net.pt")
    weights = {name: (tmp_path / name).read_bytes() for name in ("net.safetensors", "net.pt")}
    whole = {**pictures(), "bomb.png": bomb(70_000, 70_000), "large.png": bomb(9000, 9000), **tables(), **weights}
    generator, found, began = random.Random(times), Counter[str](), limits.memory()
    for number in range(times):
        name = generator.choice(sorted(whole))
        folder = tmp_path / f"case{number}"
        folder.mkdir()
        (folder / "words.txt").write_text("<pad>\n<unk>\na\nb\n")
        path = folder / name
        path.write_bytes(mutated(whole[name], generator))
        call: Callable[[], Any] = lambda path=path, name=name: source(name, path).load()  # noqa: E731  # one of three
        if name in weights:
            call = lambda path=path: load_weights(nn.Linear(2, 2), path)  # noqa: E731
        elif name.endswith("npz") and generator.random() < 0.3:
            call = lambda path=path: Maps(path)  # noqa: E731
        if said := limits.wrong(call):
            found[f"case {number}, {name}: {said}"] += 1
        shutil.rmtree(folder)
    assert not found, "\n".join(found)
    assert limits.memory() - began < limits.MEMORY


def test_what_nobody_changed_is_read(tmp_path: Path) -> None:
    for name, content in pictures().items():
        (tmp_path / name).write_bytes(content)
    assert len(source("a.png", tmp_path / "RGB.png").load()) == len(pictures())
    with pytest.raises(HeatproofError, match="cannot be read"):
        load_weights(nn.Linear(2, 2), tmp_path / "none.safetensors")
