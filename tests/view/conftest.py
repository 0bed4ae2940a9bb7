import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

import synthetic  # made-up runs, as the page's own tests use
from serving import Served, served

pytest.importorskip("waitress", reason="the extra view is not installed")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete made-up run; read only."""
    return synthetic.write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def several(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: two that can be read, one below another folder, and one that is damaged; read only."""
    folder = tmp_path_factory.mktemp("several")
    shutil.copytree(run, folder / "first")
    shutil.copytree(run, folder / "below" / "second")
    shutil.copytree(run, folder / "damaged")
    (folder / "damaged" / "manifest.json").write_text("{")
    return folder


@pytest.fixture(scope="session")
def server(several: Path) -> Iterator[Served]:
    yield from served(several)
