"""LSTM, GRU and plain RNN in operations that have rules, for every signature that torch's modules use."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

State = tuple[Tensor, ...]
Cell = Callable[[Tensor, Tensor, State], State]  # (input share, recurrent share, state) -> state, whose first is h


class _Arguments(NamedTuple):
    x: Tensor  # (steps in order of time, features)
    sizes: list[int]  # how many sequences still run at each step
    state: State
    parameters: Sequence[Tensor]
    biases: bool
    layers: int
    directions: int
    batch_first: bool | None  # None: packed


def _lstm_cell(x: Tensor, h: Tensor, state: State) -> State:
    i, f, g, o = (x + h).chunk(4, -1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _gru_cell(x: Tensor, h: Tensor, state: State) -> State:
    (xr, xz, xn), (hr, hz, hn) = x.chunk(3, -1), h.chunk(3, -1)
    r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
    n = torch.tanh(xn + r * hn)
    return (n + z * (state[0] - n),)


def _tanh_cell(x: Tensor, h: Tensor, state: State) -> State:
    return (torch.tanh(x + h),)


def _relu_cell(x: Tensor, h: Tensor, state: State) -> State:
    return (torch.relu(x + h),)


def _read(args: Sequence[Any], states: int) -> _Arguments:
    x = args[0]
    if isinstance(args[1], Tensor) and args[1].dim() == 1 and args[1].dtype == torch.int64:  # packed
        sizes, hidden, parameters, biases, layers, _, _, both = args[1:9]
        state = tuple(hidden) if states == 2 else (hidden,)
        return _Arguments(x, sizes.tolist(), state, parameters, biases, layers, 2 if both else 1, None)
    hidden, parameters, biases, layers, _, _, both, batch_first = args[1:9]
    x = x.transpose(0, 1) if batch_first else x
    steps, samples = x.shape[:2]
    state = tuple(hidden) if states == 2 else (hidden,)
    return _Arguments(
        x.reshape(steps * samples, -1),
        [samples] * steps,
        state,
        parameters,
        biases,
        layers,
        2 if both else 1,
        batch_first,
    )


def _network(cell: Cell, states: int) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        given = _read(args, states)
        x, finals = given.x, [[] for _ in range(states)]  # type: ignore[var-annotated]
        each = len(given.parameters) // (given.layers * given.directions)
        for layer in range(given.layers):
            outs = []
            for direction in range(given.directions):
                index = layer * given.directions + direction
                weights = given.parameters[index * each : (index + 1) * each]
                start = tuple(part[index] for part in given.state)
                out, state = _direction(cell, x, given.sizes, weights, given.biases, start, direction == 1)
                outs.append(out)
                for final, part in zip(finals, state, strict=True):
                    final.append(part)
            x = outs[0] if len(outs) == 1 else torch.cat(outs, -1)
        if given.batch_first is not None:
            x = x.view(len(given.sizes), given.sizes[0], -1)
            x = x.transpose(0, 1) if given.batch_first else x
        return (x, *(torch.stack(final) for final in finals))

    return run


def _direction(
    cell: Cell,
    x: Tensor,
    sizes: list[int],
    weights: Sequence[Tensor],
    biases: bool,
    state: State,
    backwards: bool,
) -> tuple[Tensor, State]:
    to_gates, from_hidden = weights[:2]
    bias_x, bias_h = weights[2:4] if biases else (None, None)
    projection = weights[-1] if len(weights) == (5 if biases else 3) else None
    starts = torch.tensor([0, *sizes]).cumsum(0).tolist()
    shares = F.linear(x, to_gates, bias_x)
    outs: list[Tensor] = [x] * len(sizes)
    for step in reversed(range(len(sizes))) if backwards else range(len(sizes)):
        n = sizes[step]
        running = tuple(part[:n] for part in state)
        new = cell(shares[starts[step] : starts[step + 1]], F.linear(running[0], from_hidden, bias_h), running)
        if projection is not None:
            new = (F.linear(new[0], projection), *new[1:])
        outs[step] = new[0]
        # Sequences that have ended, or not begun backwards, keep their state.
        state = tuple(torch.cat([fresh, part[n:]]) for fresh, part in zip(new, state, strict=True))
    return torch.cat(outs), state


def _single(cell: Cell, states: int) -> Callable[..., Any]:
    def run(
        x: Tensor,
        hidden: Any,
        to_gates: Tensor,
        from_hidden: Tensor,
        bias_x: Tensor | None = None,
        bias_h: Tensor | None = None,
    ) -> Any:
        state = tuple(hidden) if states == 2 else (hidden,)
        new = cell(F.linear(x, to_gates, bias_x), F.linear(state[0], from_hidden, bias_h), state)
        return new if states == 2 else new[0]

    return run


DECOMPOSED: dict[str, Callable[..., Any]] = {
    "lstm": _network(_lstm_cell, 2),
    "gru": _network(_gru_cell, 1),
    "rnn_tanh": _network(_tanh_cell, 1),
    "rnn_relu": _network(_relu_cell, 1),
    "lstm_cell": _single(_lstm_cell, 2),
    "gru_cell": _single(_gru_cell, 1),
    "rnn_tanh_cell": _single(_tanh_cell, 1),
    "rnn_relu_cell": _single(_relu_cell, 1),
}
