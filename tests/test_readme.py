"""What the README shows runs as it stands there."""

import re
import tomllib
from pathlib import Path

import pytest

from heatproof.checks import CHECKS
from heatproof.data import DATA
from heatproof.methods.base import METHODS

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    return re.search(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)[1]


def test_the_python_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(block("python").replace("[:32]", "[:2]"), names)
    assert names["maps"].shape == names["images"].shape
    assert set(names["run"].rows()["check"]) == {"parameter-randomization", "steadiness", "degradation"}
    assert names["run"].verdicts()["question"].isin(["steady", "depends", "faithful", "believable"]).any()
    assert (tmp_path / "run" / "run.json").is_file()


def test_the_names_in_the_specification():
    spec = tomllib.loads(block("toml"))
    assert set(spec["methods"]) <= set(METHODS.names())
    assert set(spec["checks"]) <= set(CHECKS.names())
    fields = {key: value for key, value in spec["data"].items() if key != "name"}
    assert DATA.get(spec["data"]["name"], **fields).root == "pictures"
