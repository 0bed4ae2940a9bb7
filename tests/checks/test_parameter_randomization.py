import pickle

import check_toys as toys
import pytest
import torch
from torch import nn

import heatproof as hp
from heatproof.checks import ParameterRandomization
from heatproof.checks.base import Block, Maps, Study
from heatproof.errors import InputError, UnknownNameError
from heatproof.features import default_features
from heatproof.methods import Competitive, GradientXInput, SmoothGrad
from heatproof.methods.base import Explanation, Method
from heatproof.metrics import DIAGNOSTICS
from heatproof.randomization import BottomUp, Cascading, Independent
from heatproof.recipes import describe
from heatproof.testing.playing import stage
from reference import checks as slow
from reference.similarity import spearman

GROUP = "cascading he"
ORDERS = [Cascading(), Independent(), BottomUp()]
BLOCK = {
    "inputs": toys.images(),
    "targets": torch.arange(3),
    "samples": ("0", "1", "2"),
    "features": default_features((2, 6, 6)),
}


def study(model=None, inputs=None):
    inputs = toys.images() if inputs is None else inputs
    targets = torch.zeros(len(inputs), dtype=torch.int64)
    return stage(model or toys.network(), inputs, targets, toys.METHODS).study()


def maps_of(method, model, inputs, targets):
    return method(model, inputs, targets).sum(1)


def random_maps(method, seed, *, initializer="he", targets=None):
    """Pooled maps of a network that is random in every layer."""
    model, inputs = toys.network(), toys.images()
    with Cascading(initializer=initializer, seed=seed).stages(model, inputs[:1])[-1]:
        return maps_of(method, model, inputs, torch.arange(3) if targets is None else targets)


class TestValues:
    @pytest.mark.parametrize("randomization", ORDERS, ids=lambda r: r.order)
    def test_every_stage_is_what_scalar_loops_give(self, randomization):
        check = ParameterRandomization(randomization=randomization, seeds=(0, 3), similarities=("spearman",))
        rows = toys.played(check)
        model, inputs, targets, method = toys.network(), toys.images(), torch.arange(3), GradientXInput()
        trained = maps_of(method, model, inputs, targets).tolist()
        for seed in (0, 3):
            stages = type(randomization)(seed=seed).stages(model, inputs[:1])
            assert len(stages) == 3
            for one in stages:
                with one:
                    random = maps_of(method, model, inputs, targets).tolist()
                where = (check.group, one.index, seed)
                got = {
                    name: toys.row(rows, "gradient-x-input", name, *where).tolist()
                    for name in ("spearman", "zeros", "shared-zeros", "relative-energy")
                }
                for i in range(3):
                    expected = spearman(slow.flat(trained[i]), slow.flat(random[i]))
                    assert got["spearman"][i] == pytest.approx(expected, abs=1e-9)
                    assert got["zeros"][i] == slow.share_of_zeros(random[i])
                    assert got["shared-zeros"][i] == slow.share_of_zeros(random[i], trained[i])
                    energy = slow.relative_energy(random[i], trained[i])
                    assert got["relative-energy"][i] == pytest.approx(energy, rel=1e-9)

    def test_the_untouched_model_is_no_stage(self):
        # A peer's mean over stages holds the trained model's 1.0.
        rows = toys.played(ParameterRandomization(similarities=("spearman",)))
        positions = {r.position for r in rows if r.metric == "spearman" and r.setting == GROUP}
        assert positions == {1.0, 2.0, 3.0}

    def test_scores_are_those_of_the_explained_label_in_each_state(self):
        rows = toys.played(ParameterRandomization(similarities=("spearman",)))
        model, inputs = toys.network(), toys.images()
        assert torch.equal(toys.row(rows, "", "target-score", GROUP, 0), model(inputs)[range(3), range(3)].detach())
        for one in Cascading().stages(model, inputs[:1]):
            with one:
                expected = model(inputs)[range(3), range(3)].detach()
            assert torch.equal(toys.row(rows, "", "target-score", GROUP, one.index), expected)

    def test_the_trained_label_stays_unless_own_labels_are_asked_for(self):
        model, inputs = toys.network(), toys.images()
        with Cascading().stages(model, inputs[:1])[-1]:
            own = model(inputs).argmax(1)
            assert own.tolist() != [0, 1, 2]
            best = model(inputs).amax(1).detach()
        check = ParameterRandomization(targets="own", similarities=("spearman",))
        rows = toys.played(check)
        setting = f"{GROUP} own-label"
        assert torch.equal(toys.row(rows, "", "target-score", setting, 3), best)
        trained = maps_of(GradientXInput(), model, inputs, torch.arange(3))
        random = random_maps(GradientXInput(), 0, targets=own)
        expected = hp.similarity.Spearman()(trained, random)
        assert torch.equal(toys.row(rows, "gradient-x-input", "spearman", setting, 3), expected)


class TestFloors:
    @pytest.mark.parametrize("randomization", ORDERS, ids=lambda r: r.order)
    @pytest.mark.parametrize("seeds", [(0,), (5,), (0, 1), (4, 2, 9)], ids=str)
    def test_compare_two_independent_fully_random_networks(self, randomization, seeds):
        check = ParameterRandomization(randomization=randomization, seeds=seeds, similarities=("spearman",))
        rows = toys.played(check)
        floors = {r: v for r, v in rows.items() if r.setting.endswith(" floor") and r.method == "gradient-x-input"}
        assert {r.seed for r in floors} == set(seeds)
        for r, values in floors.items():
            assert (r.setting, r.position, r.metric) == (f"{check.group} floor", 3.0, "spearman")
            fresh = max(seeds) + 1 + seeds.index(r.seed)
            first, second = (random_maps(GradientXInput(), seed) for seed in (r.seed, fresh))
            # A sample whose ReLUs are all off under one of them has a blank map, which is like nothing.
            assert torch.equal(values.nan_to_num(9), hp.similarity.Spearman()(first, second).nan_to_num(9))

    @pytest.mark.parametrize(
        "others",
        [
            {"b": ParameterRandomization(seeds=(1,))},  # its stages compute the partner of seed 0 before seed 0
            {"b": ParameterRandomization(seeds=(1, 0), randomization=BottomUp())},
            {"b": ParameterRandomization(randomization=Independent()), "c": "calibration"},
        ],
        ids=["floor first", "seeds turned round", "shared floor"],
    )
    def test_do_not_depend_on_other_checks(self, others, tmp_path):
        check = {"a": ParameterRandomization(similarities=("spearman",))}

        def rows_of(checks):
            out = tmp_path / "".join(checks)
            methods = ["gradient-x-input"]
            run = hp.audit(toys.network(), toys.images(), methods=methods, checks=checks, out=out, progress=False)
            rows = run.rows()
            columns = ["method", "setting", "position", "seed", "metric", "sample", "value"]
            return rows.loc[rows["check"] == "a", columns].reset_index(drop=True)

        alone = rows_of(check)
        assert (alone["setting"] == f"{GROUP} floor").sum() == 3
        assert alone.equals(rows_of({**others, **check}))
        assert alone.equals(rows_of({**check, **others}))

    def test_need_the_map_of_both_networks(self):
        states = ParameterRandomization().states(study())
        (floor,) = [s for s in states if s.kind == "floor"]
        block, maps = Block(model=toys.network(), **BLOCK), Maps(torch.randn(3, 6, 6), {})
        with pytest.raises(KeyError, match="cascading/he/seed0/03-0"):
            list(ParameterRandomization().rows(block, floor, None, maps, {"trained": maps}, None))

    def test_stand_at_the_last_stage_of_blocks(self):
        # Two blocks of three layers: the floor belongs to stage 2, where everything is random, not to stage 3.
        net = nn.Sequential()
        net.add_module("features", toys.network()[:3])
        net.add_module("classifier", toys.network()[3:])
        check = ParameterRandomization(
            randomization=Cascading(blocks=("features", "classifier")), similarities=("spearman",)
        )
        rows = toys.played(check, model=net.eval())
        assert {r.position for r in rows if r.setting == check.group and r.metric == "spearman"} == {1.0, 2.0}
        assert {r.position for r in rows if r.setting == f"{check.group} floor"} == {2.0}

    def test_an_edge_detector_shares_all_with_itself(self):
        methods = {"edge-detector": hp.methods.EdgeDetector()}
        rows = toys.played(ParameterRandomization(similarities=("spearman",), complete_seeds=1), methods=methods)
        similar = [v for r, v in rows.items() if r.metric == "spearman" and not r.setting.endswith(" chance")]
        assert len(similar) == 3 + 1 + 1
        assert all(torch.equal(values, torch.ones(3, dtype=torch.float64)) for values in similar)

    def test_replicates_draw_other_noise_on_the_trained_model(self):
        method = SmoothGrad(GradientXInput(), samples=4)
        check = ParameterRandomization(similarities=("spearman",))
        rows = toys.played(check, methods={"noisy": method, "plain": GradientXInput()})
        model, inputs, targets = toys.network(), toys.images(), torch.arange(3)
        again = maps_of(hp.draws.reseed(method, 1), model, inputs, targets)
        expected = hp.similarity.Spearman()(maps_of(method, model, inputs, targets), again)
        assert torch.equal(toys.row(rows, "noisy", "spearman", "replicate"), expected)
        assert not torch.equal(expected, torch.ones(3, dtype=torch.float64))
        assert torch.equal(toys.row(rows, "plain", "spearman", "replicate"), torch.ones(3, dtype=torch.float64))


class Scaled(Method):
    """A linear map of the input, divided by a number: a dying network."""

    def __init__(self, small):
        self.small = small

    def _explain(self, model, inputs, targets):
        size = 1.0 if model[0].weight.abs().mean() > 0.05 else self.small  # trained weights are larger than 0.01
        return Explanation(inputs * size)


class TestDegenerate:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
    def test_energy_of_a_dying_map_is_not_zero(self, dtype):
        # (1e-25)² is 0 in float32.
        model, inputs = toys.network().to(dtype), toys.images().to(dtype)
        check = ParameterRandomization(randomization=Cascading(initializer="truncated-normal"))
        rows = toys.played(check, model=model, inputs=inputs, methods={"dying": Scaled(1e-25)})
        energy = toys.row(rows, "dying", "relative-energy", check.group, 3)
        assert energy.tolist() == pytest.approx([1e-50] * 3, rel=1e-5)
        assert toys.row(rows, "dying", "zeros", check.group, 3).tolist() == [0.0] * 3

    def test_energy_of_a_blank_trained_map_is_nan(self):
        class Blank(Method):
            def _explain(self, model, inputs, targets):
                return Explanation(torch.zeros_like(inputs))

        rows = toys.played(ParameterRandomization(), methods={"blank": Blank()})
        for metric in ("relative-energy", "spearman", "ssim", "mse"):
            assert toys.row(rows, "blank", metric, GROUP, 3).isnan().all()
        assert toys.row(rows, "blank", "shared-zeros", GROUP, 3).tolist() == [1.0] * 3

    def test_dead_targets_are_counted(self):
        # A final ReLU: where the logit is negative the score is exactly 0, trained or random.
        model, inputs = toys.network(last=nn.ReLU()), toys.images(8)
        targets = torch.arange(8) % 4
        rows = toys.played(ParameterRandomization(), model=model, inputs=inputs, targets=targets)
        for index, one in enumerate([None, *Cascading().stages(model, inputs[:1])]):
            with torch.no_grad():
                if one is None:
                    scores = model(inputs)[range(8), targets]
                else:
                    with one:
                        scores = model(inputs)[range(8), targets]
            expected = [1.0 if score == 0 else 0.0 for score in scores.tolist()]
            assert toys.row(rows, "", "dead-target", GROUP, index).tolist() == expected
        trained = toys.row(rows, "", "dead-target", GROUP, 0)
        assert 0 < trained.sum() < 8

    def test_diagnostics_of_the_method_come_with_every_stage(self):
        rows = toys.played(ParameterRandomization(), methods={"cgi": Competitive(GradientXInput())})
        for position in range(4):
            share = toys.row(rows, "cgi", "surviving-share", GROUP, position)
            assert share.shape == (3,)

    def test_a_map_that_is_missing_is_compared_with_nothing(self):
        state = ParameterRandomization().states(study())[1]
        block, maps = Block(model=toys.network(), **BLOCK), Maps(torch.randn(3, 6, 6), {})
        with pytest.raises(KeyError, match="trained"):
            list(ParameterRandomization().rows(block, state, None, maps, {}, None))


class Branching(nn.Module):
    """Two of its layers only see samples whose first value is positive, one sees none."""

    def __init__(self):
        super().__init__()
        self.first, self.some, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 4)
        self.auxiliary = nn.Linear(6, 4)
        self.double().eval()

    def forward(self, x):
        h = self.first(x)
        chosen = x[:, 0] > 0
        return self.head(h + torch.where(chosen[:, None], self.some(h), 0) if chosen.any() else h)


class TestUnused:
    def notes(self, inputs, model=None):
        model = model or Branching()
        of_tables = Study(model=model, example=inputs, outputs=4, features=default_features(inputs.shape[1:]))
        check = ParameterRandomization(similarities=("spearman",), complete_seeds=1)
        return check.notes(of_tables), check.states(of_tables)

    def test_parameters_are_named_but_forbid_nothing(self):
        (note,), states = self.notes(-torch.ones(1, 6, dtype=torch.float64))
        assert note == (
            "Not used on the first samples (1), so never randomized: some.weight, some.bias, auxiliary.weight, "
            "auxiliary.bias. Where other samples use them, a fully randomized network is not."
        )
        assert [s.label for s in states if s.kind == "randomized"] == ["head", "first"]
        assert states[2].complete

    def test_every_sample_of_the_example_counts(self):
        (note,), states = self.notes(torch.tensor([[-1.0] * 6, [1.0] * 6], dtype=torch.float64))
        assert "some.weight" not in note
        assert "auxiliary.weight, auxiliary.bias." in note
        assert [s.label for s in states if s.kind == "randomized"] == ["head", "some", "first"]

    def test_many_are_counted(self):
        model = Branching()
        model.spare = nn.ModuleList([nn.Linear(1, 1) for _ in range(5)]).eval()
        (note,), _ = self.notes(torch.ones(1, 6, dtype=torch.float64), model)
        listed = "auxiliary.weight, auxiliary.bias, spare.0.weight, spare.0.bias, spare.1.weight, spare.1.bias"
        assert f"{listed} and 6 more." in note


class TestStates:
    def test_have_unique_names_over_all_settings(self):
        variants = [
            ParameterRandomization(
                randomization=order(initializer=initializer, batch_norm=norm), seeds=seeds, targets=t
            )
            for order in (Cascading, Independent, BottomUp)
            for initializer in ("truncated-normal", "he", "permutation")
            for norm in ("reset", "keep")
            for seeds in ((0,), (1, 2))
            for t in ("trained", "own")
        ]
        by_name: dict[str, object] = {}
        for check in variants:
            states = check.states(study())
            assert len({state.name for state in states}) == len(states)
            for state in states:
                identity = (str(dict(state.key)), state.targets, state.replicate)
                assert by_name.setdefault(state.name, identity) == identity

    def test_full_randomization_is_one_state_whatever_the_order(self):
        keys = set()
        for randomization in ORDERS:
            states = ParameterRandomization(randomization=randomization, complete_seeds=1).states(study())
            full = [s for s in states if s.complete]
            assert [s.seed for s in full] == [0, 1]
            keys.add(str([dict(s.key) for s in full]))
        assert len(keys) == 1

    def test_say_whether_everything_is_random(self):
        def complete(randomization):
            check = ParameterRandomization(randomization=randomization, complete_seeds=1)
            return [s.describe()["complete"] for s in check.states(study())]

        # trained, the stages, the floor and its partner if no stage is one, trained again
        assert complete(Cascading()) == complete(BottomUp()) == [False, False, False, True, True, False]
        assert complete(Independent()) == [False, False, False, False, True, True, False]
        assert complete(Cascading(only=("5", "3"))) == [False, False, False, True, True, False]

    def test_layers_and_blocks_of_one_network_are_two_settings(self, tmp_path):
        net = nn.Sequential()
        net.add_module("features", toys.network()[:3])
        net.add_module("classifier", toys.network()[3:])
        checks = {
            "layers": ParameterRandomization(similarities=("spearman",), complete_seeds=1),
            "blocks": ParameterRandomization(
                randomization=Cascading(blocks=("features", "classifier")),
                similarities=("spearman",),
                complete_seeds=1,
            ),
            "last": ParameterRandomization(randomization=Cascading(only=("*.3",)), similarities=("spearman",)),
        }
        methods = ["gradient-x-input"]
        run = hp.audit(net.eval(), toys.images(), methods=methods, checks=checks, out=tmp_path, progress=False)
        rows = run.rows()
        rows = rows[(rows["metric"] == "spearman") & (rows["setting"] != "replicate")]
        assert not rows.duplicated(["method", "setting", "position", "seed", "sample"]).any()
        stages = [s for s in run.manifest["states"] if s["kind"] == "randomized"]
        assert sorted((s["group"], s["index"]) for s in stages) == [
            (GROUP, 1), (GROUP, 2), (GROUP, 3),
            (f"{GROUP} by blocks classifier, features", 1), (f"{GROUP} by blocks classifier, features", 2),
            (f"{GROUP} only *.3", 1),
        ]  # fmt: skip

    def test_only_trained_and_fully_random_maps_are_kept(self):
        states = ParameterRandomization(seeds=(0, 1), complete_seeds=2).states(study())
        assert [s.name.split("/")[-1] for s in states if s.kept] == ["trained", "03-0", "03-0"]

    def test_two_checks_compute_a_shared_state_once(self, tmp_path):
        calls = []

        def counting(model, inputs, targets):
            calls.append(len(inputs))
            return GradientXInput()(model, inputs, targets)

        checks = {
            "a": ParameterRandomization(similarities=("spearman",)),
            "b": ParameterRandomization(randomization=BottomUp(), similarities=("mse",)),
            "c": "calibration",
        }
        run = hp.audit(toys.network(), toys.images(), methods=[counting], checks=checks, out=tmp_path, progress=False)
        # trained, 3 stages down, floor, two more seeds, replicate; upwards 2 more: the third is everything in both
        assert len(calls) == 1 + 3 + 1 + 2 + 1 + 2
        assert set(run.rows().check) == {"a", "b", "c"}


class TestFurtherSeeds:
    @pytest.mark.parametrize("randomization", [Cascading(), BottomUp()], ids=lambda r: r.order)
    @pytest.mark.parametrize(
        ("seeds", "further"), [((0,), [2, 3]), ((5,), [7, 8]), ((0, 1), [4]), ((0, 1, 2), [])], ids=str
    )
    def test_draw_the_whole_network_alone(self, randomization, seeds, further):
        rows = toys.played(ParameterRandomization(randomization=randomization, seeds=seeds, similarities=("spearman",)))
        group = ParameterRandomization(randomization=randomization).group
        trained = maps_of(GradientXInput(), toys.network(), toys.images(), torch.arange(3))
        for setting in (group, f"{group} chance"):
            last = {r.seed for r in rows if (r.setting, r.position, r.metric) == (setting, 3.0, "spearman")}
            assert last == {*seeds, *further}
        assert {r.seed for r in rows if r.setting == group and r.position in (1.0, 2.0)} == set(seeds)
        assert {r.seed for r in rows if r.setting == f"{group} floor"} == set(seeds)
        for seed in further:
            got = toys.row(rows, "gradient-x-input", "spearman", group, 3, seed)
            expected = hp.similarity.Spearman()(trained, random_maps(GradientXInput(), seed))
            assert torch.equal(got.nan_to_num(9), expected.nan_to_num(9))

    def test_are_not_those_of_the_floors(self):
        states = ParameterRandomization(seeds=(0, 4)).states(study())
        assert sorted(s.seed for s in states if s.complete) == [0, 4, 5, 6, 7]

    def test_are_left_out_where_no_stage_has_every_layer_random(self):
        states = ParameterRandomization(randomization=Independent()).states(study())
        assert [s.seed for s in states if s.complete] == [0, 1]


class TestRecipe:
    def test_pickles_hashes_and_is_described_by_its_fields(self):
        check = ParameterRandomization(randomization=BottomUp(initializer="he"), seeds=(1, 2), similarities=("mse",))
        assert pickle.loads(pickle.dumps(check)) == check
        assert hash(pickle.loads(pickle.dumps(check))) == hash(check)
        data = describe(check)
        assert data["seeds"] == [1, 2]
        assert data["similarities"] == ["mse"]
        assert data["randomization"]["initializer"] == "he"
        assert data["version"] == 3
        assert describe(ParameterRandomization()) != data

    def test_a_measure_that_does_not_fit_is_left_out_with_a_note_or_refused_by_name(self):
        assert [m.name for m in ParameterRandomization().metrics(study())] == [
            "spearman", "spearman-absolute", "ssim", "mse",
            "zeros", "shared-zeros", "relative-energy", "dead-target", "target-score",
            *[metric.name for metric in DIAGNOSTICS],
        ]  # fmt: skip
        (note,) = ParameterRandomization().notes(study())
        assert note.startswith("hog is left out: ")
        assert ParameterRandomization(similarities=("mse",)).notes(study()) == ()
        with pytest.raises(InputError, match="HOG"):
            ParameterRandomization(similarities=("hog",)).states(study())

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"targets": "random"}, "Expected targets to be 'trained' or 'own', but got 'random'"),
            ({"seeds": ()}, r"Expected one or more different seeds, but got \(\)"),
            ({"seeds": (1, 1)}, r"Expected one or more different seeds, but got \(1, 1\)"),
            ({"complete_seeds": 0}, "Expected complete_seeds, how many at least, from 1 on, but got 0"),
        ],
    )
    def test_settings_that_mean_nothing_are_refused(self, fields, message):
        with pytest.raises(InputError, match=message):
            ParameterRandomization(**fields)

    def test_an_unknown_similarity_is_named_at_the_door(self):
        with pytest.raises(UnknownNameError, match="did you mean 'spearman'"):
            ParameterRandomization(similarities=("spearmann",)).states(study())
