import numpy as np
import pytest

from heatproof.report.texts import colored


def test_words_are_shaded_by_their_share_of_the_largest():
    words = colored(["against", "none", "half", "most"], np.array([-2.0, 0.0, 1.0, 2.0], np.float32), signed=True)
    # the 99.5th percentile of 0, 1, 2, 2 is 2
    assert words == '<i class="n8">against</i> none <i class="p4">half</i> <i class="p8">most</i>'


def test_words_of_one_shade_share_an_element_and_unsigned_methods_have_their_own_color():
    words = colored(["a", "b", "c"], np.array([1.0, 1.0, 0.0], np.float32), signed=False)
    assert words == '<i class="u8">a b</i> c'


def test_a_run_of_one_word_is_shown_once_with_its_strongest_shade():
    words = colored(["<pad>"] * 5 + ["x"], np.array([0, 0, -1, 0.2, 0, 1], np.float32), signed=True)
    assert words == '<i class="n8">&lt;pad&gt; × 5</i> <i class="p8">x</i>'


@pytest.mark.parametrize("evil", ["</i><script>alert(1)</script>", '" onmouseover="x', "&amp;"])
def test_words_are_data(evil: str):
    for value in (1.0, 0.0):
        words = colored([evil, "x"], np.array([value, 1.0], np.float32), signed=True)
        assert "<script" not in words
        assert '" on' not in words
        assert words.unescape().count(evil) == 1


def test_a_constant_map_colors_nothing():
    assert colored(["a", "b"], np.zeros(2, np.float32), signed=True) == "a b"
