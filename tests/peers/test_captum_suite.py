"""Captum's own tests of attribution hold for our methods, where its sources are at hand (`HEATPROOF_CAPTUM`)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).parent / "captum_suite.py"
SOURCES = os.environ.get("HEATPROOF_CAPTUM", "")


@pytest.mark.slow
@pytest.mark.skipif(not SOURCES, reason="HEATPROOF_CAPTUM names no checkout of Captum")
def test_captums_tests_pass_or_are_left_out_for_a_reason():
    ran = subprocess.run(
        [sys.executable, str(SUITE), SOURCES], capture_output=True, text=True, check=True, timeout=600, cwd=SUITE.parent
    )
    found = json.loads(ran.stdout.splitlines()[-1])
    every = {f"{file}.{name}": one for file, tests in found.items() for name, one in tests.items()}
    assert {name: why for name, (kind, why) in every.items() if kind == "failed"} == {}
    passed = [name for name, (kind, _) in every.items() if kind == "passed"]
    assert len(passed) >= 420
    assert len([name for name in passed if not name.startswith("test_targets.")]) >= 270
    assert all(why for kind, why in every.values() if kind == "left out")
