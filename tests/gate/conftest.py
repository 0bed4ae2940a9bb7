import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up run in which every question was asked; read only."""
    import synthetic

    return synthetic.write_whole(tmp_path_factory.mktemp("gate") / "whole")
