"""Arrays by name in a file, without pickles: .npz, .npy and .safetensors."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.errors import HeatproofError, InputError
from heatproof.paths import regular


def arrays_in(path: Path, what: str) -> Mapping[str, Any]:
    """The arrays of a file by name; that of an .npy file has the name "".

    Raises: InputError for another kind of file, and for one that cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if path.suffix not in (".safetensors", ".npz", ".npy"):
        raise InputError(f"Expected {what} in a file .safetensors, .npz or .npy, but got {str(path)!r}.")
    path = regular(path, what)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            return {"": found} if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
    except HeatproofError:
        raise
    except (OSError, EOFError, ValueError, MemoryError, OverflowError, zipfile.BadZipFile, SafetensorError) as error:
        raise InputError(f"Expected {what} in {path}, but it cannot be read: {error}.") from None


def array_in(path: Path, what: str) -> Any:
    """The one array of a file. Raises: InputError as `arrays_in`, and where there are several, or none."""
    arrays = arrays_in(path, what)
    if len(arrays) != 1:
        raise InputError(f"Expected one array of {what} in {path}, but it has {len(arrays)}: {', '.join(arrays)}.")
    (found,) = arrays.values()
    return found
