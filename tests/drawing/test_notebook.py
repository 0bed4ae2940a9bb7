"""What notebooks show of an explanation."""

import numpy as np
import pytest
import torch

from heatproof.drawing.explanation import picture
from heatproof.methods import Explanation


def test_an_explanation_shows_its_maps_and_diagnostics() -> None:
    maps = torch.linspace(-1, 1, 3 * 2 * 4 * 4).reshape(3, 2, 4, 4)
    shown = Explanation(maps, {"score": torch.tensor([1.0, 2.5, 3.0])})._repr_html_()
    assert shown.count("<image") == 3
    assert "<th>score</th>" in shown
    assert "<td>2.5</td>" in shown


def test_only_the_first_of_many_are_drawn() -> None:
    shown = Explanation(torch.rand(11, 1, 4, 4))._repr_html_()
    assert shown.count("<image") == 8
    assert "and 3 more" in shown


@pytest.mark.parametrize(
    ("shape", "size"),
    [((3, 5, 6), (5, 6)), ((1, 40), (5, 40)), ((20, 7), (2, 20)), ((24,), (3, 24)), ((1, 2, 5, 6), (5, 12))],
)
def test_maps_of_every_shape_have_a_picture(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    assert picture(np.ones(shape)).shape == size
