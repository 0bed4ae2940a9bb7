"""Audits of methods that learn from data: fitted on the trained network, and treated as declared on changed ones."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import audit_toys as toys
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof import artifacts
from heatproof.auditing import Run
from heatproof.data import Dataset
from heatproof.errors import HeatproofWarning, InputError
from heatproof.methods import Competitive, PatternAttribution, PerSampleBottleneck, ReadoutBottleneck, SmoothGrad
from heatproof.methods.fitted import Fitted
from heatproof.methods.known_layers import found_layer
from heatproof.zoo import Training

IBA = PerSampleBottleneck(steps=3, samples=2)
READOUT = ReadoutBottleneck(layer="1", readouts=("1", "5"), epochs=3, samples=2, rate=1e-3)
METHODS = {"iba": IBA, "readout": READOUT, "patterns": PatternAttribution()}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def training(count: int = 40, seed: int = 2) -> Dataset:
    inputs = torch.rand(count, 1, 12, 12, generator=torch.Generator().manual_seed(seed))
    ids = tuple(str(i) for i in range(count))
    return Dataset(name="practice", inputs=inputs, targets=torch.arange(count) % 4, ids=ids)


def run(out: Path, **changes: object) -> Run:
    settings = {
        "methods": METHODS,
        "training_data": training(),
        "checks": {"parameter-randomization": hp.checks.ParameterRandomization(complete_seeds=1)},
    }
    return toys.run(out, **{**settings, **changes})


def fits(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob("*.safetensors"))


def of(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    return rows[rows.method == method].reset_index(drop=True)


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_exact=True)


class TestOnTheTrainedNetwork:
    def test_the_maps_are_those_of_the_method_fitted_by_hand(self, tmp_path: Path) -> None:
        data, model = training(), toys.network()
        rows = run(tmp_path / "run", methods={"iba": IBA}, checks=["calibration"], batch=7).rows()
        fitted = IBA.fit(model, [data.inputs])
        check = hp.checks.get("calibration")
        by_hand = toys.run(tmp_path / "hand", methods={"iba": fitted}, checks=[check], batch=7).rows()
        values = of(rows, "iba").value, of(by_hand, "iba").value
        # The order of the data differs, so the statistics differ by rounding.
        torch.testing.assert_close(*(torch.tensor(v.to_numpy()) for v in values), rtol=1e-4, atol=1e-4)

    def test_the_manifest_says_what_was_learned_from_what(self, tmp_path: Path) -> None:
        manifest = run(tmp_path / "run").manifest
        iba, readout, patterns = (entry["learns"][0] for entry in manifest["methods"])
        assert iba["facts"]["layer"] == found_layer(toys.network(), toys.images())
        assert iba["facts"]["samples"] == readout["facts"]["samples"] == patterns["facts"]["samples"] == "40"
        assert [one["changed"] for one in (iba, readout, patterns)] == ["refit", "reuse", "exclude"]
        assert all(one["because"] for one in (iba, readout, patterns))
        assert len({one["digest"] for one in (iba, readout, patterns)}) == 3
        assert manifest["training_data"]["fingerprint"] == training().fingerprint
        assert manifest["status"] == "complete"

    def test_two_runs_share_a_fit(self, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = run(tmp_path / "a").rows()
        kept = fits(cache)
        assert [name.partition("-")[0] for name in kept] == ["iba"] * 6 + ["pattern"]  # and a readout
        monkeypatch.setattr(artifacts, "write_tensors", fail)
        same(run(tmp_path / "b").rows(), first)
        assert fits(cache) == kept

    def test_a_fit_that_cannot_be_read_is_made_again(self, tmp_path: Path, cache: Path) -> None:
        first = run(tmp_path / "a").rows()
        for path in cache.glob("*.safetensors"):
            content = path.read_bytes()
            path.write_bytes(content[:-3] if path.name.startswith("iba-readout") else content[:-1] + b"\x7f")
        with pytest.warns(HeatproofWarning, match=r"It counts as absent, and is made anew") as said:
            same(run(tmp_path / "b").rows(), first)
        assert len({str(one.message) for one in said}) == len(fits(cache)) == 7
        assert all(Fitted.load(path) for path in cache.glob("*.safetensors"))

    @pytest.mark.parametrize("what", ["its code", "something that no fingerprint reads"])
    def test_no_fit_outlives_what_the_network_did(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
    ) -> None:
        gain = [1.0]  # what code may count in, such as a list, is no part of a fingerprint

        def network(edited: bool) -> nn.Module:
            class Net(nn.Module):
                def __init__(self) -> None:
                    super().__init__()
                    self.net = toys.network()

                def as_it_was(self, x: Tensor) -> Tensor:
                    out: Tensor = self.net(x * gain[0])
                    return out

                def as_it_is(self, x: Tensor) -> Tensor:
                    out: Tensor = self.net(x * gain[0] + 0.5)
                    return out

                forward = as_it_is if edited and what == "its code" else as_it_was

            gain[0] = 3.0 if edited and what != "its code" else 1.0
            return Net().eval()

        settings = {"methods": {"iba": IBA}, "checks": ["calibration"]}
        run(tmp_path / "before", model=network(edited=False), **settings)
        rows = run(tmp_path / "after", model=network(edited=True), **settings).rows()
        monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "empty"))
        same(rows, run(tmp_path / "anew", model=network(edited=True), **settings).rows())
        assert len(fits(tmp_path / "cache")) == (2 if what == "its code" else 1)  # or the same name, made anew

    def test_nested_methods_learn_too(self, tmp_path: Path) -> None:
        nested = {
            "smooth": SmoothGrad(PatternAttribution(), samples=2),
            "competitive": Competitive(PatternAttribution()),
            "noisy": SmoothGrad(IBA, samples=2),
        }
        done = run(tmp_path / "run", methods=nested)
        assert done.manifest["failures"] == []
        assert [entry["learns"][0]["changed"] for entry in done.manifest["methods"]] == ["exclude", "exclude", "refit"]
        last = done.rows().query("position == 3 and metric == 'spearman'").set_index("method").value
        assert last["competitive"].isna().all()
        assert last["noisy"].notna().all()


def fail(*_: object) -> None:
    raise AssertionError("fitted again")


class TestOnChangedNetworks:
    def test_a_refit_is_made_in_every_state(self, tmp_path: Path) -> None:
        rows = of(run(tmp_path / "run", methods={"iba": IBA}, batch=7).rows(), "iba")
        model, inputs, data = toys.network(), toys.images(), training()
        targets = model(inputs).argmax(1)
        method = IBA.fit(model, [data.inputs])
        trained = method(model, inputs, targets).sum(1)
        for stage in hp.randomization.Cascading().stages(model, inputs[:1]):
            with stage:
                again = method.on_changed(model, [data.inputs])
                maps = again(model, inputs, targets).sum(1)
            expected = hp.similarity.get("spearman")(trained, maps)
            ours = rows.query("metric == 'spearman' and position == @stage.index and seed == 0")
            ours = ours[ours.setting == "cascading he"].sort_values("sample").value
            torch.testing.assert_close(torch.tensor(ours.to_numpy()), expected, rtol=0, atol=1e-3)
        named = rows[rows.metric == "refit"]
        assert sorted(set(named.position)) == [1, 2, 3]
        assert (named.value == 1).all()

    def test_what_is_reused_is_the_trained_value(self, tmp_path: Path) -> None:
        rows = of(run(tmp_path / "run", methods={"readout": READOUT}).rows(), "readout")
        assert set(rows[rows.metric == "reuse"].position) == {1, 2, 3}
        assert rows[(rows.metric == "spearman") & (rows.position == 3)].value.notna().all()

    def test_what_is_excluded_has_rows_that_say_nothing(self, tmp_path: Path) -> None:
        done = run(tmp_path / "run")
        rows = done.rows()
        ours, other = of(rows, "patterns"), of(rows, "iba")
        changed = ours[ours.position > 0]
        assert set(changed[changed.value.notna()].metric) == {"exclude"}
        key = ["setting", "position", "metric", "sample"]
        similar = changed[changed.metric.isin(["spearman", "zeros", "mse", "ssim"])]
        theirs = other[(other.position > 0) & other.metric.isin(["spearman", "zeros", "mse", "ssim"])]
        assert similar[key].values.tolist() == theirs[key].values.tolist()
        assert ours[(ours.setting == "replicate") & (ours.metric == "spearman")].value.eq(1).all()
        assert done.manifest["status"] == "complete"
        pictures = [key for path in (done.path / "maps").iterdir() for key in shown(path)]
        assert {state for state, method, _ in pictures if method == "patterns"} == {"trained"}
        assert {state for state, method, _ in pictures if method == "iba"} > {"trained"}

    def test_a_network_trained_anew_is_a_changed_one(self, tmp_path: Path) -> None:
        brief = Training(epochs=1, batch_size=8, stop_at=0.01)
        check = hp.checks.get("data-randomization", training=brief, accuracy=0.01, test_share=0.5)
        done = run(tmp_path / "run", checks=[check])
        assert done.manifest["failures"] == []
        rows = done.rows()
        for method, metric in (("iba", "refit"), ("readout", "reuse"), ("patterns", "exclude")):
            ours = of(rows, method)
            assert set(ours[ours.metric == metric].setting) == {"permuted-labels", "true-labels"}
            similar = ours[(ours.metric == "spearman") & (ours.setting == "true-labels")].value
            assert len(similar) == 7
            assert similar.isna().all() == (method == "patterns")
        assert done.report().exists()

    def test_the_report_says_why(self, tmp_path: Path) -> None:
        done = run(tmp_path / "run")
        page = done.report().read_text()
        because = "the signal that weights are fitted to is learned, and random weights have none"
        assert f"Fitted on 40 samples of practice; on a changed network left out: {because}." in page
        assert f"patterns, cascading he: excluded, as {because}; no value: " in page
        assert "Fitted on 40 samples of practice at 1; on a changed network fitted anew: mean and variance" in page
        card = done.verdicts().query("method == 'patterns'").set_index("question")
        assert card.loc["depends"].word == "excluded"
        assert because in card.loc["depends"].why
        assert card.loc["depends"].missing == 7


def shown(path: Path) -> list[list[str]]:
    import json

    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return [json.loads(key) for key in file.keys() if key.startswith("[")]  # noqa: SIM118  # no mapping


class TestCells:
    def test_an_added_method_computes_its_own_cells_only(self, tmp_path: Path) -> None:
        run(tmp_path / "run", methods={"gradient": "gradient"})
        before = {path: path.read_bytes() for path in (tmp_path / "run" / "rows").iterdir()}
        done = run(tmp_path / "run", methods={"gradient": "gradient", "iba": IBA})
        assert {path: path.read_bytes() for path in before} == before
        assert set(done.manifest["costs"]) == {"gradient", "iba"}
        assert done.manifest["costs"]["gradient"]["maps"] == 3 * 3 * 5
        alone = run(tmp_path / "alone", methods={"iba": IBA}).rows()
        same(of(done.rows(), "iba"), of(alone, "iba"))

    def test_a_finished_run_fits_nothing_and_remembers(
        self, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = run(tmp_path / "run").manifest
        for path in cache.iterdir():
            path.unlink()
        monkeypatch.setattr(artifacts, "write_tensors", fail)
        assert run(tmp_path / "run").manifest["methods"] == first["methods"]

    def test_other_training_data_are_other_cells_of_what_learns_from_them(self, tmp_path: Path) -> None:
        methods = {"iba": IBA, "gradient": "gradient"}
        cells = set(run(tmp_path / "run", methods=methods).rows().method)
        before = run(tmp_path / "run", methods=methods).manifest
        done = run(tmp_path / "run", methods=methods, training_data=training(seed=3))
        assert cells == {"", "iba", "gradient"}
        kept = set(before["questions"]) & set(done.manifest["questions"])
        # of three questions a state: the network's and the gradient's
        assert len(kept) == 2 * len(before["questions"]) // 3
        assert done.manifest["costs"]["gradient"] == before["costs"]["gradient"]
        assert done.manifest["costs"]["iba"]["maps"] == before["costs"]["iba"]["maps"]
        old, new = (m["methods"][0]["learns"][0]["digest"] for m in (before, done.manifest))
        assert old != new

    def test_a_method_that_comes_fitted_is_told_by_its_value(self, tmp_path: Path) -> None:
        fitted = PatternAttribution().fit(toys.network(), [training().inputs])
        settings = {"training_data": None, "checks": ["calibration"]}
        one = run(tmp_path / "run", methods={"m": fitted}, **settings)
        assert one.manifest["methods"][0]["recipe"]["fitted"]["digest"] == fitted.fitted.digest
        assert one.manifest["methods"][0]["learns"][0]["digest"] == fitted.fitted.digest
        rows, asked = of(one.rows(), "m"), set(one.manifest["questions"])
        other = PatternAttribution().fit(toys.network(), [training(seed=3).inputs])
        two = run(tmp_path / "run", methods={"m": other}, **settings)
        assert len(asked & set(two.manifest["questions"])) == len(asked) // 2  # the network's
        assert not rows.equals(of(two.rows(), "m"))


SCRIPT = """
import sys
from pathlib import Path
import test_learning as toys
toys.run(Path(sys.argv[1]), methods={"readout": toys.LONG}, checks=["calibration"])
"""
LONG = replace(READOUT, epochs=60)


def test_killed_during_a_fit_it_goes_on_from_the_last_epoch(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path / "run")], cwd=Path(__file__).parent)
    while process.poll() is None and not list(cache.glob("*.checkpoint.safetensors")):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (checkpoint,) = cache.glob("*.checkpoint.safetensors")
    epochs = int(Fitted.load(checkpoint).facts["epoch"])
    assert 1 <= epochs < 60
    rows = run(tmp_path / "run", methods={"readout": LONG}, checks=["calibration"]).rows()
    assert not list(cache.glob("*.checkpoint.safetensors"))
    (kept,) = cache.glob("*.safetensors")
    value = Fitted.load(kept)
    kept.unlink()
    same(run(tmp_path / "whole", methods={"readout": LONG}, checks=["calibration"]).rows(), rows)
    assert Fitted.load(kept) == value


def test_a_checkpoint_that_cannot_be_read_is_no_reason_to_fail(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(tmp_path / "a", methods={"readout": READOUT}, checks=["calibration"]).rows()
    (kept,) = cache.glob("*.safetensors")
    kept.rename(kept.with_name(f"{kept.stem}.checkpoint.safetensors"))
    checkpoint = cache / f"{kept.stem}.checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    with pytest.warns(HeatproofWarning, match=checkpoint.name):
        same(run(tmp_path / "b", methods={"readout": READOUT}, checks=["calibration"]).rows(), first)


def test_a_fit_that_fails_costs_its_method_alone(tmp_path: Path) -> None:
    model = toys.network()
    model.insert(1, torch.nn.BatchNorm2d(3))
    done = run(tmp_path / "run", model=model.eval(), methods={**METHODS, "gradient": "gradient"})
    (failure,) = done.manifest["failures"]
    assert failure["method"] == "patterns"
    assert "batch_norm" in failure["error"]
    assert set(done.rows().method) == {"", "iba", "readout", "gradient"}
    assert done.manifest["status"] == "incomplete"


def test_a_readout_whose_training_failed_is_named_and_gives_no_row(tmp_path: Path) -> None:
    model, data = toys.network(), training()
    with torch.no_grad():
        model[5].weight *= 100
        model[5].bias -= model(data.inputs).mean(0)  # it is sure of labels of its own
        data = replace(data, targets=model(data.inputs).argmax(1))
    closed = replace(READOUT, beta=1e6, rate=0.1, floor=0.5)
    methods = {"closed": closed, "taken": replace(closed, floor=0.0), "gradient": "gradient"}
    done = run(tmp_path / "run", model=model, methods=methods, training_data=data, checks=["calibration"])
    (failure,) = done.manifest["failures"]
    assert failure["method"] == "closed"
    assert failure["error"].startswith("TrainingError: Expected a readout behind which the labels keep at least 0.5")
    assert failure["error"].endswith("or with a beta below 1e+06; floor=0 takes any.")
    assert set(done.rows().method) == {"", "taken", "gradient"}


class TestAFitThatFails:
    """PerSampleBottleneck where every layer is random: the last stage, and the network that it is compared with."""

    @pytest.fixture
    def tried(self, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
        usual, first, tried = PerSampleBottleneck.on_changed, toys.network()[0].weight.detach().clone(), []

        def on_changed(self: PerSampleBottleneck, model: torch.nn.Module, batches: object) -> PerSampleBottleneck:
            tried.append(bool((model[0].weight == first).all()))
            if not tried[-1]:
                raise RuntimeError("nothing to be learned here")
            return usual(self, model, batches)

        monkeypatch.setattr(PerSampleBottleneck, "on_changed", on_changed)
        return tried

    def test_it_is_tried_once_a_state_and_named(self, tmp_path: Path, tried: list[bool]) -> None:
        done = run(tmp_path / "run", methods={"iba": IBA, "gradient": "gradient"})
        assert tried == [True, True, False, False]
        assert [(f["method"], f["state"], f["count"], f["error"]) for f in done.manifest["failures"]] == [
            ("iba", state["name"], 1, "RuntimeError: nothing to be learned here")
            for state in done.manifest["states"]
            if state["index"] == 3
        ]
        rows = done.rows()
        similar = rows[(rows.method == "iba") & (rows.metric == "spearman")]
        assert set(similar[similar.setting == "cascading he"].position) == {1, 2}
        assert len(similar[similar.setting == "replicate"]) == 7
        assert set(rows[(rows.method == "gradient") & (rows.metric == "spearman")].position) == {0, 1, 2, 3}

    def test_methods_that_share_a_fit_share_its_failure(self, tmp_path: Path, tried: list[bool]) -> None:
        done = run(tmp_path / "run", methods={"iba": IBA, "smooth": SmoothGrad(replace(IBA, beta=1.0), samples=2)})
        assert tried == [True, True, False, False]
        assert [f["method"] for f in done.manifest["failures"]] == ["iba", "iba", "smooth", "smooth"]

    def test_what_looks_back_to_it_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        usual, first, tried = PerSampleBottleneck.on_changed, toys.network()[0].weight.detach().clone(), []

        def on_changed(self: PerSampleBottleneck, model: torch.nn.Module, batches: object) -> PerSampleBottleneck:
            tried.append(bool((model[0].weight == first).all()))
            if tried.count(False) == 1 and not tried[-1]:
                raise RuntimeError("nothing to be learned here")
            return usual(self, model, batches)

        monkeypatch.setattr(PerSampleBottleneck, "on_changed", on_changed)
        done = run(tmp_path / "run", methods={"iba": IBA})
        fit, floor = done.manifest["failures"]
        assert tried == [True, True, False, False]
        assert (fit["check"], fit["count"]) == ("", 1)
        assert floor["check"] == "parameter-randomization"
        assert "AuditError: Expected maps in state 'cascading/he/seed0/03-0'" in floor["error"]


class TestSharedFits:
    def test_bottlenecks_that_differ_in_beta_share_their_statistics(self, tmp_path: Path, cache: Path) -> None:
        methods = {f"iba {beta}": replace(IBA, beta=beta, steps=steps) for beta, steps in ((1.0, 3), (10.0, 2))}
        done = run(tmp_path / "run", methods=methods)
        assert [name.partition("-")[0] for name in fits(cache)] == ["iba"] * 5  # trained, 3 stages, the floor
        one, other = (entry["learns"][0]["digest"] for entry in done.manifest["methods"])
        assert one == other
        alone = run(tmp_path / "alone", methods={"iba 10.0": methods["iba 10.0"]})
        same(of(done.rows(), "iba 10.0"), of(alone.rows(), "iba 10.0"))
        assert done.manifest["estimate"]["passes of fits"] == round(5 * 40 / 3)
        assert alone.manifest["estimate"]["passes of fits"] == 0

    def test_another_layer_has_statistics_of_its_own(self, tmp_path: Path, cache: Path) -> None:
        methods = {layer: replace(IBA, layer=layer) for layer in ("0", "1")}
        run(tmp_path / "run", methods=methods, checks=["calibration"])
        assert len(fits(cache)) == 2

    def test_patterns_serve_both_methods(self, tmp_path: Path, cache: Path) -> None:
        run(tmp_path / "run", methods={"net": "pattern-net", "attribution": "pattern-attribution"})
        assert [name.rpartition("-")[0] for name in fits(cache)] == ["pattern-net"]


class TestWhatIsSaidOfIt:
    def test_every_check_that_randomizes_says_what_was_done(self, tmp_path: Path) -> None:
        brief = Training(epochs=1, batch_size=8, stop_at=0.01)
        labels = hp.checks.get("data-randomization", training=brief, accuracy=0.01, test_share=0.5)
        checks = {"mprt": "parameter-randomization", "emprt": "efficient-parameter-randomization", "labels": labels}
        rows = run(tmp_path / "run", checks=checks).rows()
        for method, word in (("iba", "refit"), ("readout", "reuse"), ("patterns", "exclude")):
            ours = of(rows, method)
            said = ours[ours.metric.isin(["refit", "reuse", "exclude"])]
            assert set(said.metric) == {word}
            assert (said.value == 1).all()
            found = {(row.check, row.setting, row.position) for row in said.itertuples()}
            assert found == {
                *(("mprt", "cascading he", stage) for stage in (1, 2, 3)),
                ("mprt", "cascading he floor", 3),
                ("emprt", "", 0),
                ("labels", "permuted-labels", 0),
                ("labels", "true-labels", 0),
            }
        rise = rows[(rows.metric == "entropy-rise") & (rows.setting == "")].groupby("method").value
        assert rise.count().to_dict() == {"iba": 7, "patterns": 0, "readout": 7}


class TestTheDoor:
    @pytest.mark.parametrize("method", ["iba", SmoothGrad(PatternAttribution())], ids=str)
    def test_without_data_it_says_what_to_give(self, tmp_path: Path, method: object) -> None:
        with pytest.raises(InputError, match=r"training data for .*: \[training_data\] in a spec, training_data=… in"):
            run(tmp_path / "run", methods=[method], training_data=None)
        assert not (tmp_path / "run").exists()

    def test_one_that_comes_fitted_needs_data_where_it_refits(self, tmp_path: Path) -> None:
        fitted = IBA.fit(toys.network(), [training().inputs])
        with pytest.raises(InputError, match="learns anew where the network is randomized"):
            run(tmp_path / "run", methods={"iba": fitted}, training_data=None)
        run(tmp_path / "run", methods={"iba": fitted}, training_data=None, checks=["calibration"])

    def test_one_fitted_on_another_network_is_refused(self, tmp_path: Path) -> None:
        foreign = IBA.fit(toys.network(seed=1), [training().inputs])
        with pytest.raises(InputError, match="iba to be fitted on the model that is audited, but it was on another"):
            run(tmp_path / "run", methods={"iba": foreign})

    def test_side_inputs_are_refused(self, tmp_path: Path) -> None:
        class Scaled(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = toys.network()

            def forward(self, x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
                out: torch.Tensor = self.net(x * gain[:, None, None, None])
                return out

        model = hp.Bound(Scaled().eval(), given={"gain": torch.ones(7)})
        with pytest.raises(InputError, match="training data for iba that bring gain, which the network"):
            run(tmp_path / "run", model=model, methods={"iba": IBA})


def test_where_fits_are_kept(tmp_path: Path, cache: Path) -> None:
    run(tmp_path / "run", methods={"patterns": PatternAttribution()})
    assert artifacts.folder() == cache
    (name,) = fits(cache)
    assert name.startswith("pattern-net-")  # which learns the same


class TestOnSeveralMachines:
    """Each has a cache folder of its own."""

    def test_what_one_has_learned_the_others_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        alone = run(tmp_path / "alone", batch=3).rows()
        monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "first"))
        run(tmp_path / "run", batch=3, shard="1/2")
        monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "second"))
        monkeypatch.setattr(artifacts, "write_tensors", fail)
        found = run(tmp_path / "run", batch=3, shard="2/2")
        same(found.rows(), alone)
        assert found.manifest["status"] == "complete"
        assert fits(tmp_path / "second") == fits(tmp_path / "first")
        assert list((tmp_path / "run" / "prepared").iterdir()) == []  # nobody needs it any more

    def test_alone_nothing_goes_into_the_run(self, tmp_path: Path) -> None:
        run(tmp_path / "run", batch=3)
        assert not (tmp_path / "run" / "prepared").exists()
