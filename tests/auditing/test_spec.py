import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import heatproof as hp
from heatproof.auditing.from_spec import demo_spec, run
from heatproof.auditing.spec import ModelSpec, parse, read
from heatproof.data import DemoDigits
from heatproof.errors import InputError, UnknownNameError
from heatproof.methods import Competitive, GradientXInput, IntegratedGradients, SmoothGrad
from heatproof.paths import located
from heatproof.randomization import He, Independent
from heatproof.similarity import HOG, Spearman

SMALLEST: dict[str, Any] = {
    "model": {"name": "audit_toys:network"},
    "data": {"source": "demo"},
    "methods": ["cgi"],
    "checks": ["calibration"],
}


def spec(**changes: Any) -> dict[str, Any]:
    return {**SMALLEST, "data": {"name": "demo"}, **changes}


class TestReading:
    def test_names_and_tables_become_recipes(self) -> None:
        read_spec = parse(
            spec(
                methods=[
                    "cgi",
                    {
                        "name": "smoothgrad",
                        "label": "sg-ig",
                        "samples": 7,
                        "method": {
                            "name": "integrated-gradients",
                            "steps": 3,
                            "baseline": {"name": "constant", "value": 1},
                        },
                    },
                ],
                checks=[
                    {
                        "name": "parameter-randomization",
                        "randomization": {"name": "independent", "initializer": "he"},
                        "similarities": ["spearman", {"name": "hog", "cell": 4}],
                        "seeds": [3, 4],
                    }
                ],
            )
        )
        baseline = hp.baselines.Constant(value=1.0)
        assert read_spec.methods == {
            "cgi": Competitive(GradientXInput()),
            "sg-ig": SmoothGrad(IntegratedGradients(steps=3, baseline=baseline), samples=7),
        }
        name, check = read_spec.checks["parameter-randomization"]
        assert name == "parameter-randomization"
        assert check == hp.checks.ParameterRandomization(
            randomization=Independent(initializer=He()), similarities=(Spearman(), HOG(cell=4)), seeds=(3, 4)
        )

    def test_a_recipe_that_comes_twice_is_labeled_by_what_differs(self) -> None:
        labels = list(parse(spec(methods=[{"name": "smoothgrad", "samples": 2}, "smoothgrad"])).methods)
        assert len(set(labels)) == 2
        assert "samples=2" in labels[0]

    def test_the_demo_ships_with_the_package(self) -> None:
        assert "cgi" in demo_spec().methods

    def test_the_spec_in_the_documentation_is_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PICTURES", str(tmp_path))
        page = (Path(__file__).parents[2] / "docs" / "audits.md").read_text(encoding="utf-8")
        read_spec = parse(tomllib.loads(page.split("```toml")[1].split("```")[0]))
        assert list(read_spec.methods) == ["cgi", "integrated-gradients", "sg-ig"]
        assert read_spec.data.root == f"{tmp_path}/val"
        assert read_spec.model.arguments == {"num_classes": 10}

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            (
                spec(methodz=["cgi"]),
                "a key of the spec, but got 'methodz'; did you mean 'methods'",
            ),
            ({"model": {"name": "a:b"}}, "Expected the spec to have `data`, but it has none"),
            (spec(methods=["cgy"]), "Expected the name of a method, but got 'cgy'; did you mean 'cgi'"),
            (spec(methods="cgi"), "Expected a list of methods, but got 'cgi'"),
            (spec(methods=[{"steps": 3}]), "Expected a method as a name or a table with a `name`"),
            (spec(methods=[{"name": "integrated-gradients", "stepz": 3}]), "did you mean 'steps'"),
            (
                spec(methods=[{"name": "integrated-gradients", "steps": "3"}]),
                r"'steps'.* int, but got '3' \(str\)",
            ),
            (spec(methods=["cgi", "cgi"]), "label of its own"),
            (spec(methods=[{"name": "cgi", "label": 5}]), "label of a method to be text, but got 5"),
            (spec(targets="true"), "Expected the name of a target, but got 'true'"),
            (spec(batch="8"), "key 'batch' of the spec"),
            (spec(model={"weights": "w"}), r"Expected \[model\] to have `name`"),
            (spec(model={"name": "a:b", "wieghts": "w"}), "did you mean 'weights'"),
            (spec(data={"name": "demo", "limitt": 3}), "did you mean 'limit'"),
            (spec(training_data={"name": "demi"}), "did you mean 'demo'"),
            (spec(features={"name": "tiles", "size": 2.5}), "'size'.* to be int"),
        ],
    )
    def test_what_is_wrong_is_named(self, table: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            parse(table)

    def test_a_broken_or_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"Expected a spec file, but .*none\.toml cannot be read: No such file"):
            read(tmp_path / "none.toml")
        (tmp_path / "bad.toml").write_text("methods = [")
        with pytest.raises(InputError, match=r"Expected .*bad\.toml to be TOML, but it is not"):
            read(tmp_path / "bad.toml")


class TestModels:
    def test_a_factory_beside_the_spec_is_found_and_put_in_eval_mode(self, tmp_path: Path) -> None:
        (tmp_path / "beside_spec.py").write_text("from torch import nn\ndef make(out=2): return nn.Linear(3, out)\n")
        net = ModelSpec(name="beside_spec:make", arguments={"out": 5}).load(tmp_path)
        assert isinstance(net, nn.Linear)
        assert (net.out_features, net.training) == (5, False)

    @pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
    def test_weights_fill_the_network(self, tmp_path: Path, suffix: str) -> None:
        state = nn.Linear(3, 2).state_dict()
        path = tmp_path / f"w{suffix}"
        save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
        net = ModelSpec(name="torch.nn:Linear", arguments={"in_features": 3, "out_features": 2}, weights=path.name)
        loaded = net.load(tmp_path).state_dict()
        assert all(torch.equal(loaded[name], state[name]) for name in state)

    def test_weights_are_never_unpickled(self, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path(tmp_path / "owned").touch, ())

        torch.save({"weight": Evil()}, tmp_path / "evil.pt")
        linear = ModelSpec(name="torch.nn:Linear", arguments={"in_features": 3, "out_features": 2}, weights="evil.pt")
        with pytest.raises(InputError, match="heatproof unpickles nothing: save"):
            linear.load(tmp_path)
        assert not (tmp_path / "owned").exists()

    @pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
    def test_foreign_weights_are_refused(self, tmp_path: Path, name: str) -> None:
        linear = ModelSpec(name="torch.nn:Linear", arguments={"in_features": 3, "out_features": 2}, weights=name)
        with pytest.raises(InputError, match="cannot be read"):
            linear.load(tmp_path)
        (tmp_path / name).write_bytes(b"no weights at all")
        with pytest.raises(InputError, match="Expected"):
            linear.load(tmp_path)
        state = {"weight": torch.zeros(2, 4), "extra": torch.zeros(1)}
        save_file(state, tmp_path / name) if name.endswith("safetensors") else torch.save(state, tmp_path / name)
        expected = (
            r"1 tensors are missing \['bias'\], 1 are not the network's \['extra'\], 1 have another shape \['weight'\]"
        )
        with pytest.raises(InputError, match=expected):
            linear.load(tmp_path)

    def test_names_are_checked(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="Expected a model as torchvision:NAME"):
            ModelSpec(name="resnet18").load()
        with pytest.raises(UnknownNameError, match="did you mean 'resnet18'"):
            ModelSpec(name="torchvision:resnet_18", weights="w").load()
        with pytest.raises(InputError, match="Expected `weights` for torchvision:resnet18"):
            ModelSpec(name="torchvision:resnet18").load()
        with pytest.raises(InputError, match="there is none: No module named 'no_such_module'"):
            ModelSpec(name="no_such_module:make").load()
        with pytest.raises(UnknownNameError, match="did you mean 'Linear'"):
            ModelSpec(name="torch.nn:Lineal").load()
        with pytest.raises(UnknownNameError, match="dtype"):
            ModelSpec(name="torch.nn:Linear", dtype="float16").load()

    def test_what_does_not_fit_the_network_is_named(self) -> None:
        linear = {"in_features": 3, "out_features": 2}
        with pytest.raises(InputError, match=r"that torch.nn:Linear takes, but got \{'inputs': 3\}"):
            ModelSpec(name="torch.nn:Linear", arguments={"inputs": 3}).load()
        with pytest.raises(InputError, match="Expected a device that is here, such as 'cpu' or 'cuda', but got"):
            ModelSpec(name="torch.nn:Linear", arguments=linear, device="gpu").load()
        picked = ModelSpec(name="torch.nn:Linear", arguments=linear, output="logits").load()
        with pytest.raises(InputError, match="Expected 'logits' in what the model returns, but its Tensor has none"):
            picked(torch.zeros(1, 3))

    def test_a_layer_inside_is_explained_by_name(self) -> None:
        net = ModelSpec(name="audit_toys:network", layer="3").load(Path(__file__).parent)
        assert net(torch.zeros(2, 1, 12, 12)).shape == (2, 6)


def test_a_spec_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "cache"))
    table = spec(
        model={"name": "heatproof.zoo:DemoCNN"},
        data={"name": "demo", "limit": 3},
        training_data={"name": "demo", "part": "train", "limit": 4},
        methods=["gradient", "edge-detector", {"name": "iba", "steps": 1, "samples": 2}],
        checks=["calibration", "input-controls"],
        gallery=2,
    )
    finished = run(parse(table), tmp_path / "run", threads=1, progress=False)
    manifest = finished.manifest
    assert manifest["status"] == "complete"
    assert len(manifest["shown"]) == 2
    assert manifest["spec"] == table
    assert manifest["data"]["classes"] == [str(digit) for digit in range(10)]
    assert manifest["training_data"] == {
        "name": "demo digits train",
        "fingerprint": DemoDigits(part="train", limit=4).load().fingerprint,
        "samples": 4,
        "skipped": [],
    }
    assert set(finished.rows().check) == {"calibration", "input-controls"}
    assert manifest["methods"][2]["learns"][0]["facts"] == {
        "method": "PerSampleBottleneck",
        "layer": "features.10",
        "samples": "4",
    }


@pytest.mark.parametrize("table", ["data", "model"])
def test_keys_below_a_table_are_told_where_they_belong(table, tmp_path):
    (tmp_path / "audit.toml").write_text(
        f'checks = ["completeness"]\n[{"model" if table == "data" else "data"}]\nname = "demo"\n'
        f'[{table}]\nname = "demo"\nmethods = ["gradient"]\n'
    )
    said = rf"`methods` above the first \[table\] of the spec, but it stands below \[{table}\], .*; move it up"
    with pytest.raises(InputError, match=said):
        read(tmp_path / "audit.toml")


class TestHostileSpecs:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("batch = " + "9" * 5000, "to be TOML, but it is not: Exceeds the limit"),
            ("a = " + "[" * 50_000 + "]" * 50_000, "TOML of some depth, but its tables and lists have no end"),
            ("title = '\x00'", "to be TOML, but it is not"),
            ("title = '" + "x" * 2**24 + "'", "Expected a spec of at most 16777216 bytes"),
            ("[" + "a." * 20_000 + "a]", "key of the spec, but got 'a'|have no end"),
        ],
        ids=["digits", "depth", "control", "size", "dots"],
    )
    def test_what_cannot_be_read_is_said(self, tmp_path: Path, text: str, said: str) -> None:
        (tmp_path / "spec.toml").write_text(text)
        with pytest.raises(InputError, match=said):
            read(tmp_path / "spec.toml")

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "spec.toml")
        with pytest.raises(InputError, match=r"Expected a spec in '.*', but it is no file that ends"):
            read(tmp_path / "spec.toml")
        os.mkfifo(tmp_path / "net.safetensors")
        with pytest.raises(InputError, match=r"Expected weights in '.*', but it is no file that ends"):
            ModelSpec(name="heatproof.zoo:DemoCNN", weights="net.safetensors").load(tmp_path)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            (
                {"batch": 2**63},
                "'batch' of the spec to be a number of at most 64 bits, but got a whole number of 64",
            ),
            (
                {"methods": [{"name": "smoothgrad", "seed": 10**4000}]},
                "64 bits, but got a whole number of 13288 bits",
            ),
            ({"methods": ["x" * 10**6]}, r"but got 'x+'… \(1000000 characters\)"),
            ({"methodz": 10**4000}, "did you mean 'methods'"),
        ],
        ids=["batch", "seed", "name", "key"],
    )
    def test_sizes_have_bounds(self, changes: dict[str, Any], said: str) -> None:
        with pytest.raises(InputError, match=said):
            parse(spec(**changes))

    def test_paths_begin_with_the_users_folder(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        assert located("~/a", Path("/b")) == tmp_path / "a"
        assert located("c", Path("/b")) == Path("/b/c")
        with pytest.raises(InputError, match=r"whose `~` is somebody's folder, but got '~nobody_is_called_so/a'"):
            located("~nobody_is_called_so/a", Path("/b"))
        with pytest.raises(InputError, match=r"Expected a path, but got 'a\\x00b'"):
            located("a\0b", Path("/b"))


def test_weights_fill_a_lazy_network(tmp_path: Path) -> None:
    layers = "nn.Flatten(), nn.LazyLinear(3), nn.LazyBatchNorm1d()"
    made = f"from torch import nn\n\n\ndef make():\n    return nn.Sequential({layers})\n"
    (tmp_path / "lazy_spec.py").write_text(made)
    trained = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3)).eval()
    save_file(trained.state_dict(), tmp_path / "weights.safetensors")
    inputs = torch.rand(2, 1, 2, 2)
    net = ModelSpec(name="lazy_spec:make", weights="weights.safetensors").load(tmp_path)
    assert torch.equal(net(inputs), trained(inputs))
    open_ = ModelSpec(name="lazy_spec:make").load(tmp_path)
    with pytest.raises(InputError, match=r"parameters with values, but '1.weight' has none yet; run the model once"):
        hp.methods.Gradient()(open_, inputs, torch.tensor([0, 0]))


def test_buffers_of_a_lazy_network_have_no_values_either() -> None:
    net = nn.Sequential(nn.Flatten(), nn.LazyBatchNorm1d(affine=False)).eval()
    with pytest.raises(
        InputError, match=r"Expected buffers with values, but '1.running_mean' has none yet; run the model"
    ):
        hp.methods.Gradient()(net, torch.rand(2, 1, 2, 2), torch.tensor([0, 0]))
