"""A pytest plug-in: each file named `….heatproof.toml` is a gate, each of its requirements a test.

run = "runs/mine"                         # beside this file, or absolute
require = ["grad-cam: believable", "box-ratio > 0.3"]
baseline = "runs/released"                # may be left out
allow_failures = false
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ENDING = ".heatproof.toml"
KEYS = {"run": str, "require": list, "baseline": str, "allow_failures": bool}


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "GateFile | None":
    """A gate, where the file is one."""
    return GateFile.from_parent(parent, path=file_path) if file_path.name.endswith(ENDING) else None


class GateFile(pytest.File):
    """A gate: its run is read once, when its tests are collected."""

    def collect(self) -> Iterator["GateItem"]:
        from heatproof.errors import HeatproofError, InputError, unknown
        from heatproof.gate import check

        try:
            asked = tomllib.loads(self.path.read_text(encoding="utf-8"))
            for key, value in asked.items():
                if key not in KEYS:
                    raise unknown("key of a gate", key, KEYS)
                if not isinstance(value, KEYS[key]):
                    kind = {str: "a text", list: "a list of texts", bool: "true or false"}[KEYS[key]]
                    raise InputError(f"Expected {key} of {self.path.name} to be {kind}, but got {value!r}.")
            if "run" not in asked:
                raise InputError(f"Expected {self.path.name} to name a run, but it has no key 'run'.")
            before = asked.get("baseline")
            outcomes = check(
                _place(self.path.parent, asked["run"]),
                asked.get("require", []),
                baseline=None if before is None else _place(self.path.parent, before),
                allow_failures=asked.get("allow_failures", False),
            )
        except (HeatproofError, tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise self.CollectError(str(error)) from None
        for outcome in outcomes:
            yield GateItem.from_parent(self, name=outcome.name, kept=outcome.kept, why=outcome.why)


def _place(folder: Path, named: str) -> Path | str:
    """A run's folder beside the file, or its URL."""
    from heatproof.paths import url_of

    return folder / named if url_of(named) is None else named


class GateItem(pytest.Item):
    """One requirement."""

    def __init__(self, *, kept: bool, why: str, **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]  # pytest's own arguments
        self.kept, self.why = kept, why

    def runtest(self) -> None:
        if not self.kept:
            raise NotKeptError(self.why)

    def repr_failure(self, excinfo: "pytest.ExceptionInfo[BaseException]", style: object = None) -> str:
        return str(excinfo.value) if isinstance(excinfo.value, NotKeptError) else str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name


class NotKeptError(AssertionError):
    """A requirement that the run does not surely keep."""
