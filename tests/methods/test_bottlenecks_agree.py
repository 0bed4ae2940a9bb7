"""Both bottlenecks point at the same places: the program that measures it on MNIST, with fewer images."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

PROGRAM = Path(__file__).parents[2] / "examples" / "bottlenecks_agree.py"


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif("HEATPROOF_DATA" not in os.environ, reason="needs MNIST in the folder named by HEATPROOF_DATA")
def test_maps_of_the_same_image_agree_more_than_those_of_different_ones(tmp_path: Path) -> None:
    settings = ["--images", "32", "--training", "1000", "--epochs", "5", "--out", str(tmp_path)]
    subprocess.run([sys.executable, str(PROGRAM), *settings], check=True)
    table = pd.read_csv(tmp_path / "agreement.csv").set_index("spearman of readout and per-sample")
    assert table.loc["same image − different images"].low > 0
    assert table.loc["same image − same digit"].low > 0
