import math
import pickle

import check_toys as toys
import pytest
import torch
from torch import nn

import heatproof as hp
from heatproof import draws
from heatproof.checks import Calibration, InputControls
from heatproof.errors import InputError, UnknownNameError
from heatproof.methods import EdgeDetector, GradientXInput, InputXEdges, InputXRandomGradient
from heatproof.methods.base import Explanation, Method
from heatproof.recipes import describe
from heatproof.testing.playing import stage
from reference.similarity import spearman

CONTROLS = {
    "input-x-random-gradient": InputXRandomGradient(),
    "edge-detector": EdgeDetector(),
    "input-x-edges": InputXEdges(),
}


def study(shape=(2, 6, 6)):
    inputs = torch.ones(1, *shape, dtype=torch.float64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 2)).double().eval()
    return stage(model, inputs, torch.tensor([0]), toys.METHODS).study()


def flat(maps, i):
    return maps[i].flatten().tolist()


class Blank(Method):
    """Zero everywhere."""

    def _explain(self, model, inputs, targets):
        return Explanation(torch.zeros_like(inputs))


class TestInputControls:
    def test_each_map_is_compared_with_what_the_input_alone_gives(self):
        rows = toys.played(InputControls(similarities=("spearman",)))
        model, inputs, targets = toys.network(), toys.images(), torch.arange(3)
        maps = GradientXInput()(model, inputs, targets).sum(1)
        for name, control in CONTROLS.items():
            theirs = control(model, inputs, targets).sum(1)
            expected = [spearman(flat(maps, i), flat(theirs, i)) for i in range(3)]
            got = toys.row(rows, "gradient-x-input", "spearman", name)
            assert got.tolist() == pytest.approx(expected, abs=1e-9)

    def test_two_draws_of_a_control_share_its_input(self):
        rows = toys.played(InputControls(similarities=("spearman",)))
        model, inputs, targets = toys.network(), toys.images(), torch.arange(3)
        first, second = (
            draws.reseed(InputXRandomGradient(), replicate)(model, inputs, targets).sum(1) for replicate in (0, 1)
        )
        expected = [spearman(flat(first, i), flat(second, i)) for i in range(3)]
        got = toys.row(rows, "", "spearman", "input-x-random-gradient")
        assert got.tolist() == pytest.approx(expected, abs=1e-9)
        for name in ("edge-detector", "input-x-edges"):  # deterministic
            assert torch.equal(toys.row(rows, "", "spearman", name), torch.ones(3, dtype=torch.float64))

    def test_the_control_itself_scores_one(self):
        rows = toys.played(InputControls(similarities=("spearman",)), methods=CONTROLS)
        for name in CONTROLS:
            assert torch.equal(toys.row(rows, name, "spearman", name), torch.ones(3, dtype=torch.float64))

    def test_rows_stand_under_every_control_and_measure(self):
        check = InputControls()
        rows = toys.played(check)
        measures = {metric.name for metric in check.metrics(study())}
        assert measures == {"spearman", "spearman-absolute", "ssim", "mse"}
        alike = {(r.method, r.setting, r.metric) for r in rows if not r.setting.endswith(" chance")}
        assert alike == {
            (method, control, measure) for method in ("", *toys.METHODS) for control in CONTROLS for measure in measures
        }
        chance = {(r.method, r.setting, r.metric) for r in rows} - alike
        assert chance == {
            (method, f"{control} chance", measure)
            for method in toys.METHODS
            for control in CONTROLS
            for measure in measures
        }
        assert {(r.position, r.seed) for r in rows} == {(0.0, 0)}

    def test_a_blank_map_is_nan(self):
        rows = toys.played(InputControls(similarities=("spearman", "mse")), methods={"blank": Blank()})
        assert all(values.isnan().all() for r, values in rows.items() if r.method == "blank")

    def test_controls_of_images_are_left_out_of_tables_with_a_note(self):
        check = InputControls(similarities=("spearman",))
        assert check.notes(study((9,))) == (
            "edge-detector is left out: it needs images (C, H, W).",
            "input-x-edges is left out: it needs images (C, H, W).",
        )
        model = nn.Sequential(nn.Linear(9, 4)).double().eval()
        inputs = torch.randn(3, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        rows = toys.played(check, model=model, inputs=inputs)
        assert {r.setting for r in rows} == {"input-x-random-gradient", "input-x-random-gradient chance"}

    def test_a_control_asked_for_where_it_does_not_apply_is_refused(self):
        with pytest.raises(InputError, match=r"Expected images \(N, C, H, W\) for controls .*but got 2 dimensions"):
            InputControls(controls=("edge-detector",)).notes(study((9,)))
        noise = InputControls(controls=("random",), similarities=("mse",))
        assert noise.notes(study((9,))) == ()

    def test_what_is_no_control_is_refused_at_once(self):
        with pytest.raises(InputError, match="Expected a control, which looks at no model, but got the method 'grad"):
            InputControls(controls=("gradient",))
        with pytest.raises(UnknownNameError, match="did you mean 'edge-detector'"):
            InputControls(controls=("edge-detectors",))

    def test_recipe(self):
        check = InputControls(controls=("edge-detector",), similarities=("mse",))
        copy = pickle.loads(pickle.dumps(check))
        assert copy == check
        assert hash(copy) == hash(check)
        assert describe(check) == {
            "class": "heatproof.checks.input_controls.InputControls", "version": 2,
            "controls": ["edge-detector"], "similarities": ["mse"],
        }  # fmt: skip


class TestCalibration:
    def test_each_map_is_compared_with_noise_of_its_sample(self):
        rows = toys.played(Calibration(similarities=("spearman",), seed=3))
        model, inputs, targets = toys.network(), toys.images(), torch.arange(3)
        maps = GradientXInput()(model, inputs, targets).sum(1)
        names = draws.marks(inputs)
        for kind, draw in (("uniform", draws.uniform), ("gaussian", draws.normal)):
            first, second = (draw(maps, 3, "calibration", kind, replicate, samples=names) for replicate in (0, 1))
            got = toys.row(rows, "gradient-x-input", "spearman", f"map-vs-{kind}")
            assert got.tolist() == pytest.approx([spearman(flat(maps, i), flat(first, i)) for i in range(3)], abs=1e-9)
            both = toys.row(rows, "", "spearman", f"{kind}-vs-{kind}")
            expected = [spearman(flat(first, i), flat(second, i)) for i in range(3)]
            assert both.tolist() == pytest.approx(expected, abs=1e-9)

    def test_every_method_meets_the_same_noise(self):
        twice = {"one": GradientXInput(), "other": GradientXInput()}
        rows = toys.played(Calibration(), methods=twice)
        ours, theirs = (
            {(r.setting, r.metric): v.tolist() for r, v in rows.items() if r.method == name} for name in twice
        )
        assert ours == theirs

    def test_noise_has_nothing_in_common_with_anything(self):
        # 200 images of 36 features: the mean of 200 correlations of variance 1/35.
        inputs = toys.images(200)
        rows = toys.played(Calibration(similarities=("spearman",)), inputs=inputs)
        for r, values in rows.items():
            assert abs(values.mean()) < 4 / math.sqrt(35 * 200), r

    def test_rows_stand_under_both_kinds_of_noise(self):
        rows = toys.played(Calibration(similarities=("spearman", "ssim")))
        kinds = ("uniform", "gaussian")
        assert {(r.method, r.setting, r.metric) for r in rows} == {
            *((m, f"map-vs-{k}", s) for m in toys.METHODS for k in kinds for s in ("spearman", "ssim")),
            *(("", f"{k}-vs-{k}", s) for k in kinds for s in ("spearman", "ssim")),
        }

    def test_works_on_every_kind_of_feature(self):
        for features, shape in ((hp.features.Tiles(size=4), (2, 6, 6)), (None, (9,)), (hp.features.Tokens(), (5, 4))):
            size = math.prod(shape)
            model = nn.Sequential(nn.Flatten(), nn.Linear(size, 4)).double().eval()
            inputs = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            rows = toys.played(
                Calibration(similarities=("spearman",)), model=model, inputs=inputs, features=features,
                methods={"gradient-x-input": GradientXInput()},
            )  # fmt: skip
            assert len(rows) == 4
            assert not any(values.isnan().any() for values in rows.values())

    def test_a_blank_map_is_nan(self):
        rows = toys.played(Calibration(similarities=("spearman",)), methods={"blank": Blank()})
        assert all(values.isnan().all() for r, values in rows.items() if r.method == "blank")

    def test_a_measure_that_does_not_fit_is_noted(self):
        (note,) = Calibration().notes(study())
        assert note.startswith("hog is left out: ")

    def test_recipe(self):
        check = Calibration(seed=2)
        copy = pickle.loads(pickle.dumps(check))
        assert copy == check
        assert hash(copy) == hash(check)
        assert describe(check) == {
            "class": "heatproof.checks.calibration.Calibration", "version": 2, "similarities": [], "seed": 2,
        }  # fmt: skip
