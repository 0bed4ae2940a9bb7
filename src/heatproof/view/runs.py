"""The runs below a folder: where they lie, what they are about, and whether all of one lies there too."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from heatproof.errors import HeatproofError, InputError, StoreError
from heatproof.report.words import title
from heatproof.runs import read_manifest
from heatproof.runs.store import BEFORE, LEASES, RUN

DEEPEST, MOST_FOLDERS, MOST_RUNS = 12, 50_000, 2_000
REPORT = "report.html"


class Found(NamedTuple):
    """A run: an id that says nothing of the disk, its place below the folder, and where that is."""

    id: str
    name: str
    path: Path


class Summary(NamedTuple):
    """What a run is about, without a look at its rows. `problem` says why it cannot be opened, "" where it can."""

    id: str
    name: str
    title: str = ""
    model: str = ""
    data: str = ""
    samples: int = 0
    methods: int = 0
    created: str = ""
    finished: bool = False
    problem: str = ""

    @property
    def date(self) -> str:
        """The day and minute when it was begun."""
        return self.created[:16].replace("T", " ")


class Runs:
    """The runs below `root`. Nothing is written; links that lead out of it are not followed.

    Raises: InputError if there is no such folder.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise InputError(f"Expected a folder of runs, but {str(root)!r} is none.")
        self.root = root.resolve()
        self._known: dict[str, Found] = {}
        self._summaries: dict[str, tuple[str, Summary]] = {}
        self.left_out = ""

    def all(self) -> list[Found]:
        """Every run, looked up anew, in the order of their names; `left_out` says where there were too many."""
        self.left_out = ""
        found = [Found(_id(name), name, path) for name, path in self._walked()]
        self._known = {one.id: one for one in found}
        return found

    def get(self, id_: str) -> Found | None:
        """The run of this id, if there is one."""
        if id_ not in self._known:
            self.all()
        return self._known.get(id_)

    def summaries(self) -> list[Summary]:
        """What each run is about, the latest first."""
        return sorted((self.summary(one) for one in self.all()), key=lambda one: (one.created, one.name), reverse=True)

    def summary(self, found: Found) -> Summary:
        """What a run is about, or why it cannot be read; kept while its files stay as they are."""
        name = found.name.encode("utf-8", "backslashreplace").decode()  # a file's name may be no text
        try:
            stamp = self.stamp(found)
            if self._summaries.get(found.id, ("",))[0] != stamp:
                self._summaries[found.id] = (stamp, _summary(found, name))
            return self._summaries[found.id][1]
        except HeatproofError as error:
            return Summary(found.id, name, problem=str(error).replace(f"{self.root}/", ""))
        except Exception as error:  # a file of that name that is no run's: whatever reading it raises
            return Summary(found.id, name, problem=f"It cannot be read ({type(error).__name__}: {error}).")

    def stamp(self, found: Found) -> str:
        """What tells one state of a run's files from another: names, sizes and times.

        Raises: StoreError for a link that leads out of the folder, or a pipe or device, which would be waited for.
        """
        content = hashlib.sha256()
        for entry in _entries(found.path):
            name = os.path.relpath(entry.path, found.path)
            if entry.is_symlink():
                target = Path(entry.path).resolve()
                if not target.is_relative_to(self.root):
                    raise StoreError(
                        f"Expected a run that lies in the folder, but its {name!r} is a link that leads out."
                    )
            elif not entry.is_file() and not entry.is_dir():
                raise StoreError(f"Expected a run of files, but its {name!r} is a pipe or a device.")
            if name == REPORT or name.startswith(LEASES):
                continue
            seen = entry.stat(follow_symlinks=False)
            content.update(f"{name}\0{seen.st_size}\0{seen.st_mtime_ns}\0".encode(errors="surrogateescape"))
        return content.hexdigest()

    def _walked(self) -> Iterator[tuple[str, Path]]:
        found = looked = 0
        for place, folders, files in os.walk(self.root):
            path, looked = Path(place), looked + 1
            below = path.relative_to(self.root)
            if RUN in files or BEFORE in files:
                folders.clear()
                found += 1
                if found > MOST_RUNS:
                    self.left_out = f"More than {MOST_RUNS:,} runs lie here; look into a folder below."
                    return
                yield (below.as_posix() if below.parts else self.root.name), path
            if looked > MOST_FOLDERS:
                self.left_out = f"More than {MOST_FOLDERS:,} folders lie here, and not all were looked into."
                return
            hidden = {name for name in folders if name.startswith(".")}
            folders[:] = [] if len(below.parts) >= DEEPEST else sorted(set(folders) - hidden)


def _summary(found: Found, name: str) -> Summary:
    manifest = read_manifest(found.path)
    data, model = manifest["data"], manifest["model"]
    samples = data["samples"]
    return Summary(
        id=found.id,
        name=name,
        title=title(manifest),
        model=str(model["name"]),
        data=str(data["name"]),
        samples=samples if isinstance(samples, int) else len(samples),
        methods=len(manifest["methods"]),
        created=str(manifest["created"]),
        finished=manifest["status"] == "complete",
    )


def _entries(path: Path) -> Iterator["os.DirEntry[str]"]:
    """Everything in a folder, links not followed, in an order that stays."""
    try:
        with os.scandir(path) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise StoreError(f"Expected to read the run, but cannot: {error.strerror or error}.") from error
    for entry in inside:
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path))


def _id(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:16]
