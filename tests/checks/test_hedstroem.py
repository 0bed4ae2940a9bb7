"""Efficient and Smooth MPRT (Hedström et al. 2024), from their definitions."""

import math

import check_toys as toys
import pytest
import torch

import heatproof as hp
from heatproof import draws
from heatproof.checks import EfficientParameterRandomization, ParameterRandomization
from heatproof.errors import InputError, UnknownNameError
from heatproof.methods import EdgeDetector, GradientXInput, Random, Saliency, SmoothGrad
from heatproof.randomization import Cascading
from heatproof.recipes import build
from reference import checks as slow
from reference.similarity import entropy_rise, spearman

METHOD = GradientXInput()


def maps_of(method, model, inputs):
    return method(model, inputs, torch.arange(len(inputs)) % 4).sum(1)


class TestEfficient:
    @pytest.mark.parametrize("span", ["shared", "own"])
    def test_rise_is_that_of_scalar_loops(self, span):
        check = EfficientParameterRandomization(initializer="he", seeds=(0, 3), bins=12, span=span)
        rows = toys.played(check)
        model, inputs = toys.network(), toys.images()
        trained = maps_of(METHOD, model, inputs).tolist()
        for seed in (0, 3):
            with Cascading(initializer="he", seed=seed).stages(model, inputs[:1])[-1]:
                random = maps_of(METHOD, model, inputs).tolist()
            got = toys.row(rows, "gradient-x-input", "entropy-rise", "", seed=seed)
            for i in range(3):
                expected = entropy_rise(trained[i], random[i], 12, shared=span == "shared")
                assert float(got[i]) == pytest.approx(expected, abs=1e-9)

    def test_what_knows_no_network_rises_by_nothing(self):
        rows = toys.played(EfficientParameterRandomization(), methods={"edges": EdgeDetector(), "noise": Random()})
        for method in ("edges", "noise"):
            assert toys.row(rows, method, "entropy-rise", "").tolist() == [0.0] * 3
        # Another draw of noise is as complex by chance; its yardstick says so.
        assert toys.row(rows, "noise", "entropy-rise", "replicate").abs().min() > 0
        assert toys.row(rows, "edges", "entropy-rise", "replicate").tolist() == [0.0] * 3

    def test_noise_is_the_yardstick(self):
        rows = toys.played(EfficientParameterRandomization(bins=12))
        model, inputs = toys.network(), toys.images()
        trained = maps_of(METHOD, model, inputs)
        drawn = hp.similarity.noise(trained, "gaussian", samples=draws.marks(inputs))
        got = toys.row(rows, "gradient-x-input", "entropy-rise", "gaussian")
        for i in range(3):
            assert float(got[i]) == pytest.approx(entropy_rise(trained[i].tolist(), drawn[i].tolist(), 12), abs=1e-9)

    def test_rows_add_up(self):
        rows = toys.played(EfficientParameterRandomization())
        before, after, rise = (
            toys.row(rows, "gradient", name, "") for name in ("entropy-trained", "entropy-compared", "entropy-rise")
        )
        assert torch.allclose(rise, (after - before) / before)
        assert float(before.max()) <= math.log2(100)

    def test_maps_are_those_of_parameter_randomization(self, tmp_path):
        calls = []

        def counting(model, inputs, targets):
            calls.append(len(inputs))
            return METHOD(model, inputs, targets)

        for first in (True, False):
            calls.clear()
            checks = {"mprt": ParameterRandomization(complete_seeds=1), "emprt": EfficientParameterRandomization()}
            checks = checks if first else dict(reversed(checks.items()))
            run = hp.audit(
                toys.network(), toys.images(), methods={"m": counting}, checks=checks, out=tmp_path / str(first),
                progress=False,
            )  # fmt: skip
            assert len(calls) == 1 + 3 + 1 + 1  # trained, three stages, the floor's partner, the replicate
            stages = [s["index"] for s in run.manifest["states"] if s["kind"] == "randomized"]
            assert sorted(stages) == [1, 2, 3]

    def test_a_blank_map_has_no_rise(self):
        class Blank(hp.methods.Method):
            def _explain(self, model, inputs, targets):
                return hp.methods.Explanation(torch.zeros_like(inputs))

        rows = toys.played(EfficientParameterRandomization(), methods={"blank": Blank()})
        assert toys.row(rows, "blank", "entropy-rise", "").isnan().all()

    def test_a_spec_sets_its_fields(self):
        entry = {"name": "efficient-parameter-randomization", "bins": "sturges", "seeds": [1, 2], "initializer": "he"}
        check = build(hp.checks.CHECKS, entry)
        assert (check.bins, check.seeds, check.initializer) == ("sturges", (1, 2), hp.randomization.He())

    @pytest.mark.parametrize(
        ("fields", "error", "message"),
        [
            ({"bins": 0}, InputError, "Expected at least 2 bins, but got 0"),
            ({"initializer": "hee"}, UnknownNameError, "did you mean 'he'"),
            ({"seeds": ()}, InputError, r"Expected one or more different seeds, but got \(\)"),
        ],
    )
    def test_settings_that_mean_nothing_are_refused(self, fields, error, message):
        with pytest.raises(error, match=message):
            EfficientParameterRandomization(**fields)


class TestSmooth:
    @pytest.mark.parametrize("method", [GradientXInput(), Saliency()], ids=repr)
    def test_smoothed_methods_give_smooth_mprt(self, method):
        """ρ((1/N) Σ_i Φ(x + η_i; f), (1/N) Σ_i Φ(x + η_i; f̂)), σ = 0.1 of the image's range, copy by copy."""
        copies, share = 5, 0.1
        smooth = SmoothGrad(method, samples=copies, noise=share)
        rows = toys.played(ParameterRandomization(similarities=("spearman",)), methods={"smooth": smooth})
        model, inputs = toys.network(), toys.images()

        def averaged(i):
            """The mean map of one image, as a flat list."""
            image = inputs[i : i + 1]
            sigma = share * (float(image.max()) - float(image.min()))
            total = torch.zeros_like(image)
            for k in range(copies):
                noise = draws.normal(image, 0, "noise", copies=range(k, k + 1))[0]
                total = total + method(model, image + sigma * noise, torch.tensor([i % 4]))
            return slow.flat((total / copies)[0].sum(0).tolist())

        trained = [averaged(i) for i in range(3)]
        for one in Cascading().stages(model, inputs[:1]):
            with one:
                random = [averaged(i) for i in range(3)]
            got = toys.row(rows, "smooth", "spearman", "cascading he", one.index)
            for i in range(3):
                assert float(got[i]) == pytest.approx(spearman(trained[i], random[i]), abs=1e-6)
