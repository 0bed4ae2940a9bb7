"""A digest of a whole file and its name, in the file itself: whatever bit of it changes on a disk is noticed.

The file is written with 64 zeros in the place of the digest, the SHA-256 of name and content is taken, and put there.
Parquet, safetensors and JSON keep it among their metadata, so that any other reader reads them as before.
"""

import hashlib
import re

from heatproof.errors import TornError

KEY = "heatproof.seal"
UNSEALED = f"sha256:{'0' * 64}"
# Between a key and its value are a few bytes of the format's own.
_SEALS = re.compile(rb"heatproof\.seal.{1,16}?sha256:([0-9a-f]{64})", re.DOTALL)


def sealed(content: bytes, name: str) -> bytes:
    """The content of a file with UNSEALED under KEY, sealed under the last part of its name, which it keeps."""
    found = next(one for one in _SEALS.finditer(content) if one[1] == b"0" * 64)
    start, stop = found.span(1)
    return content[:start] + _begun(name, content).hexdigest().encode() + content[stop:]


def is_whole(content: bytes, name: str) -> bool:
    """Whether a file holds what was sealed under its name."""
    for found in _SEALS.finditer(content):  # a text in it may look like a seal
        start, stop = found.span(1)
        digest = _begun(name, memoryview(content)[:start])
        digest.update(b"0" * 64)
        digest.update(memoryview(content)[stop:])
        if digest.hexdigest().encode() == found[1]:
            return True
    return False


def whole(content: bytes, name: str) -> bytes:
    """The content, if it is what was sealed. Raises: TornError, which names the file."""
    if not is_whole(content, name):
        raise TornError(
            f"Expected {name} as it was written, but its content has changed since: a disk or a copy has damaged it. "
            "Run the audit again to make it anew."
        )
    return content


def _begun(name: str, content: "bytes | memoryview") -> "hashlib._Hash":
    digest = hashlib.sha256(f"{name.rpartition('/')[2]}\0".encode())
    digest.update(content)
    return digest
