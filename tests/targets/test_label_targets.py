"""Labels, sets of labels, numbers, the complement of a logit, differences: what they read, and what maps they get."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.errors import InputError
from heatproof.models import forward
from heatproof.outputs import Outputs, TwoSided
from heatproof.targets import Complement, Difference, Function, Label, LabelSet, Scalar

W = torch.tensor([[1.0, 2.0, -1.0], [0.5, -1.0, 3.0], [-2.0, 1.0, 0.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
X = torch.tensor([[1.0, 2.0, 3.0], [0.5, -1.0, 1.0]], dtype=torch.float64)  # scores: see below
SCORES = [[2.0, 7.5, 0.0, 6.0], [-2.5, 4.25, -2.0, 0.5]]


def linear(weight: Tensor = W) -> nn.Module:
    net = nn.Linear(weight.shape[1], len(weight), bias=False, dtype=torch.float64)
    with torch.no_grad():
        net.weight.copy_(weight)
    return net.eval()


def maps(target: Any, model: nn.Module | None = None, inputs: Tensor = X) -> Tensor:
    return hp.methods.GradientXInput()(model or linear(), inputs, target)


def test_the_scores_that_the_cases_are_made_of() -> None:
    assert linear()(X).tolist() == SCORES


class TestLabel:
    @pytest.mark.parametrize(
        ("which", "labels"), [("predicted", [1, 1]), ("own", [1, 1]), ("runner-up", [3, 3]), (2, [2, 2])]
    )
    def test_which_label(self, which: Any, labels: list[int]) -> None:
        assert Label(which).aim(linear(), X).labels.tolist() == labels
        assert torch.equal(maps(Label(which)), W[labels] * X)

    def test_its_model_is_the_one_that_was_given(self) -> None:
        net = linear()
        assert Label().aim(net, X).model is net

    @pytest.mark.parametrize(
        "given",
        [
            [2, 0],
            (2, 0),
            np.array([2, 0]),
            np.array([2, 0], dtype=np.uint8),
            torch.tensor([2, 0], dtype=torch.int32),
            [torch.tensor(2), np.int64(0)],
        ],
        ids=["list", "tuple", "array", "uint8", "int32", "numbers"],
    )
    def test_given_labels_are_whole_numbers_in_any_form(self, given: Any) -> None:
        assert torch.equal(maps(given), W[[2, 0]] * X)
        assert Label("given").aim(linear(), X, given).labels.tolist() == [2, 0]

    @pytest.mark.parametrize("one", [2, np.int64(2), torch.tensor(2), torch.tensor(2, dtype=torch.int32)])
    def test_one_label_for_all(self, one: Any) -> None:
        assert torch.equal(maps(one), W[[2, 2]] * X)

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            (True, "Expected targets .*, but got True"),
            ([1.0, 2.0], "but got list; use torch.tensor"),
            (np.array([1.0, 0.0]), "but got ndarray"),
            ([0, 1, 2], r"but got \(3,\)"),
            ([0, 4], "Expected targets between 0 and 3, the model's last output, but got 4"),
            ([0, -1], "Expected targets of 0 or more, the number of an output, but got -1"),
        ],
    )
    def test_what_is_no_label(self, given: Any, said: str) -> None:
        with pytest.raises(InputError, match=said):
            maps(given)

    @pytest.mark.parametrize(
        ("target", "said"),
        [
            (Label("given"), "Expected labels to explain the given label, but got none"),
            (Label(7), "between 0 and 3, the model's last output, but got 7"),
        ],
    )
    def test_errors(self, target: Label, said: str) -> None:
        with pytest.raises(InputError, match=said):
            target.aim(linear(), X)

    def test_one_output_has_no_runner_up(self) -> None:
        with pytest.raises(InputError, match="2 or more outputs to explain the label with the second largest output"):
            Label("runner-up").aim(linear(W[:1]), X)


class TestLabelSet:
    @pytest.mark.parametrize(
        ("labels", "sets"),
        [
            ((0, 2), [[0, 2], [0, 2]]),
            ([[0, 3], [1]], [[0, 3], [1]]),
            (torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0]]), [[0, 3], [1]]),
            (np.array([[1, 0, 0, 1], [0, 1, 0, 0]]), [[0, 3], [1]]),
            (torch.tensor([0, 2]), [[0, 2], [0, 2]]),
            ("predicted", [[0, 1, 3], [1, 3]]),
        ],
    )
    def test_the_sum_and_each(self, labels: Any, sets: list[list[int]]) -> None:
        expected = torch.stack([W[some].sum(0) * x for some, x in zip(sets, X, strict=True)])
        torch.testing.assert_close(maps(LabelSet(labels)), expected)
        aim = LabelSet(labels, of="each").aim(linear(), X)
        assert aim.rows is not None
        flat = [(row, label) for row, some in enumerate(sets) for label in some]
        assert list(zip(aim.rows.tolist(), aim.labels.tolist(), strict=True)) == flat
        each = torch.stack([W[label] * X[row] for row, label in flat])
        torch.testing.assert_close(maps(LabelSet(labels, of="each")), each)

    def test_a_sum_is_no_label(self) -> None:
        assert LabelSet((0, 1)).outputs == Outputs("scalars", "score")
        assert LabelSet((0, 1), of="each").outputs is None

    def test_a_label_outside_the_set_may_be_masked(self) -> None:
        class Masked(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return torch.cat([linear()(x), torch.full((len(x), 1), -torch.inf).to(x)], 1)

        torch.testing.assert_close(maps(LabelSet((0, 1)), Masked().eval()), W[[0, 1]].sum(0) * X)

    @pytest.mark.parametrize(
        ("labels", "said"),
        [
            ((0, 9), "labels between 0 and 3, the model's last output, but got 9"),
            ([[0]], "the labels of each sample for each sample, but got those of 1, fewer"),
            ([[0], []], r"samples \[1\] have none; leave them out, or name labels"),
            (torch.ones(2, 3), r"a multi-hot row of 4 labels a sample, as the model has outputs, but got \(2, 3\)"),
        ],
    )
    def test_errors(self, labels: Any, said: str) -> None:
        with pytest.raises(InputError, match=said):
            LabelSet(labels).aim(linear(), X)

    @pytest.mark.parametrize("labels", [3, (0, -1), (0, (1, 2)), "all", torch.rand(3)])
    def test_what_is_no_set(self, labels: Any) -> None:
        with pytest.raises(InputError, match="Expected labels"):
            LabelSet(labels)


class TestScalarAndComplement:
    def test_a_number_has_a_unit_and_no_probability(self) -> None:
        target = Scalar(2, unit="mm")
        assert (target.name, target.unit, target.outputs) == ("output 2", "mm", Outputs("scalars", "mm"))
        assert target.outputs.probability is None
        assert torch.equal(maps(target), W[[2, 2]] * X)
        with pytest.raises(InputError, match="between 0 and 3"):
            maps(Scalar(4))

    def test_class_0_of_a_logit(self) -> None:
        net = linear(W[:1])
        aim = Complement().aim(net, X)
        assert isinstance(aim.model, TwoSided)
        assert (aim.outputs, aim.labels.tolist()) == (Outputs("logit"), [0, 0])
        assert torch.equal(maps(Complement(), net), -W[0] * X)
        with pytest.raises(InputError, match=r"one output.*gives \(2, 4\)"):
            maps(Complement())


class TestDifference:
    @pytest.mark.parametrize(
        ("target", "expected"),
        [
            (Difference(3, 0), W[[3, 3]] - W[[0, 0]]),
            (Difference(), W[[1, 1]] - W[[3, 3]]),
            (Difference(Label(1), LabelSet((0, 2))), (W[1] - W[0] - W[2]).expand(2, -1)),
            (Difference(Difference(0, 1), 2), (W[0] - W[1] - W[2]).expand(2, -1)),
            (Difference(Scalar(1, unit="mm"), Scalar(0)), (W[1] - W[0]).expand(2, -1)),
        ],
    )
    def test_one_less_the_other(self, target: Difference, expected: Tensor) -> None:
        torch.testing.assert_close(maps(target), expected * X)

    def test_it_has_the_unit_of_what_it_is_made_of(self) -> None:
        target = Difference(Scalar(1, unit="mm"), Scalar(0, unit="mm"))
        assert (target.unit, target.outputs) == ("mm", Outputs("scalars", "mm"))
        assert target.name == "output 1 less output 0"

    def test_the_labels_stay_those_of_the_trained_network(self) -> None:
        """Of another network with other predictions the same two labels are compared."""
        aim = Difference().aim(net := linear(), X)
        with torch.no_grad():
            net.weight.neg_()
        torch.testing.assert_close(forward(aim.model, X)[:, 0], (X * (W[3] - W[1])).sum(1))


def margin(out: Tensor) -> Tensor:
    return out[:, 1] - out[:, 3]


class TestFunction:
    def test_a_function_of_what_the_model_returns(self) -> None:
        class Named(nn.Module):
            def forward(self, x: Tensor) -> dict[str, Tensor]:
                return {"heads": linear()(x)}

        target = Function(lambda out: margin(out["heads"]), title="margin", unit="dB")
        assert (target.name, target.outputs) == ("margin", Outputs("scalars", "dB"))
        torch.testing.assert_close(maps(target, Named().eval()), (W[1] - W[3]) * X)
        torch.testing.assert_close(maps(Function(lambda out: out[:, :3], label=2)), W[[2, 2]] * X)

    @pytest.mark.parametrize(
        ("call", "said"),
        [
            (lambda out: out["logits"], "to read what the model returns, a Tensor, but it raised"),
            (
                lambda out: out.argmax(1),
                r"floating values \(N,\) or outputs \(N, C\), but it gave \(2,\) of torch.int64",
            ),
            (lambda out: out[:1], r"values \(2,\), or outputs \(2, C\) with output 0, but it gave \(1, 4\)"),
        ],
    )
    def test_errors(self, call: Any, said: str) -> None:
        with pytest.raises(InputError, match=said):
            maps(Function(call))


TARGETS = (
    Label(2),
    LabelSet([[0, 3], [1]]),
    LabelSet(torch.eye(4)[:2]),
    Scalar(1, unit="mm"),
    Complement(),
    Difference(Label(1), Scalar(2)),
    Function(margin, unit="dB"),
)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: type(target).__name__)
def test_targets_are_values(target: hp.targets.Target) -> None:
    again = pickle.loads(pickle.dumps(target))
    assert (again, hash(again), repr(again)) == (target, hash(target), repr(target))


class Counting(nn.Module):
    """Counts the rows that it is run on."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.rows = linear(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        out: Tensor = self.net(x)
        return out


@pytest.mark.parametrize("target", [LabelSet((0, 1)), Difference(3, 0), Difference()])
def test_in_a_loop_the_model_is_settled_once(target: hp.targets.Target) -> None:
    """Then a call costs what settles the target, one row a sample, beside the method's own passes."""
    model, method = Counting().eval(), hp.methods.Gradient()
    method(model, X, target)
    first, model.rows = model.rows, 0
    for _ in range(3):
        method(model, X, target)
    assert first > model.rows / 3
    assert model.rows == 3 * 2 * len(X)


def test_what_an_aimed_model_is_made_of_stays_bound() -> None:
    class Gained(nn.Module):
        def forward(self, x: Tensor, gain: Tensor) -> dict[str, Tensor]:
            return {"logits": linear()(x) * gain[:, None]}

    gain = torch.tensor([1.0, 10.0], dtype=torch.float64)
    bound = hp.Bound(Gained().eval(), given={"gain": gain}, output="logits", preprocessing=lambda x: x + 1)
    aim = LabelSet([[0], [1, 2]]).aim(bound, X)
    one = X + 1
    expected = torch.stack([10 * (one[1] * (W[1] + W[2])).sum(), (one[0] * W[0]).sum()])
    torch.testing.assert_close(forward(aim.model, X[[1, 0]], torch.tensor([1, 0]))[:, 0], expected)
    selected = hp.models.select(aim.model, torch.tensor([1]))
    torch.testing.assert_close(forward(selected, X[1:])[:, 0], expected[:1])


def test_an_aimed_model_is_another_network() -> None:
    from heatproof.fingerprint import network_fingerprint

    net = linear()
    one, same, other = (target.aim(net, X).model for target in (LabelSet((0, 1)), LabelSet((0, 1)), LabelSet((0, 2))))
    assert network_fingerprint(one) == network_fingerprint(same)
    assert len({network_fingerprint(model) for model in (net, one, other)}) == 3


@pytest.mark.parametrize(
    ("value", "target"),
    [(3, Label(3)), (Scalar(1), Scalar(1)), (margin, Function(margin))],
    ids=["int", "itself", "call"],
)
def test_what_counts_as_a_target(value: Any, target: hp.targets.Target) -> None:
    assert hp.targets.as_target(value) == target


@pytest.mark.parametrize("value", ["predicted", True, Label, None])
def test_what_is_no_target(value: Any) -> None:
    with pytest.raises(InputError, match=r"Expected a target such as heatproof\.targets\.Region\(3\)"):
        hp.targets.as_target(value)


def test_an_aimed_model_goes_to_other_processes() -> None:
    aim = LabelSet([[0, 3], [1]]).aim(linear(), X)
    again = pickle.loads(pickle.dumps(aim.model))
    torch.testing.assert_close(forward(again, X), forward(aim.model, X))
