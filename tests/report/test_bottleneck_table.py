"""The table of bottlenecks."""

from heatproof.reading.complete import precise
from heatproof.reading.values import Interval
from heatproof.report.ledger import LEDGER, ledger


def means(**values: dict[str, float]) -> dict[tuple[str, str, str, float, str], Interval]:
    """By method ("network" for none) and metric."""
    return {
        (LEDGER, method.replace("network", ""), "", 0.0, metric.replace("_", "-")): Interval(v, v - 0.1, v + 0.1, 9, 0)
        for method, found in values.items()
        for metric, v in found.items()
    }


def test_the_network_comes_first_and_only_bottlenecks_after_it() -> None:
    found = means(
        network={"probability": 0.9, "top_1": 1.0},
        iba={"information": 0.5, "bits": 20.0, "probability": 0.8, "top_1": 0.7},
    )
    table = ledger(found, ["gradient", "iba"])
    assert table is not None
    assert table["columns"] == ["L_I / k, nats", "L_I, bits", "probability of the label", "label is the likeliest"]
    values = [(label, [None if cell is None else cell.mean for cell in cells]) for label, cells in table["lines"]]
    assert values == [("", [None, None, 0.9, 1.0]), ("iba", [0.5, 20.0, 0.8, 0.7])]


def test_numbers_have_three_digits() -> None:
    assert [precise(value, 3) for value in (0.00063, 0.2294, 67.025, 3687.66)] == ["0.00063", "0.229", "67", "3688"]


def test_without_a_bottleneck_there_is_no_table() -> None:
    assert ledger(means(network={"probability": 0.9}), ["gradient"]) is None
