import math
import time

import check_toys as toys
import pytest
import torch
from torch import nn

import heatproof as hp
from heatproof import baselines
from heatproof.checks import SensitivityN
from heatproof.checks.base import TRAINED, Block
from heatproof.errors import InputError
from heatproof.features import Pixels, Tiles, Tokens
from heatproof.methods import Gradient, GradientXInput, Random
from heatproof.methods.base import Explanation, Method
from heatproof.testing import check_check
from heatproof.testing.playing import stage
from reference import checks as slow
from reference.similarity import pearson

METRIC = "sensitivity-n"


def positions(rows):
    return sorted({r.position for r in rows})


def block_of(model, inputs, targets, features=None):
    names = tuple(map(str, range(len(inputs))))
    return Block(model=model, inputs=inputs, targets=targets, samples=names, features=features or Pixels())


def linear(shape=(2, 6, 6)):
    net = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 4)).double().eval()
    stream = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(generator=stream)
    return net


@pytest.mark.parametrize("baseline", [baselines.Zero(), baselines.Mean(), baselines.Constant(value=0.3)], ids=str)
def test_every_value_is_what_scalar_loops_give(baseline):
    check = SensitivityN(sets=6, sizes=4, baseline=baseline, seed=2)
    model, inputs, targets = toys.network(), toys.images(), torch.arange(3)
    rows = toys.played(check)
    maps = GradientXInput()(model, inputs, targets)
    shared = check.shared(block_of(model, inputs, targets), TRAINED)
    values = baseline(inputs).expand_as(inputs)
    for n, masked in shared.items():
        sets = [[divmod(k, 6) for k in mask.nonzero().flatten().tolist()] for mask in masked.sets]
        assert [len(pixels) for pixels in sets] == [n] * 6
        got = toys.row(rows, "gradient-x-input", METRIC, "", n).tolist()
        expected = [slow.sensitivity_n(model, inputs[i], i, maps[i], sets, values[i]) for i in range(3)]
        assert got == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", sorted({"gradient-x-input", "integrated-gradients", "lrp-epsilon", "deeplift"}))
def test_proposition_4_every_method_is_exact_on_a_linear_model(name):
    model = linear()
    with torch.no_grad():
        model[1].bias.zero_()  # ε-LRP gives the bias its share
    rows = toys.played(SensitivityN(sets=20), model=model, methods={name: hp.methods.get(name)})
    assert positions(rows)[0] == 1
    assert positions(rows)[-1] == 28  # 80 % of 36 features
    for values in rows.values():
        assert values.tolist() == pytest.approx([1.0] * 3, abs=1e-6)


def test_occlusion_1_is_exact_for_single_features():
    class Occlusion1(Method):
        def _explain(self, model, inputs, targets):
            maps = torch.zeros(len(inputs), 1, 6, 6, dtype=inputs.dtype)
            for row in range(6):
                for column in range(6):
                    left = inputs.clone()
                    left[:, :, row, column] = 0
                    whole, rest = model(inputs), model(left)
                    maps[:, 0, row, column] = (whole - rest)[range(len(inputs)), targets]
            return Explanation(maps)

    rows = toys.played(SensitivityN(sets=20), methods={"occlusion-1": Occlusion1(), "gradient": Gradient()})
    assert toys.row(rows, "occlusion-1", METRIC, "", 1).tolist() == pytest.approx([1.0] * 3, abs=1e-9)
    assert toys.row(rows, "gradient", METRIC, "", 1).max() < 0.99


def test_noise_scores_zero():
    # 300 samples with 10 sets: the mean of 300 correlations of variance 1/9, though sets are shared.
    inputs = toys.images(300)
    rows = toys.played(
        SensitivityN(sets=10, sizes=3), inputs=inputs, methods={"random": Random()}, targets=torch.arange(300) % 4
    )
    for r, values in rows.items():
        assert abs(values.mean()) < 4 / math.sqrt(9 * 300), r


class TestPeersFaults:
    def test_sets_are_random_and_never_sorted_by_attribution(self):
        # A peer removes the highest attributions first, cumulatively.
        check = SensitivityN(sets=50, sizes=3)
        shared = check.shared(block_of(toys.network(), toys.images(), torch.arange(3)), TRAINED)
        for n, masked in shared.items():
            frequency = masked.sets.double().mean(0)
            assert masked.sets.sum(1).tolist() == [n] * 50
            # a feature is in a set with probability n/36: no feature more than 5 standard deviations off
            spread = math.sqrt(n / 36 * (1 - n / 36) / 50)
            assert (frequency - n / 36).abs().max() < 5 * spread

    def test_each_sample_has_its_own_correlation(self):
        # A peer correlates across samples, after scaling by the largest value of the batch.
        inputs, targets = toys.images(), torch.arange(3)
        alone = toys.played(SensitivityN(sets=8, sizes=3))
        louder = torch.cat([inputs[:2], inputs[2:] * 50])
        beside = toys.played(SensitivityN(sets=8, sizes=3), inputs=louder, targets=targets)
        for r, values in alone.items():
            if r.method != "random":
                assert beside[r][:2].tolist() == pytest.approx(values[:2].tolist(), abs=1e-9)

    def test_every_block_counts(self, tmp_path):
        # A peer keeps the scores of the first batch alone.
        run = hp.audit(
            toys.network(), toys.images(5), methods=["gradient"], checks=[SensitivityN(sets=4, sizes=2)],
            batch=2, out=tmp_path, progress=False,
        )  # fmt: skip
        assert sorted(set(run.rows()["sample"])) == list("01234")

    def test_scores_are_logits(self):
        # A peer takes softmax outputs by default: a constant added to every logit by a feature would not count.
        model = linear()
        with torch.no_grad():
            model[1].weight[:] = model[1].weight[0]
        rows = toys.played(SensitivityN(sets=8, sizes=3), model=model, methods={"gradient-x-input": GradientXInput()})
        for values in rows.values():
            assert values.tolist() == pytest.approx([1.0] * 3, abs=1e-6)


class TestDegenerate:
    def test_a_constant_map_is_nan_although_its_sums_round(self):
        class Constant(Method):
            def _explain(self, model, inputs, targets):
                return Explanation(torch.full_like(inputs, 0.1))

        rows = toys.played(SensitivityN(sets=8, sizes=4), methods={"constant": Constant()})
        assert all(values.isnan().all() for values in rows.values())

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
    def test_a_score_that_never_changes_is_nan(self, dtype):
        class Deaf(nn.Module):
            """Outputs that depend on the input by rounding alone."""

            def forward(self, x):
                return torch.stack([x.sum((1, 2, 3)) * 0 + 3, (x.sum((1, 2, 3)) + 1) - x.sum((1, 2, 3))], 1)

        inputs = toys.images().to(dtype)
        rows = toys.played(
            SensitivityN(sets=8, sizes=4), model=Deaf().eval(), inputs=inputs,
            targets=torch.tensor([0, 1, 1]), methods={"random": Random()},
        )  # fmt: skip
        for values in rows.values():
            assert values[0].isnan()

    def test_one_dead_sample_leaves_the_others(self):
        inputs = toys.images()
        inputs[1] = 0  # at the baseline already: nothing is lost
        rows = toys.played(SensitivityN(sets=8, sizes=3), inputs=inputs, methods={"random": Random()})
        for values in rows.values():
            assert values.isnan().tolist() == [False, True, False]


class TestFeatures:
    def test_tiles_of_pixels_are_the_audits_tiles(self):
        methods = {"gradient-x-input": GradientXInput()}
        ours = toys.played(SensitivityN(sets=6, sizes=3, tile=2), methods=methods)
        theirs = toys.played(SensitivityN(sets=6, sizes=3), methods=methods, features=Tiles(size=2))
        assert positions(ours) == [1, 3, 7]  # 80 % of 9 tiles
        for r, values in ours.items():
            assert torch.equal(values, theirs[r])

    def test_tokens_and_columns(self):
        for shape, count, features in (((5, 4), 5, Tokens()), ((9,), 9, None)):
            inputs = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            rows = toys.played(
                SensitivityN(sets=9, sizes=5), model=linear(shape), inputs=inputs, features=features,
                methods={"gradient-x-input": GradientXInput()},
            )  # fmt: skip
            assert positions(rows)[-1] == math.floor(0.8 * count)
            for values in rows.values():
                assert values.tolist() == pytest.approx([1.0] * 3, abs=1e-9)

    def test_sizes_are_spaced_on_a_log_scale(self):
        assert SensitivityN(sizes=5, largest=1.0).numbers(16) == [1, 2, 4, 8, 16]
        assert SensitivityN().numbers(784)[:4] == [1, 2, 4, 6]
        assert SensitivityN().numbers(50176)[-1] == 40140
        assert len(SensitivityN().numbers(50176)) == 16
        assert SensitivityN().numbers(1) == [1]

    def test_tiles_need_pixels(self):
        on = stage(linear((9,)), torch.ones(1, 9, dtype=torch.float64), torch.tensor([0]), {})
        with pytest.raises(InputError, match=r"Expected pixels of images .* to make tiles of 8 pixels.*choose tile=1"):
            SensitivityN(tile=8).states(on.study())


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.rows = toys.network(), 0

    def forward(self, x):
        self.rows += len(x)
        return self.net(x)


def test_masked_outputs_are_computed_once_for_all_methods():
    check = SensitivityN(sets=7, sizes=4)
    seen = []
    for count in (1, 12):
        model = Counting().eval()
        methods = {f"random-{i}": Random(seed=i) for i in range(count)}
        toys.played(check, model=model, methods=methods)
        seen.append(model.rows)
    assert seen[0] == seen[1] == 3 + 3 * (7 * len(check.numbers(36)) + 1)  # the study, then whole and masked


@pytest.mark.slow
def test_twelve_methods_take_little_longer_than_one():
    model = nn.Sequential(
        nn.Conv2d(1, 32, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1024, 10),
    ).eval()  # fmt: skip
    inputs, check = torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(0)), SensitivityN()
    seconds = []
    for count in (1, 12, 1, 12):
        methods = {f"random-{i}": Random(seed=i) for i in range(count)}
        start = time.process_time()
        toys.played(check, model=model, inputs=inputs, methods=methods)
        seconds.append(time.process_time() - start)
    assert min(seconds[1::2]) < 1.3 * min(seconds[::2]), seconds


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sets": 2}, "Expected at least 3 sets, 1 size and a tile of 1, but got 2, 16 and 1"),
        ({"largest": 0.0}, r"Expected largest, a share of the features, in \(0, 1\], but got 0.0"),
        ({"largest": 1.5}, "but got 1.5"),
    ],
)
def test_settings_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        SensitivityN(**fields)


class TestPooled:
    """004's script correlates over all samples and sets together."""

    CHECK = SensitivityN(sets=6, sizes=4, over="pooled")

    def rows(self, folder, inputs, targets, methods=("gradient-x-input",)):
        return hp.audit(
            toys.network(), inputs, targets, methods=list(methods), checks=[self.CHECK],
            batch=2, out=folder, progress=False,
        ).rows()  # fmt: skip

    def test_is_what_scalar_loops_give(self, tmp_path):
        inputs, targets = toys.images(5), torch.arange(5) % 4
        rows = self.rows(tmp_path, inputs, targets)
        model = toys.network()
        maps = GradientXInput()(model, inputs, targets)
        shared = self.CHECK.shared(block_of(model, inputs, targets), TRAINED)
        found = rows[rows.metric == METRIC].set_index("position")
        assert found["sample"].tolist() == [""] * 4
        assert set(found.setting) == {"pooled"}
        for n, masked in shared.items():
            sums, losses = [], []
            for i in range(5):
                for mask in masked.sets:
                    pixels = [divmod(k, 6) for k in mask.nonzero().flatten().tolist()]
                    sums.append(math.fsum(float(maps[i, :, row, column].sum()) for row, column in pixels))
                    whole = slow.score_of(model, inputs[i], int(targets[i]))
                    image = slow.without(inputs[i], pixels, torch.zeros_like(inputs[i]))
                    losses.append(whole - slow.score_of(model, image, int(targets[i])))
            assert found.value[n] == pytest.approx(pearson(sums, losses), abs=1e-9)

    def test_blank_maps_are_nan(self, tmp_path):
        class Blank(Method):
            def _explain(self, model, inputs, targets):
                return Explanation(torch.zeros_like(inputs))

        rows = self.rows(tmp_path, toys.images(3), torch.arange(3), [Blank()])
        assert rows[rows.metric == METRIC].value.isna().tolist() == [True] * 4

    def test_keeps_the_contract(self):
        check_check(self.CHECK)

    def test_over_what_is_known(self):
        with pytest.raises(InputError, match="Expected over to be one of 'sample', 'pooled', but got 'all'"):
            SensitivityN(over="all")
