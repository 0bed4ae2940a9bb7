import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from heatproof.data import Dataset
from heatproof.errors import InputError, StoreError, UnknownNameError
from heatproof.zoo import Training, TrainingError, accuracy_of, cache, train
from heatproof.zoo.training import _factor


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
    again = cache.trained(Linear, RECIPE, Fixed(separable()), Fixed(separable(32)))
    assert torch.equal(weights(first.model), weights(again.model))
    assert path.read_bytes() != content


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
