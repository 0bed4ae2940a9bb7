"""Numbers of a counter and of a sample's values, with Python's integers."""

import math
import struct
from statistics import NormalDist

WORD = 2**64
STEP, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def mixed(word, between=0):
    word = ((word ^ word >> 30) * FIRST) % WORD ^ between % WORD
    word = ((word ^ word >> 27) * SECOND) % WORD
    return word ^ word >> 31


def halves(key, count):
    """The 32-bit integers of a stream with the two words `key`, without sign."""
    found = []
    for i in range((count + 1) // 2):
        word = mixed((key[0] + i * STEP) % WORD, key[1])
        found += [word % 2**32, word >> 32]
    return found[:count]


def uniform(key, count):
    """On [−1, 1): the half as a signed integer, without its last seven bits."""
    signed = (half - 2**32 if half >= 2**31 else half for half in halves(key, count))
    return [(half // 2**7) / 2**24 for half in signed]


def normal(key, count):
    """Φ⁻¹ by the library's, at the middle of the half's place in (0, 1); negative where the highest bit is set."""
    found = []
    for half in halves(key, count):
        negative = half >= 2**31
        magnitude = 2**32 - 1 - half if negative else half
        size = -NormalDist().inv_cdf((magnitude + 0.5) / 2**32)
        found.append(-size if negative else size)
    return found


def stream(mark, key, copy):
    """The words of a stream, from a sample's and those of the key."""
    return [mixed((word + key[0] + copy * STEP) % WORD, key[1]) for word in mark]


def mark(values, shape):
    """The two words of a sample with these values, of a shape with the words `shape`."""
    first = second = 0
    for place, value in enumerate(values):
        bits = struct.unpack("<I", struct.pack("<f", value))[0]
        word = mixed((bits + (place << 32)) % WORD ^ shape[0] % WORD, shape[1])
        first += word
        second += (word ^ word >> 32) * FIRST
    return [mixed(total % WORD, shape[0]) for total in (first, second)]


def chance(count):
    """How often so many bits of a fair coin are 1, as far as four standard errors: (low, high)."""
    spread = 4 * math.sqrt(0.25 / count)
    return 0.5 - spread, 0.5 + spread
