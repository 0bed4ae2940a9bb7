"""Runs behind a URL, such as s3://bucket/run, by fsspec: files are put whole, and created where nobody was before."""

from contextlib import suppress
from importlib import import_module
from typing import Any

from heatproof.errors import MissingExtraError
from heatproof.runs.files import unwritten

CONDITIONAL = ("s3", "s3a", "memory")  # kinds of places that refuse, at the place itself, to create what is there


class UrlFiles:
    """A folder of an object store. Of those that cannot refuse a second writer the last one wins: it wrote the same.

    Args:
        url: such as `s3://bucket/folder`.
        options: what fsspec takes for such a place, an endpoint or credentials; by default what the machine is set to.
    """

    beat = 10.0  # seconds between two signs of life: each is a request

    def __init__(self, url: str, **options: Any) -> None:
        self.url, self.options = url.rstrip("/"), options
        self.kind = url.partition("://")[0]
        self._open()

    def __getstate__(self) -> dict[str, Any]:
        """The place; whoever opens it makes a connection of its own."""
        return {"url": self.url, "options": self.options, "kind": self.kind}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    def __str__(self) -> str:
        return self.url

    def _open(self) -> None:
        try:
            core = import_module("fsspec.core")
            self.fs, self.root = core.url_to_fs(self.url, use_listings_cache=False, **self.options)
        except ImportError as error:
            raise MissingExtraError("s3fs", "s3", f"a run in {self.url} ({error})") from error

    def names(self, folder: str = "", begin: str = "") -> list[str]:
        """The files right in a folder, sorted."""
        try:
            found = self.fs.ls(f"{self.root}/{folder}".rstrip("/"), detail=True, refresh=True)
        except FileNotFoundError:
            return []
        names = [one["name"].rpartition("/")[2] for one in found if one["type"] == "file"]
        return sorted(name for name in names if name and name.startswith(begin))

    def read(self, name: str) -> bytes:
        """The content."""
        content: bytes = self.fs.cat_file(f"{self.root}/{name}")
        return content

    def create(self, name: str, content: bytes) -> bool:
        """A put that the store refuses where the name is taken; elsewhere one after a look."""
        try:
            if self.kind in CONDITIONAL:
                self._put(name, content, mode="create")
            elif self.fs.exists(f"{self.root}/{name}"):
                return False
            else:
                self._put(name, content)
        except FileExistsError:
            return False
        return True

    def replace(self, name: str, content: bytes) -> None:
        """A put takes the place of what was there."""
        self._put(name, content)

    def move(self, name: str, to: str) -> None:
        """A copy, then the first is gone: for a moment both are there, and readers take neither twice."""
        content = self.read(name)
        self._put(to, content)
        self.remove(name)

    def remove(self, name: str) -> None:
        """Gone, or it was not there."""
        with suppress(FileNotFoundError):
            self.fs.rm_file(f"{self.root}/{name}")

    def _put(self, name: str, content: bytes, **how: Any) -> None:
        try:
            self.fs.pipe_file(f"{self.root}/{name}", content, **how)
        except FileExistsError:
            raise
        except OSError as error:
            raise unwritten(f"{self.url}/{name}", error) from error
