import math

import check_toys as toys
import pytest
import torch
from torch import nn

import heatproof as hp
from heatproof import baselines
from heatproof.checks import Degradation
from heatproof.errors import InputError
from heatproof.features import Tokens
from heatproof.methods import GradientXInput, Random
from heatproof.methods.base import Explanation, Method
from heatproof.propagation.independence import check_independent
from heatproof.testing.playing import stage
from reference import checks as slow

SETTINGS = {"morf": True, "lerf": False}


def audited(folder, check, *, model=None, inputs=None, targets=None, methods=("gradient-x-input",), **settings):
    inputs = toys.images(5) if inputs is None else inputs
    targets = torch.arange(len(inputs)) % 4 if targets is None else targets
    return hp.audit(
        model or toys.network(), inputs, targets, methods=list(methods), checks={"degradation": check},
        batch=2, out=folder, progress=False, **settings,
    ).rows()  # fmt: skip


def scores(rows, method="gradient-x-input"):
    return rows[(rows.metric == "degradation") & (rows.method == method)].sort_values("sample").value.tolist()


class Given(Method):
    """A map that is handed over."""

    def __init__(self, maps):
        self.maps = maps.tolist()  # plain data, by which an audit tells two of them apart

    def _explain(self, model, inputs, targets):
        return Explanation(torch.tensor(self.maps, dtype=inputs.dtype).expand(len(inputs), 1, -1, -1).clone())


@pytest.mark.parametrize("baseline", [baselines.Zero(), baselines.Mean(), baselines.Blur(sigma=1.0)], ids=str)
def test_curves_are_what_scalar_loops_give(baseline):
    # 6 × 6 pixels in tiles of 4: the last row and column of tiles are smaller.
    check = Degradation(tile=4, baseline=baseline)
    rows = toys.played(check)
    model, inputs = toys.network(), toys.images()
    maps = GradientXInput()(model, inputs, torch.arange(3))
    values = baseline(inputs).expand_as(inputs)
    for setting, most_first in SETTINGS.items():
        got = [toys.row(rows, "gradient-x-input", "probability", setting, k / 4) for k in range(5)]
        for i in range(3):
            expected = slow.degradation_curve(
                model, inputs[i], i, maps[i], 4, values[i], most_first=most_first, counts=range(5)
            )
            assert [float(column[i]) for column in got] == pytest.approx(expected, abs=1e-9)


def test_the_score_is_the_area_scaled_over_the_data_set(tmp_path):
    check = Degradation(tile=2, steps=4)
    rows = audited(tmp_path, check)
    model, inputs, targets = toys.network(), toys.images(5), torch.arange(5) % 4
    zero = torch.zeros_like(inputs[0])
    counts = [0, 2, 4, 7, 9]  # 9 tiles in four steps of about 2.25
    t1 = sum(float(model(x[None]).softmax(1).max().detach()) for x in inputs) / 5
    b = sum(slow.probability_of(model, zero, int(label)) for label in targets) / 5
    if t1 <= b:
        pytest.fail("the toy's probabilities rise under degradation")
    maps = GradientXInput()(model, inputs, targets)
    expected = []
    for i in range(5):
        lerf, morf = (
            slow.degradation_curve(
                model, inputs[i], int(targets[i]), maps[i], 2, zero, most_first=most_first, counts=counts
            )
            for most_first in (False, True)
        )
        places = [count / 9 for count in counts]
        expected.append((slow.area(places, lerf) - slow.area(places, morf)) / (t1 - b))
    assert scores(rows) == pytest.approx(expected, abs=1e-9)


def test_a_random_map_scores_zero(tmp_path):
    rows = audited(tmp_path, Degradation(tile=2), inputs=toys.images(400), methods=["random"])
    values = torch.tensor(scores(rows, "random"))
    assert len(values) == 400
    assert abs(values.mean()) < 3 * values.std() / 20
    assert values.std() > 0.01


class Sees(nn.Module):
    """Label 0 is as likely as the upper left tile of 2 × 2 is bright; nothing else matters."""

    def forward(self, x):
        bright = x[:, :, :2, :2].mean((1, 2, 3))
        return torch.stack([20 * bright - 10, 10 - 20 * bright], 1)


def seen(folder, maps, **fields):
    inputs = torch.ones(3, 2, 6, 6, dtype=torch.float64)
    inputs *= torch.tensor([1.0, 1.01, 1.02], dtype=torch.float64)[:, None, None, None]
    return audited(
        folder, Degradation(tile=2, **fields), model=Sees().eval(), inputs=inputs,
        targets=torch.zeros(3, dtype=torch.int64), methods=[Given(maps)],
    )  # fmt: skip


def values_of(rows):
    return rows[rows.metric == "degradation"].value.tolist()


def test_the_right_map_scores_nearly_one_and_its_negative_minus_that(tmp_path):
    # MoRF drops at the first of nine tiles, LeRF at the last: 1 minus a trapezoid of 1/9.
    right = torch.arange(36).view(6, 6).flip(0, 1).double()
    assert values_of(seen(tmp_path / "a", right)) == pytest.approx([1 - 1 / 9] * 3, abs=1e-4)
    assert values_of(seen(tmp_path / "b", -right)) == pytest.approx([1 / 9 - 1] * 3, abs=1e-4)


class TestPeersFaults:
    def test_pixels_come_from_the_original_whatever_the_order(self):
        # A peer takes the baseline from the image that is replaced in part: its mean drifts.
        class Watching(nn.Module):
            def __init__(self):
                super().__init__()
                self.net, self.seen = toys.network(), []

            def forward(self, x):
                self.seen.append(x.clone())
                return self.net(x)

        model, inputs = Watching().eval(), toys.images(1)
        mean = inputs.mean((2, 3), keepdim=True)
        check_independent(model, inputs)  # a method's first look, at a mirror image as well
        model.seen.clear()
        toys.played(Degradation(tile=2, baseline=baselines.Mean()), model=model, inputs=inputs)
        for image in torch.cat(model.seen):
            assert bool(((image == inputs[0]) | (image == mean[0])).all())

    def test_ties_favor_no_corner(self, tmp_path):
        # A peer keeps equal tiles in reading order: a map that knows one tile alone would find the upper left second.
        maps = torch.zeros(6, 6)
        maps[4:, 4:] = 1.0
        inputs = torch.ones(300, 2, 6, 6, dtype=torch.float64) + torch.arange(300)[:, None, None, None] * 1e-6
        rows = toys.played(
            Degradation(tile=2), model=Sees().eval(), inputs=inputs, targets=torch.zeros(300, dtype=torch.int64),
            methods={"it": Given(maps)},
        )  # fmt: skip
        # the upper left tile is replaced second with probability 1/8
        gone = (toys.row(rows, "it", "probability", "morf", 2 / 9) < 0.5).double().mean()
        assert abs(gone - 1 / 8) < 4 * math.sqrt(1 / 8 * 7 / 8 / 300)

    def test_the_area_does_not_grow_with_the_number_of_steps(self, tmp_path):
        # A peer integrates with unit steps. A straight line has the same area by any number of trapezoids.
        class Line(nn.Module):
            def forward(self, x):
                return torch.stack([x.mean((1, 2, 3)), -x.mean((1, 2, 3))], 1)

        inputs = torch.rand(3, 2, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        for steps in (0, 1, 3):
            rows = audited(
                tmp_path / str(steps), Degradation(tile=2, steps=steps, of="score"), model=Line().eval(),
                inputs=inputs.mean((2, 3), keepdim=True).expand(-1, -1, 6, 6).clone(), methods=["random"],
                targets=torch.zeros(3, dtype=torch.int64),
            )  # fmt: skip
            assert scores(rows, "random") == pytest.approx([0.0] * 3, abs=1e-12)
            curve = rows[(rows.metric == "score") & (rows.setting == "morf") & (rows["sample"] == "0")]
            assert curve.position.tolist() == [k / (steps or 9) for k in range((steps or 9) + 1)]

    def test_a_constant_map_is_nan_and_no_zero(self, tmp_path):
        rows = toys.played(Degradation(tile=4), methods={"constant": Given(torch.full((6, 6), 0.1))})
        assert all(values.isnan().all() for r, values in rows.items() if r.method)
        assert all(math.isnan(value) for value in values_of(seen(tmp_path, torch.full((6, 6), 0.3))))


def test_the_raw_score_by_name_is_not_scaled(tmp_path):
    rows = audited(tmp_path, Degradation(tile=1, of="score"), inputs=toys.images(2))
    model, inputs = toys.network(), toys.images(2)
    start = rows[(rows.setting == "morf") & (rows.position == 0)].sort_values("sample").value.tolist()
    assert start == pytest.approx([float(model(inputs)[i, i].detach()) for i in range(2)], abs=1e-12)
    assert set(rows.metric) == {"score", "degradation"}
    assert len(rows[(rows.setting == "morf") & (rows["sample"] == "0")]) == 37
    curves = {s: rows[(rows.setting == s) & (rows["sample"] == "0")].value.tolist() for s in SETTINGS}
    places = [k / 36 for k in range(37)]
    assert scores(rows)[0] == pytest.approx(slow.area(places, curves["lerf"]) - slow.area(places, curves["morf"]))


def test_probabilities_that_do_not_fall_give_no_score(tmp_path):
    class Rising(nn.Module):
        """The label is certain without the input, and even with it."""

        def forward(self, x):
            bright = x.mean((1, 2, 3))
            return torch.stack([1 - bright, bright * 0], 1)

    rows = audited(
        tmp_path, Degradation(tile=2), model=Rising().eval(), inputs=torch.ones(2, 2, 6, 6, dtype=torch.float64),
        targets=torch.zeros(2, dtype=torch.int64), methods=["random"],
    )  # fmt: skip
    assert all(math.isnan(value) for value in scores(rows, "random"))


def test_a_method_costs_two_passes_a_step():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.rows = toys.network(), 0

        def forward(self, x):
            self.rows += len(x)
            return self.net(x)

    for count in (1, 3):
        model = Counting().eval()
        toys.played(Degradation(tile=2, steps=6), model=model, methods={str(i): Random(seed=i) for i in range(count)})
        assert model.rows == 3 + 2 * 3 + count * 3 * 2 * 5  # the study, both ends, and five positions in two orders


def test_tokens_and_columns_one_by_one():
    for shape, count, features in (((5, 4), 5, Tokens()), ((9,), 9, None)):
        net = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 4)).double().eval()
        inputs = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        methods = {"random": Random()}
        rows = toys.played(Degradation(tile=1), model=net, inputs=inputs, methods=methods, features=features)
        assert len({r.position for r in rows if r.setting == "morf"}) == count + 1
        by_default = toys.played(Degradation(), model=net, inputs=inputs, methods=methods, features=features)
        torch.testing.assert_close(by_default, rows, rtol=0, atol=0, equal_nan=True)
        with pytest.raises(InputError, match="choose tile=1"):
            Degradation(tile=8).states(stage(net, inputs, torch.arange(3), {}, features=features).study())


def test_small_pictures_are_ranked_by_pixels_and_one_tile_is_refused():
    inputs, methods = toys.images(3), {"random": Random()}  # 6 × 6: one tile of 8
    by_default = toys.played(Degradation(), inputs=inputs, methods=methods)
    torch.testing.assert_close(
        by_default, toys.played(Degradation(tile=1), inputs=inputs, methods=methods), rtol=0, atol=0, equal_nan=True
    )
    with pytest.raises(InputError, match=r"at least two tiles to rank, but samples .*6, 6\) are one tile of 8 pixels"):
        toys.played(Degradation(tile=8), inputs=inputs, methods=methods)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tile": 0}, "Expected a tile of at least 1 pixel, but got 0"),
        ({"steps": -1}, "Expected no negative steps, but got -1"),
        ({"of": "accuracy"}, "Expected of to be one of 'probability', 'score', but got 'accuracy'"),
    ],
)
def test_settings_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Degradation(**fields)
