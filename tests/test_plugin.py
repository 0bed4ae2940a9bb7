"""The example of a package of plug-ins, installed as its users install it: everything that it adds is there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "plugin"
# What stands in for hatchling, which nothing else here needs: a wheel is a zip file of the module and its metadata.
BACKEND = """
import tomllib, zipfile
from pathlib import Path

def build_wheel(folder, config_settings=None, metadata_directory=None):
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    info = "heatproof_example-0.1.dist-info"
    groups = [
        f"[{group}]\\n" + "".join(f"{name} = {value}\\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    name = "heatproof_example-0.1-py3-none-any.whl"
    with zipfile.ZipFile(Path(folder) / name, "w") as wheel:
        wheel.write("heatproof_example.py")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: heatproof-example\\nVersion: 0.1\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/entry_points.txt", "\\n".join(groups))
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""
USE = """
import json, warnings
import torch
from torch import nn
import heatproof as hp

torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2)).eval()
data = hp.data.get("stripes", limit=8).load()
run = hp.audit(
    net, data.inputs + torch.rand(8, 1, 8, 8) - 0.3, methods=["brightness", "gradient"],
    checks=["positive-share", hp.checks.Calibration(similarities=("cosine",))], progress=False, threads=1,
)
rows, verdicts = run.rows(), run.verdicts().set_index(["method", "question"])
said = {
    "metrics": sorted(rows["metric"].unique()),
    "word": verdicts.loc[("brightness", "mostly-positive"), "word"],
    "share": float(rows[(rows["metric"] == "positive-share") & (rows["method"] == "brightness")]["value"].mean()),
    "gain": hp.methods.get("brightness", gain=2).gain,
    "readings": hp.readings.READINGS.names(),
}
print(json.dumps(said))
"""
LIST = """
import json, warnings
from heatproof.methods import names, get
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    listed = names()
try:
    get("brightness")
except Exception as error:
    raised = f"{type(error).__name__}: {error}"
print(json.dumps([len(caught), str(caught[0].message), "gradient" in listed, raised]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package is installed into."""
    folder = tmp_path_factory.mktemp("plugin")
    source, site = folder / "source", folder / "site"
    source.mkdir()
    project = (EXAMPLE / "pyproject.toml").read_text(encoding="utf-8")
    swapped = project.replace('requires = ["hatchling"]\nbuild-backend = "hatchling.build"', "@")
    assert "@" in swapped
    ours = 'requires = []\nbuild-backend = "backend"\nbackend-path = ["."]'
    (source / "pyproject.toml").write_text(swapped.replace("@", ours), encoding="utf-8")
    (source / "backend.py").write_text(BACKEND, encoding="utf-8")
    (source / "heatproof_example.py").write_bytes((EXAMPLE / "heatproof_example.py").read_bytes())
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--quiet", "--target", str(site), str(source)], check=True, capture_output=True)
    return site


def told(code: str, site: Path) -> object:
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_what_it_adds_is_used_like_what_is_ours(site: Path) -> None:
    said = told(USE, site)
    assert isinstance(said, dict)
    assert said["metrics"] == ["cosine", "positive-share"]
    assert said["word"] == "mostly positive"
    assert 0.5 < said["share"] < 1.0
    assert said["gain"] == 2
    assert "mostly-positive" in said["readings"]


def test_one_that_is_broken_warns_where_it_is_listed_and_raises_where_it_is_chosen(site: Path) -> None:
    module = site / "heatproof_example.py"
    whole = module.read_text(encoding="utf-8")
    try:
        module.write_text("import there_is_no_such_package", encoding="utf-8")
        count, warning, ours, raised = told(LIST, site)  # type: ignore[misc]  # a list of four
    finally:
        module.write_text(whole, encoding="utf-8")
    assert (count, ours) == (1, True)
    assert "plug-in 'brightness' (heatproof_example:Brightness) to add its methods, but its import raised" in warning
    assert raised.startswith("UnknownNameError: Expected the name of a method, but got 'brightness'")
    assert "could not be imported: 'brightness' (heatproof_example:Brightness) (ModuleNotFoundError" in raised
