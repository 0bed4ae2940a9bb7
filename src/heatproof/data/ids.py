"""Whether ids are unique, without keeping them."""

import hashlib
from collections.abc import Sequence

import numpy as np

from heatproof.errors import InputError


def printable(name: str) -> str:
    """A name as text that can be written down: what is no letter, as in a file's name that is not UTF-8, as a code."""
    return name.encode("utf-8", "backslashreplace").decode()


def unique(ids: Sequence[object]) -> tuple[str, ...]:
    """The ids as text. Raises: InputError if one comes twice."""
    names = tuple(printable(str(one)) for one in ids)
    if len(set(names)) < len(names):
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise _twice(name)
            seen.add(name)
    return names


class Seen:
    """Ids that come a block at a time, each at its position: 32 bytes a sample, whatever their length.

    Of an id its 64-bit digest is kept, in a table with open addressing. That two ids of a million share one, so that
    unique ids are refused, has a probability of 3e-8.
    """

    def __init__(self, samples: int) -> None:
        size = 1 << (2 * samples).bit_length()
        self._digests, self._positions = np.zeros(size, np.uint64), np.full(size, -1, np.int64)

    def __call__(self, name: str, position: int) -> None:
        """Note an id. Raises: InputError if another position has it."""
        digest = np.uint64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))
        slot = int(digest) & (len(self._digests) - 1)
        while self._positions[slot] >= 0 and self._digests[slot] != digest:
            slot = (slot + 1) & (len(self._digests) - 1)
        if self._positions[slot] not in (-1, position):
            raise _twice(name)
        self._digests[slot], self._positions[slot] = digest, position


def _twice(name: str) -> InputError:
    return InputError(f"Expected a unique id a sample, but {name!r} comes twice.")
