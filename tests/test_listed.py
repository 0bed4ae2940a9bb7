"""Names with a line each, remembered between calls of the command line."""

import json
import subprocess
import sys

import pytest

import heatproof as hp
from heatproof import listed
from heatproof.recipes import text


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path))
    monkeypatch.setattr(listed, "entry_points", lambda group: ())
    return tmp_path


@pytest.mark.parametrize("kind", ["methods", "checks"])
def test_lines_are_those_of_the_registry_and_are_remembered(kind, cache, monkeypatch):
    registry = getattr(hp, kind)
    said, broken = listed.listed(kind)
    assert (list(said), broken) == (registry.names(), {})
    assert said == {name: text(registry.get(name)) for name in registry.names()}
    (file,) = cache.iterdir()
    assert json.loads(file.read_text()) == said
    monkeypatch.setattr(listed, "_looked_up", lambda kind: pytest.fail("it is remembered"))
    assert listed.listed(kind) == (said, {})


def test_a_memory_that_is_damaged_or_cannot_be_written_is_none(cache, monkeypatch):
    said, _ = listed.listed("checks")
    (file,) = cache.iterdir()
    for damaged in ("{", "[]", '{"degradation": 1}'):
        file.write_text(damaged)
        assert listed.listed("checks") == (said, {})
        assert json.loads(file.read_text()) == said
    (cache / "file").write_text("")
    monkeypatch.setenv("HEATPROOF_CACHE", str(cache / "file" / "below"))
    assert listed.listed("checks") == (said, {})


def test_plug_ins_and_other_files_are_looked_up_anew(cache, monkeypatch):
    monkeypatch.setattr(listed, "_looked_up", lambda kind: ({"one": "first"}, {}))
    assert listed.listed("checks") == ({"one": "first"}, {})
    monkeypatch.setattr(listed, "_looked_up", lambda kind: ({"one": "second"}, {"two": "has no defaults"}))
    assert listed.listed("checks") == ({"one": "first"}, {})
    with monkeypatch.context() as patch:
        patch.setattr(listed, "entry_points", lambda group: ["one"])
        assert listed.listed("checks") == ({"one": "second"}, {"two": "has no defaults"})
    monkeypatch.setattr(listed, "__version__", "99")
    assert listed.listed("checks") == ({"one": "second"}, {"two": "has no defaults"})
    assert len(list(cache.iterdir())) == 1  # with something broken nothing is remembered


def test_the_second_call_imports_no_torch():
    """Under a second: with torch it is two."""
    program = (
        "import sys; from heatproof import listed; listed.entry_points = lambda group: ();"
        "from heatproof.cli.listing import _list; _list('methods'); print('torch' in sys.modules, file=sys.stderr)"
    )
    calls = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True) for _ in "12"]
    assert [call.stderr.strip() for call in calls] == ["True", "False"]
    assert calls[0].stdout == calls[1].stdout
    assert "gradient-x-input" in calls[0].stdout
