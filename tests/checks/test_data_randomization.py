import json
import re
import shutil
from dataclasses import dataclass, replace

import pytest
import torch
from check_toys import images, labelled, network, played, row
from safetensors.torch import save_file
from torch import nn

import heatproof as hp
from heatproof import draws
from heatproof.checks import DataRandomization
from heatproof.checks.retraining import Learner, Retrained, parts_of, tensors_of
from heatproof.data import permuted_labels
from heatproof.errors import HeatproofWarning, InputError, UnknownNameError
from heatproof.methods import GradientXInput, Random
from heatproof.testing.playing import stage
from heatproof.testing.snapshots import Before
from heatproof.zoo import ZOO, Entry, Training, TrainingError
from heatproof.zoo import training as loop
from reference.checks import flat, relative_energy, share_of_zeros
from reference.labels import accuracy, softmax_regression
from reference.similarity import spearman

FAST = Training(learning_rate=0.01, epochs=200, batch_size=16, stop_at=1.0)
MEASURES = ("spearman", "spearman-absolute")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def check(**fields):
    return DataRandomization(**{"training": FAST, "similarities": MEASURES, **fields})


def study(model=None, training=None, **fields):
    model = network() if model is None else model
    return stage(model, images(), torch.tensor([0, 1, 2]), {}, training=training or labelled(), **fields).study()


def states(recipe, on):
    """States by their names without what tells one recipe's from another's."""
    return {re.sub(r" \(.*\)", "", state.name): state for state in recipe.states(on)}


class TestAgainstASlowTwin:
    def linear(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double().eval()

    def test_rows_are_those_of_softmax_regression_by_hand(self):
        """Gradient × input of a linear network is x ⊙ w_c, whatever the labels it has learned."""
        model, data = self.linear(), labelled(15, shape=(1, 4, 4), labels=3)
        inputs = torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        targets = torch.tensor([0, 1, 2, 0])
        training = Training(optimizer="sgd", learning_rate=0.5, epochs=6, batch_size=5)
        recipe = check(training=training, accuracy=0.01, initializer="he", seeds=(3,))
        rows = played(
            recipe, model=model, inputs=inputs, targets=targets, methods={"m": GradientXInput()}, training=data
        )

        order = torch.randperm(15, generator=draws.generator("data randomization", "held out", 15)).tolist()
        test, kept = sorted(order[:3]), sorted(order[3:])
        dealt = torch.randperm(12, generator=draws.generator(3, "permuted labels", 12)).tolist()
        true = [int(data.targets[i]) for i in kept]
        permuted = [true[i] for i in dealt]
        pixels = [flat(data.inputs[i].double().tolist()) for i in range(15)]
        batches = []
        for epoch in range(6):
            shuffled = torch.randperm(12, generator=draws.generator(3, "order of training", epoch)).tolist()
            batches += [shuffled[k : k + 5] for k in range(0, 12, 5)]
        with hp.randomization.Cascading(initializer="he", seed=3).stages(model, inputs)[-1]:
            first = model[1].weight.tolist(), model[1].bias.tolist()
        trained = model[1].weight.tolist()
        for setting, labels in (("permuted-labels", permuted), ("true-labels", true)):
            weights, biases = softmax_regression(*first, [pixels[i] for i in kept], labels, batches, 0.5)
            numbers = {name: row(rows, "", name, setting, seed=3) for name in ("training-accuracy", "test-accuracy")}
            expected = accuracy(weights, biases, [pixels[i] for i in kept], labels)
            assert numbers["training-accuracy"].tolist() == [expected] * 4
            unseen = accuracy(weights, biases, [pixels[i] for i in test], [int(data.targets[i]) for i in test])
            assert numbers["test-accuracy"].tolist() == [unseen] * 4
            for n, target in enumerate(targets.tolist()):
                x = flat(inputs[n].tolist())
                here = [a * b for a, b in zip(x, weights[target], strict=True)]
                there = [a * b for a, b in zip(x, trained[target], strict=True)]
                found = {
                    name: float(row(rows, "m", name, setting, seed=3)[n])
                    for name in (*MEASURES, "relative-energy", "shared-zeros", "zeros")
                }
                assert found["spearman"] == pytest.approx(spearman(here, there), abs=1e-6)
                absolute = spearman([abs(a) for a in here], [abs(a) for a in there])
                assert found["spearman-absolute"] == pytest.approx(absolute, abs=1e-6)
                assert found["relative-energy"] == pytest.approx(relative_energy(here, there), abs=1e-6)
                assert found["shared-zeros"] == share_of_zeros(here, there)

    def test_chance_is_that_of_guessing_by_the_labels_frequencies(self):
        data = labelled(40, labels=2)
        data = replace(data, targets=(torch.arange(40) < 10).long())  # a quarter of them is 1
        recipe = check(accuracy=0.01, training=replace(FAST, epochs=1))
        rows = played(recipe, methods={}, training=data)
        train, test = parts_of(study(training=data), 0.2)
        shares = [(part.targets == 1).double().mean().item() for part in (train, test)]
        expected = shares[0] * shares[1] + (1 - shares[0]) * (1 - shares[1])
        assert row(rows, "", "chance-accuracy", "true-labels")[0].item() == pytest.approx(expected, abs=1e-12)


class TestWhatItMeans:
    def test_networks_memorize_and_know_nothing_of_other_labelled(self):
        """Labels are the sign of one coordinate: true ones are learned for good, permuted ones by heart."""
        data = labelled(150, shape=(1, 3, 3), labels=2, seed=0)
        data = replace(data, targets=(data.inputs[:, 0, 1, 1] > 0).long())
        model = nn.Sequential(nn.Flatten(), nn.Linear(9, 60), nn.ReLU(), nn.Linear(60, 2)).double().eval()
        inputs, targets = data.inputs[:6].double(), data.targets[:6]
        recipe = check(training=replace(FAST, epochs=300), test_share=0.5, seeds=(0, 1))
        rows = played(recipe, model=model, inputs=inputs, targets=targets, methods={}, training=data)
        for seed in (0, 1):
            for setting in ("permuted-labels", "true-labels"):
                assert row(rows, "", "training-accuracy", setting, seed=seed)[0] == 1
            assert row(rows, "", "test-accuracy", "true-labels", seed=seed)[0] > 0.8
            assert abs(row(rows, "", "test-accuracy", "permuted-labels", seed=seed)[0] - 0.5) < 0.2

    def test_a_map_that_knows_no_model_is_the_same_and_reading_the_weights_is_not(self):
        rows = played(check(seeds=(0, 1)), methods={"m": GradientXInput(), "r": Random()}, training=labelled())
        for setting in ("permuted-labels", "true-labels", "permuted-labels floor"):
            for name in MEASURES:
                same = row(rows, "r", name, setting, seed=1)
                torch.testing.assert_close(same, torch.ones_like(same), rtol=0, atol=1e-12)
                assert bool((row(rows, "m", name, setting, seed=1) < 0.95).all())

    def test_the_floor_compares_neighboring_permutations(self):
        on, recipe = study(), check(seeds=(0, 1))
        rows = played(recipe, methods={"m": GradientXInput()}, training=labelled())
        opened = states(recipe, on)
        inputs, targets = images(), torch.tensor([0, 1, 2])
        maps = []
        for name in ("permuted labels/seed0", "permuted labels/seed1"):
            with opened[name].open(on.model):
                maps.append(GradientXInput()(on.model, inputs, targets).sum(1))
        expected = hp.similarity.Spearman()(*maps)
        found = row(rows, "m", "spearman", "permuted-labels floor", seed=1)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)

    def test_agreement_is_with_the_explained_label(self):
        on = study()
        with torch.no_grad():
            targets = on.model(on.example).argmax(1)
        rows = played(check(), targets=targets, methods={}, training=labelled())
        assert row(rows, "", "agreement", "").tolist() == [1, 1, 1]


class Droppy(nn.Module):
    """Drops out by a module and by a function, and keeps a running mean."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(72, 40)
        self.norm = nn.BatchNorm1d(40)
        self.drop = nn.Dropout(0.9)
        self.out = nn.Linear(40, 4)
        self.register_buffer("hidden", torch.zeros(1), persistent=False)

    def forward(self, x):
        h = torch.relu(self.norm(self.dense(x.flatten(1))))
        return self.out(nn.functional.dropout(self.drop(h), 0.9, self.training)) + self.hidden


class TestRetraining:
    def test_the_model_comes_back_bit_for_bit_whatever_happens(self):
        model = Droppy().eval()
        model.requires_grad_(False)
        on = study(model.double())
        state = states(check(), on)["permuted labels/seed0"]
        state.prepare()
        before = Before(model)
        with torch.no_grad():
            scores = model(images())

        def fail():
            with state.open(model):
                with torch.no_grad():
                    assert not torch.equal(model(images()), scores)
                model.hidden.fill_(3.0)
                raise RuntimeError("on purpose")

        with pytest.raises(RuntimeError, match="on purpose"):
            fail()
        assert list(before.changes()) == []
        with torch.no_grad():
            assert torch.equal(model(images()), scores)

    def test_dropout_is_off_and_batch_norms_learn(self):
        learner = Learner(Droppy().double())
        learner.train()
        assert [name for name, module in learner.named_modules() if module.training] == ["net.norm"]
        assert torch.equal(learner(images()), learner(images()))
        on = study(Droppy().double().eval())
        state = states(check(), on)["true labels/seed0"]
        with state.open(on.model):
            assert not torch.equal(on.model.norm.running_mean, torch.zeros(40))
            assert on.model.norm.num_batches_tracked > 0
            assert not any(module.training for module in on.model.modules())

    def test_a_network_is_trained_once_for_all_weights_that_the_architecture_may_have(self, cache, monkeypatch):
        first = states(check(), study())["permuted labels/seed0"]
        first.prepare()
        kept = {name: value.clone() for name, value in first.open._kept()[0].items()}
        monkeypatch.setattr("heatproof.checks.retraining.train", lambda *_: pytest.fail("trained again"))
        again = states(check(), study(network(seed=5)))["permuted labels/seed0"]
        weights = again.open._kept()[0]
        assert all(torch.equal(weights[name], kept[name]) for name in kept)
        assert len([*cache.glob("labels-*.safetensors")]) == 1

    def test_anything_else_is_another_network(self):
        def name(recipe=None, on=None, state="permuted labels/seed0"):
            return states(recipe or check(), on or study())[state].open._name

        wider = nn.Sequential(nn.Flatten(), nn.Linear(72, 5), nn.ReLU(), nn.Linear(5, 4)).double().eval()
        names = [
            name(),
            name(state="true labels/seed0"),
            name(check(seeds=(1,)), state="permuted labels/seed1"),
            name(check(accuracy=0.9)),
            name(check(initializer="he")),
            name(check(training=replace(FAST, epochs=201))),
            name(check(test_share=0.3)),
            name(on=study(wider)),
            name(on=study(training=labelled(seed=1))),
        ]
        assert len(set(names)) == len(names)
        assert names[0] == name()
        assert name(check(seeds=(0, 1))) == name()  # what else is asked for does not matter

    def test_weights_do_not_depend_on_threads_or_on_the_global_generator(self):
        network_anew = Retrained(study(), check()._recipe, permuted=True, seed=0)
        torch.set_num_threads(2)
        try:
            many = network_anew._made()[0]
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(1)
        before = torch.random.get_rng_state()
        one = network_anew._made()[0]
        assert torch.equal(torch.random.get_rng_state(), before)
        assert all(torch.equal(many[name], one[name]) for name in one)

    def test_both_networks_begin_alike_and_no_weight_is_as_trained(self):
        on = study()
        made = [Retrained(on, check()._recipe, permuted=permuted, seed=0)._first() for permuted in (True, False)]
        first, second = (tensors_of(model) for model in made)
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert all(not torch.equal(first[name], tensor) for name, tensor in tensors_of(on.model).items())

    @pytest.mark.parametrize("damage", [lambda _: b"", lambda _: b"not safetensors", lambda b: b[:-1] + b"\x7f"])
    def test_a_damaged_file_is_made_again(self, cache, damage):
        state = states(check(), study())["true labels/seed0"]
        weights = state.open._kept()[0]
        (path,) = cache.glob("labels-*.safetensors")
        path.write_bytes(damage(path.read_bytes()))
        with pytest.warns(HeatproofWarning, match=rf"{path.name}.* It counts as absent, and is made anew"):
            again = states(check(), study())["true labels/seed0"].open._kept()[0]
        assert all(torch.equal(weights[name], again[name]) for name in weights)

    def test_the_file_of_another_network_is_not_believed(self, cache):
        on = study()
        permuted, true = (states(check(), on)[f"{name} labels/seed0"].open for name in ("permuted", "true"))
        weights, other = true._kept()[0], permuted._kept()[0]
        assert not all(torch.equal(weights[name], other[name]) for name in weights)
        shutil.copy(cache / permuted._name, cache / true._name)
        with pytest.warns(HeatproofWarning, match="it was written as 'labels-"):
            again = states(check(), on)["true labels/seed0"].open._kept()[0]
        assert all(torch.equal(weights[name], again[name]) for name in weights)

    def test_a_file_that_predates_digests_is_read(self, cache, monkeypatch):
        state = states(check(), study())["true labels/seed0"]
        weights, facts = state.open._kept()
        save_file(dict(weights), cache / state.open._name, {"facts": json.dumps(vars(facts))})
        monkeypatch.setattr("heatproof.checks.retraining.train", lambda *_: pytest.fail("trained again"))
        again, said = states(check(), study())["true labels/seed0"].open._kept()
        assert said == facts
        assert all(torch.equal(weights[name], again[name]) for name in weights)

    def test_one_output_unit_learns_labels_0_and_1(self):
        model = nn.Sequential(nn.Flatten(), nn.Linear(72, 20), nn.ReLU(), nn.Linear(20, 1)).double().eval()
        data = labelled(labels=2)
        recipe = check(training=replace(FAST, epochs=400))
        rows = played(recipe, model=model, targets=torch.zeros(3, dtype=torch.int64), methods={}, training=data)
        assert row(rows, "", "training-accuracy", "permuted-labels")[0] == 1


class Tiny(nn.Sequential):
    """A network that a zoo may hold: images (N, 1, 4, 4) → three outputs."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(16, 3))


@dataclass(frozen=True)
class Samples:
    permuted: bool

    def load(self):
        data = labelled(30, shape=(1, 4, 4), labels=3)
        return permuted_labels(data, 0) if self.permuted else data


@pytest.fixture
def small_zoo(monkeypatch):
    parts = (Samples(True), Samples(False))
    for name, seed in (("first", 0), ("second", 1)):
        training = replace(FAST, seed=seed, required_in_training=0.5)
        one = Entry(name=name, paper="", network=Tiny, training=training, parts=lambda _: parts)
        monkeypatch.setitem(ZOO, name, one)
    return parts


class TestNetworksOfTheZoo:
    def rows(self, names):
        inputs = torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(5))
        with torch.random.fork_rng():
            torch.manual_seed(3)
            model = Tiny().eval()
        rows = played(
            check(networks=names), model=model, inputs=inputs, targets=torch.tensor([0, 1, 2, 0]),
            methods={"m": GradientXInput()},
        )  # fmt: skip
        return model, inputs, rows

    def test_they_stand_in_the_place_of_those_trained_here(self, small_zoo):
        model, inputs, rows = self.rows(["first", "second"])
        targets = torch.tensor([0, 1, 2, 0])
        networks = [hp.zoo.entry(name).load() for name in ("first", "second")]
        maps = [GradientXInput()(net.model, inputs, targets).sum(1) for net in networks]
        ours = GradientXInput()(model, inputs, targets).sum(1)
        assert {r.setting for r in rows} == {
            "", "permuted-labels", "permuted-labels floor", "permuted-labels chance",
        }  # fmt: skip
        for seed, net in enumerate(networks):
            found = row(rows, "m", "spearman", "permuted-labels", seed=seed)
            torch.testing.assert_close(found, hp.similarity.Spearman()(ours, maps[seed]), rtol=0, atol=1e-12)
            told = row(rows, "", "training-accuracy", "permuted-labels", seed=seed)
            assert told.tolist() == [pytest.approx(net.train_accuracy)] * 4
            told = row(rows, "", "test-accuracy", "permuted-labels", seed=seed)
            assert told.tolist() == [pytest.approx(net.test_accuracy)] * 4
        floor = row(rows, "m", "spearman", "permuted-labels floor", seed=1)
        torch.testing.assert_close(floor, hp.similarity.Spearman()(*maps), rtol=0, atol=1e-12)

    def test_they_are_trained_once(self, small_zoo, monkeypatch):
        recipe, on = check(networks=["first"]), study()
        state = states(recipe, on)["permuted labels/seed0"]
        assert state.preparation() == 3 * FAST.epochs * 30 + 30
        state.prepare()
        assert states(recipe, on)["permuted labels/seed0"].preparation() == 0
        monkeypatch.setattr("heatproof.zoo.cache.train", lambda *_: pytest.fail("trained again"))
        states(recipe, on)["permuted labels/seed0"].prepare()

    def test_another_architecture_is_refused(self, small_zoo):
        state = states(check(networks=["first"]), study())["permuted labels/seed0"]
        with pytest.raises(InputError, match="Expected first to have the architecture of the audited Sequential"):
            state.open(network())

    def test_an_unknown_name(self):
        with pytest.raises(UnknownNameError, match="did you mean 'mnist-mlp'"):
            check(networks=["mnist-mpl"])


class TestNames:
    def names(self, recipe):
        return [state.name for state in recipe.states(study())[1:]]

    def test_a_check_as_it_comes_needs_no_more_than_its_seed(self):
        assert self.names(DataRandomization()) == ["permuted labels/seed0", "true labels/seed0"]

    def test_two_recipes_with_one_seed_have_states_of_their_own(self):
        plain = DataRandomization()
        others = [
            replace(plain, accuracy=0.9),
            replace(plain, initializer="he"),
            replace(plain, test_share=0.3),
            replace(plain, training=replace(plain.training, epochs=40, learning_rate=0.01)),
        ]
        names = [self.names(recipe)[0] for recipe in (plain, *others)]
        assert names[1:] == [
            "permuted labels (accuracy 0.9)/seed0",
            "permuted labels (initializer He())/seed0",
            "permuted labels (test_share 0.3)/seed0",
            "permuted labels (learning_rate 0.01, epochs 40)/seed0",
        ]
        assert self.names(replace(plain, similarities=("mse",))) == self.names(plain)  # the same networks

    def test_networks_of_the_zoo_go_by_their_names(self, small_zoo):
        found = [state.name for state in check(networks=["first", "second"]).states(study())]
        assert found == ["trained", "permuted labels (first)/seed0", "permuted labels (second)/seed1"]


class TestErrors:
    def test_an_accuracy_that_is_not_reached_says_so_and_is_not_tried_again(self, monkeypatch):
        recipe = check(training=replace(FAST, epochs=1), accuracy=0.95)
        state = states(recipe, study())["permuted labels/seed0"]
        said = r"Sequential to reach 95\.00% on the 16 samples it is trained on \(samples, labels permuted\), but got "
        with pytest.raises(TrainingError, match=said):
            state.prepare()
        monkeypatch.setattr("heatproof.checks.retraining.train", lambda *_: pytest.fail("trained again"))
        with pytest.raises(TrainingError, match="allow more epochs"):
            state.prepare()

    def test_training_goes_on_where_its_last_step_undid_it(self, monkeypatch):
        """The accuracy is that of the finished network, not the one counted while its last epoch ran."""
        rounds = []

        def spoilt(make, training, data, test):
            result = loop.train(make, training, data, test)
            rounds.append(training.epochs)
            if len(rounds) == 1:
                with torch.no_grad():
                    result.model.net[-1].weight.mul_(-1)
            return result

        monkeypatch.setattr("heatproof.checks.retraining.train", spoilt)
        state = states(check(training=replace(FAST, epochs=400)), study())["true labels/seed0"]
        assert state.open.facts.training_accuracy >= 0.95
        assert rounds[0] == 400
        assert len(rounds) > 1
        assert 400 - rounds[-1] < state.open.facts.epochs <= 400

    def test_nothing_is_kept_of_a_training_that_failed(self, cache):
        with pytest.raises(TrainingError):
            states(check(training=replace(FAST, epochs=1)), study())["permuted labels/seed0"].prepare()
        assert [*cache.glob("labels-*")] == []

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"accuracy": 0.0}, "accuracy and test_share within 0 and 1"),
            ({"test_share": 1.0}, "accuracy and test_share within 0 and 1"),
            ({"seeds": ()}, "one or more different seeds"),
            ({"seeds": (1, 1)}, "one or more different seeds"),
            ({"accuracy": 0.99, "training": Training(stop_at=0.98)}, "stop_at 0.99 or above, but got 0.98"),
            ({"training": Training(weight_decay=0.1)}, "without weight_decay, which works against memorizing"),
            ({"training": Training(held_out=3)}, "without weight_decay.*held_out"),
        ],
    )
    def test_settings_that_cannot_be(self, fields, message):
        with pytest.raises(InputError, match=message):
            DataRandomization(**fields)

    def test_an_unknown_initializer(self):
        with pytest.raises(UnknownNameError, match="did you mean 'default'"):
            DataRandomization(initializer="defalt")

    def test_data_that_cannot_teach(self):
        on = stage(network(), images(), torch.tensor([0, 1, 2]), {}).study()
        with pytest.raises(InputError, match=r"training_data=dataset\), or a table \[training_data\]"):
            check().states(on)
        with pytest.raises(InputError, match=r"Expected training data like the samples, \(2, 6, 6\) each"):
            check().states(study(training=labelled(shape=(2, 5, 6))))
        with pytest.raises(InputError, match="the rest has 1 labels"):
            check().states(study(training=labelled(labels=1)))
        with pytest.raises(InputError, match="of 2 0 are held out"):
            check().states(study(training=labelled(2)))

    def test_a_network_with_other_arguments(self):
        class Gated(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = network()

            def forward(self, x, gain):
                return self.net(x) * gain

        bound = hp.models.Bound(Gated().eval(), given={"gain": torch.ones(3, 1, dtype=torch.float64)})
        with pytest.raises(InputError, match="training data that bring gain, which this network takes"):
            check().states(study(bound))


def test_the_accuracy_of_the_trained_model_is_computed_once(cache, monkeypatch):
    rows = played(check(), methods={}, training=labelled())
    (path,) = cache.glob("accuracy-*.json")
    model, test = network(), parts_of(study(), 0.2)[1].data
    with torch.no_grad():
        right = (model(test.inputs.double()).argmax(1) == test.targets).double().mean().item()
    assert json.loads(path.read_text()) == right
    assert row(rows, "", "test-accuracy", "")[0].item() == json.loads(path.read_text())
    path.write_text("0.125")
    assert row(played(check(), methods={}, training=labelled()), "", "test-accuracy", "")[0] == 0.125
    path.write_text("broken")
    with pytest.warns(HeatproofWarning, match=r"accuracy-.*it cannot be read as a number"):
        assert row(played(check(), methods={}, training=labelled()), "", "test-accuracy", "")[0] != 0.125
