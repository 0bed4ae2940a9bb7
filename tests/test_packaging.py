"""What a user installs: names, pins, licence and the files of the repository's first screen."""

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest

import heatproof

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(requirement: str) -> str:
    return canonical(re.match(r"[A-Za-z0-9._-]+", requirement)[0])


def asked_for() -> list[str]:
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    return [line for line in PROJECT["dependencies"] + extras if not line.startswith("heatproof[")]


def test_every_line_is_one_exact_version():
    for line in PINS:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.+!]*( ?;.*)?", line), line
    names = [requirement_name(line) for line in PINS]
    assert len(names) == len(set(names))


def test_constraints_name_no_host_and_no_path():
    text = (ROOT / "constraints.txt").read_text()
    assert not re.search(r"://|@|^-|/|\\", text.replace("[bench]", ""), re.MULTILINE)


def test_constraints_cover_every_dependency_above_its_lower_bound():
    pins = {requirement_name(line): line.split("==")[1] for line in PINS}

    def parts(version: str) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", version)]

    for requirement in asked_for():
        name = requirement_name(requirement)
        assert name in pins
        bound = re.search(r">=([0-9.]+)", requirement)
        assert bound is None or parts(pins[name]) >= parts(bound[1])


def test_all_takes_every_extra_that_users_choose_from():
    extras = set(PROJECT["optional-dependencies"]) - {"all", "bench", "docs", "test", "peers"}  # others' explainers
    (everything,) = PROJECT["optional-dependencies"]["all"]
    assert set(re.fullmatch(r"heatproof\[(.*)\]", everything)[1].split(",")) == extras


def test_the_version_is_the_packages():
    assert importlib.metadata.version("heatproof") == heatproof.__version__
    assert (Path(heatproof.__file__).parent / "py.typed").is_file()


def test_the_report_needs_no_torch():
    code = "import sys; sys.modules['torch'] = None; import heatproof, heatproof.report"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


@pytest.mark.parametrize("name", ["LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", ".ci/run"])
def test_the_repository_has(name: str):
    assert (ROOT / name).stat().st_size > 0


def planned(folder: Path, goal: str) -> str:
    """What `make` would run in a folder, by `make -n`."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        if not (folder / name).exists():
            (folder / name).write_bytes((ROOT / name).read_bytes())
    command = ["make", "-n", goal, f"PYTHON={sys.executable}", "VENV=env", "VENV_ARGS=--system-site-packages"]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=True).stdout


def stamped(folder: Path, said: str) -> None:
    stamp = folder / re.search(r"touch (\S+)", said)[1]
    stamp.parent.mkdir(exist_ok=True)
    stamp.touch()


def test_the_demo_installs_no_test_tools_and_tests_add_theirs(tmp_path: Path):
    said = planned(tmp_path, "demo")
    assert "'.[demo]'" in said
    assert "test" not in re.search(r"pip install.*", said)[0]
    stamped(tmp_path, said)
    assert "pip install" not in planned(tmp_path, "demo")
    said = planned(tmp_path, "test")  # the same environment, with more in it
    assert "env/bin/python -m pip install" in said
    assert "'.[test]'" in said
    stamped(tmp_path, said)
    for stamp in (tmp_path / "env").glob(".stamp-demo-*"):
        stamp.unlink()
    assert "pip install" not in planned(tmp_path, "demo")  # what is there for everything is enough


def test_the_stamp_follows_pyproject_and_constraints(tmp_path: Path):
    """`make -n` prints what would run: an install without the stamp, none with it, one again after a change."""
    first = planned(tmp_path, "test")
    assert f"{sys.executable} -m venv --system-site-packages env" in first
    stamped(tmp_path, first)
    assert "pip install" not in planned(tmp_path, "test")
    with (tmp_path / "constraints.txt").open("a") as file:
        file.write("# changed\n")
    assert "pip install" in planned(tmp_path, "test")


def test_the_readme_of_the_package_has_no_link_into_the_repository(monkeypatch: pytest.MonkeyPatch):
    home = "hatchling.metadata.plugin.interface"  # installed where wheels are built, not here
    for end in (len(home.split(".")[0]), home.index(".plugin"), home.rindex("."), None):
        monkeypatch.setitem(sys.modules, home[:end], types.ModuleType(home[:end]))
    sys.modules[home].MetadataHookInterface = object
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = module.standalone(readme)
    assert "](docs/" in readme
    assert "](" not in shown
    assert "![" not in shown
    assert "New here? Start here, then how to read a verdict." in shown
    kept = "[a](https://a.org) ![b](https://a.org/b.png)"
    assert module.standalone(kept) == kept


def test_importing_it_takes_no_time():
    code = "import time; begun = time.process_time(); import heatproof; print(time.process_time() - begun)"
    seconds = min(float(subprocess.check_output([sys.executable, "-c", code], text=True)) for _ in range(3))
    assert seconds < 0.1, f"{seconds:.3f} s of CPU time"


def test_listing_methods_takes_less_than_a_second(tmp_path):
    """Once it is remembered: what is registered is found out with torch."""
    code = (
        "import sys, time; begun = time.process_time(); sys.argv = ['heatproof', 'methods']\n"
        "from heatproof.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(time.process_time() - begun, 'torch' in sys.modules, file=sys.stderr)"
    )
    found = []
    for _ in range(3):
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**os.environ, "HEATPROOF_CACHE": str(tmp_path)},
        )  # fmt: skip
        assert "expected-gradients" in ran.stdout
        found.append(ran.stderr.split()[-2:])
    assert found[-1][1] == "False"
    assert min(float(seconds) for seconds, _ in found[1:]) < 1.0
