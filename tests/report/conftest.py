from pathlib import Path

import pytest
import synthetic


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete made-up run; read only."""
    return synthetic.write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def page(run: Path) -> Path:
    from heatproof import report

    return report.write(run)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up run in which every question was asked; read only."""
    return synthetic.write_whole(tmp_path_factory.mktemp("whole"))
