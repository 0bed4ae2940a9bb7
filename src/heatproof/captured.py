"""What was recorded as a CUDA graph, and tensors that lie in memory as others do."""

from functools import partial
from threading import Lock

import torch
from torch import Tensor

from heatproof.errors import OperationError
from heatproof.tape import Played

_CAPTURING = Lock()  # a process captures one graph at a time


def captured(played: Played, x: Tensor, labels: Tensor) -> Played:
    """The same as a CUDA graph, with its own place for what comes in."""
    with torch.cuda.device(x.device):
        return _graph(played, x, labels)


def _graph(played: Played, x: Tensor, labels: Tensor) -> Played:
    given = (as_laid_out(x, x), labels.clone())
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch does not annotate it
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # libraries make room for themselves before it is captured
        for _ in range(2):
            played(*given)
    torch.cuda.current_stream().wait_stream(stream)
    graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    try:
        # On a stream of this device (torch's own is one of the first device that was used), beside other threads' work.
        with _CAPTURING, torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            made = played(*given)
    except RuntimeError as error:
        torch.cuda.set_stream(before)  # which torch leaves only where a capture succeeded
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise OperationError(
            "Expected steps that a CUDA graph can hold, but one of them cannot be captured; call the method itself. "
            f"torch says: {str(error).splitlines()[0]}"
        ) from error
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]  # as above
    return partial(_replayed, (graph, played), given, made, done)  # the graph reads what `played` holds where it lies


def _replayed(
    graph: tuple[torch.cuda.CUDAGraph, Played], given: tuple[Tensor, ...], made: tuple[Tensor, ...],
    done: torch.cuda.Event, *now: Tensor,
) -> tuple[Tensor, ...]:  # fmt: skip
    with torch.cuda.device(given[0].device):
        torch.cuda.current_stream().wait_event(done)  # another stream's replay, before its inputs are written over
        for place, value in zip(given, now, strict=True):
            _write(place, value)
        graph[0].replay()
        found = tuple(tensor.clone() for tensor in made)
        done.record()
    return found


def as_laid_out(values: Tensor, x: Tensor) -> Tensor:
    """These values, laid out in memory as `x` is: what was recorded may hang on it."""
    made = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device)
    _write(made, values)
    return made


def _write(place: Tensor, values: Tensor) -> None:
    if 0 in place.stride():  # expanded from one
        once = tuple(slice(0, 1) if stride == 0 else slice(None) for stride in place.stride())
        place, values = place[once], values[once]
    place.copy_(values)
