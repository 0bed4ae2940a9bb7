"""Random numbers as a function of where they stand: the same bits on every device, drawn where they are needed.

Number i of a stream is a mix of its key and of i, as in Salmon et al. 2011, here with the mix of SplitMix64 (Steele et
al. 2014; variant 13 of Stafford's), which is all additions, products and shifts of 64-bit integers: they wrap alike on
every device. Half a word becomes a number by exact steps too: uniform on [−1, 1), or normal by a table of the quantile
function, whose steps are an interpolation that is at most 1e-6 off, reach to ±6.3, and are never contracted.
"""

import math
from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor

Words = tuple[int, int]

_OCTAVE = 8  # 2⁸ bins to each factor of two of the tail's probability
_LOW, _HIGH = -1, 31  # of 2³² · probability: exponents of the smallest and of ½
_CPU, _DEVICE = 2**15, 2**24  # numbers made at a time: what fits a cache, and what fits beside the caller's tensors


def _signed(word: int) -> int:
    """A word of 64 bits as torch writes it."""
    return (word & (2**64 - 1)) - (2**64 if word >> 63 & 1 else 0)


_STEP = _signed(0x9E3779B97F4A7C15)
_FIRST, _SECOND = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def mixed(words: Tensor, between: Tensor | int = 0) -> Tensor:
    """`words` (int64), changed in place: a bijection that looks random, another one for each word put `between`."""
    spare = torch.empty_like(words)
    _fold(words, 30, spare).mul_(_FIRST).bitwise_xor_(between)
    _fold(words, 27, spare).mul_(_SECOND)
    return _fold(words, 31, spare)


def _fold(words: Tensor, by: int, spare: Tensor) -> Tensor:
    """words ^ (words >>> by), in place; `spare` has the shape of `words`."""
    torch.bitwise_right_shift(words, by, out=spare).bitwise_and_((1 << (64 - by)) - 1)
    return words.bitwise_xor_(spare)


def marks(inputs: Tensor, shape: Words) -> Tensor:
    """Two words a sample of `inputs` (N, …), from its values in float32 and their order: (N, 2), on their device.

    128 bits that differ where anything differs, but for accidents; `shape` says what they are values of.
    """
    flat = inputs.detach().to(torch.float32).reshape(len(inputs), -1).contiguous().view(torch.int32)
    found = torch.zeros(len(inputs), 2, dtype=torch.int64, device=inputs.device)
    for rows, columns in _pieces(len(flat), flat.shape[1], inputs.device):
        place = torch.arange(columns.start, columns.stop, device=inputs.device) << 32
        words = (flat[rows, columns].to(torch.int64) & (2**32 - 1)) + place
        words = mixed(words.bitwise_xor_(shape[0]), shape[1])
        found[rows, 0] += words.sum(1)  # sums that wrap: of whatever order they are made, they are the same
        found[rows, 1] += _fold(words, 32, torch.empty_like(words)).mul_(_FIRST).sum(1)
    return mixed(found, shape[0])


def streams(samples: Tensor, key: Words, copies: range) -> Tensor:
    """The keys (copies, N, 2) of a stream for each copy and sample, from the samples' marks (N, 2)."""
    count = torch.arange(copies.start, copies.stop, device=samples.device)[:, None, None] * _STEP
    return mixed(samples + key[0] + count, key[1])


def normal(keys: Tensor, count: int) -> Tensor:
    """So many standard normal numbers of each stream of `keys` (S, 2): (S, count), float32."""
    values, slopes = _table(keys.device)
    found = torch.empty(len(keys), count, dtype=torch.float32, device=keys.device)
    for rows, columns, halves in _halves(keys, count):
        sign = halves >> 31  # −1 or 0
        tail = torch.bitwise_xor(halves, sign).to(torch.float32).add_(0.5)  # 2³² · probability, up to 2³¹
        bins = torch.bitwise_right_shift(tail.view(torch.int32), 23 - _OCTAVE, out=sign).sub_(_first_bin()).flatten()
        # Two steps, each rounded: a fused one would be rounded once where a device has it.
        size = slopes.index_select(0, bins).view_as(tail).mul_(tail).add_(values.index_select(0, bins).view_as(tail))
        size.view(torch.int32).bitwise_or_(halves & -(2**31))
        found[rows, columns] = size[:, : columns.stop - columns.start]
    return found


def uniform(keys: Tensor, count: int) -> Tensor:
    """So many numbers on [−1, 1) of each stream of `keys` (S, 2), multiples of 2⁻²⁴: (S, count), float32."""
    found = torch.empty(len(keys), count, dtype=torch.float32, device=keys.device)
    for rows, columns, halves in _halves(keys, count):
        found[rows, columns] = (halves >> 7).to(torch.float32)[:, : columns.stop - columns.start].mul_(2.0**-24)
    return found


def _halves(keys: Tensor, count: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """Pieces of the streams: rows and columns of the result, and the 32-bit integers for them, perhaps one too many."""
    for rows, words in _pieces(len(keys), -(-count // 2), keys.device):
        at = torch.arange(words.start, words.stop, device=keys.device).mul_(_STEP)
        both = mixed(keys[rows, :1] + at, keys[rows, 1:])
        yield rows, slice(2 * words.start, min(2 * words.stop, count)), both.view(torch.int32)


def _pieces(rows: int, columns: int, device: torch.device) -> Iterator[tuple[slice, slice]]:
    """A table of words in pieces that are worked on at a time."""
    most = (_CPU if device.type == "cpu" else _DEVICE) // 2
    width = max(1, min(columns, most))
    height = max(1, most // width)
    for row in range(0, rows, height):
        for column in range(0, columns, width):
            yield slice(row, min(row + height, rows)), slice(column, min(column + width, columns))


def _first_bin() -> int:
    """Bin 0 by the highest bits of a float32: its exponent and the first of its mantissa."""
    return (127 + _LOW) << _OCTAVE


@cache
@torch.inference_mode(False)  # what is kept serves every later call
def _table(device: torch.device) -> tuple[Tensor, Tensor]:
    """−Φ⁻¹(t / 2³²) as value + slope · t in each bin of t, from ½ to 2³¹."""
    steps = 1 + torch.arange(2**_OCTAVE, dtype=torch.float64, device="cpu") / 2**_OCTAVE
    octaves = [math.ldexp(1.0, exponent) * steps for exponent in range(_LOW, _HIGH)]
    edges = torch.cat([*octaves, torch.full_like(steps[:1], math.ldexp(1.0, _HIGH))])
    quantiles = -torch.special.ndtri(edges / 2**32)
    slopes = quantiles.diff() / edges.diff()
    values = quantiles[:-1] - slopes * edges[:-1]
    last = edges.new_zeros(1)  # t = 2³¹ itself, where float32 rounds to it, is the median
    return torch.cat([values, last]).float().to(device), torch.cat([slopes, last]).float().to(device)


def words_of(digest: bytes) -> Words:
    """The first two words of a digest."""
    return _signed(int.from_bytes(digest[:8], "big")), _signed(int.from_bytes(digest[8:16], "big"))
