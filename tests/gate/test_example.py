"""The example's gate opens for the good network and blocks the broken one."""

import importlib.util
import tomllib
from pathlib import Path

import pytest

from heatproof.gate import check

EXAMPLE = Path(__file__).parents[2] / "examples" / "gate"


@pytest.mark.parametrize("broken", [False, True])
def test_gate_blocks_the_broken_network_alone(tmp_path: Path, broken: bool) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    spec = importlib.util.spec_from_file_location("gate_digits", EXAMPLE / "digits.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(tmp_path / "run", broken=broken)
    asked = tomllib.loads((EXAMPLE / "digits.heatproof.toml").read_text())["require"]
    kept = {one.requirement: one.kept for one in check(tmp_path / "run", asked)}
    assert all(kept.values()) is not broken, kept
    assert broken is not any(kept[one] for one in asked), kept
    assert kept["accuracy > 70 %"] is not broken
    assert kept["gradient-x-input: faithful"] is not broken
