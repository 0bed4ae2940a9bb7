import dataclasses
import json
import math
import shutil
from functools import partial
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from heatproof.data import Dataset, as_blocks
from heatproof.errors import HeatproofWarning, InputError, StoreError, UnknownNameError
from heatproof.zoo import AnconaMLP, Training, TrainingError, accuracy_of, cache, train, training
from heatproof.zoo.training import _factor, loss_of


def separable(n: int = 64, flip: float = 1.0) -> Dataset:
    """Two classes that one linear unit tells apart: the sign of the first of three coordinates."""
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    return Dataset(
        name="separable",
        inputs=x * flip,
        targets=(x[:, 0] > 0).long(),
        ids=tuple(str(i) for i in range(n)),
    )


class Linear(nn.Module):
    """One dense layer that drops inputs while training."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(3, 2)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(self.dropout(x))


RECIPE = Training(learning_rate=0.1, epochs=20, batch_size=10, required=0.95)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.flatten() for p in model.parameters()]).detach()


def test_a_linear_problem_is_learned():
    result = train(Linear, RECIPE, separable(), separable(32))
    assert result.epochs == 20
    assert result.test_accuracy == accuracy_of(result.model, separable(32))
    assert not any(module.training for module in result.model.modules())


def test_the_seed_decides_every_bit_and_the_global_generator_is_not_touched():
    torch.rand(3)
    before = torch.random.get_rng_state()
    first = train(Linear, RECIPE, separable(), separable()).model
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(5)
    again = train(Linear, RECIPE, separable(), separable()).model
    other = train(Linear, Training(learning_rate=0.1, epochs=20, seed=1), separable(), separable()).model
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


def test_one_step_of_plain_descent_by_hand():
    """w ← w − η ∂L/∂w with L2 on weights alone: from w = 0, b = 0 both labels have probability 1/2."""

    class Zero(nn.Linear):
        def __init__(self) -> None:
            super().__init__(1, 2)
            nn.init.constant_(self.weight, 3.0)
            nn.init.constant_(self.bias, 2.0)

    data = Dataset(name="one", inputs=torch.tensor([[4.0]]), targets=torch.tensor([1]), ids=("a",))
    recipe = Training(optimizer="sgd", learning_rate=0.5, epochs=1, weight_decay=0.1)
    model = train(Zero, recipe, data, data).model
    # Both logits are equal, so ∂L/∂logits = (1/2, −1/2); times x = 4 for the weights, plus 0.1 · 3.
    torch.testing.assert_close(model.weight.detach(), torch.tensor([[3 - 0.5 * 2.3], [3 - 0.5 * (-1.7)]]))
    torch.testing.assert_close(model.bias.detach(), torch.tensor([1.75, 2.25]))


def test_stopping_looks_at_training_accuracy_alone():
    hopeless = separable(flip=-1.0)
    result = train(Linear, Training(learning_rate=0.1, epochs=50, batch_size=10, stop_at=0.9), separable(), hopeless)
    assert result.epochs < 50
    assert result.train_accuracy >= 0.9
    assert result.test_accuracy < 0.5


def test_an_accuracy_that_is_not_reached_is_an_error():
    with pytest.raises(TrainingError, match=r"Linear to reach 95\.00% on separable, but got .* after 1 epochs"):
        train(Linear, Training(epochs=1, required=0.95), separable(), separable(flip=-1.0))


def test_a_loss_that_is_not_finite_is_an_error():
    class Broken(Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * torch.nan

    with pytest.raises(TrainingError, match=r"finite loss, but got nan in epoch 1; lower the learning rate, 0\.001"):
        train(Broken, Training(), separable(), separable())


@given(st.integers(1, 1000), st.data())
def test_the_cosine_falls_from_one_to_zero(steps: int, drawn: st.DataObject):
    factor = _factor(Training(schedule="cosine"), steps)
    step = drawn.draw(st.integers(0, steps))
    assert factor(0) == 1
    assert factor(steps) == 0
    # cos(π − a) = −cos a, so the two halves mirror each other around 1/2.
    assert factor(step) + factor(steps - step) == pytest.approx(1)
    assert _factor(Training(), steps)(step) == 1


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"optimizer": "adm"}, UnknownNameError, "optimizer, but got 'adm'; did you mean 'adam'"),
        ({"schedule": "cosin"}, UnknownNameError, "did you mean 'cosine'"),
        ({"epochs": 0}, InputError, "epochs and batch_size from 1 on"),
        ({"learning_rate": 0.0}, InputError, "a positive learning_rate"),
        ({"held_out": -1}, InputError, "held_out from 0 and patience from 1 on, but got -1 and 2"),
        ({"patience": 0}, InputError, "patience from 1 on"),
    ],
)
def test_bad_recipes_are_errors(fields: dict, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        Training(**fields)


# --- the cache ---


class Fixed:
    """A source of given samples."""

    def __init__(self, data: Dataset) -> None:
        self.data = data

    def load(self) -> Dataset:
        return self.data


@pytest.fixture
def kept(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "deep" / "cache"))
    return tmp_path / "deep" / "cache"


def test_kept_weights_come_back_bit_for_bit_without_training(kept, monkeypatch: pytest.MonkeyPatch):
    first = cache.trained(Linear, RECIPE, Fixed(separable()), Fixed(separable(32)))
    monkeypatch.setattr(cache, "train", lambda *_: pytest.fail("trained again"))
    state = torch.random.get_rng_state()
    again = cache.trained(Linear, RECIPE, Fixed(separable()), Fixed(separable(32)))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(weights(first.model), weights(again.model))
    assert not again.model.training
    assert (again.epochs, again.train_accuracy, again.test_accuracy, again.seconds) == (
        first.epochs,
        first.train_accuracy,
        first.test_accuracy,
        first.seconds,
    )
    assert len([*kept.glob("[!.]*")]) == 1


def test_another_recipe_network_or_data_is_another_name():
    class Other(Linear):
        """Not the same source."""

    data, test = separable(), separable(32)
    names = {
        cache.fingerprint(Linear, RECIPE, data, test),
        cache.fingerprint(Other, RECIPE, data, test),
        cache.fingerprint(Linear, Training(), data, test),
        cache.fingerprint(Linear, RECIPE, separable(63), test),
        cache.fingerprint(Linear, RECIPE, data, separable(31)),
    }
    assert len(names) == 5
    assert cache.fingerprint(Linear, RECIPE, separable(), separable(32)) in names


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_an_unreadable_file_is_made_again(kept, content: bytes):
    first = cache.trained(Linear, RECIPE, Fixed(separable()), Fixed(separable(32)))
    (path,) = kept.glob("*.safetensors")
    path.write_bytes(content)
    with pytest.warns(HeatproofWarning, match=rf"{path.name}.* It counts as absent"):
        again = cache.trained(Linear, RECIPE, Fixed(separable()), Fixed(separable(32)))
    assert torch.equal(weights(first.model), weights(again.model))
    assert path.read_bytes() != content


def test_weights_that_have_changed_on_disk_are_not_believed(kept):
    first = cache.trained(Linear, RECIPE, Fixed(separable()), Fixed(separable(32)))
    (path,) = kept.glob("*.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.warns(HeatproofWarning, match="its content has changed since it was written"):
        assert cache.found(Linear, RECIPE, separable(), separable(32)) is None
    with pytest.warns(HeatproofWarning, match="its content has changed since it was written"):
        again = cache.trained(Linear, RECIPE, Fixed(separable()), Fixed(separable(32)))
    assert torch.equal(weights(first.model), weights(again.model))


def test_the_weights_of_another_recipe_or_network_are_not_believed(kept):
    other = Training(learning_rate=0.1, epochs=20, batch_size=10, required=0.95, seed=1)
    first = cache.made(Linear, RECIPE, separable(), separable(32))
    cache.made(Linear, other, separable(), separable(32))
    cache.made(Unit, RECIPE, separable(), separable(32))
    path = kept / cache.file_name(Linear, RECIPE, separable(), separable(32))
    for network, recipe in ((Linear, other), (Unit, RECIPE)):
        shutil.copy(kept / cache.file_name(network, recipe, separable(), separable(32)), path)
        with pytest.warns(HeatproofWarning, match="it was written as '"):
            again = cache.made(Linear, RECIPE, separable(), separable(32))
        assert torch.equal(weights(first.model), weights(again.model))


def test_weights_that_predate_digests_are_read(kept, monkeypatch: pytest.MonkeyPatch):
    first = cache.made(Linear, RECIPE, separable(), separable(32))
    path = kept / cache.file_name(Linear, RECIPE, separable(), separable(32))
    facts = {name: getattr(first, name) for name in ("train_accuracy", "test_accuracy", "epochs", "seconds")}
    metadata = {"heatproof": json.dumps(facts), "training": json.dumps(dataclasses.asdict(RECIPE))}
    save_file(first.model.state_dict(), path, metadata=metadata)
    monkeypatch.setattr(cache, "train", lambda *_: pytest.fail("trained again"))
    again = cache.made(Linear, RECIPE, separable(), separable(32))
    assert torch.equal(weights(first.model), weights(again.model))
    assert again.test_accuracy == first.test_accuracy
    save_file({"foreign": torch.ones(2)}, path, metadata=metadata)
    with pytest.warns(HeatproofWarning, match="it holds something else: dense.bias, dense.weight, foreign differ"):
        assert cache.found(Linear, RECIPE, separable(), separable(32)) is None


def test_kept_weights_do_not_depend_on_the_number_of_threads(kept):
    torch.set_num_threads(2)
    try:
        many = cache.trained(Linear, RECIPE, Fixed(separable()), Fixed(separable(32)))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert torch.equal(weights(many.model), weights(train(Linear, RECIPE, separable(), separable(32)).model))


def test_a_failed_training_keeps_nothing(kept):
    with pytest.raises(TrainingError):
        cache.trained(Linear, Training(epochs=1, required=0.95), Fixed(separable()), Fixed(separable(flip=-1.0)))
    assert [*kept.glob("[!.]*")] == []


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StoreError, match="set HEATPROOF_CACHE to a folder that can be written"):
        cache.trained(Linear, RECIPE, Fixed(separable()), Fixed(separable(32)))


# --- one output unit, and early stopping ---


class Unit(nn.Linear):
    """One output unit."""

    def __init__(self) -> None:
        super().__init__(3, 1)


def test_one_output_unit_learns_two_labels():
    result = train(Unit, RECIPE, separable(), separable(32))
    with torch.no_grad():
        right = (torch.sigmoid(result.model(separable(32).inputs)[:, 0]) > 0.5).long() == separable(32).targets
    assert result.test_accuracy == right.float().mean().item()
    assert result.test_accuracy >= 0.95


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=5), st.data())
def test_the_binary_loss_by_hand(logits: list[float], drawn: st.DataObject):
    labels = drawn.draw(st.lists(st.integers(0, 1), min_size=len(logits), max_size=len(logits)))
    chances = [1 / (1 + math.exp(-z)) for z in logits]
    expected = -sum(math.log(p if y else 1 - p) for p, y in zip(chances, labels, strict=True)) / len(logits)
    got = loss_of(torch.tensor(logits, dtype=torch.float64)[:, None], torch.tensor(labels))
    assert got.item() == pytest.approx(expected, rel=1e-6, abs=1e-8)


class Recorded(Linear):
    """Its weights at the end of every epoch: what evaluation on held-out samples sees."""

    seen: ClassVar[list[torch.Tensor]] = []

    def eval(self) -> "Recorded":
        Recorded.seen.append(weights(self).clone())
        return super().eval()


def test_stopping_early_keeps_the_epoch_with_the_lowest_held_out_loss():
    """The held-out samples are those that were not trained on, and nothing else decides."""
    Recorded.seen = []
    # steps that are much too large, so that the loss goes up and down
    recipe = Training(optimizer="sgd", learning_rate=8.0, epochs=40, batch_size=10, held_out=20, patience=3)
    noisy = dataclasses.replace(separable(), targets=separable().targets.roll(7) | (separable().inputs[:, 1] > 1))
    result = train(Recorded, recipe, noisy, separable(32))
    held = training._hold_out(as_blocks(noisy), recipe)[1].data
    losses = []
    for flat in Recorded.seen[: result.epochs]:
        w, b = flat[:6].view(2, 3), flat[6:]
        losses.append(loss_of(held.inputs @ w.T + b, held.targets).item())
    best = min(range(len(losses)), key=losses.__getitem__)
    assert torch.equal(weights(result.model), Recorded.seen[best])
    assert result.epochs == best + 1 + 3 < 40


def test_held_out_samples_are_not_trained_on():
    def parts(seed: int = 0) -> list[Dataset]:
        return [part.data for part in training._hold_out(as_blocks(separable()), Training(held_out=20, seed=seed))]

    data, held = parts()
    assert (len(data), len(held)) == (44, 20)
    assert set(data.ids) | set(held.ids) == set(separable().ids)
    assert parts()[0].ids == data.ids != parts(1)[0].ids
    with pytest.raises(TrainingError, match="fewer samples held out than the 64"):
        train(Linear, Training(held_out=64), separable(), separable())


def test_labels_that_are_not_memorized_are_an_error():
    recipe = Training(epochs=1, stop_at=0.98, required_in_training=0.98)
    shuffled = dataclasses.replace(separable(), targets=separable().targets.roll(1))
    with pytest.raises(TrainingError, match=r"Linear to reach 98\.00% on the samples it is trained on, separable, but"):
        train(Linear, recipe, shuffled, separable())


def test_first_weights_and_arguments_are_part_of_the_name():
    data, test = separable(), separable(32)

    class Shifted(Linear):
        """As `Linear`, with a source that looks elsewhere for its first weights."""

        def __init__(self) -> None:
            super().__init__()
            nn.init.constant_(self.dense.bias, START)

    global START
    START = 0.0
    first = cache.fingerprint(Shifted, RECIPE, data, test)
    assert cache.fingerprint(Shifted, RECIPE, data, test) == first
    START = 1.0
    assert cache.fingerprint(Shifted, RECIPE, data, test) != first
    relu, tanh = (partial(AnconaMLP, activation=name) for name in ("relu", "tanh"))
    assert cache.fingerprint(relu, RECIPE, data, test) != cache.fingerprint(tanh, RECIPE, data, test)


START = 0.0
