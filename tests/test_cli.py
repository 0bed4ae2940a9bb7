import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import heatproof as hp
from heatproof import cli

TOYS = Path(__file__).parent / "auditing"


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_methods_and_checks_are_listed_with_a_line_each() -> None:
    listed = invoke("methods")
    assert all(name in listed for name in hp.methods.names())
    assert "The gradient times the input" in listed
    assert all(name in invoke("checks") for name in hp.checks.names())


def test_audit_runs_a_spec_and_prints_the_report(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("from heatproof.zoo import DemoCNN\n")
    spec = tmp_path / "small.toml"
    spec.write_text(
        'methods = ["gradient", "edge-detector"]\nchecks = ["parameter-randomization"]\n'
        '[model]\nname = "net:DemoCNN"\n[data]\nname = "demo"\nlimit = 2\n'
    )
    last = invoke("audit", str(spec), "--threads", "1").strip().splitlines()[-1]
    assert Path(last) == tmp_path / "runs" / "small" / "report.html"
    first = Path(last).read_bytes()
    Path(last).unlink()
    said = json.loads(invoke("report", str(tmp_path / "runs" / "small"), "--json"))
    assert said["headline"].endswith("Nothing here says which of its heatmaps to trust.")
    answers = {(one["method"], one["question"]): one["answer"] for one in said["verdicts"]}
    assert answers["gradient", "believable"] == "unknown"
    assert not Path(last).exists()
    invoke("report", str(tmp_path / "runs" / "small"))
    assert Path(last).read_bytes() == first


@pytest.mark.parametrize("strict", [False, True])
def test_failures_are_named_in_the_terminal_and_strict_makes_them_count(tmp_path: Path, strict: bool) -> None:
    (tmp_path / "net.py").write_text("from heatproof.zoo import DemoCNN\n")
    spec = tmp_path / "small.toml"
    spec.write_text(
        'methods = ["gradient", { name = "grad-cam", layer = "nowhere" }]\nchecks = ["calibration"]\n'
        '[model]\nname = "net:DemoCNN"\n[data]\nname = "demo"\nlimit = 3\n'
    )
    command = ["audit", str(spec), "--threads", "1", *(["--strict"] if strict else [])]
    result = CliRunner().invoke(cli.app, command, catch_exceptions=False, env={"COLUMNS": "1000"})
    assert result.exit_code == (1 if strict else 0)
    assert "Not everything worked: the rows of what failed are missing or NaN." in result.output
    (line,) = (line for line in result.output.splitlines() if "failed (" in line)
    assert line.startswith("  grad-cam failed (trained, 3 samples): UnknownNameError: Expected")
    assert "'nowhere'" in line
    assert Path(result.output.strip().splitlines()[-1]) == tmp_path / "runs" / "small" / "report.html"


@pytest.mark.filterwarnings("always::heatproof.errors.HeatproofWarning")
def test_a_dead_random_network_is_named_in_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("from heatproof.zoo import DemoCNN\n")
    spec = tmp_path / "small.toml"
    initializer = '{ name = "truncated-normal", std = 1e-12 }'
    spec.write_text(
        'methods = ["gradient"]\n[[checks]]\nname = "efficient-parameter-randomization"\n'
        f'initializer = {initializer}\n[model]\nname = "net:DemoCNN"\n[data]\nname = "demo"\nlimit = 3\n'
    )
    result = CliRunner().invoke(cli.app, ["audit", str(spec), "--threads", "1"], catch_exceptions=False)
    said = " ".join(result.output.split())
    assert "Warning: Expected a random network that answers to its inputs, but TruncatedNormal(std=1e-12)" in said
    assert "its outputs are the same for every sample. Its maps say nothing; set initializer='he'." in said


def test_explain_draws_methods_side_by_side_and_shows_the_gap(tmp_path: Path) -> None:
    picture = np.zeros((40, 60, 3), dtype=np.uint8)
    picture[10:20, 20:50] = 200
    Image.fromarray(picture).save(tmp_path / "in.png")
    (tmp_path / "colored.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def net():\n"
        "    torch.manual_seed(0)\n"
        "    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *head)\n"
    )
    out = tmp_path / "map.png"
    paths = filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "heatproof", "explain", "colored:net", str(tmp_path / "in.png")]
    options = ["--method", "cgi", "--method", "gradient-x-input", "--resize", "40", "--crop", "32", "--out", str(out)]
    ran = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=True)
    assert "completeness-gap" in ran.stdout
    drawn = np.asarray(Image.open(out).convert("RGB")).astype(int)
    # three panels of 32 pixels enlarged seven times; maps hold red or blue, the input does not
    assert drawn.shape[1] == 3 * 224 + 4 * 12
    colored = np.abs(drawn[..., 0] - drawn[..., 2]) > 20
    panels = [colored[20:256, 12 + i * 236 : 12 + i * 236 + 224].any() for i in range(3)]
    assert panels == [False, True, True]


def test_explain_fits_what_has_to_learn_on_pictures_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (9, 40, 40, 3), dtype=np.uint8)
    for i, pixels in enumerate(noise):
        (tmp_path / "some" / f"class{i % 3}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "some" / f"class{i % 3}" / f"{i}.png")
    lines = sorted(f"class{i % 3}/{i}.png,{i % 3}" for i in range(9))
    (tmp_path / "some" / "labels.csv").write_text("\n".join(["file,index", *lines]))
    (tmp_path / "fitting.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def net():\n"
        "    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(196, 3))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "cache"))
    command = ["explain", "fitting:net", "some/class0/0.png", "--resize", "40", "--crop", "32", "--fit-on"]
    methods = ["--method", "iba", "--method", "pattern-attribution"]
    for place in ("some", "some/labels.csv"):
        assert CliRunner().invoke(cli.app, [*command, place, *methods]).exit_code == 0
    # The same pictures and labels in the same order: one fit of each, whatever named them.
    kept = sorted(path.name.rpartition("-")[0] for path in (tmp_path / "cache").glob("*.safetensors"))
    assert kept == ["iba", "pattern-net"]  # which learns what both methods of patterns need
    drawn = np.asarray(Image.open("map.png").convert("RGB")).astype(int)
    assert drawn.shape[1] == 3 * 224 + 4 * 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["audit", "nowhere.toml"], "Expected a spec file, but nowhere.toml cannot be read"),
        (["report", "nowhere"], "has none"),
        (["explain", "a:b", "in.png", "--method", "cgy"], "did you mean 'cgi'"),
        (["explain", "a:b", "in.png", "--method", "iba"], "give --fit-on with a folder of pictures like those"),
        (["explain", "a:b", "nowhere.png"], "Expected an image in 'nowhere.png'"),
        (["explain", "a:b", "in.png", "--out", "map.pdf"], "Expected a picture to write"),
        (["explain", "a:b", "in.png", "--out", "none/map.png"], "Expected a folder to write map.png into"),
        (["explain", "a:b", "in.png", "--mean", "0.5,half"], "Expected numbers with commas between them"),
    ],
)
def test_a_users_error_is_a_sentence_and_status_2(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["heatproof", *arguments])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert message in said
    assert "Traceback" not in said


FACTORIES = """
import torch
from torch import nn

def gray():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))

def broken(width=3):
    raise ValueError("no such width")
"""


@pytest.mark.parametrize(
    ("factory", "arguments", "said"),
    [
        ("factories:gray", "{}", "Expected inputs that the model runs on, but on (1, 3, 8, 8)"),
        ("factories:broken", "{}", "Expected factories:broken to make the model, but it raised ValueError: no such"),
        ("factories:broken", "{ width = 7 }", "but with arguments {'width': 7} it raised ValueError: no such width"),
        (
            "factories:broken",
            "{ height = 7 }",
            "Expected `arguments` that factories:broken takes, but got {'height': 7}",
        ),
        ("raising:net", "{}", "Expected the module 'raising' to make the model, but it raised ZeroDivisionError"),
        ("missing:net", "{}", "but it raised ModuleNotFoundError: No module named 'not_there' (missing.py, line 1)"),
        ("nowhere:net", "{}", "Expected a module 'nowhere' with the model, but there is none"),
    ],
)
def test_what_a_specs_model_raises_is_a_sentence(
    factory: str,
    arguments: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "factories.py").write_text(FACTORIES)
    (tmp_path / "raising.py").write_text("1 / 0")
    (tmp_path / "missing.py").write_text("import not_there")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "spec.toml").write_text(
        f'methods = ["gradient"]\nchecks = ["calibration"]\n[model]\nname = "{factory}"\narguments = {arguments}\n'
        '[data]\nname = "image-folder"\nroot = "."\nresize = 8\ncrop = 8\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["heatproof", "audit", "spec.toml"])
    monkeypatch.delitem(sys.modules, "factories", raising=False)
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_the_command_line_starts_without_torch() -> None:
    code = "import sys, heatproof.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_version_and_one_method_or_check_are_told() -> None:
    assert invoke("--version").strip() == f"heatproof {hp.__version__}"
    said = invoke("methods", "smoothgrad")
    assert "number of noisy copies" in said
    assert "Smilkov et al. 2017" in said
    one = json.loads(invoke("checks", "degradation", "--json"))
    assert {"name": "steps", "default": "0", "kind": "int"}.items() <= one["fields"][1].items()
    assert [each["name"] for each in json.loads(invoke("methods", "--json"))] == hp.methods.names()


def test_explain_draws_several_pictures_with_fields_overlay_and_names_as_svg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "named.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def net():\n"
        "    torch.manual_seed(0)\n"
        "    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *head)\n"
    )
    noise = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    for k, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / f"in{k}.png")
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    options = ["--resize", "none", "--crop", "none", "--classes", "names.txt", "--overlay", "0.5", "--target", "1"]
    methods = ["--method", "gradient-x-input", "--method", "smoothgrad:samples=2,noise=0.1"]
    said = invoke("explain", "named:net", "in0.png", "in1.png", *methods, *options, "--out", "map.svg")
    text = (tmp_path / "map.svg").read_text()
    assert text.count("<image") == 2 * 3
    assert text.count(">smoothgrad:samples=2,noise=0.1</text>") == 2
    assert text.count(">bee, probability ") == 2
    assert text.count(" score</text>") == 2  # the color bars of gradient-x-input
    assert "in1.png: bee" in said


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("smoothgrad:sample=2", "did you mean 'samples'"),
        ("smoothgrad:samples=two", "Expected a method with fields such as 'smoothgrad:samples=10,noise=0.1'"),
    ],
)
def test_fields_of_a_method_are_checked(method: str, message: str) -> None:
    result = CliRunner().invoke(cli.app, ["explain", "a:b", "in.png", "--method", method])
    assert message in str(result.exception)


def test_public_names_are_completed() -> None:
    assert {"audit", "methods", "readings", "Bound", "__version__"} <= set(dir(hp))
    assert dir(hp) == sorted(hp.__all__)
