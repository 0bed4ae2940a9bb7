"""Series (N, leads, T) and volumes (N, C, D, H, W): numbers as they were measured, with names for their axes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from heatproof.data.array_files import LABELS, arrays_of, files_in, labels_in, numbered, one_array
from heatproof.data.base import DATA, Dataset, Source, finite, none_of
from heatproof.data.listing import Listing, told
from heatproof.data.long_rows import Asked, LongRows, WideRows, is_table
from heatproof.data.seen_as import Names
from heatproof.errors import InputError, unknown

LAYOUTS = ("channels-first", "channels-last")


@dataclass(frozen=True, kw_only=True)
class Measured(Source):
    """What series and volumes have in common.

    Values are float32, as they stand in the file: whole numbers are not scaled. `mean` and `std` are one a channel.

    Attributes:
        path: an .npy file, an .npz file, or a folder of .npy files, one a sample, a subfolder a class.
        samples: the name of an .npz file's array of samples.
        labels: the name of its array of labels: whole numbers from 0 on, or names; "y", if it is there, or none.
        label_file: labels beside an .npy file: another one, or a text file with a label a line.
        classes: the names of labels in the network's order.
        leads: the names of channels; an .npz file may have an array of them, `leads`.
        layout: "channels-first", or "channels-last", where channels are the last axis.
    """

    path: str = ""
    samples: str = "x"
    labels: str = LABELS
    label_file: str = ""
    classes: tuple[str, ...] = ()
    leads: tuple[str, ...] = ()
    layout: str = "channels-first"
    positions: ClassVar[int] = 1
    what: ClassVar[str] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("classes", "leads"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.layout not in LAYOUTS:
            raise unknown("layout", self.layout, LAYOUTS)

    @property
    def labels_by_name(self) -> bool:
        return True

    def axes(self, leads: tuple[str, ...]) -> Names:
        """What the parts of a sample are called."""
        return Names(leads=leads)

    def listing(self) -> Listing:
        return _Folder(self) if self.path and Path(self.path).is_dir() else _Arrays(self)


@DATA.register("series")
@dataclass(frozen=True, kw_only=True)
class Series(Measured):
    """Series (N, leads, T): ECGs, sensors, sounds; from NumPy's files, or from a table.

    A file of one lead is (N, T). A table (CSV, TSV, Parquet) is wide, a row a series and a column a position, those of
    several leads called like `II_0`, `II_1`, … with `leads` named; or long, with `id`, a row a position and a column a
    lead. All have one length.

    Attributes:
        rate: positions a second, for the axis that a reader sees.
        id: the column of a long table that says which series a row is of.
        time: the column of a long table by which the rows of a series are ordered; in the file's order by default.
        label: the column of labels of a table; "" for none.

    >>> import numpy as np
    >>> np.savez("beats.npz", x=np.zeros((4, 2, 30), np.float32), y=np.arange(4) % 2)
    >>> hp.data.Series(path="beats.npz").load().inputs.shape
    torch.Size([4, 2, 30])
    """

    rate: float | None = None
    id: str = ""
    time: str = ""
    label: str = "label"
    what: ClassVar[str] = "series (N, leads, T), or (N, T) of one lead"

    def axes(self, leads: tuple[str, ...]) -> Names:
        return Names(leads=leads, rate=self.rate)

    def listing(self) -> Listing:
        return _Rows(self) if is_table(self.path) else super().listing()


@DATA.register("volumes")
@dataclass(frozen=True, kw_only=True)
class Volumes(Measured):
    """Volumes (N, C, D, H, W), or (N, D, H, W) of one channel, from NumPy's files.

    Attributes:
        spacing: the distance of neighboring voxels along D, H and W.
        unit: of the spacing.

    >>> import numpy as np
    >>> np.savez("scans.npz", x=np.zeros((2, 1, 4, 5, 6), np.float32), y=np.arange(2))
    >>> hp.data.Volumes(path="scans.npz").load().inputs.shape
    torch.Size([2, 1, 4, 5, 6])
    """

    spacing: tuple[float, ...] = ()
    unit: str = "mm"
    positions: ClassVar[int] = 3
    what: ClassVar[str] = "volumes (N, C, D, H, W), or (N, D, H, W) of one channel"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "spacing", tuple(map(float, self.spacing)))

    def axes(self, leads: tuple[str, ...]) -> Names:
        return Names(leads=leads, spacing=self.spacing, unit=self.unit if self.spacing else "")


class _Measured(Listing):
    """Samples whose shape is known."""

    source: Measured
    names: Names
    targets: np.ndarray
    one_shape = "cut or resample them to one"

    def _named(self, shape: Sequence[int], leads: tuple[str, ...]) -> None:
        """Take the names of samples of a shape (C, positions …). Raises: InputError where they are not theirs."""
        self.names = self.source.axes(self.source.leads or leads)
        self.names.check(tuple(shape))

    def _shaped(self, array: np.ndarray) -> np.ndarray:
        """Samples (n, …) as (n, C, positions …). Raises: InputError for another number of axes."""
        source = self.source
        if array.ndim == source.positions + 1:
            return array[:, None]
        if array.ndim != source.positions + 2:
            raise InputError(f"Expected {source.what}, but a sample of {source.path} is {array.shape[1:]}.")
        return array if source.layout == "channels-first" else np.moveaxis(array, -1, 1)

    def _dataset(self, samples: np.ndarray, ids: Sequence[str], places: Sequence[int], skipped: Any = ()) -> Dataset:
        """Samples (n, C, positions …) with what is known of them."""
        values = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
        return finite(
            name=self.name,
            inputs=self.source.normalize(values),
            targets=torch.from_numpy(self.targets[list(places)]),
            ids=tuple(ids),
            classes=self.classes,
            names=self.names,
            skipped=skipped,
        )


class _Arrays(_Measured):
    """The samples of one array."""

    def __init__(self, source: Measured) -> None:
        self.source, self.name = source, Path(source.path).stem
        found = arrays_of(source.path, source.samples, source.labels, ("leads", "classes"))
        if found.samples.dtype.kind not in "iufb":
            raise InputError(f"Expected numbers in {source.path}, but got {found.samples.dtype}.")
        self.array = found.samples
        labels = labels_in(source.label_file) if source.label_file else found.labels
        names = source.classes or found.names.get("classes", ())
        self.targets, self.classes = numbered(labels, len(self.array), names, self.name)
        self._named(self._shaped(self.array[:1]).shape[1:], found.names.get("leads", ()))
        self.content = [found.content, told(self.targets.tolist())]

    def __len__(self) -> int:
        return len(self.array)

    def read(self, places: Sequence[int]) -> Dataset:
        return self._dataset(self._shaped(self.array[list(places)]), [str(place) for place in places], places)


class _Folder(_Measured):
    """The samples of a folder, a file each."""

    def __init__(self, source: Measured) -> None:
        self.source, self.root, self.name = source, Path(source.path), Path(source.path).name
        self.files, labels = files_in(self.root)
        labels = labels_in(source.label_file) if source.label_file else labels
        self.targets, self.classes = numbered(labels, len(self.files), source.classes, self.name)
        self.names = source.axes(source.leads)
        self.content = told(self.files, self.targets.tolist())

    def __len__(self) -> int:
        return len(self.files)

    def read(self, places: Sequence[int]) -> Dataset:
        kept: list[np.ndarray] = []
        at: list[int] = []
        skipped: list[tuple[str, str]] = []
        for place in places:
            try:
                array = one_array(self.root / self.files[place])
                kept.append(self._shaped(np.asarray(array)[None])[0])
                at.append(place)
            except (OSError, EOFError, ValueError) as error:
                if isinstance(error, InputError):
                    raise
                skipped.append((self.files[place], f"{type(error).__name__}: {error}"))
        if not kept:
            return none_of(self.name, self.classes, skipped)
        other = next((i for i, one in enumerate(kept) if one.shape != kept[0].shape), None)
        if other is not None:
            raise InputError(
                f"Expected samples of one shape in {self.name}, {kept[0].shape} as {self.files[at[0]]!r}, but "
                f"{self.files[at[other]]!r} has {kept[other].shape}; {self.one_shape}."
            )
        self.names.check(kept[0].shape)
        return self._dataset(np.stack(kept), [self.files[place] for place in at], at, skipped)


class _Rows(_Measured):
    """The series of a table."""

    def __init__(self, source: Series) -> None:
        self.source, self.name = source, Path(source.path).name.split(".")[0]
        asked = Asked(source.path, source.id, source.time, source.label, source.leads)
        self.rows = LongRows(asked) if source.id else WideRows(asked)
        self.targets, self.classes = numbered(self.rows.labels, len(self.rows), source.classes, self.name)
        self._named((len(self.rows.leads), self.rows.length), self.rows.leads if source.id else ())
        self.content = [self.rows.digest, told(self.targets.tolist()), list(self.rows.leads)]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, places: Sequence[int]) -> Dataset:
        return self._dataset(self.rows.read(places), [self.rows.ids[place] for place in places], places)
