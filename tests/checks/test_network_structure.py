import math

import check_toys as toys
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import heatproof as hp
from heatproof.checks import NetworkStructure
from heatproof.checks.network_structure import HIGH, LOW, QUANTILES, overtaking
from heatproof.errors import InputError
from heatproof.testing.playing import stage
from reference import checks as slow


def read_by_layers(inputs):
    """What the toy's three layers read, by hand: lists of one sample's activations."""
    net = toys.network()
    with torch.no_grad():
        first = inputs
        second = F.relu(net[0](first)).flatten(1)
        third = F.relu(net[3](second))
    return {"0": first, "3": second, "5": third}


def test_shares_and_quantiles_are_what_scalar_loops_give():
    rows = toys.played(NetworkStructure())
    for place, (layer, activations) in enumerate(read_by_layers(toys.images()).items(), start=1):
        for i in range(3):
            values = activations[i].flatten().tolist()
            share = sum(1 for value in values if value <= 0) / len(values)
            assert toys.row(rows, "", "non-positive", layer, place)[i] == share
            for q in QUANTILES:
                got = float(toys.row(rows, "", f"quantile-{q:.2f}", layer, place)[i])
                assert got == pytest.approx(slow.quantile(values, q), abs=1e-12)
    assert {r.method for r in rows} == {""}


def test_quantiles_are_those_of_the_paper():
    assert len(QUANTILES) == 18
    assert (QUANTILES[0], QUANTILES[-1]) == (0.95, 0.1)
    assert HIGH == (0.95, 0.9, 0.85)
    assert LOW == (0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1)


def test_overtaking_is_of_means_over_the_data_set(tmp_path):
    inputs = toys.images(5)
    run = hp.audit(
        toys.network(), inputs, methods=["random"], checks=["network-structure"], batch=2, out=tmp_path, progress=False
    )
    rows = run.rows()
    for place, (layer, activations) in enumerate(read_by_layers(inputs).items(), start=1):
        for high, low in ((0.95, 0.5), (0.85, 0.1)):
            v_high, v_low = (
                sum(slow.quantile(activations[i].flatten().tolist(), q) for i in range(5)) / 5 for q in (high, low)
            )
            got = rows[(rows.setting == layer) & (rows.metric == f"overtaking-{high:.2f}-{low:.2f}")]
            assert got[["sample", "position"]].to_numpy().tolist() == [["", place]]
            if v_high * v_low < 0:
                assert math.isnan(got.value.item())
            else:
                gamma = math.sqrt(low / (1 - high))
                expected = 0.5 - math.atan(v_high / v_low / gamma) / math.pi if v_low else 0.0
                assert got.value.item() == pytest.approx(expected, abs=1e-12)
    assert sum(rows.metric.str.startswith("overtaking")) == 3 * 3 * 9


def test_rows_of_no_sample_are_no_draws_of_any_verdict(tmp_path):
    run = hp.audit(
        toys.network(), toys.images(4), methods=["gradient-x-input"],
        checks=["parameter-randomization", "network-structure"], out=tmp_path / "a", progress=False,
    )  # fmt: skip
    alone = hp.audit(
        toys.network(), toys.images(4), methods=["gradient-x-input"],
        checks=["parameter-randomization"], out=tmp_path / "b", progress=False,
    )  # fmt: skip
    ours, theirs = (
        found[found.question != "cost"].reset_index(drop=True) for found in (run.verdicts(), alone.verdicts())
    )
    assert ours.equals(theirs)


@pytest.mark.parametrize(
    ("of_high", "of_low", "high", "low", "expected"),
    [
        (1.0, 1.0, 0.9, 0.1, 0.25),  # K = γ = 1
        (3.0, 1.0, 0.9, 0.1, 0.5 - math.atan(3) / math.pi),
        (1.0, 1.0, 0.9, 0.4, 0.5 - math.atan(0.5) / math.pi),  # γ = 2
        (1.0, 0.0, 0.9, 0.1, 0.0),
        (-1.0, -3.0, 0.9, 0.1, 0.5 - math.atan(3) / math.pi),
        (1.0, -1.0, 0.9, 0.1, math.nan),
        (0.0, 0.0, 0.9, 0.1, math.nan),
        (0.0, -1.0, 0.9, 0.1, math.nan),
    ],
)
def test_overtaking_by_hand(of_high, of_low, high, low, expected):
    assert overtaking(of_high, of_low, high, low) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_layers_that_run_twice_and_out_of_order():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(4, 3).double(), nn.Linear(4, 4).double()

        def forward(self, x):
            return self.last(F.relu(self.first(input=torch.relu(self.first(x)))))

    inputs = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = toys.played(NetworkStructure(), model=Odd().eval(), inputs=inputs, targets=torch.tensor([0, 1, 2]))
    places = {r.setting: r.position for r in rows}
    assert places == {"first": 1.0, "first#2": 2.0, "last": 3.0}


def test_a_network_without_weighted_layers_is_refused():
    class Sum(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3]

    with pytest.raises(InputError, match="Expected a network with convolutions or dense layers, but it has none"):
        NetworkStructure().states(stage(Sum().eval(), toys.images(), torch.arange(3), {}).study())
