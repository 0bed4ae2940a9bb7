"""Every registered check keeps the contract; new ones join by themselves."""

import pytest

import heatproof as hp
from heatproof.testing import check_check


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Networks that a check trains are kept for this test alone."""
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path))


@pytest.mark.parametrize("name", hp.checks.names())
def test_registered_check_keeps_the_contract(name):
    check_check(hp.checks.get(name))


@pytest.mark.parametrize(
    "check",
    [
        hp.checks.ParameterRandomization(randomization=hp.randomization.Independent(), seeds=(0, 3)),
        hp.checks.ParameterRandomization(randomization=hp.randomization.BottomUp(initializer="he"), targets="own"),
        hp.checks.DataRandomization(seeds=(0, 3), similarities=("spearman",), accuracy=0.9, initializer="he"),
        hp.checks.InputControls(controls=("edge-detector", "random"), similarities=("spearman",)),
        hp.checks.Calibration(similarities=("mse",), seed=5),
    ],
    ids=repr,
)
def test_other_settings_keep_the_contract(check):
    check_check(check)
