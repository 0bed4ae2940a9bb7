"""A recording as a CUDA graph, where there is no GPU: what it has to keep alive."""

import gc
import weakref
from contextlib import nullcontext
from types import SimpleNamespace

import torch

from heatproof import captured, tape

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2])


def noisy(x, labels):
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    return (x * noise + labels[:, None],)


def test_what_a_graph_reads_lives_as_long_as_it(monkeypatch):
    """A graph holds addresses: what was recorded from elsewhere, such as noise, is kept by what replays it."""
    stream = SimpleNamespace(wait_stream=lambda other: None, wait_event=lambda event: None)
    replays = []
    for name, made in {
        "device": lambda _: nullcontext(), "stream": lambda _: nullcontext(), "graph": lambda _, **__: nullcontext(),
        "Stream": lambda: stream, "current_stream": lambda: stream,
        "Event": lambda: SimpleNamespace(record=lambda: None),
        "CUDAGraph": lambda: SimpleNamespace(replay=lambda: replays.append(1)),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, made)
    played = tape.recorded(noisy, X, Y)
    alive, expected = weakref.ref(played), noisy(X, Y)[0]
    replayed = captured.captured(played, X, Y)
    del played
    gc.collect()
    assert alive() is not None
    assert torch.equal(alive()(X, Y)[0], expected)
    first = replayed(X, Y)[0]
    assert torch.equal(first, expected)
    first.zero_()
    assert torch.equal(replayed(X, Y)[0], expected)  # what is handed out is no place of the graph's
    assert replays == [1, 1]
    del replayed
    gc.collect()
    assert alive() is None
