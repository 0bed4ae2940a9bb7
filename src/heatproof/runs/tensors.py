"""Arrays of a safetensors file as views of its bytes: what was read is held once."""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
    "BOOL": "?",
}  # fmt: skip


def views(content: bytes) -> "tuple[dict[str, np.ndarray[Any, Any]], dict[str, str]]":
    """Read-only arrays by name, and the file's metadata.

    Layout: the header's size in 8 bytes, little-endian; the header, JSON; the arrays' bytes, at offsets from there.
    """
    import numpy as np

    start = 8 + int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8:start])
    about: dict[str, str] = header.pop("__metadata__", {})
    found = {}
    for name, one in header.items():
        low, high = one["data_offsets"]
        dtype = np.dtype(DTYPES[one["dtype"]])
        values = np.frombuffer(content, dtype, (high - low) // dtype.itemsize, start + low)
        found[name] = values.reshape(one["shape"])
    return found, about
