"""Runs that are finished without having been computed: the first block is, and its files stand for all others."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import heatproof as hp
from heatproof.auditing import Run
from heatproof.runs import Store, seal
from heatproof.runs.blocks import digest_of
from heatproof.runs.files import LocalFiles
from heatproof.runs.store import ROWS, SAMPLES


class Generated:
    """Small pictures, each made when it is read: blocks of a sample, as many as wanted."""

    name, classes = "generated", None

    def __init__(self, count: int, side: int = 4) -> None:
        self.count, self.side, self.identity = count, side, f"{count} of {side}"

    def __len__(self) -> int:
        return self.count

    def read(self, start: int, stop: int) -> hp.data.Dataset:
        drawn = [torch.Generator().manual_seed(i) for i in range(start, stop)]
        return hp.data.Dataset(
            name=self.name,
            inputs=torch.stack([torch.rand(3, self.side, self.side, generator=one) for one in drawn]),
            targets=torch.arange(start, stop) % 4,
            ids=tuple(map(str, range(start, stop))),
        )


def audit(blocks: int, out: Path, **changes: Any) -> Run:
    """The audit of so many blocks of one sample: two methods, the states of randomization, pooled correlations."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 4)).eval()
    settings: dict[str, Any] = {
        "methods": ["gradient", "gradient-x-input"],
        "checks": ["parameter-randomization", "calibration"],
        "batch": 1,
        "threads": 1,
        "progress": False,
    }
    return hp.audit(net, Generated(blocks), hp.targets.Label("given"), out=out, **{**settings, **changes})


def finished(blocks: int, out: Path, **changes: Any) -> None:
    """The folder of that audit when it has ended: block 0 is computed, and the others have files of their own name."""
    audit(blocks, out, **changes, shard=f"1/{blocks}")
    store = Store(_Fast(out))
    for folder in (ROWS, SAMPLES):
        first = next(part for part in store.parts(folder) if part.block == 0)
        there = {part.block for part in store.parts(folder)}
        content = _unsealed(store.files.read(first.name))
        for block in range(1, blocks):
            part = first._replace(block=block, samples=digest_of([str(block)]))
            if block not in there:
                store.files.create(part.name, seal.sealed(content, part.name))
    audit(blocks, out, **changes)  # says what is said of all blocks together


def _unsealed(content: bytes) -> bytes:
    found = next(seal._SEALS.finditer(content))
    start, stop = found.span(1)
    return content[:start] + b"0" * (stop - start) + content[stop:]


class _Fast(LocalFiles):
    """Without waiting for the disk."""

    def create(self, name: str, content: bytes) -> bool:
        (self.root / name).write_bytes(content)
        return True


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """How many files are read and written in here, and how often a folder is listed."""
    found = dict.fromkeys(("listed", "read", "written"), 0)
    names = {"names": "listed", "read": "read", "create": "written", "replace": "written"}
    before = {name: getattr(LocalFiles, name) for name in names}

    def counting(name: str) -> Any:
        def call(*arguments: Any) -> Any:
            found[names[name]] += 1
            return before[name](*arguments)

        return call

    try:
        for name in names:
            setattr(LocalFiles, name, counting(name))
        yield found
    finally:
        for name, method in before.items():
            setattr(LocalFiles, name, method)
