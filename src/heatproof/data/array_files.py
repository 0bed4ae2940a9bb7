"""Samples in NumPy's files: one array of all of them, or a folder with one a sample, never with pickles inside."""

import hashlib
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from heatproof.data.base import MOST_LABELS, UNLABELLED
from heatproof.data.files import entry_of, mapped
from heatproof.data.listing import files_below
from heatproof.data.table_rows import WHOLE
from heatproof.errors import InputError, shown, unknown

UNREADABLE = (OSError, EOFError, ValueError, MemoryError, OverflowError, zipfile.BadZipFile)
LABELS = "y"  # the name of labels where nobody says another; it need not be there
NIFTI = (".nii", ".nii.gz", ".mgz", ".dcm", ".nrrd", ".mha")


class Arrays(NamedTuple):
    """All samples (N, …), mapped into memory where the file allows it, their labels and names, and what tells them."""

    samples: np.ndarray
    labels: np.ndarray | None
    names: dict[str, tuple[str, ...]]  # arrays of words that an archive has beside
    content: Any


def arrays_of(path: str, samples: str, labels: str, words: Sequence[str] = ()) -> Arrays:
    """An .npy file of samples, or the arrays of an .npz file by name; `words` are those of names, where it has some.

    Raises: InputError for a file that is missing, broken, of another kind, or lacks the samples.
    """
    file = Path(path)
    if not path or not file.is_file():
        raise InputError(f"Expected `path` to name an .npy or .npz file, but got {path!r}, which is no file.")
    try:
        if file.suffix == ".npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            return Arrays(array, None, {}, [list(array.shape), str(array.dtype), _probe(array), file.stat().st_size])
        with file.open("rb") as opened, zipfile.ZipFile(opened) as archive, np.load(path, allow_pickle=False) as found:
            for name in (samples, *([labels] if labels not in ("", LABELS) else [])):
                if name not in found.files:
                    raise unknown(f"array in {path}", name, found.files)
            entries = {name: entry_of(archive, name) for name in found.files if name in (samples, labels, *words)}
            array = mapped(path, entries[samples])
            return Arrays(
                found[samples] if array is None else array,
                found[labels] if labels in entries else None,
                {name: tuple(map(str, found[name])) for name in words if name in entries},
                {name: [entry.CRC, entry.file_size] for name, entry in sorted(entries.items())},
            )
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(
            f"Expected {path} to be an .npy or .npz file of plain arrays, but reading it failed ({error}); write it "
            "with numpy.save or numpy.savez, without object arrays."
        ) from error


def labels_in(path: str) -> np.ndarray:
    """The labels in an .npy file, or in a text file with one a line. Raises: InputError for anything else."""
    file = Path(path)
    if not file.is_file():
        raise InputError(f"Expected labels in an .npy or text file, but {path!r} is no file.")
    try:
        if file.suffix == ".npy":
            found: np.ndarray = np.load(path, allow_pickle=False)
            return found
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UNREADABLE as error:
        raise InputError(
            f"Expected labels in {path}, an .npy or text file, but reading it failed ({error})."
        ) from error
    return np.array(lines)


def whole_numbers(words: Collection[str], where: str) -> list[int] | None:
    """Labels that are written as numbers, such as 1 or 1.0; None where some are names.

    Raises: InputError where all are numbers and some are no labels, such as −1 or 0.5: names in sorted order would
        number them anew.
    """
    try:
        values = [float(word) for word in words]
    except ValueError:
        return None
    odd = next((word for word, value in zip(words, values, strict=True) if not 0 <= value < MOST_LABELS), None)
    odd = odd or next((word for word, value in zip(words, values, strict=True) if value != int(value)), None)
    if odd is not None:
        raise InputError(
            f"Expected labels of {where} as names or as whole numbers from 0 on, below {MOST_LABELS}, but got "
            f"{shown(odd)}; name all of them in their order as `classes` where numbers are names, and leave out the "
            "label of what has none."
        )
    return [int(value) for value in values]


def numbered(
    labels: np.ndarray | None, count: int, classes: tuple[str, ...], where: str
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Labels (N,) int64 and their names: of words those that there are, sorted, unless `classes` has their order.

    Raises: InputError for labels that are not one a sample, or no labels.
    """
    if labels is None:
        return np.full(count, UNLABELLED), classes or None
    if labels.shape != (count,):
        raise InputError(f"Expected a label for each of {count} samples of {where}, but got {labels.shape}.")
    if labels.dtype.kind in "US":
        words = [str(word.decode() if isinstance(word, bytes) else word) for word in labels]
        if not classes and (whole := whole_numbers(words, where)) is not None:
            return numbered(np.array(whole, np.int64), count, (), where)
        names = classes or tuple(sorted(set(words)))
        strange = sorted(set(words) - set(names))
        if strange:
            raise unknown(f"class of {where}", strange[0], names)
        place = {name: number for number, name in enumerate(names)}
        return np.array([place[word] for word in words], np.int64), names
    if labels.dtype.kind not in "iub" or (count and not 0 <= int(labels.min()) <= int(labels.max()) < MOST_LABELS):
        raise InputError(f"Expected whole numbers from 0 on, or names, as labels of {where}, but got {shown(labels)}.")
    if classes and count and int(labels.max()) >= len(classes):
        raise InputError(
            f"Expected labels below {len(classes)}, one for each of `classes`, but got {int(labels.max())}."
        )
    return labels.astype(np.int64), classes or None


def files_in(root: Path) -> tuple[list[str], np.ndarray | None]:
    """The .npy files in a folder, as paths below it, and the subfolder of each as its label, where there are some.

    Raises: InputError for none, files in both ways, and files of other kinds, with what to do.
    """
    there = list(files_below(root))
    found = [name for name in there if name.endswith(".npy")]
    other = next((name for name in there if name.lower().endswith(NIFTI)), None)
    if other is not None:
        raise InputError(
            f"Expected .npy files in {str(root)!r}, but found {Path(other).name!r}: save each volume once as an array, "
            "numpy.save(name, nibabel.load(file).get_fdata(dtype='float32')), and give its voxels' `spacing`."
        )
    if not found:
        raise InputError(
            f"Expected .npy files in {str(root)!r}, a subfolder a class or beside one another; found none."
        )
    inside = ["/" in name for name in found]
    if all(inside):
        return found, np.array([name.split("/")[0] for name in found])
    if any(inside):
        raise InputError(
            f"Expected .npy files either in subfolders of {str(root)!r}, a class each, or beside one another, but "
            f"found both, such as {found[inside.index(False)]!r}."
        )
    return found, None


def one_array(path: Path) -> np.ndarray:
    """The array of one file. Raises: ValueError or OSError for what is none."""
    if not path.is_file():
        raise OSError("it is no file that ends")
    array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _probe(array: np.ndarray) -> str:
    """What the samples hold, of more than 64 MiB a few of them, for the identity of a mapped file."""
    rows = np.arange(len(array))
    if array.nbytes > WHOLE:
        rows = np.unique(np.linspace(0, len(array) - 1, 16).round().astype(int))
    return hashlib.sha256(b"".join(np.ascontiguousarray(array[row]).tobytes() for row in rows)).hexdigest()
