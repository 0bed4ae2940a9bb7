"""What every test shares: one thread a worker, Hypothesis without deadlines, and things that may be absent."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from hypothesis import settings

# Thread counts change the last bits of sums, and pytest-xdist runs one worker a core.
torch.set_num_threads(1)

settings.register_profile("default", deadline=None, max_examples=30)
settings.register_profile("ci", deadline=None, max_examples=30, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def _absent(reason: str, required: str) -> NoReturn:
    """Skip with the reason, or fail where the environment says that the thing must be there."""
    if os.environ.get(required):
        pytest.fail(f"{reason} (and {required} is set)")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of data sets that HEATPROOF_DATA names."""
    named = os.environ.get("HEATPROOF_DATA", "")
    if not named or not Path(named).is_dir():
        _absent(f"HEATPROOF_DATA names no folder: {named!r}", "HEATPROOF_REQUIRE_DATA")
    return Path(named)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium: HEATPROOF_CHROMIUM, or one on the path."""
    named = os.environ.get("HEATPROOF_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), "")
    if not named or not Path(named).is_file():
        _absent(f"no Chromium: HEATPROOF_CHROMIUM is {named!r} and none is on the path", "HEATPROOF_REQUIRE_BROWSER")
    return named
