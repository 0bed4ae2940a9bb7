"""Theorem 2: closed forms, weights drawn one by one, and what a network's layers read."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from heatproof.draws import generator
from heatproof.errors import InputError
from heatproof.models import Bound
from heatproof.theory import overtaking, overtaking_in
from heatproof.theory.random_weights import bound, exact, share_of_draws
from reference import theory as slow


def test_bounds_in_closed_form():
    assert bound(1, 7, 7) == pytest.approx(0.25)
    assert bound(math.sqrt(3), 5, 5) == pytest.approx(0.5 - 1 / 3)
    assert bound(2, 400, 100) == bound(1, 100, 100)
    assert bound(2, 100, 400, average=True) == pytest.approx(bound(1, 1, 1))


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=8),
    st.lists(st.floats(1, 3), min_size=1, max_size=8),
    st.floats(0.1, 50),
    st.booleans(),
)
def test_theorem_2_bounds_the_exact_probability(small, larger, factor, average):
    x_small = torch.tensor(small, dtype=torch.float64)
    x_large = factor * torch.tensor(larger, dtype=torch.float64)
    if average:
        x_small, x_large = x_small / len(x_small), x_large / len(x_large)
    assert exact(x_small, x_large) <= bound(factor, len(small), len(larger), average=average) + 1e-12


def test_draws_are_counted_as_scalar_loops_count_them():
    small, large = torch.tensor([0.5, 1.0]).double(), torch.tensor([1.0, 2.0, 1.5]).double()
    share, low, high = share_of_draws(small, large, 500, generator("here"))
    weights = torch.randn(500, 5, generator=generator("here"), dtype=torch.float64).tolist()
    expected = slow.overtakes(small.tolist(), large.tolist(), [(row[:2], row[2:]) for row in weights])
    assert share == expected
    assert low < share < high


@pytest.mark.parametrize("average", [False, True])
def test_measured_shares_are_the_exact_probabilities(average):
    table = overtaking(draws=20_000, average=average)
    assert len(table) == 24
    error = (table["exact"] * (1 - table["exact"]) / 10_000) ** 0.5
    assert bool(((table["measured"] - table["exact"]).abs() < 4 * error).all())
    assert bool((table["exact"] <= table["bound"] + 1e-12).all())
    alone = table[(table["small"] == 1) & (table["large"] == 1)]
    assert alone["exact"].tolist() == pytest.approx(alone["bound"].tolist())


def test_nothing_large_or_nothing_small():
    ones = torch.ones(2, dtype=torch.float64)
    assert math.isnan(exact(ones, 0 * ones))
    assert exact(0 * ones, ones) == 0
    assert all(math.isnan(value) for value in share_of_draws(ones, 0 * ones, 10, generator("none")))


class TestLayers:
    @staticmethod
    def network():
        return nn.Sequential(nn.Identity(), nn.Linear(10, 4), nn.ReLU(), nn.Linear(4, 2)).double().eval()

    def test_sets_are_the_largest_and_the_lowest(self):
        inputs = torch.tensor([[1.0, 2, 3, 4, 5, 6, 7, 8, 40, 50]], dtype=torch.float64)
        table = overtaking_in(self.network(), [inputs], high=0.8, low=0.5, draws=4_000)
        first = table.iloc[0]
        assert (first["layer"], first["position"]) == ("1", 1)
        assert first["bound"] == pytest.approx(bound(40 / 5, 5, 2))
        assert first["exact"] == pytest.approx(exact(inputs[0, :5], inputs[0, 8:]))
        assert first["measured"] == pytest.approx(first["exact"], abs=0.02)
        assert table["layer"].tolist() == ["1", "3"]

    def test_the_bound_says_nothing_of_negative_activations_and_all_of_zeros(self):
        inputs = torch.tensor(
            [[-1.0, 0, 0, 0, 0, 1, 1, 1, 1, 2], [0, 0, 0, 0, 0, 1, 1, 1, 1, 2], [0] * 10], dtype=torch.float64
        )
        table = overtaking_in(self.network(), [inputs], draws=100)
        table = table[table["position"] == 1]
        assert table["bound"].isna().tolist() == [True, False, True]
        assert table["bound"].iloc[1] == table["exact"].iloc[1] == table["measured"].iloc[1] == 0
        assert math.isnan(table["exact"].iloc[2])

    def test_batches_do_not_matter(self):
        inputs = torch.rand(5, 10, dtype=torch.float64, generator=generator("batches"))
        net = self.network()
        whole, parts = overtaking_in(net, [inputs]), overtaking_in(net, [inputs[:2], inputs[2:]])
        order = ["position", "sample"]
        assert whole.sort_values(order, ignore_index=True).equals(parts.sort_values(order, ignore_index=True))

    def test_weights_are_drawn_for_layers_that_read_few_values(self, monkeypatch):
        inputs = torch.rand(2, 10, dtype=torch.float64, generator=generator("few"))
        monkeypatch.setattr("heatproof.theory.random_weights.DRAWN", 5)
        table = overtaking_in(Bound(self.network(), layer="3"), [inputs], draws=100)
        assert table["measured"].isna().tolist() == [True, True, False, False]  # ten values, then four
        assert table["layer"].tolist() == ["1", "1", "3", "3"]
        assert table["exact"].notna().any()

    def test_shares_that_overlap_are_refused(self):
        with pytest.raises(InputError, match=r"Expected 0 < low <= high < 1, but got low = 0\.9 and high = 0\.5"):
            overtaking_in(self.network(), [], high=0.5, low=0.9)
