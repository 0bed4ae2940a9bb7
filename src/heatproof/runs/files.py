"""Where the files of a run lie: a few operations that local folders and object stores alike can keep whole."""

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from heatproof.errors import StoreError, TornError

HALF_WRITTEN = ".tmp"


class Files(Protocol):
    """Files by name, such as `rows/0.parquet`. Each is there as a whole or not at all, whoever is killed when."""

    def names(self, folder: str = "", begin: str = "") -> list[str]:
        """The files right in a folder whose names begin so, sorted; none where it is not there. Cost: one listing."""

    def read(self, name: str) -> bytes:
        """The content. Raises: FileNotFoundError."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a file that is not there yet; False, and nothing changed, if it is."""

    def replace(self, name: str, content: bytes) -> None:
        """Write a file, whatever was there before."""

    def move(self, name: str, to: str) -> None:
        """Give a file another name. At every moment it has at least one, and never both where that can be had."""

    def remove(self, name: str) -> None:
        """Take a file away, if it is there."""

    def __str__(self) -> str:
        """What a person calls the place."""


class LocalFiles:
    """A folder on this machine, or on a disk that several share."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def names(self, folder: str = "", begin: str = "") -> list[str]:
        """The files right in a folder, sorted, without those that are being written."""
        try:
            with os.scandir(self.root / folder) as entries:
                ours = (one for one in entries if one.name.startswith(begin) and not one.name.endswith(HALF_WRITTEN))
                found = [entry.name for entry in ours if _is_file(entry)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(found)

    def read(self, name: str) -> bytes:
        """The content."""
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            raise
        except (NotADirectoryError, IsADirectoryError) as error:
            raise FileNotFoundError(*error.args) from error
        except OSError as error:
            kind = TornError if error.errno in (errno.EIO, errno.ELOOP) else StoreError
            raise kind(f"Expected to read {self.root / name}, but cannot: {error.strerror or error}.") from error

    def clear(self, folder: str) -> list[str]:
        """Take away what has the name of a file and is none, a link to nothing or a folder, and would be in its way.

        Gives the names. A folder is not lost: it is called `….aside` afterwards.
        """
        cleared = []
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.root / folder) as entries:
            for entry in list(entries):
                path = Path(entry.path)
                if path.suffix not in (".parquet", ".safetensors", ".json") or _is_file(entry):
                    continue
                if entry.is_symlink():
                    path.unlink()
                else:
                    path.replace(path.with_name(f"{path.name}.{secrets.token_hex(4)}.aside"))
                cleared.append(f"{folder}/{entry.name}")
        return cleared

    def create(self, name: str, content: bytes) -> bool:
        """A hard link fails where the name is taken, and shows the whole content where it is not."""
        with _written(self, name, content) as (unfinished, path):
            try:
                os.link(unfinished, path)
            except FileExistsError:
                return False
            except OSError:  # a disk without links: the name is claimed first, and the content takes its place
                try:
                    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                except FileExistsError:
                    return False
                unfinished.replace(path)
            _flush(path.parent)
            return True

    def replace(self, name: str, content: bytes) -> None:
        """A rename takes the place of what was there."""
        with _written(self, name, content) as (unfinished, path):
            unfinished.replace(path)
            _flush(path.parent)

    def move(self, name: str, to: str) -> None:
        """A rename, from one folder to another."""
        target = self.root / to
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).replace(target)
            _flush(target.parent)
            _flush((self.root / name).parent)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise unwritten(target, error) from error

    def remove(self, name: str) -> None:
        """Gone, or it was not there."""
        (self.root / name).unlink(missing_ok=True)


class _written:  # noqa: N801  # reads as what it does
    """A file beside the one that is wanted, with its content safe on the disk; gone at the end."""

    def __init__(self, files: LocalFiles, name: str, content: bytes) -> None:
        self.path, self.content = files.root / name, content
        self.unfinished = self.path.with_name(f"{self.path.name}.{os.getpid()}.{secrets.token_hex(4)}{HALF_WRITTEN}")

    def __enter__(self) -> tuple[Path, Path]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.unfinished.open("xb") as file:
                file.write(self.content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                self.unfinished.unlink(missing_ok=True)
            raise unwritten(self.path, error) from error
        return self.unfinished, self.path

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        with suppress(OSError):
            self.unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritten(self.path, error) from error


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def unwritten(path: Path | str, error: OSError) -> StoreError:
    """What to say of a file that could not be written."""
    return StoreError(f"Could not write {path}: {error.strerror or error}. What was finished before is safe.")


def _flush(folder: Path) -> None:
    """Make new names in a folder last through a power cut, where the system can do that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
