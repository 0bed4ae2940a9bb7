"""Code by its name: a spec runs what lies beside it, and nothing else."""

import os
import sys
from pathlib import Path

import pytest
from torch import nn

from heatproof.adapters import Python
from heatproof.auditing.spec import parse, read
from heatproof.errors import InputError
from heatproof.named_code import code_beside, named_code

SPEC = """
methods = ["gradient", {{ name = "python", call = "{call}" }}]
checks = ["input-controls"]
[model]
name = "{model}"
[data]
name = "demo"
limit = 2
"""
NET = """
from shutil import rmtree
from torch import nn
def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 2)).eval()
def maps(model, inputs, targets):
    return inputs
"""


def spec(folder: Path, module: str, model: str = "", call: str = "") -> Path:
    (folder / f"{module}.py").write_text(NET)
    path = folder / "spec.toml"
    path.write_text(SPEC.format(model=model or f"{module}:net", call=call or f"{module}:maps"))
    return path


def loaded(path: Path, trusted: tuple[str, ...] = ()) -> nn.Module:
    found = read(path, trusted)
    with found.code():
        return found.model.load(found.folder)


def test_code_beside_a_spec_is_run(tmp_path):
    net = loaded(spec(tmp_path, "mine_beside"))
    assert [type(layer).__name__ for layer in net] == ["Flatten", "Linear"]


def test_two_specs_each_have_a_module_of_one_name(tmp_path):
    for number in (2, 3):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = spec(folder, "same_name")
        (folder / "same_name.py").write_text(NET.replace("28 * 28, 2", f"28 * 28, {number}"))
        assert loaded(path)[1].out_features == number


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("os:system", "'os:system' is Python's standard library, of which nothing is run"),
        ("builtins:eval", "'builtins:eval' is Python's standard library"),
        ("subprocess:run", "'subprocess:run' is Python's standard library"),
        ("importlib.util:find_spec", "'importlib.util:find_spec' is Python's standard library"),
        ("posix:system", "'posix:system' is Python's standard library"),
        ("numpy:load", r"beside the spec, in '.*', but 'numpy:load' is installed elsewhere \(.*numpy.*--trust numpy"),
        ("torch.hub:load", "'torch.hub:load' is installed elsewhere .* allow it with --trust torch"),
        ("not_there_at_all:net", "Expected a module 'not_there_at_all' with the m"),
        ("guarded:rmtree", "'guarded:rmtree' is Python's own rmtree"),
    ],
)
@pytest.mark.parametrize("place", ["model", "method"])
def test_a_spec_runs_nothing_else(tmp_path, monkeypatch, name, said, place):
    ran: list[str] = []
    monkeypatch.setattr(os, "system", ran.append)
    path = spec(tmp_path, "guarded", **({"model": name} if place == "model" else {"call": name}))
    with pytest.raises(InputError, match=said):
        loaded(path)
    assert ran == []


def test_nothing_of_a_module_elsewhere_is_imported_before_it_is_refused(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "harmful.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(str(elsewhere))
    folder = tmp_path / "spec"
    folder.mkdir()
    with pytest.raises(InputError, match="'harmful:net' is installed elsewhere"):
        loaded(spec(folder, "own", model="harmful:net"))
    assert "harmful" not in sys.modules


def test_a_trusted_package_is_run(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "trusted_nets.py").write_text(NET)
    monkeypatch.syspath_prepend(str(elsewhere))
    folder = tmp_path / "spec"
    folder.mkdir()
    path = spec(folder, "own_too", model="trusted_nets:net")
    assert isinstance(loaded(path, ("trusted_nets",)), nn.Sequential)
    with pytest.raises(InputError, match="key of the spec, but got 'trusted'"):
        parse({"trusted": ["trusted_nets"]})  # no spec says it of itself


def test_heatproofs_own_networks_need_no_trust(tmp_path):
    with code_beside(tmp_path):
        assert named_code("heatproof.zoo:demo_cnn", "model").__name__ == "demo_cnn"


def test_who_calls_from_python_names_what_he_likes_but_no_standard_library():
    assert Python("torch.nn.functional:softmax").call.__name__ == "softmax"
    with pytest.raises(InputError, match="'os:system' is Python's standard library"):
        Python("os:system")
