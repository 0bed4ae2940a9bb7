"""Where a run lies: in a folder, or behind a URL."""

from pathlib import Path

from heatproof.paths import url_of
from heatproof.runs.files import Files, LocalFiles


def files_at(place: Path | str) -> Files:
    """The files of a folder, or of a URL such as `s3://bucket/run`."""
    url = url_of(place)
    if url is None:
        return LocalFiles(Path(place))
    from heatproof.runs.urls import UrlFiles

    return UrlFiles(url)
