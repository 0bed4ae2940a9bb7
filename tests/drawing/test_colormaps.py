"""Colors by what the eye sees: computed back into OKLab here, by formulas of its inverse."""

import numpy as np
import pytest

from heatproof.drawing import table

M1 = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
               [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
M2 = np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
               [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip


def oklab(colors: np.ndarray) -> np.ndarray:
    encoded = colors / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ M1.T) @ M2.T


def test_white_and_red_go_through_the_reference_formulas() -> None:
    np.testing.assert_allclose(oklab(np.array([[255, 255, 255]])), [[1, 0, 0]], atol=1e-4)
    np.testing.assert_allclose(oklab(np.array([[255, 0, 0]])), [[0.62796, 0.22486, 0.12585]], atol=1e-4)


@pytest.mark.parametrize("signed", [True, False])
def test_equal_steps_of_value_are_equal_steps_of_lightness(signed: bool) -> None:
    lightness = oklab(table(signed=signed))[:, 0]
    halves = [lightness[128:], lightness[128:0:-1]] if signed else [lightness]
    for half in halves:
        np.testing.assert_allclose(half, np.linspace(0.97, 0.32, len(half)), atol=0.004)


def test_both_signs_are_as_dark_and_of_opposite_hue() -> None:
    colors = oklab(table(signed=True))
    np.testing.assert_allclose(colors[1:128, 0], colors[:128:-1, 0], atol=0.004)
    assert colors[32, 2] < -0.1  # blue
    assert colors[224, 1] > 0.1  # red
    np.testing.assert_array_equal(table(signed=True)[128], [245, 245, 245])
    np.testing.assert_array_equal(table(signed=True)[0], table(signed=True)[1])


def test_signs_are_told_apart_without_red_or_green_cones() -> None:
    """By Viénot et al. 1999: what a protanope and a deuteranope see of both ends."""
    encoded = table(signed=True)[[48, 208]] / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    for matrix in (
        [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
        [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    ):
        seen = np.clip(linear @ np.array(matrix).T, 0, 1)
        difference = np.cbrt(seen @ M1.T) @ M2.T
        assert np.linalg.norm(difference[0] - difference[1]) > 0.15
