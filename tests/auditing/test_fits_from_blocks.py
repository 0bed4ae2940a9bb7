"""What is learned from blocks is what is learned from the same samples in memory, side inputs included."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from heatproof.auditing.fits import Batches, Lessons
from heatproof.data import Dataset, NpzImages, Source, as_blocks, snapshot
from heatproof.data.binding import met
from heatproof.fingerprint import network_fingerprint
from heatproof.methods import PatternNet
from heatproof.methods.fitted import Sided, following, inputs_of
from heatproof.models import Bound, forward, with_given

IDS = torch.randint(1, 9, (23, 5), generator=torch.Generator().manual_seed(0))
MASK = (torch.arange(5) < torch.randint(2, 6, (23, 1), generator=torch.Generator().manual_seed(1))).long()
LABELS = torch.arange(23) % 2
TEXTS = Dataset(
    name="texts",
    inputs=IDS,
    targets=LABELS,
    ids=tuple(f"t{i}" for i in range(23)),
    tokens=tuple(tuple(map(str, row)) for row in IDS.tolist()),
    mask=MASK,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "cache"))


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.embedding, self.hidden, self.head = nn.Embedding(9, 4), nn.Linear(4, 6), nn.Linear(6, 2)
        self.eval()

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        h = self.hidden(self.embedding(tokens) * mask[..., None]).relu()
        return self.head(h.mean(1))


def bound() -> Bound:
    return Bound(Words(), at="embedding", given={"tokens": "ids", "mask": "mask"})


def lessons(model: nn.Module, data: object, like: torch.Tensor) -> Lessons:
    return Lessons(fingerprint=network_fingerprint(model), data=data, like=like)


def test_images_from_blocks_are_fitted_to_the_same_bits(tmp_path: Path):
    x = torch.rand(20, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    data = Dataset(name="d", inputs=x, targets=torch.arange(20) % 2, ids=tuple(map(str, range(20))))
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)).eval()
    kept = snapshot(data, tmp_path / "kept", shard=7)
    forms: list[Dataset | Source] = [data, kept]
    batches = [list(Batches(as_blocks(form), 8, x)) for form in (*forms, kept.load())]
    for other in batches[1:]:
        for one, two in zip(batches[0], other, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    fits = [lessons(net, as_blocks(form), x[:1]).fit(PatternNet(), net) for form in forms]
    assert fits[0] == fits[1]


def test_texts_are_fitted_batch_by_batch_with_their_side_inputs():
    model = bound()
    whole = with_given(model, TEXTS.sides)
    one = PatternNet()
    by_blocks = lessons(model, as_blocks(TEXTS), whole.inputs()).fit(one, model)
    # The same order of samples, and all side inputs at once, in that order.
    rows = torch.cat([batch.given["ids"] for batch in Batches(TEXTS, 8, whole.inputs(), model=model)])
    masks = torch.cat([batch.given["mask"] for batch in Batches(TEXTS, 8, whole.inputs(), model=model)])
    ordered = with_given(model, {"ids": rows, "mask": masks})
    at_once = one.fit(ordered, list(torch.split(ordered.inputs(), 64))).fitted
    assert set(by_blocks) == set(at_once)
    for name in by_blocks:
        torch.testing.assert_close(by_blocks[name], at_once[name], atol=1e-6, rtol=1e-5)
    assert by_blocks.facts["samples"] == "23"
    assert model.given == {}  # nobody's Bound was changed


def test_rows_go_on_counting_from_batch_to_batch():
    model = bound()
    own = following(model)
    seen = 0
    for start in (0, 8, 16):
        part = as_blocks(TEXTS).read(start, start + 8)
        opened, x = met(model, part)
        own.follow(part.sides, seen)
        rows = torch.arange(seen, seen + len(x))
        assert torch.equal(forward(own, x, rows), forward(opened, x))
        seen += len(x)


def test_batches_bring_their_side_inputs():
    model = bound()
    batches = list(Batches(TEXTS, 8, with_given(model, TEXTS.sides).inputs(), model=model))
    assert [len(inputs_of(batch)) for batch in batches] == [8, 8, 7]
    assert all(isinstance(batch, Sided) for batch in batches)
    opened = with_given(model, batches[1].given)
    assert torch.equal(opened.inputs(), batches[1][0])


def test_samples_that_cannot_be_used_make_a_batch_smaller(tmp_path: Path):
    images = np.ones((9, 4, 4), dtype=np.float32)
    images[[2, 5]] = np.nan
    np.savez(tmp_path / "x.npz", x=images, y=np.arange(9) % 2)
    source = NpzImages(path=str(tmp_path / "x.npz"))
    heard: list[int] = []
    batches = list(Batches(as_blocks(source), 3, torch.zeros(1, 1, 4, 4), read=lambda: heard.append(1)))
    assert sum(len(x) for x, _ in batches) == 7
    assert len(heard) == 3
