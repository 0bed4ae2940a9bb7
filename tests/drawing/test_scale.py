import numpy as np

from heatproof.drawing import flat, scale_of
from heatproof.drawing.scale import levels


def test_scale_is_the_percentile_and_the_maximum_where_that_is_zero() -> None:
    values = np.arange(1001.0) - 500
    assert scale_of(values) == np.percentile(np.abs(values), 99.5)
    spike = np.zeros(1000)
    spike[0] = -3.0
    assert scale_of(spike) == 3.0
    assert scale_of(np.zeros(4)) == 1.0
    assert scale_of(np.array([np.nan, np.inf, 2.0])) == np.percentile([0, 0, 2.0], 99.5)


def test_zero_is_the_middle_of_signed_levels_and_the_start_of_others() -> None:
    values = np.array([-9.0, -1.0, 0.0, 0.5, 9.0])
    assert levels(values, 1.0, signed=True).tolist() == [1, 1, 128, 192, 255]
    assert levels(values, 1.0, signed=False).tolist() == [0, 0, 0, 128, 255]


def test_maps_without_a_pattern_are_told_by_what_they_vary() -> None:
    blank, near, varied = np.zeros((3, 3)), 5 + 1e-4 * np.eye(3), 5 + 0.1 * np.eye(3)
    found = flat(blank)
    assert found is not None
    assert found.said == "blank: all zero"
    found = flat(near)
    assert found is not None
    assert found.said == "constant: 5"
    assert flat(varied) is None
    assert flat(np.array([np.nan, 1.0, 2.0])) is None
